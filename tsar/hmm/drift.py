"""Series that drift within their regimes, which a model of levels forecasts badly: told plainly."""

import warnings

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.fitting import Grouped
from tsar.hmm.middle import means
from tsar.hmm.search import Learned

TIMES = 4.0  # as wide as their changes say: points within a regime, at most
SLOW = 2.0  # the same, from which regimes of the changes are the better ones
LEAST = 20  # changes that are needed to say anything


def drift(
    values: Float[Tensor, " time"],
    offsets: Int[Tensor, " border"],
    levels: Float[Tensor, "series state"],
    variances: Float[Tensor, "series state"],
    states: Int[Tensor, " series"],
    group: Int[Tensor, " series"] | None = None,
) -> Float[Tensor, " group"]:
    """How many times wider the points of a regime are spread than their changes say.

    The changes of points that are apart from each other are sqrt(2) times as wide as the points:
    such a series has 1, and one that is flat but for its jumps less. A trend has more, as has a
    random walk. An autoregression of coefficient c has ``1 / sqrt(1 - c)``: from sqrt(2) on, the
    newest point is a better forecast of the next than the level of its regime, from 2 on of the
    two behind it. NaN with few changes, or none but zeros.

    Parameters
    ----------
    values, offsets
        Points of all series, NaN where missing, and where each series begins.
    levels, variances, states
        Means and variances of the regimes of each series, and how many it has.
    group
        Series that are told of together; None: each for itself.

    Examples
    --------
    >>> line = torch.arange(40, dtype=torch.float64)
    >>> level, spread = torch.tensor([[19.5]]).double(), torch.tensor([[133.25]]).double()
    >>> drift(line, torch.tensor([0, 40]), level, spread, torch.tensor([1])).round()
    tensor([16.], dtype=torch.float64)
    """
    series = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    group = torch.arange(len(states)) if group is None else group
    groups, of_points = int(group.max()) + 1, group[series]
    away = (values[:, None] - levels[series]).square()
    surprise = away / variances[series] + variances[series].log()
    absent = torch.arange(levels.shape[1]) >= states[series][:, None]
    nearest = surprise.masked_fill(absent, torch.inf).argmin(dim=1, keepdim=True)
    changes = torch.where(series[1:] == series[:-1], values.diff(), torch.nan).square()
    inside, _ = means(away.gather(1, nearest)[:, 0], of_points, groups)
    apart, counts = means(changes, of_points[1:], groups)
    return torch.where((counts >= LEAST) & (apart > 0), (2 * inside / apart).sqrt(), torch.nan)


def drift_of(data: Grouped, learned: Learned, *, together: bool) -> Float[Tensor, " group"]:
    """`drift` of the series of models: each series for itself, or those of a model together."""
    model, points = data.group.cpu(), data.observations
    known = learned.models
    return drift(
        points.values[:, 0].cpu(),
        points.offsets.cpu(),
        known.center[model, :, 0],
        known.spread[model, :, 0],
        learned.states[model],
        model if together else None,
    )


def warn_of_drift(data: Grouped, learned: Learned, ids: pd.Index, *, differences: bool) -> None:
    """Warn of series that drift, `TIMES` or more: their forecasts go back to a level.

    Parameters
    ----------
    data, learned
        Series, the model of each, and the models.
    ids
        Names of the series.
    differences
        Whether they are changes of series already.
    """
    found = drift_of(data, learned, together=False)
    drifting = (found > TIMES).nonzero()[:, 0].tolist()
    if drifting:
        worst = max(drifting, key=lambda row: float(found[row]))
        advice = "take another model, such as ARNet."
        advice = advice if differences else f"set differences='auto', or {advice}"
        warnings.warn(
            f"HMM forecasts levels, but {len(drifting)} of {len(ids)} series move slowly within "
            f"their regimes, most of all {ids[worst]!r}: its points there are spread "
            f"{float(found[worst]):.0f} times as wide as its changes say. Its forecasts go back to "
            f"a level. For a trend or slow waves {advice}",
            UserWarning,
            stacklevel=5,
        )
