"""The mean of each phase of the season, drawn to nothing where it is no more than chance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def phases_back(offsets: Int[Tensor, " border"], season: int) -> Int[Tensor, " time"]:
    """Phase of each point, counted back from the last of its series, which has phase 0."""
    lengths = offsets.diff()
    end = offsets[1:].repeat_interleave(lengths) - 1
    return (end - torch.arange(len(end), device=end.device)) % season


def seasonal_profile(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"], season: int
) -> Float[Tensor, "series phase"]:
    """Mean of each phase of each series less the mean of all phases, shrunk by what chance gives.

    The factor is 1 - 1 / F, or 0 where that is negative, with F the variance between phases over
    that within them (the positive-part rule of James & Stein 1961, with the variance estimated).

    Parameters
    ----------
    values, offsets
        Series end to end, NaN where missing. Phases are counted back from each end.
    season
        Points in a season; 1 gives zeros.

    Examples
    --------
    >>> wave = torch.tensor([1.0, 3.0, 1.1, 3.1, 0.9, 2.9])
    >>> seasonal_profile(wave, torch.tensor([0, 6]), 2)
    tensor([[ 0.9983, -0.9983]])
    """
    series = len(offsets) - 1
    row = torch.arange(series, device=offsets.device).repeat_interleave(offsets.diff())
    seen = ~values.isnan()
    index = (row * season + phases_back(offsets, season))[seen]
    present = values[seen]

    def sums(numbers: Float[Tensor, " observed"]) -> Float[Tensor, "series phase"]:
        return numbers.new_zeros(series * season).index_add_(0, index, numbers).view(-1, season)

    count = sums(torch.ones_like(present))
    total = count.sum(1, keepdim=True).clamp(min=1)
    mean = sums(present).sum(1, keepdim=True) / total
    phase = torch.where(count > 0, sums(present) / count.clamp(min=1) - mean, 0.0)
    within = (present - (phase + mean).view(-1)[index]).square()
    inside = sums(within).sum(1, keepdim=True)
    between = (count * phase.square()).sum(1, keepdim=True)
    used = (count > 0).sum(1, keepdim=True)
    free = (total - used).clamp(min=0)
    chance = inside * (used - 1) / free.clamp(min=1)
    share = torch.where((between > 0) & (free > 0), 1 - chance / between.clamp(min=1e-300), 0.0)
    return phase * share.clamp(min=0)


def less_season(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"], season: int
) -> Float[Tensor, " time"]:
    """Series end to end, each less its own season; see `seasonal_profile`."""
    series = torch.arange(len(offsets) - 1, device=offsets.device)
    series = series.repeat_interleave(offsets.diff())
    profile = seasonal_profile(values, offsets, season)
    return values - profile[series, phases_back(offsets, season)]


def without_season(
    contexts: Float[Tensor, "window time"], season: int, horizon: int
) -> tuple[Float[Tensor, "window time"], Float[Tensor, "window horizon"]]:
    """Contexts less their own season, and the season ahead.

    Examples
    --------
    >>> flat, ahead = without_season(torch.tensor([[1.0, 3.0] * 3]), 2, 3)
    >>> flat, ahead
    (tensor([[2., 2., 2., 2., 2., 2.]]), tensor([[-1.,  1., -1.]]))
    """
    windows, time = contexts.shape
    profile = seasonal_profile(contexts.reshape(-1), torch.arange(windows + 1) * time, season)
    behind = (time - 1 - torch.arange(time)) % season
    ahead = -torch.arange(1, horizon + 1) % season
    return contexts - profile[:, behind], profile[:, ahead]
