"""Checks of a loaded model by its outputs: causal attention, masks, key-value cache, last block."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.last_block import patch_last_block, unpatch_last_block

# Tolerances as shares of the largest value: between rows of other shapes, for which other kernels
# are used; and between rows of one shape, where only the number of tokens of an expert may differ.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 6e-2}
SAME_SHAPE_TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@torch.no_grad()
def check_decoder(backbone: Backbone) -> None:
    """Check that a model attends from left to right, uses a key-value cache and obeys masks.

    Raises
    ------
    ValueError
        It does not.
    """
    name = backbone.fingerprint.name
    try:
        fault = _find_fault(backbone)
    except Exception as error:  # other kinds of models raise errors of any type
        fault = f"it can't read token vectors ({type(error).__name__}: {error})"
        raise _not_a_decoder(name, fault) from error
    if fault is not None:
        raise _not_a_decoder(name, fault)


@torch.no_grad()
def patch_last_block_if_exact(backbone: Backbone) -> None:
    """Let the last block compute selected tokens alone, if the result is the same."""
    if not patch_last_block(backbone.model):
        return
    tokens, mask = _random_tokens(backbone), torch.ones(2, 6, dtype=torch.bool)
    mask[1, :2] = False
    given = {"attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    expected = backbone(tokens, **given).flatten(0, 1)
    backbone.patched = True
    try:
        for selected in map(torch.tensor, ([5, 11], [1, 5, 8, 9, 11])):  # few and many per row
            found = backbone(tokens, **given, selected=selected)
            tolerance = SAME_SHAPE_TOLERANCES[backbone.model.dtype]
            close = _are_close(found, expected[selected], tolerance)
            backbone.patched = backbone.patched and close
    except Exception:  # another version of transformers may raise errors of any type
        backbone.patched = False
    if not backbone.patched:
        unpatch_last_block(backbone.model)


def _not_a_decoder(name: str, fault: str) -> ValueError:
    return ValueError(
        f"backbone must be a decoder-only language model; got {name!r}, but {fault}. "
        "Choose another one, such as 'smollm2', GPT-2, OPT, Llama or Qwen."
    )


def _find_fault(backbone: Backbone) -> str | None:
    tokens = _random_tokens(backbone)
    output = backbone(tokens, attention_mask=None, position_ids=None)
    if output.shape != tokens.shape:
        return f"its vectors have {backbone.width} values and its states {output.shape[-1]}"
    last_changed = _output_with_token_negated(backbone, tokens, 5)
    first_changed = _output_with_token_negated(backbone, tokens, 0)
    tolerance = SAME_SHAPE_TOLERANCES[backbone.model.dtype]
    if not _are_close(last_changed[:, :5], output[:, :5], tolerance):
        return "its outputs depend on later tokens, as an encoder's do"
    if torch.equal(first_changed[:, 1:], output[:, 1:]):
        return "its outputs don't depend on earlier tokens"
    if not _supports_cache_and_mask(backbone, tokens, output):
        return "it attends to masked tokens, or can't continue from a key-value cache"
    return None


def _random_tokens(backbone: Backbone) -> Float[Tensor, "batch token width"]:
    """Two rows of six random tokens, with the norm of the vocabulary's embeddings."""
    tokens = torch.randn(2, 6, backbone.width, generator=torch.Generator().manual_seed(0))
    return tokens * backbone.token_norm / backbone.width**0.5


def _output_with_token_negated(
    backbone: Backbone, tokens: Float[Tensor, "batch token width"], index: int
) -> Float[Tensor, "batch token width"]:
    tokens = tokens.clone()
    tokens[:, index] *= -1
    return backbone(tokens, attention_mask=None, position_ids=None)


def _supports_cache_and_mask(
    backbone: Backbone,
    tokens: Float[Tensor, "batch token width"],
    output: Float[Tensor, "batch token width"],
) -> bool:
    """Whether the output is the same with a cache, with masked tokens at its start and within."""
    batch, count, _ = tokens.shape
    masked = -tokens[:, -1:]
    tokens = torch.cat([masked, tokens[:, :3], masked, tokens[:, 3:]], dim=1)
    mask = torch.ones(batch, count + 2, dtype=torch.bool)
    mask[:, [0, 4]] = False
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    cache = backbone.new_cache()
    chunks = [
        backbone(
            tokens[:, start:end],
            attention_mask=mask[:, :end],
            position_ids=position_ids[:, start:end],
            cache=cache,
        )
        for start, end in ((0, 5), (5, count + 2))
    ]
    found = torch.cat(chunks, dim=1)[:, mask[0]]
    return _are_close(found, output, TOLERANCES[backbone.model.dtype])


def _are_close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
