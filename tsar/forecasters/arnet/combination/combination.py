"""Combination of an equation in levels with other members, for each series by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.forecasters.arnet.combination.choice import (
    compared_horizon,
    context_length,
    count_origins,
    members_of,
)
from tsar.forecasters.arnet.combination.members import Equations, Member, supports
from tsar.forecasters.arnet.combination.rolling import (
    FitEquation,
    backtest,
    fit_members,
    forecast_all,
    forecast_variance,
    weighted_mean,
)
from tsar.forecasters.arnet.combination.widths import Widths
from tsar.forecasters.forecast import Forecast
from tsar.records import record

BATCH = 1024  # contexts that are forecast at once
MIN_ERROR = 1e-3  # smallest mean error of a member, relative to the mean over members


@record("combination")
@dataclass(frozen=True)
class Combination:
    """Weighted mean of forecasts of an equation in levels and of other members.

    Attributes
    ----------
    members, equations
        Members beside the equation in levels, and their parameters.
    weights
        Weight of the equation in levels, then of each member.
    n_origins
        Origins at which the members of each series were compared.
    widths
        Half widths of intervals, in units of the standard deviation of a combined forecast.
    context_length
        Newest points that the members read.
    """

    members: tuple[Member, ...]
    equations: tuple[Equations, ...]
    weights: Float[Tensor, "series member"]
    n_origins: Int[Tensor, " series"]
    widths: Widths
    context_length: int

    @classmethod
    def fit(
        cls,
        panel: Panel,
        seasons: Sequence[int],
        horizon: int,
        fit_equation: FitEquation,
        *,
        pool: bool = False,
    ) -> "Combination":
        """Fit the members to the series of a panel, and weigh them by errors in their past.

        Parameters
        ----------
        panel
            Series in the units of the data.
        seasons
            Points in each season, the shortest first; empty for none.
        horizon
            Steps at which errors are compared.
        fit_equation
            Fits the equation in levels to a panel and forecasts.
        pool
            Whether widths of intervals also count the errors of the other series.
        """
        members = members_of(seasons)
        longest, steps = context_length(seasons), compared_horizon(horizon)
        n_origins = count_origins(panel.lengths, seasons, steps)
        past = backtest(panel, members, n_origins, steps, longest, fit_equation)
        equations = fit_members(panel, members, longest)
        supported = [
            supports(member, panel.lengths) & (fitted.log | (not member.log))
            for member, fitted in zip(members, equations, strict=True)
        ]
        known = torch.stack([torch.ones_like(n_origins, dtype=torch.bool), *supported], dim=1)
        errors = past.mean_errors().nan_to_num(1.0)  # equal weights without an origin
        weights = _weights(torch.where(known, errors, torch.nan), n_origins)
        widths = Widths.of(past.scores(weights), pool=pool)
        return cls(members, equations, weights, n_origins, widths, longest)

    def combine(
        self,
        forecast: Forecast,
        windows: Windows,
        rows: Int[Tensor, " window"],
        levels: Sequence[float],
    ) -> Forecast:
        """Combined forecasts of windows, given those of the equation in levels.

        `forecast` has the quantile at `SIGMA_LEVEL` where `levels` are asked for; `rows` are those
        of the windows' series among the fitted ones.
        """
        parts = []
        for start, batch in zip(range(0, len(windows), BATCH), windows.batches(BATCH), strict=True):
            chunk = slice(start, start + BATCH)
            some = Forecast(forecast.point[chunk], forecast.quantiles[chunk])
            parts.append(self._combine(some, batch.context.values, rows[chunk], levels))
        point = torch.cat([part.point for part in parts])
        return Forecast(point, torch.cat([part.quantiles for part in parts]))

    def _combine(
        self,
        forecast: Forecast,
        values: Float[Tensor, "window time"],
        rows: Int[Tensor, " window"],
        levels: Sequence[float],
    ) -> Forecast:
        equations = [equation.select(rows) for equation in self.equations]
        points = forecast_all(self.members, equations, values, forecast.point)
        weights = self.weights[rows]
        point = weighted_mean(points, weights)
        if not levels:
            return Forecast(point, forecast.quantiles)
        sigma = forecast.quantiles[:, :, 0] - forecast.point
        variance = forecast_variance(points, weights, point, sigma)
        factors = self.widths.factors(rows, point.shape[1], levels)
        quantiles = point[:, :, None] + variance.sqrt()[:, :, None] * factors
        # As the point forecasts: not negative where no value is.
        nonnegative = (values.nan_to_num(1.0) >= 0).all(dim=1)[:, None, None]
        return Forecast(point, torch.where(nonnegative, quantiles.clamp(min=0), quantiles))


def _weights(
    errors: Float[Tensor, "series member"], n_origins: Int[Tensor, " series"]
) -> Float[Tensor, "series member"]:
    """Weights by the errors to the power of minus the number of origins; 0 where NaN."""
    known = ~errors.isnan()
    tiny = torch.finfo(errors.dtype).tiny
    mean = errors.nanmean(dim=1, keepdim=True).clamp(min=tiny)
    relative = (errors / mean).clamp(min=MIN_ERROR)
    weights = torch.where(known, _power(1 / relative, n_origins[:, None]), 0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _power(
    base: Float[Tensor, "series member"], exponent: Int[Tensor, "series 1"]
) -> Float[Tensor, "series member"]:
    """Integer powers by products, which round alike at any place of a tensor, unlike `pow`."""
    result = torch.ones_like(base)
    while bool((exponent > 0).any()):
        result = torch.where(exponent % 2 == 1, result * base, result)
        base, exponent = base * base, exponent // 2
    return result
