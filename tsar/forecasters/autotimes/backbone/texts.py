"""What a language model makes of texts: the hidden state of the last token of each."""

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

from tsar.forecasters.autotimes.backbone.identity import identify
from tsar.forecasters.autotimes.backbone.loading import load_body
from tsar.forecasters.autotimes.backbone.options import BackboneOptions
from tsar.forecasters.autotimes.backbone.silence import silence
from tsar.forecasters.autotimes.backbone.sources import Source, find_source
from tsar.runtime.cache import cache_folder
from tsar.runtime.seeds import seeded

BATCH = 64  # texts at once


def embed_texts(
    options: BackboneOptions, texts: Sequence[str], *, seed: int = 0
) -> Float[Tensor, "text width"]:
    """Hidden state of the last token of each text, kept in the cache.

    Parameters
    ----------
    options
        Which body; its adapters are left out.
    texts
        Each is read once, however often it stands there.
    seed
        Of the weights with ``init="random"``.

    Raises
    ------
    ValueError
        There is no language model, or a text without tokens.
    ImportError, OSError
        As `load_backbone` has it.
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
        body = load_body(source, options)
    digest = identify(source.name, body, frozen=True).digest
    path = _path(digest, options, list(distinct))
    vectors = _read(path, len(distinct))
    if vectors is None:
        vectors = _embed(body, _tokenize(source, list(distinct)))
        _write(path, vectors)
    return vectors[rows]


def _tokenize(source: Source, texts: list[str]) -> list[list[int]]:
    from transformers import AutoTokenizer

    try:
        with silence():
            tokenizer = AutoTokenizer.from_pretrained(source.place, **source.arguments)
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
def _embed(body: Any, tokens: list[list[int]]) -> Float[Tensor, "text width"]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body = body.to(device)
    states: dict[int, Tensor] = {}
    with tqdm(total=len(tokens), desc="texts", delay=1, disable=None) as bar:
        for rows in _batches(tokens):
            ids = torch.tensor([tokens[row] for row in rows], device=device)
            state = body(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
            states.update(zip(rows, state.float().cpu(), strict=True))
            bar.update(len(rows))
    width = body.get_input_embeddings().weight.shape[1]
    return (
        torch.stack([states[row] for row in range(len(tokens))])
        if tokens
        else torch.empty(0, width)
    )


def _batches(tokens: list[list[int]]) -> Iterator[list[int]]:
    """Rows of as many tokens each: nothing must be padded."""
    alike: dict[int, list[int]] = {}
    for row, ids in enumerate(tokens):
        alike.setdefault(len(ids), []).append(row)
    for rows in alike.values():
        for first in range(0, len(rows), BATCH):
            yield rows[first : first + BATCH]


def _path(digest: str, options: BackboneOptions, texts: list[str]) -> Path:
    key = hashlib.sha256(json.dumps([digest, options.precision, texts]).encode()).hexdigest()
    return cache_folder() / "texts" / f"{key}.safetensors"


def _read(path: Path, count: int) -> Tensor | None:
    """Vectors that were kept, if they are as they were written."""
    try:
        with safe_open(path, framework="pt") as file:
            vectors = file.get_tensor("vectors")
            kept = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return vectors if len(vectors) == count and kept == _digest(vectors) else None


def _write(path: Path, vectors: Tensor) -> None:
    """Write a file out of sight, then move it to its place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".texts-", dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        save_file({"vectors": vectors}, made, metadata={"sha256": _digest(vectors)})
        made.replace(path)


def _digest(vectors: Tensor) -> str:
    return hashlib.sha256(vectors.numpy().tobytes()).hexdigest()
