"""Warn of series that drift within their regimes: a model of levels forecasts them badly."""

import warnings

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.forecasters.regimes.fitting import RegimeFit
from tsar.hmm.robust_scale import group_means

MAX_DRIFT = 4.0
MIN_DIFFERENCES = 20  # below, the ratio is too uncertain


def drift_ratio(
    values: Float[Tensor, " time"],
    offsets: Int[Tensor, " border"],
    means: Float[Tensor, "series state"],
    variances: Float[Tensor, "series state"],
    n_components: Int[Tensor, " series"],
) -> Float[Tensor, " series"]:
    """Standard deviation within regimes over the one that independent points would have.

    Independent points have ``std(differences) = sqrt(2) std(points)``, so that the ratio is
    ``sqrt(2) std(points - regime mean) / std(differences)``: 1 for white noise, less for a series
    that is constant apart from jumps, more for trends and random walks (the less, the more regimes
    there are). NaN with fewer than `MIN_DIFFERENCES` differences, or none but zeros.

    Examples
    --------
    >>> line = torch.arange(40, dtype=torch.float64)
    >>> mean, variance = torch.tensor([[19.5]]).double(), torch.tensor([[133.25]]).double()
    >>> drift_ratio(line, torch.tensor([0, 40]), mean, variance, torch.tensor([1])).round()
    tensor([16.], dtype=torch.float64)
    """
    series = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    squared = (values[:, None] - means[series]).square()
    negative_log_density = squared / variances[series] + variances[series].log()
    absent = torch.arange(means.shape[1]) >= n_components[series][:, None]
    nearest = negative_log_density.masked_fill(absent, torch.inf).argmin(dim=1, keepdim=True)
    differences = torch.where(series[1:] == series[:-1], values.diff(), torch.nan).square()
    within, _ = group_means(squared.gather(1, nearest)[:, 0], series, len(means))
    between, nobs = group_means(differences, series[1:], len(means))
    usable = (nobs >= MIN_DIFFERENCES) & (between > 0)
    return torch.where(usable, (2 * within / between).sqrt(), torch.nan)


def warn_of_drift(fit: RegimeFit, ids: pd.Index) -> None:
    """Warn of series whose `drift_ratio` is above `MAX_DRIFT`: forecasts revert to a level."""
    models, group, observations = fit.models, fit.data.group.cpu(), fit.data.observations
    values, offsets = observations.values[:, 0].cpu(), observations.offsets.cpu()
    ratio = drift_ratio(
        values, offsets, models.means[group], models.variances[group], models.n_components[group]
    )
    drifting = (ratio > MAX_DRIFT).nonzero()[:, 0].tolist()
    if drifting:
        worst = max(drifting, key=lambda row: float(ratio[row]))
        warnings.warn(
            f"HMM forecasts levels, but {len(drifting)} of {len(ids)} series drift within their "
            f"regimes, most of all {ids[worst]!r}: its standard deviation there is "
            f"{float(ratio[worst]):.0f} times what its changes imply. Its forecasts revert to a "
            "level. For a trend or slow waves set differences='auto', or use another model, such "
            "as ARNet.",
            UserWarning,
            stacklevel=6,
        )
