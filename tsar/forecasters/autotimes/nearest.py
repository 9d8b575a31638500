"""Search for the nearest stretch of many series, by correlation of standardized windows."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.data.segments import rolling_std
from tsar.nn.convolution import correlate, next_fast_length
from tsar.nn.normalization import InstanceNorm, forward_fill, instance_norm

CHUNK = 2**19  # real numbers that one step of the search holds, a few times over: 4 MB each
BLOCK = 2**12  # points of a transform, at least: shorter ones are no faster
FLAT = 1e-10  # a deviation, in units of its series', that transforms tell nothing of
STEPS = 1e9  # of a correlation, from 0 to 1: rounding alone may tell apart what is nearer


class Home(NamedTuple):
    """The context's own series in the pool: rows of its points, and of what is out of bounds."""

    begin: Int[Tensor, " context"]
    bound: Int[Tensor, " context"]  # stretches from here on reach into the context
    end: Int[Tensor, " context"]


def matched_length(context_length: int, prompt_length: int, season: int) -> int:
    """Points of a look-alike: half a prompt, or a little less for the season.

    A prompt begins where a context of `span` points would, and ends `prompt_length` later: that is
    where the whole context begins, in the season, if these lengths differ by whole seasons.
    """
    most = min(context_length, prompt_length // 2)
    less = (most - context_length - prompt_length) % season
    return most - less if 2 * less < most else most


def fill_gaps(contexts: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Contexts without gaps: missing points repeat the one before, the first ones the next."""
    begun = (~contexts.isnan()).cummax(dim=1).values
    return torch.where(begun, forward_fill(contexts), forward_fill(contexts.flip(1)).flip(1))


def standardization(values: Float[Tensor, "series time"]) -> InstanceNorm:
    """Mean and deviation of rows; what is constant has 1, and is left as nothing at all."""
    start = values[:, :1]
    own = instance_norm(values - start, "standardize")
    return own._replace(level=own.level + start)


def search(
    pool: Panel, length: int, queries: Float[Tensor, "context span"], home: Home
) -> Int[Tensor, " context"]:
    """Row of ``pool.values`` where the stretch begins that is nearest to each context; -1: none.

    `queries` have mean 0 and deviation 1, or are 0 all over.
    """
    signal = Scaling.of(pool).apply(pool).values.nan_to_num(0.0)
    complete, span = _complete(pool, length), queries.shape[1]
    best = torch.full_like(queries[:, 0], -torch.inf)
    place = torch.full_like(home.begin, -1)
    # The transforms of `correlate` are as long as a block and a query.
    stride = next_fast_length(max(8 * span, BLOCK)) - 2 * span + 1
    rows = max(min(CHUNK // stride, len(queries)), 1)
    width = stride * max(CHUNK // (stride * rows), 1)
    for begin in range(0, len(complete), width):
        whole = complete[begin : begin + width]
        windows = _windows(signal[begin : begin + len(whole) + span - 1], whole, span, stride)
        for chunk in (slice(i, i + rows) for i in range(0, len(queries), rows)):
            score = _scores(windows, queries[chunk])
            _mark_home(score, Home(*(row[chunk] - begin for row in home)))
            highest, back = score.flip(1).max(dim=1)  # the first of equals, in the flipped ones
            better = (highest >= best[chunk]) & (highest > -torch.inf)
            best[chunk] = torch.where(better, highest, best[chunk])
            place[chunk] = torch.where(better, begin + len(whole) - 1 - back, place[chunk])
    return place


def _complete(pool: Panel, length: int) -> Bool[Tensor, " stretch"]:
    """Whether the stretch from each point on lies in one series, and has no gap."""
    missing = torch.nn.functional.pad(pool.values.isnan().cumsum(0), (1, 0))
    gapless = missing[length:] == missing[: max(len(missing) - length, 0)]
    series = pool.series
    return gapless & (series[: len(gapless)] == series[length - 1 :])


class _Windows(NamedTuple):
    """Windows of one step of the search: points in blocks, and what makes scores of products."""

    blocks: Float[Tensor, "block time"]
    unit: Float[Tensor, " window"]
    base: Float[Tensor, " window"]
    stride: int


def _windows(
    part: Float[Tensor, " time"], complete: Bool[Tensor, " window"], span: int, stride: int
) -> _Windows:
    padded = torch.nn.functional.pad(part, (0, -len(complete) % stride))
    deviation = rolling_std(part, span)
    varies = deviation > FLAT
    unit = torch.where(varies, STEPS / (span * deviation), 0.0)
    base = torch.where(complete, -0.5 * STEPS * varies, -torch.inf)
    return _Windows(padded.unfold(0, stride + span - 1, stride), unit, base, stride)


def _scores(
    windows: _Windows, queries: Float[Tensor, "context span"]
) -> Float[Tensor, "context window"]:
    """What falls as the distance of each query to each window grows, both z-normalized.

    The squared distance is ``span * (varies + 1 - 2 * correlation)``, as a query sums to 0 (MASS,
    Mueen et al. 2015); `varies` is 0 for a constant window, which has no shape.
    """
    products = correlate(windows.blocks, queries[:, None], windows.stride).flatten(1)
    return (products[:, : len(windows.unit)] * windows.unit).round_().add_(windows.base)


def _mark_home(score: Float[Tensor, "context window"], home: Home) -> None:
    """Prefer, of equals, the context's own series, and leave out what reaches into the context."""
    here = ((home.end > 0) & (home.begin < score.shape[1])).nonzero()[:, 0]  # few of many
    begin, bound, end = (row[here, None] for row in home)
    place = torch.arange(score.shape[1], device=score.device)
    own = (place >= begin) & (place < end)
    score[here] = (score[here] + 0.5 * own).masked_fill_(own & (place >= bound), -torch.inf)
