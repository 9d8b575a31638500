"""Text embeddings: the hidden state of a language model at the last token of each text."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from tsar.forecasters.autotimes.backbone.dependencies import suppress_output
from tsar.forecasters.autotimes.backbone.fingerprint import fingerprint
from tsar.forecasters.autotimes.backbone.loading import load_model
from tsar.forecasters.autotimes.backbone.options import BackboneOptions
from tsar.forecasters.autotimes.backbone.sources import Source, find_source
from tsar.runtime.cache import cache_folder
from tsar.runtime.seeds import seeded

BATCH_SIZE = 64  # texts


def embed_texts(
    options: BackboneOptions, texts: Sequence[str], *, seed: int = 0
) -> Float[Tensor, "text width"]:
    """Hidden state of the last token of each text, cached in a file.

    Parameters
    ----------
    options
        Which model; its adapters are left out.
    texts
        Texts; each distinct one is embedded once.
    seed
        Seed of the weights with ``init="random"``.

    Raises
    ------
    ValueError
        The backbone is no language model, or a text has no token.
    ImportError, OSError
        See `load_backbone`.
    """
    if options.name is None:
        raise ValueError(
            "timestamps='text' needs a language model; got one from scratch (backbone=None), which "
            "reads no texts. Name a backbone, such as 'smollm2', or choose other timestamps."
        )
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    rows = torch.tensor([distinct[text] for text in texts], dtype=torch.long)
    source = find_source(options.name)
    with seeded(seed):
        model = load_model(source, options)
    digest = fingerprint(source.name, model, frozen=True).digest
    path = _cache_path(digest, options, list(distinct))
    embeddings = _read(path, len(distinct))
    if embeddings is None:
        embeddings = _embed(model, _tokenize(source, list(distinct)))
        _write(path, embeddings)
    return embeddings[rows]


def _tokenize(source: Source, texts: list[str]) -> list[list[int]]:
    from transformers import AutoTokenizer

    try:
        with suppress_output():
            tokenizer = AutoTokenizer.from_pretrained(source.path, **source.arguments)
    except (OSError, ValueError, ImportError) as error:  # some need another package
        reason = " ".join(str(error).split())
        raise OSError(
            f"timestamps='text' needs the tokenizer of {source.name!r}, which can't be loaded: "
            f"{reason} Put it beside the model, or choose timestamps='calendar' or None."
        ) from error
    tokens = [tokenizer(text)["input_ids"] for text in texts]
    for text, ids in zip(texts, tokens, strict=True):
        if not ids:
            raise ValueError(f"each text must have at least one token; got {text!r}. Change it.")
    return tokens


@torch.no_grad()
def _embed(model: Any, tokens: list[list[int]]) -> Float[Tensor, "text width"]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    embeddings = torch.empty(len(tokens), model.get_input_embeddings().weight.shape[1])
    with tqdm(total=len(tokens), desc="texts", delay=1, disable=None) as bar:
        for rows in _batches(tokens):
            ids = torch.tensor([tokens[row] for row in rows], device=device)
            hidden = model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
            embeddings[rows] = hidden.float().cpu()
            bar.update(len(rows))
    return embeddings


def _batches(tokens: list[list[int]]) -> Iterator[list[int]]:
    """Batches of rows with the same number of tokens, which need no padding."""
    by_length: dict[int, list[int]] = {}
    for row, ids in enumerate(tokens):
        by_length.setdefault(len(ids), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), BATCH_SIZE):
            yield rows[start : start + BATCH_SIZE]


def _cache_path(digest: str, options: BackboneOptions, texts: list[str]) -> Path:
    key = hashlib.sha256(json.dumps([digest, options.precision, texts]).encode()).hexdigest()
    return cache_folder() / "texts" / f"{key}.safetensors"


def _read(path: Path, n_texts: int) -> Tensor | None:
    """Cached embeddings; None where there are none, or the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            embeddings = file.get_tensor("vectors")
            digest = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return embeddings if len(embeddings) == n_texts and digest == _digest(embeddings) else None


def _write(path: Path, embeddings: Tensor) -> None:
    """Write a temporary file, then rename it, so that the file is never incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".texts-", dir=path.parent) as temporary:
        new = Path(temporary) / path.name
        save_file({"vectors": embeddings}, new, metadata={"sha256": _digest(embeddings)})
        new.replace(path)


def _digest(embeddings: Tensor) -> str:
    return hashlib.sha256(embeddings.numpy().tobytes()).hexdigest()
