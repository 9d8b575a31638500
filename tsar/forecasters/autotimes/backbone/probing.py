"""Whether a model is what it must be, by what it does."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.last_block import lengthen, shorten

# Of the largest value. Other shapes take other kernels; with the same ones, experts alone may
# be given another number of tokens.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 6e-2}
LEAKS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@torch.no_grad()
def check_decoder(backbone: Backbone) -> None:
    """Check that a body reads vectors from left to right, from a cache, with masks.

    Raises
    ------
    ValueError
        It does not.
    """
    name = backbone.identity.name
    try:
        fault = _fault(backbone)
    except Exception as error:  # whatever other kinds of models raise
        fault = f"it can't read token vectors ({type(error).__name__}: {error})"
        raise _refusal(name, fault) from error
    if fault is not None:
        raise _refusal(name, fault)


@torch.no_grad()
def shorten_last_block(backbone: Backbone) -> None:
    """Leave out what the last block computes for tokens that nobody wants, where that is known."""
    if not shorten(backbone.body):
        return
    tokens, mask = _drawn(backbone), torch.ones(2, 6, dtype=torch.bool)
    mask[1, :2] = False
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = backbone(tokens, mask=mask, positions=positions).flatten(0, 1)
    backbone.short = True
    try:
        for wanted in map(torch.tensor, ([5, 11], [1, 5, 8, 9, 11])):  # few and many of a row
            found = backbone(tokens, mask=mask, positions=positions, wanted=wanted)
            close = _are_close(found, expected[wanted], LEAKS[backbone.body.dtype])
            backbone.short = backbone.short and close
    except Exception:  # whatever another version of transformers raises
        backbone.short = False
    if not backbone.short:
        lengthen(backbone.body)


def _refusal(name: str, fault: str) -> ValueError:
    return ValueError(
        f"backbone must be a decoder-only language model; got {name!r}, but {fault}. "
        "Choose another one, such as 'smollm2', GPT-2, OPT, Llama or Qwen."
    )


def _fault(backbone: Backbone) -> str | None:
    tokens = _drawn(backbone)
    output = backbone(tokens, mask=None, positions=None)
    if output.shape != tokens.shape:
        return f"its vectors have {backbone.width} values and its states {output.shape[-1]}"
    last, first = _changed(backbone, tokens, 5), _changed(backbone, tokens, 0)
    if not _are_close(last[:, :5], output[:, :5], LEAKS[backbone.body.dtype]):
        return "its outputs depend on later tokens, as an encoder's do"
    if torch.equal(first[:, 1:], output[:, 1:]):
        return "its outputs don't depend on earlier tokens"
    if not _reads_by_pieces(backbone, tokens, output):
        return "it reads masked tokens, or can't go on from what it has read"
    return None


def _drawn(backbone: Backbone) -> Float[Tensor, "batch token width"]:
    """Six tokens of two rows, as long as those of the vocabulary."""
    drawn = torch.randn(2, 6, backbone.width, generator=torch.Generator().manual_seed(0))
    return drawn * backbone.token_norm / backbone.width**0.5


def _changed(
    backbone: Backbone, tokens: Float[Tensor, "batch token width"], place: int
) -> Float[Tensor, "batch token width"]:
    tokens = tokens.clone()
    tokens[:, place] *= -1
    return backbone(tokens, mask=None, positions=None)


def _reads_by_pieces(
    backbone: Backbone,
    tokens: Float[Tensor, "batch token width"],
    output: Float[Tensor, "batch token width"],
) -> bool:
    """Whether the same comes out from a cache that begins with padding and has a hole."""
    batch, count, _ = tokens.shape
    junk = -tokens[:, -1:]
    slots = torch.cat([junk, tokens[:, :3], junk, tokens[:, 3:]], dim=1)
    mask = torch.ones(batch, count + 2, dtype=torch.bool)
    mask[:, [0, 4]] = False
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    memory = backbone.new_cache()
    pieces = [
        backbone(slots[:, a:b], mask=mask[:, :b], positions=positions[:, a:b], cache=memory)
        for a, b in ((0, 5), (5, count + 2))
    ]
    again = torch.cat(pieces, dim=1)[:, mask[0]]
    return _are_close(again, output, TOLERANCES[backbone.body.dtype])


def _are_close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
