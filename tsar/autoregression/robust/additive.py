"""Additive outliers of autoregressive series: points that do not continue in those after them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.missing import complete, innovation_sums
from tsar.autoregression.outliers import MAX_SHARE, MIN_POINTS, local_distance
from tsar.autoregression.results import ARResults
from tsar.autoregression.segments import Segments, size_classes
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

# Standard deviations from the mean given all other points beyond which a point is an outlier, and
# robust deviations from the points around it, so that those after a shift of the level are none.
THRESHOLD, LOCAL_THRESHOLD = 5.0, 2.5


def find_additive_outliers(
    values: Float[Tensor, " total"],
    spans: Segments,
    results: ARResults,
    seasons: Sequence[Sequence[int]],
) -> Bool[Tensor, " total"]:
    """Additive outliers of series in one flat tensor, given their one-step equations.

    There are none in series of fewer than 20 observed points, or where too many would be.

    Parameters
    ----------
    values
        Standardized series; NaN where missing.
    spans
        The span of each series that has one.
    results
        Equations of all series.
    seasons
        Points in each season of each series.
    """
    found = torch.zeros_like(values, dtype=torch.bool)
    distinct = sorted({tuple(own) for own in seasons})
    kind = torch.tensor([distinct.index(tuple(seasons[k])) for k in spans.group.tolist()])
    for number, own in enumerate(distinct):
        alike = (kind == number).nonzero()[:, 0]
        for inner, width in size_classes(spans.lengths[alike]):
            for rows in alike[inner].split(rows_within(BLOCK_ELEMENTS, 20 * width)):
                time, lengths = torch.arange(width), spans.lengths[rows]
                inside = time < lengths[:, None]
                index = (spans.starts[rows, None] + time).clamp(max=len(values) - 1)
                series = torch.where(inside, values[index], torch.nan)
                part = results.take(spans.group[rows])
                equation = part.coef[:, 0], part.intercept[:, 0], part.resid_std[:, 0]
                outliers = additive_outliers(series, lengths, *equation, own) & inside
                observed = (~series.isnan()).sum(dim=1)
                few = outliers.sum(dim=1) <= MAX_SHARE * observed
                outliers &= (few & (observed >= MIN_POINTS))[:, None]
                found[index[outliers]] = True
    return found


def additive_outliers(
    values: Float[Tensor, "series time"],
    lengths: Int[Tensor, " series"],
    coef: Float[Tensor, "series lag"],
    intercept: Float[Tensor, " series"],
    sigma: Float[Tensor, " series"],
    seasons: Sequence[int] = (),
) -> Bool[Tensor, "series time"]:
    """Points far from their mean given all others, which a shock at their time explains less.

    Parameters
    ----------
    values
        Standardized series, oldest first; NaN where missing, and after the end of a series.
    lengths
        Points of each series.
    coef, intercept, sigma
        Equations, lag 1 first, and standard deviations of their innovations.
    seasons
        Points in each season; see `find_outliers`.

    References
    ----------
    I. Chang, G. C. Tiao, C. Chen, Estimation of time series parameters in the presence of outliers,
    Technometrics 30 (1988), equations 2.6 and 2.7.

    Examples
    --------
    >>> wave = torch.arange(80, dtype=torch.float64).sin()[None]
    >>> wave[0, 40] += 3.0
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> coef = torch.tensor([[2 * torch.tensor(1.0).cos(), -1.0]], dtype=torch.float64)
    >>> additive_outliers(wave, torch.tensor([80]), coef, 0 * one, 0.01 * one).nonzero()
    tensor([[ 0, 40]])
    """
    mean = complete(values, lengths, coef, intercept, sigma, 0).mean
    filled = values.nan_to_num(0.0) + mean
    innovations, sums = innovation_sums(filled, lengths, coef, intercept)
    squares = torch.nn.functional.pad(coef.square(), (1, 0), value=1.0).cumsum(dim=1)
    after = lengths[:, None] - 1 - torch.arange(values.shape[1])
    known = squares.gather(1, after.clamp(0, coef.shape[1]))
    scale = sigma.clamp(min=torch.finfo(sigma.dtype).tiny)[:, None]
    additive = sums.abs() / known.sqrt() / scale
    outlying = (additive > THRESHOLD) & (additive > innovations.abs() / scale)
    if not bool(outlying.any()):  # device synchronization
        return outlying
    outlying &= torch.arange(values.shape[1]) >= (coef != 0).any(dim=0).sum()
    outlying &= ~values.isnan()
    return outlying & (local_distance(values, seasons) > LOCAL_THRESHOLD)
