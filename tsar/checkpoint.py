"""The state of a training run in one file: written whole or not at all, no pickle."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: tensors by name, its history, and the digest of its settings."""

    tensors: dict[str, Tensor]
    history: list[dict[str, float]]
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
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()
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
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"training.checkpoint must be a checkpoint of tsar; got {path!r} ({error}). Remove it."
        ) from error
    if facts["fingerprint"] != fingerprint:
        raise ValueError(
            f"training.checkpoint must be of the same settings and data; {path!r} is of another "
            "run. Remove it to start anew, or name another file."
        )
    return Checkpoint(tensors, facts["history"], facts["waited"], facts["lowest"], fingerprint)
