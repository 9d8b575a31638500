"""Outliers of series: points far from those around them and from those of the same season."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

NEIGHBOURS = 5  # points before, and after, that a point is compared with
CYCLES = 2  # seasons before, and after, that a point of the same phase is compared with
THRESHOLD = 6.0  # robust deviations beyond which a point is an outlier
MAX_PASSES = 8
MAX_SHARE = 0.3  # share of the points beyond which they are no outliers but how the series is
SHIFTED = 3  # points at the end of a series that are a new level if they agree
MIN_POINTS = 20  # observed points without which nothing is known of a series
MIN_COMPARED = 2  # points that a point is compared with; fewer tell nothing
NORMAL = 1.4826  # standard deviation of normal numbers over their median absolute deviation


def find_outliers(
    values: Float[Tensor, "series time"], seasons: Sequence[int] = ()
) -> Bool[Tensor, "series time"]:
    """Points that lie far from the medians before, after, and of the same phase of each season.

    A point is far from a median where their difference is more than `THRESHOLD` times its robust
    standard deviation over the series. Outliers are those that are far from all medians, so that
    neither the points after a level shift (from the third on) nor the peaks of a season are among
    them. A tenth of the points may be outliers of any size. Where more than `MAX_SHARE` would be,
    or fewer than `MIN_POINTS` are observed, there are none.

    Parameters
    ----------
    values
        Oldest first; NaN where missing.
    seasons
        Points in each season.

    Examples
    --------
    >>> series = torch.tensor([[1.0, 3.0, 2.0, 90.0, 2.0, 1.0, 3.0, 2.0, 3.0, 1.0] * 2])
    >>> find_outliers(series)[0].nonzero()[:, 0].tolist()
    [3, 13]
    """
    width = values.shape[1] * (4 * NEIGHBOURS + 8 * CYCLES * len(seasons))
    rows = rows_within(BLOCK_ELEMENTS, width)
    parts = [_find(part, seasons) for part in values.split(rows)]
    return torch.cat(parts) if parts else torch.zeros_like(values, dtype=torch.bool)


def _find(
    values: Float[Tensor, "series time"], seasons: Sequence[int]
) -> Bool[Tensor, "series time"]:
    kept = values.clone()
    for _ in range(MAX_PASSES):  # outliers hide each other: those that are left stand alone
        found = _far(kept, seasons)
        if not bool(found.any()):  # device synchronization
            break
        kept[found] = torch.nan
    outliers = kept.isnan() & ~values.isnan()
    outliers = outliers & ~_new_level(values, outliers, kept)
    observed = (~values.isnan()).sum(dim=1)
    few = (outliers.sum(dim=1) <= MAX_SHARE * observed) & (observed >= MIN_POINTS)
    return outliers & few[:, None]


def _new_level(
    values: Float[Tensor, "series time"],
    outliers: Bool[Tensor, "series time"],
    kept: Float[Tensor, "series time"],
) -> Bool[Tensor, "series time"]:
    """Outliers at the end of a series that agree with each other: the level has shifted."""
    last = outliers.flip(1).long().cumprod(dim=1).flip(1).bool()
    ending = torch.where(last, values, torch.nan)
    level = _median(ending)[:, None]
    before = _shifted(kept, range(1, NEIGHBOURS + 1))
    scale = _scale((kept - _median(before)).abs())
    agree = ((ending - level).abs() <= THRESHOLD * scale).sum(dim=1) == last.sum(dim=1)
    return last & (agree & (last.sum(dim=1) >= SHIFTED))[:, None]


def _far(
    values: Float[Tensor, "series time"], seasons: Sequence[int]
) -> Bool[Tensor, "series time"]:
    """Points that are far from all medians that they are compared with."""
    distance = _distance(values, seasons)
    return (distance > THRESHOLD) & distance.isfinite()


def local_distance(
    values: Float[Tensor, "series time"], seasons: Sequence[int] = ()
) -> Float[Tensor, "series time"]:
    """Distance of points from the nearest of the medians of `find_outliers`, in its deviations.

    Parameters
    ----------
    values, seasons
        See `find_outliers`.
    """
    width = values.shape[1] * (4 * NEIGHBOURS + 8 * CYCLES * len(seasons))
    rows = rows_within(BLOCK_ELEMENTS, width)
    return torch.cat([_distance(part, seasons) for part in values.split(rows)])


def _distance(
    values: Float[Tensor, "series time"], seasons: Sequence[int]
) -> Float[Tensor, "series time"]:
    smallest = torch.full_like(values, torch.inf)
    for compared in _compared(values, seasons):
        enough = (~compared.isnan()).sum(dim=2) >= MIN_COMPARED
        gap = torch.where(enough, (values - _median(compared)).abs(), torch.nan)
        smallest = torch.fmin(smallest, gap / _scale(gap))
    return smallest


def _compared(
    values: Float[Tensor, "series time"], seasons: Sequence[int]
) -> Iterator[Float[Tensor, "series time compared"]]:
    """Points that each point is compared with: before, after, and of the same phase."""
    near = range(1, NEIGHBOURS + 1)
    yield _shifted(values, near)
    yield _shifted(values, [-lag for lag in near])
    for season in seasons:
        if 1 < season < values.shape[1]:
            cycles = range(1, CYCLES + 1)
            yield _shifted(values, [sign * k * season for k in cycles for sign in (1, -1)])


def _shifted(
    values: Float[Tensor, "series time"], lags: Sequence[int]
) -> Float[Tensor, "series time lag"]:
    """Values at some lags; NaN where there is none."""
    time = values.shape[1]
    reach = max(abs(lag) for lag in lags)
    padded = torch.nn.functional.pad(values, (reach, reach), value=torch.nan)
    return torch.stack([padded[:, reach - lag : reach - lag + time] for lag in lags], dim=2)


def _median(values: Float[Tensor, "*shape count"]) -> Float[Tensor, "*shape"]:
    """Median, the mean of the two in the middle."""
    lower = values.nanmedian(dim=-1).values
    return (lower - (-values).nanmedian(dim=-1).values) / 2


def _scale(gap: Float[Tensor, "series time"]) -> Float[Tensor, "series 1"]:
    """Robust standard deviation by the median of absolute differences.

    Where most are zero (counts) it is that of the others.
    """
    typical = _median(gap)
    others = _median(torch.where(gap > 0, gap, torch.nan))
    scale = NORMAL * torch.where(typical > 0, typical, others)
    return torch.where(scale > 0, scale, torch.inf)[:, None]
