"""The state of a training run in one file: written whole or not at all, no pickle."""

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
    """What a run needs to go on: tensors by name, its history, and the digest of its settings."""

    tensors: dict[str, Tensor]
    history: list[dict[str, int | float]]
    waited: int
    lowest: float
    fingerprint: str


def write_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write to a temporary file, then rename: a run that is killed leaves the last whole one."""
    facts = {
        "history": checkpoint.history,
        "waited": checkpoint.waited,
        "lowest": checkpoint.lowest,
        "fingerprint": checkpoint.fingerprint,
    }
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    # Copies, for tied weights share their memory, which safetensors refuses.
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in checkpoint.tensors.items()
    }
    try:
        save_file(tensors, temporary, metadata={"tsar": json.dumps(facts)})
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(path: str, fingerprint: str) -> Checkpoint | None:
    """The checkpoint at `path`, None where there is none yet.

    Raises
    ------
    ValueError
        The file is no checkpoint, or one of a run with other settings or data.
    """
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["tsar"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        saved = Checkpoint(tensors, **facts)
    except (SafetensorError, KeyError, OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"training.checkpoint must be a checkpoint of tsar; got {path!r} "
            f"({type(error).__name__}: {error}). Remove it."
        ) from error
    if saved.fingerprint != fingerprint:
        raise ValueError(
            f"training.checkpoint must be of the same settings and data; {path!r} is of another "
            "run. Remove it to start anew, or name another file."
        )
    return saved


def fingerprint(settings: object, module: nn.Module, tensors: Iterable[Tensor]) -> str:
    """Digest of all that decides the outcome, so that no other run's checkpoint is continued.

    Of the module: its kinds of layers, their plain attributes, and the weights that it starts with.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for name, part in module.named_modules():
        digest.update(repr((name, type(part).__qualname__, _plain_attributes(part))).encode())
    for tensor in (*module.state_dict().values(), *tensors):
        digest.update(repr((tensor.dtype, tensor.shape)).encode())
        # Bytes, for numpy knows no bfloat16.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain_attributes(part: nn.Module) -> dict[str, object]:
    plain = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in vars(part).items()
        if name != "training" and isinstance(value, plain)
    }
