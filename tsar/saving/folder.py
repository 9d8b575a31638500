"""The folder of a saved model: written atomically, and checked when it is read."""

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
CONFIG_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "tsar": str,
    "class": str,
    "params": dict,
    "fitted": dict,
    "network": (dict, type(None)),
    "tensors": dict,
}


def write_folder(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files to a hidden folder next to `folder`, then rename it."""
    _check_replaceable(folder)
    config = {**config, "tensors": _describe(tensors)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise type(error)(
            f"folder must be one that can be written; got {str(folder)!r} ({error.strerror}). Name "
            "another one."
        ) from error
    with temporary as parent:
        new, old = Path(parent, "new"), Path(parent, "old")
        new.mkdir()
        save_file(tensors, new / TENSORS, metadata={"format": "pt"})
        (new / CONFIG).write_text(json.dumps(config, indent=1, allow_nan=False) + "\n")
        # safetensors makes its file readable for the owner only, whatever the umask is.
        (new / TENSORS).chmod((new / CONFIG).stat().st_mode)
        _replace(folder, new, old)


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Rename `folder` to `old`, and `new` to `folder`; if that fails, undo the first rename."""
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read both files of a model, and check that they match."""
    if not folder.is_dir():
        # A process killed between the two renames of a save has left the old model here.
        leftovers = folder.parent.glob(f".{folder.name}-*/old")
        advice = "".join(f", or move {str(old)!r} there" for old in leftovers)
        raise FileNotFoundError(
            f"folder must be one that a model was saved to; got {str(folder)!r}, which is no "
            f"folder. Check the path{advice}."
        )
    config = _read_config(folder)
    try:
        tensors = load_file(folder / TENSORS)
    except (SafetensorError, OSError) as error:
        raise damaged(folder, config["tsar"], error) from error
    found, expected = _describe(tensors), config["tensors"]
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            difference = f"tensor {name!r} is {found.get(name)}, not {expected.get(name)}"
            raise damaged(folder, config["tsar"], difference)
    return config, tensors


def damaged(folder: Path, version: str, reason: object) -> ValueError:
    """Error that says how the model in a folder is damaged."""
    return ValueError(
        f"folder must hold an intact model; got a damaged one in {str(folder)!r}, written by tsar "
        f"{version} ({' '.join(str(reason).split())}). Save it again, or load it with that version."
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise _no_model(folder, f"there is no {CONFIG}") from error
    except (ValueError, RecursionError) as error:
        raise _no_model(folder, f"{CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict) or not config.keys() >= {"format", "tsar"}:
        raise _no_model(folder, f"{CONFIG} is from another program")
    if config["format"] != FORMAT:
        raise ValueError(
            f"folder must hold a model of format {FORMAT}; got format {config['format']} in "
            f"{str(folder)!r}, written by tsar {config['tsar']}. Install that version, or fit "
            "and save the model again."
        )
    invalid = _invalid_keys(config)
    if invalid:
        raise damaged(folder, config["tsar"], f"{CONFIG} lacks {invalid}")
    return config


def _no_model(folder: Path, reason: str) -> ValueError:
    return ValueError(
        f"folder must hold a model of tsar; got {str(folder)!r} ({reason}). Check the path, or "
        "save the model again."
    )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but an empty folder, or one that holds only a model."""
    if not folder.exists():
        return
    names = sorted(os.listdir(folder)) if folder.is_dir() else None
    if names == [] or (names == [CONFIG, TENSORS] and _is_model(folder)):
        return
    found = "a file" if names is None else f"a folder with {names[:5]}"
    raise ValueError(
        f"folder must be new, empty, or hold a model of tsar and nothing else; got {str(folder)!r},"
        f" {found}. Name another one, or remove it."
    )


def _is_model(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and not _invalid_keys(config)


def _invalid_keys(config: dict[str, Any]) -> list[str]:
    """Keys that are absent, or whose values have another type."""
    return [
        key
        for key, cls in CONFIG_TYPES.items()
        if key not in config or not isinstance(config[key], cls)
    ]


def _describe(tensors: dict[str, Tensor]) -> dict[str, list[Any]]:
    """Dtype and shape of each tensor."""
    return {
        name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in tensors.items()
    }
