"""Nearest neighbours of contexts among all subsequences of many series (MASS), z-normalized."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.data.segments import rolling_std
from tsar.nn.convolution import correlate, next_fast_length
from tsar.nn.normalization import InstanceNorm, forward_fill, instance_norm
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within

MIN_BLOCK = 2**12  # points of an FFT, at least: shorter ones are no faster
MIN_DEVIATION = 1e-10  # of a subsequence, in deviations of its series: less is rounding in an FFT
SCORE_STEPS = 1e9  # between correlations 0 and 1: smaller differences may be rounding


class ExclusionZone(NamedTuple):
    """Each context's own series in the pool, and the subsequences of it that are excluded.

    `begin` and `end` are the rows of its points; subsequences that begin at row `first_excluded` or
    later overlap the context, or come after it.
    """

    begin: Int[Tensor, " context"]
    first_excluded: Int[Tensor, " context"]
    end: Int[Tensor, " context"]


def query_length(context_length: int, prompt_length: int, season_length: int) -> int:
    """Number of points that are compared: half a prompt, or a little less for the season.

    A prompt begins where a context of `query_length` points would, and ends `prompt_length` later,
    which is where the context begins. The season continues there if these lengths differ by whole
    seasons.
    """
    longest = min(context_length, prompt_length // 2)
    excess = (longest - context_length - prompt_length) % season_length
    return longest - excess if 2 * excess < longest else longest


def fill_gaps(contexts: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Fill missing points with the one before, those at the start with the first observed one."""
    begun = (~contexts.isnan()).cummax(dim=1).values
    return torch.where(begun, forward_fill(contexts), forward_fill(contexts.flip(1)).flip(1))


def standardization(values: Float[Tensor, "series time"]) -> InstanceNorm:
    """Mean and deviation of rows; the deviation of a constant row is 1."""
    first = values[:, :1]
    norm = instance_norm(values - first, "standardize")
    return norm._replace(level=norm.level + first)


def nearest_neighbors(
    pool: Panel, length: int, queries: Float[Tensor, "context query"], exclusion: ExclusionZone
) -> Int[Tensor, " context"]:
    """Row of ``pool.values`` at which the nearest neighbour of each query begins; -1 for none.

    Parameters
    ----------
    length
        Points without a gap that a series must have from that row on.
    queries
        Contexts with mean 0 and deviation 1, or 0 where they are constant.
    exclusion
        Subsequences that must not be found. Of equal neighbours, those of the context's own series
        are preferred, then the last in the pool.
    """
    signal = Scaling.of(pool).apply(pool).values.nan_to_num(0.0)
    valid, width = _valid_starts(pool, length), queries.shape[1]
    best_score = torch.full_like(queries[:, 0], -torch.inf)
    best_row = torch.full_like(exclusion.begin, -1)
    # The transforms of `correlate` are as long as a block and a query.
    stride = next_fast_length(max(8 * width, MIN_BLOCK)) - 2 * width + 1
    n_queries = max(min(rows_within(2 * CACHE_ELEMENTS, stride), len(queries)), 1)
    step = stride * rows_within(2 * CACHE_ELEMENTS, stride * n_queries)
    for begin in range(0, len(valid), step):
        part = valid[begin : begin + step]
        points = signal[begin : begin + len(part) + width - 1]
        subsequences = _subsequences(points, part, width, stride)
        for start in range(0, len(queries), n_queries):
            chunk = slice(start, start + n_queries)
            score = _scores(subsequences, queries[chunk])
            _apply_exclusion(score, ExclusionZone(*(row[chunk] - begin for row in exclusion)))
            highest, from_end = score.flip(1).max(dim=1)  # the last of equals
            better = (highest >= best_score[chunk]) & (highest > -torch.inf)
            best_score[chunk] = torch.where(better, highest, best_score[chunk])
            row = begin + len(part) - 1 - from_end
            best_row[chunk] = torch.where(better, row, best_row[chunk])
    return best_row


def _valid_starts(pool: Panel, length: int) -> Bool[Tensor, " subsequence"]:
    """Whether the `length` points from each row on are of one series, without a gap."""
    missing = torch.nn.functional.pad(pool.values.isnan().cumsum(0), (1, 0))
    gapless = missing[length:] == missing[: max(len(missing) - length, 0)]
    series = pool.series
    return gapless & (series[: len(gapless)] == series[length - 1 :])


class _Subsequences(NamedTuple):
    """Subsequences of one chunk: points in blocks, and factor and offset of their scores."""

    blocks: Float[Tensor, "block time"]
    factor: Float[Tensor, " subsequence"]
    offset: Float[Tensor, " subsequence"]
    stride: int


def _subsequences(
    points: Float[Tensor, " time"], valid: Bool[Tensor, " subsequence"], width: int, stride: int
) -> _Subsequences:
    padded = torch.nn.functional.pad(points, (0, -len(valid) % stride))
    deviation = rolling_std(points, width)
    varies = deviation > MIN_DEVIATION
    factor = torch.where(varies, SCORE_STEPS / (width * deviation), 0.0)
    offset = torch.where(valid, -0.5 * SCORE_STEPS * varies, -torch.inf)
    return _Subsequences(padded.unfold(0, stride + width - 1, stride), factor, offset, stride)


def _scores(
    subsequences: _Subsequences, queries: Float[Tensor, "context query"]
) -> Float[Tensor, "context subsequence"]:
    """Scores that fall as the z-normalized Euclidean distance of query and subsequence grows.

    The squared distance is ``width * (varies + 1 - 2 * correlation)``, as a query sums to 0 (MASS,
    Mueen et al. 2015); `varies` is 0 for a constant subsequence, which has no shape.
    """
    products = correlate(subsequences.blocks, queries[:, None], subsequences.stride).flatten(1)
    products = products[:, : len(subsequences.factor)]
    return (products * subsequences.factor).round_().add_(subsequences.offset)


def _apply_exclusion(score: Float[Tensor, "context subsequence"], exclusion: ExclusionZone) -> None:
    """Prefer each context's own series among equal scores, and exclude its exclusion zone."""
    n_rows = score.shape[1]
    here = ((exclusion.end > 0) & (exclusion.begin < n_rows)).nonzero()[:, 0]  # few of many
    begin, first_excluded, end = (row[here, None] for row in exclusion)
    row = torch.arange(n_rows, device=score.device)
    own = (row >= begin) & (row < end)
    excluded = own & (row >= first_excluded)
    score[here] = (score[here] + 0.5 * own).masked_fill_(excluded, -torch.inf)
