"""Training checkpoints: one safetensors file, replaced atomically, without pickle."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Checkpoint:
    """State to resume a run from: weights, averages and optimizer state by name, and the history.

    `fingerprint` is a digest of all that determines the run, see the function of that name.
    """

    tensors: dict[str, Tensor]
    history: list[dict[str, int | float]]
    epochs_without_improvement: int
    best_loss: float
    fingerprint: str


def write_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write to a temporary file, then rename: a killed run leaves the last complete checkpoint."""
    metadata = {name: value for name, value in vars(checkpoint).items() if name != "tensors"}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    # Copies, because safetensors refuses tied weights, which share memory.
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in checkpoint.tensors.items()
    }
    try:
        save_file(tensors, temporary, metadata={"tsar": json.dumps(metadata)})
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(path: str, fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint at `path`, or None if there is no file.

    It must be one of a run with the same settings and data.
    """
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["tsar"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checkpoint = Checkpoint(tensors, **metadata)
    except (SafetensorError, KeyError, OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"training.checkpoint must be a checkpoint of tsar; got {path!r} "
            f"({type(error).__name__}: {error}). Remove it."
        ) from error
    if checkpoint.fingerprint != fingerprint:
        raise ValueError(
            f"training.checkpoint must be of the same settings and data; got {path!r} of another "
            "run. Remove it to train from the start, or name another file."
        )
    return checkpoint


def fingerprint(settings: object, module: nn.Module, tensors: Iterable[Tensor]) -> str:
    """Digest of all that determines a run, so that only its own checkpoint is resumed.

    Of the module it includes the layer types, their plain attributes and the initial weights.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for name, layer in module.named_modules():
        digest.update(repr((name, type(layer).__qualname__, _plain_attributes(layer))).encode())
    for tensor in (*module.state_dict().values(), *tensors):
        digest.update(repr((tensor.dtype, tensor.shape)).encode())
        # As bytes, because numpy has no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain_attributes(layer: nn.Module) -> dict[str, object]:
    attributes = {name: value for name, value in vars(layer).items() if name != "training"}
    plain = (bool, int, float, str, type(None))
    return {name: value for name, value in attributes.items() if isinstance(value, plain)}
