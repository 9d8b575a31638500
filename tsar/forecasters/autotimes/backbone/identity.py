"""Which frozen weights a forecaster was trained on, so that it is loaded with no others."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE = 4096  # values of each tensor: 7 billion weights are hashed in no time
FACTS = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "word_embed_proj_dim",
    "max_position_embeddings",
)


@dataclass(frozen=True)
class Identity:
    """What was loaded.

    Parameters
    ----------
    name
        Name of the model; of a folder, its last part. Empty: from scratch.
    digest
        SHA-256 of its architecture and of its frozen weights, adapters and vocabulary left out. It
        is the same in float32 and bfloat16.
    """

    name: str
    digest: str


def identify(name: str, body: nn.Module, *, frozen: bool) -> Identity:
    """Identity of a body that has no adapters yet, by its weights only where they are frozen."""
    config: Any = body.config
    text = config.get_text_config()
    facts = {fact: getattr(text, fact, None) for fact in FACTS}
    known = {fact: value for fact, value in facts.items() if isinstance(value, int | str)}
    digest = hashlib.sha256(json.dumps(known).encode())
    if frozen:
        skipped = _vocabulary(body)
        for key, tensor in sorted(body.state_dict().items()):
            if skipped is None or not key.startswith(f"{skipped}."):
                digest.update(json.dumps([key, list(tensor.shape)]).encode())
                digest.update(_sample(tensor))
    return Identity(name, digest.hexdigest())


def _vocabulary(body: Any) -> str | None:
    table = body.get_input_embeddings()
    return next((name for name, module in body.named_modules() if module is table), None)


def _sample(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    few = flat[:: max(-(-len(flat) // SAMPLE), 1)]
    # Rounded as a body is that is loaded in bfloat16.
    return few.to("cpu", torch.bfloat16).view(torch.int16).numpy().astype("<i2").tobytes()
