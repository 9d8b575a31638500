"""A model's folder: written beside its place and renamed, checked before anything is read."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

FORMAT = 2
CONFIG, TENSORS = "config.json", "model.safetensors"
KINDS: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "tsar": str,
    "class": str,
    "params": dict,
    "fitted": dict,
    "network": (dict, type(None)),
    "tensors": dict,
}


def write_folder(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files to a hidden folder beside `folder`, then put it there.

    Raises
    ------
    ValueError
        `folder` holds something that is no model of tsar.
    OSError
        It can't be written.
    """
    _check_replaceable(folder)
    described = {**config, "tensors": _describe(tensors)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise type(error)(
            f"folder must be one that can be written; got {str(folder)!r} ({error.strerror}). Name "
            "another one."
        ) from error
    with beside as scratch:
        fresh, before = Path(scratch, "new"), Path(scratch, "old")
        fresh.mkdir()
        save_file(tensors, fresh / TENSORS, metadata={"format": "pt"})
        (fresh / CONFIG).write_text(json.dumps(described, indent=1, allow_nan=False) + "\n")
        # safetensors lets the owner alone read its file, whatever the user's mask says.
        (fresh / TENSORS).chmod((fresh / CONFIG).stat().st_mode)
        _put(fresh, folder, before)


def _put(fresh: Path, folder: Path, before: Path) -> None:
    """Two renames; if the second fails, the first is undone."""
    if not folder.exists():
        fresh.rename(folder)
        return
    folder.rename(before)
    try:
        fresh.rename(folder)
    except OSError:
        before.rename(folder)
        raise


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read both files of a model, and check that they belong together.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model of tsar, a damaged one, or one of a newer format.
    """
    if not folder.is_dir():
        # A process that was killed between the two renames of a save left the old model there.
        left = folder.parent.glob(f".{folder.name}-*/old")
        cut_off = [f", or move {str(old)!r} there" for old in left]
        raise FileNotFoundError(
            f"folder must be one that a model was saved to; got {str(folder)!r}, which is no "
            f"folder. Check the path{''.join(cut_off)}."
        )
    config = _read_config(folder)
    try:
        tensors = load_file(folder / TENSORS)
    except (SafetensorError, OSError) as error:
        raise damaged(folder, config["tsar"], error) from error
    found, told = _describe(tensors), config["tensors"]
    for name in sorted({*found, *told}):
        if found.get(name) != told.get(name):
            difference = f"tensor {name!r} is {found.get(name)}, not {told.get(name)}"
            raise damaged(folder, config["tsar"], difference)
    return config, tensors


def damaged(folder: Path, version: str, reason: object) -> ValueError:
    """Make the error that says what is wrong with a model's folder."""
    return ValueError(
        f"folder must hold a whole model; got a damaged one in {str(folder)!r}, written by tsar "
        f"{version} ({' '.join(str(reason).split())}). Save it again, or load it with that version."
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise _no_model(folder, f"there is no {CONFIG}") from error
    except (ValueError, RecursionError) as error:
        raise _no_model(folder, f"{CONFIG} is no JSON: {error}") from error
    if not isinstance(config, dict) or not config.keys() >= {"format", "tsar"}:
        raise _no_model(folder, f"{CONFIG} is of another program")
    if config["format"] != FORMAT:
        raise ValueError(
            f"folder must hold a model of format {FORMAT}; got format {config['format']} in "
            f"{str(folder)!r}, written by tsar {config['tsar']}. Install that version, or fit "
            "and save the model again."
        )
    lacking = _lacking(config)
    if lacking:
        raise damaged(folder, config["tsar"], f"{CONFIG} lacks {lacking}")
    return config


def _no_model(folder: Path, reason: str) -> ValueError:
    return ValueError(
        f"folder must hold a model of tsar; got {str(folder)!r} ({reason}). Check the path, or "
        "save the model again."
    )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but an empty folder, or one that holds a model and no more."""
    if not folder.exists():
        return
    inside = sorted(os.listdir(folder)) if folder.is_dir() else None
    if inside == [] or (inside == [CONFIG, TENSORS] and _is_model(folder)):
        return
    held = "a file" if inside is None else f"a folder with {inside[:5]}"
    raise ValueError(
        f"folder must be new, empty, or hold a model of tsar and nothing else; got {str(folder)!r},"
        f" {held}. Name another one, or remove it."
    )


def _is_model(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and not _lacking(config)


def _lacking(config: dict[str, Any]) -> list[str]:
    """Keys that are absent, or whose values are of another kind."""
    return [k for k, kind in KINDS.items() if k not in config or not isinstance(config[k], kind)]


def _describe(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Type and shape of each tensor."""
    return {
        name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in tensors.items()
    }
