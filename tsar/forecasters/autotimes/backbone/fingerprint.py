"""Fingerprint of a backbone, so that a forecaster is loaded only with the weights of its fit."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_SIZE = 4096  # values of each tensor that are hashed: fast for 7 billion weights too
ARCHITECTURE = (
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
class Fingerprint:
    """Name and digest of a backbone.

    Parameters
    ----------
    name
        Name of the model, for a folder its last part; empty for a model from scratch.
    digest
        SHA-256 of the architecture and of the frozen weights, without adapters and vocabulary. It
        is the same in float32 and bfloat16.
    """

    name: str
    digest: str


def fingerprint(name: str, model: nn.Module, *, frozen: bool) -> Fingerprint:
    """Fingerprint of a model without adapters; its weights are hashed only if they are frozen."""
    config: Any = model.config
    text_config = config.get_text_config()
    settings = {key: getattr(text_config, key, None) for key in ARCHITECTURE}
    settings = {key: value for key, value in settings.items() if isinstance(value, int | str)}
    digest = hashlib.sha256(json.dumps(settings).encode())
    if frozen:
        vocabulary = _vocabulary_name(model)
        for key, tensor in sorted(model.state_dict().items()):
            if vocabulary is None or not key.startswith(f"{vocabulary}."):
                digest.update(json.dumps([key, list(tensor.shape)]).encode())
                digest.update(_sample(tensor))
    return Fingerprint(name, digest.hexdigest())


def _vocabulary_name(model: Any) -> str | None:
    table = model.get_input_embeddings()
    return next((name for name, module in model.named_modules() if module is table), None)


def _sample(tensor: Tensor) -> bytes:
    """Evenly spaced values, rounded to bfloat16 as in a model that is loaded in that precision."""
    flat = tensor.detach().reshape(-1)
    sample = flat[:: max(-(-len(flat) // SAMPLE_SIZE), 1)]
    return sample.to("cpu", torch.bfloat16).view(torch.int16).numpy().astype("<i2").tobytes()
