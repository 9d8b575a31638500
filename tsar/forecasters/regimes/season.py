"""Seasonal means of each series, shrunk towards zero by their sampling error."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def phases_from_end(offsets: Int[Tensor, " border"], season_length: int) -> Int[Tensor, " time"]:
    """Phase of each point, counted backwards from the last point of its series (phase 0)."""
    lengths = offsets.diff()
    last = offsets[1:].repeat_interleave(lengths) - 1
    return (last - torch.arange(len(last), device=last.device)) % season_length


def seasonal_means(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"], season_length: int
) -> Float[Tensor, "series phase"]:
    """Mean of each phase of the season minus the mean of the series, with shrinkage.

    The shrinkage factor is ``max(0, 1 - 1 / F)`` with F the variance between phases over the
    variance within them: the positive-part rule of James & Stein 1961 with estimated variance. The
    series lie end to end, NaN where missing; phases are counted backwards from each end.

    Examples
    --------
    >>> wave = torch.tensor([1.0, 3.0, 1.1, 3.1, 0.9, 2.9])
    >>> seasonal_means(wave, torch.tensor([0, 6]), 2)
    tensor([[ 0.9983, -0.9983]])
    """
    n_series = len(offsets) - 1
    series = torch.arange(n_series, device=offsets.device).repeat_interleave(offsets.diff())
    observed = ~values.isnan()
    cell = (series * season_length + phases_from_end(offsets, season_length))[observed]
    present = values[observed]

    def sum_cells(terms: Float[Tensor, " observed"]) -> Float[Tensor, "series phase"]:
        total = terms.new_zeros(n_series * season_length)
        return total.index_add_(0, cell, terms).view(-1, season_length)

    nobs = sum_cells(torch.ones_like(present))
    total_nobs = nobs.sum(1, keepdim=True).clamp(min=1)
    mean = sum_cells(present).sum(1, keepdim=True) / total_nobs
    effects = torch.where(nobs > 0, sum_cells(present) / nobs.clamp(min=1) - mean, 0.0)
    residuals = present - (effects + mean).view(-1)[cell]
    rss = sum_cells(residuals.square()).sum(1, keepdim=True)
    between = (nobs * effects.square()).sum(1, keepdim=True)
    n_phases = (nobs > 0).sum(1, keepdim=True)
    df_resid = (total_nobs - n_phases).clamp(min=0)
    expected = rss * (n_phases - 1) / df_resid.clamp(min=1)  # of `between`, without a season
    shrinkage = 1 - expected / between.clamp(min=1e-300)
    usable = (between > 0) & (df_resid > 0)
    return effects * torch.where(usable, shrinkage, 0.0).clamp(min=0)


def deseasonalize(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"], season_length: int
) -> Float[Tensor, " time"]:
    """Series end to end minus their `seasonal_means`."""
    series = torch.arange(len(offsets) - 1, device=offsets.device)
    series = series.repeat_interleave(offsets.diff())
    effects = seasonal_means(values, offsets, season_length)
    return values - effects[series, phases_from_end(offsets, season_length)]


def deseasonalize_contexts(
    contexts: Float[Tensor, "window time"], season_length: int, horizon: int
) -> tuple[Float[Tensor, "window time"], Float[Tensor, "window horizon"]]:
    """Contexts minus their `seasonal_means`, and the seasonal means of the horizon.

    Examples
    --------
    >>> deseasonalize_contexts(torch.tensor([[1.0, 3.0] * 3]), 2, 3)
    (tensor([[2., 2., 2., 2., 2., 2.]]), tensor([[-1.,  1., -1.]]))
    """
    windows, time = contexts.shape
    effects = seasonal_means(contexts.reshape(-1), torch.arange(windows + 1) * time, season_length)
    past = (time - 1 - torch.arange(time)) % season_length
    ahead = -torch.arange(1, horizon + 1) % season_length
    return contexts - effects[:, past], effects[:, ahead]
