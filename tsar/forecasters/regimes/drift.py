"""Series that drift within their regimes, which a model of levels forecasts badly: told plainly."""

import warnings

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.forecasters.regimes.search import Learned
from tsar.hmm.discrete.fitting import Grouped
from tsar.hmm.robust_scale import group_means

TIMES = 4.0  # as wide as their changes say: points within a regime, at most
LEAST = 20  # changes that are needed to say anything


def drift(
    values: Float[Tensor, " time"],
    offsets: Int[Tensor, " border"],
    levels: Float[Tensor, "series state"],
    variances: Float[Tensor, "series state"],
    states: Int[Tensor, " series"],
) -> Float[Tensor, " series"]:
    """How many times wider the points of a regime are spread than their changes say.

    The changes of points that are apart from each other are sqrt(2) times as wide as the points:
    such a series has 1, and one that is flat but for its jumps less. A trend has more, as has a
    random walk, the less the more regimes there are. NaN with few changes, or none but zeros.

    Parameters
    ----------
    values, offsets
        Points of all series, NaN where missing, and where each series begins.
    levels, variances, states
        Means and variances of the regimes of each series, and how many it has.

    Examples
    --------
    >>> line = torch.arange(40, dtype=torch.float64)
    >>> level, spread = torch.tensor([[19.5]]).double(), torch.tensor([[133.25]]).double()
    >>> drift(line, torch.tensor([0, 40]), level, spread, torch.tensor([1])).round()
    tensor([16.], dtype=torch.float64)
    """
    series = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    away = (values[:, None] - levels[series]).square()
    surprise = away / variances[series] + variances[series].log()
    absent = torch.arange(levels.shape[1]) >= states[series][:, None]
    nearest = surprise.masked_fill(absent, torch.inf).argmin(dim=1, keepdim=True)
    changes = torch.where(series[1:] == series[:-1], values.diff(), torch.nan).square()
    inside, _ = group_means(away.gather(1, nearest)[:, 0], series, len(levels))
    apart, counts = group_means(changes, series[1:], len(levels))
    return torch.where((counts >= LEAST) & (apart > 0), (2 * inside / apart).sqrt(), torch.nan)


def warn_of_drift(data: Grouped, learned: Learned, ids: pd.Index) -> None:
    """Warn of series that drift, `TIMES` or more: their forecasts go back to a level.

    Parameters
    ----------
    data, learned
        Series, the model of each, and the models.
    ids
        Names of the series.
    """
    model, points = data.group.cpu(), data.observations
    center, spread = learned.models.center[model, :, 0], learned.models.spread[model, :, 0]
    values, offsets = points.values[:, 0].cpu(), points.offsets.cpu()
    found = drift(values, offsets, center, spread, learned.states[model])
    drifting = (found > TIMES).nonzero()[:, 0].tolist()
    if drifting:
        worst = max(drifting, key=lambda row: float(found[row]))
        warnings.warn(
            f"HMM forecasts levels, but {len(drifting)} of {len(ids)} series move slowly within "
            f"their regimes, most of all {ids[worst]!r}: its points there are spread "
            f"{float(found[worst]):.0f} times as wide as its changes say. Its forecasts go back to "
            "a level. For a trend or slow waves set differences='auto', or take another model, "
            "such as ARNet.",
            UserWarning,
            stacklevel=5,
        )
