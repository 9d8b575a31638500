"""Seasonal profile: a value for each phase of a season, shrunk to what is beyond noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.forecasters.arnet.combination.padded import interpolate, newest_first

FILL_STEPS = 3  # from a profile of interpolated values to one of filled values


@dataclass(frozen=True)
class Profile:
    """Seasonal profile of each series; phase 0 is that of the newest point, phase 1 the one before.

    Attributes
    ----------
    phases
        Factors where multiplicative, otherwise summands.
    multiplicative
        Whether the profile of a series multiplies its level.
    """

    phases: Float[Tensor, "series season"]
    multiplicative: Bool[Tensor, " series"]

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "series time"],
        season: int,
        multiplicative: Bool[Tensor, " series"],
    ) -> "Profile":
        """Means of each phase of the ratios, or differences, to a centred moving average.

        Their deviations from 1, or 0, are multiplied by ``max(0, 1 - v / s2)``, with v the variance
        of the mean of a phase and s2 their mean square: without a season nothing is left.

        Examples
        --------
        >>> y = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(6)[None]
        >>> Profile.of(y, 2, torch.tensor([False])).phases
        tensor([[ 1., -1.]], dtype=torch.float64)
        """
        neutral = multiplicative.to(values)[:, None]
        trend = _centred_average(values, season)
        ratios = torch.where(multiplicative[:, None], values / trend, values - trend)
        cycles = newest_first(ratios, season)
        count = (~cycles.isnan()).sum(dim=1)
        mean = torch.where(count > 0, cycles.nanmean(dim=1), neutral)
        squares = (cycles - mean[:, None]).square().nansum(dim=(1, 2))
        df_resid = (count - 1).clamp(min=0).sum(dim=1)
        variance = squares / df_resid.clamp(min=1) * (1 / count.clamp(min=1)).mean(dim=1)
        centre = mean.mean(dim=1, keepdim=True)
        deviation = torch.where(multiplicative[:, None], mean / centre - 1, mean - centre)
        signal = deviation.square().mean(dim=1)
        tiny = torch.finfo(values.dtype).tiny
        share = (1 - variance / signal.clamp(min=tiny)).clamp(0, 1) * (df_resid > 0)
        return cls(neutral + deviation * share[:, None], multiplicative)

    def remove(self, values: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
        """Values without the season."""
        season, time = self.phases.shape[1], values.shape[1]
        phase = self.phases[:, (time - 1 - torch.arange(time)) % season]
        return torch.where(self.multiplicative[:, None], values / phase, values - phase)

    def restore(self, forecast: Float[Tensor, "series horizon"]) -> Float[Tensor, "series horizon"]:
        """Forecasts with the season put back."""
        phase = self.phases[:, (-1 - torch.arange(forecast.shape[1])) % self.phases.shape[1]]
        return torch.where(self.multiplicative[:, None], forecast * phase, forecast + phase)


def fill_gaps(
    values: Float[Tensor, "series time"], seasons: Sequence[int]
) -> Float[Tensor, "series time"]:
    """Values with the points between observed ones interpolated, but for their season.

    The longest season that is complete twice is taken out before, and put back after it.

    Examples
    --------
    >>> y = torch.tensor([1.0, 3.0], dtype=torch.float64).repeat(6)[None]
    >>> y[0, 5] = torch.nan
    >>> fill_gaps(y, [2])[0, 5].round()
    tensor(3., dtype=torch.float64)
    """
    filled = interpolate(values)
    season = max((season for season in seasons if 2 * season <= values.shape[1]), default=1)
    if filled is values or season < 2:
        return filled
    additive = torch.zeros(len(values), dtype=torch.bool)
    for _ in range(FILL_STEPS):
        profile = Profile.of(filled, season, additive)
        phases = -profile.remove(torch.zeros_like(values))
        filled = torch.where(values.isnan(), interpolate(values - phases) + phases, values)
    return filled


def _centred_average(
    values: Float[Tensor, "series time"], season: int
) -> Float[Tensor, "series time"]:
    """Moving average over one season around each point; NaN where it is not complete.

    By differences of cumulative sums of what is beyond the level, whose rounding is thus small.
    """
    half, time = season // 2, values.shape[1]
    if time <= 2 * half:
        return torch.full_like(values, torch.nan)
    level = values.nanmean(dim=1, keepdim=True).nan_to_num(0.0)
    missing = values.isnan()
    total = torch.nn.functional.pad((values - level).nan_to_num(0.0).cumsum(dim=1), (1, 0))
    mean = (total[:, season:] - total[:, : time + 1 - season]) / season
    if season % 2 == 0:
        mean = (mean[:, 1:] + mean[:, :-1]) / 2
    begun = ~missing[:, : time - 2 * half]  # as later points are never missing
    mean = torch.where(begun, mean + level, torch.nan)
    return torch.nn.functional.pad(mean, (half, half), value=torch.nan)
