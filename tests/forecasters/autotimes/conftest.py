"""Fixtures of the tests of AutoTimes."""

from pathlib import Path

import pytest


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A tiny language model in a folder."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=1000,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"
