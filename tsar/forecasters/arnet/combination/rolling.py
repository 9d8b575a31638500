"""Forecast errors at earlier origins of each series, by fits to what was known then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.forecasters.arnet.combination.members import (
    Adjusted,
    Equations,
    Member,
    bound,
    fit_member,
    forecast_member,
)
from tsar.forecasters.arnet.combination.padded import (
    last_points,
    length_classes,
    observed_lengths,
    padded_values,
)
from tsar.forecasters.arnet.combination.profile import fill_gaps
from tsar.forecasters.forecast import Forecast

SIGMA_LEVEL = 0.8413447460685429  # level of the quantile one standard deviation above the mean
BETWEEN = 1.5  # share of the variance between members that adds to that of a forecast
FITS = 2  # origins at which the members are fitted

# Forecasts by the equation in levels of what follows a panel, with the quantile at `SIGMA_LEVEL`.
ForecastEquation = Callable[[Panel, int], Forecast]
FitEquation = Callable[[Panel], ForecastEquation]


@dataclass(frozen=True)
class Backtest:
    """Values after earlier origins, and forecasts of them.

    Attributes
    ----------
    actual
        NaN where missing, or where a series has fewer origins.
    point
        Forecasts of each member, the equation in levels first.
    sigma
        Standard deviation of the errors by the equation in levels.
    """

    actual: Float[Tensor, "series origin horizon"]
    point: Float[Tensor, "series origin member horizon"]
    sigma: Float[Tensor, "series origin horizon"]

    def mean_errors(self) -> Float[Tensor, "series member"]:
        """Mean absolute error of each member; NaN without an origin."""
        errors = (self.point - self.actual[:, :, None]).abs()
        known = ~errors.isnan()
        # Added up one origin after the other: others may have more, but that changes no rounding.
        total = torch.where(known, errors, 0.0).sum(dim=3).cumsum(dim=1)[:, -1:].sum(dim=1)
        return total / known.sum(dim=(1, 3))

    def scores(
        self, weights: Float[Tensor, "series member"]
    ) -> Float[Tensor, "series origin horizon"]:
        """Absolute errors of combined forecasts, in units of their standard deviation."""
        mean = weighted_mean(self.point, weights[:, None])
        variance = forecast_variance(self.point, weights[:, None], mean, self.sigma)
        tiny = torch.finfo(mean.dtype).tiny
        return (self.actual - mean).abs() / variance.clamp(min=tiny).sqrt()


def weighted_mean(
    point: Float[Tensor, "*batch member horizon"], weights: Float[Tensor, "*#batch member"]
) -> Float[Tensor, "*batch horizon"]:
    """Weighted mean over the members whose forecast is known."""
    weight = torch.where(point.isnan(), 0.0, weights[..., None])
    total = weight.sum(dim=-2)
    return (weight * point.nan_to_num(0.0)).sum(dim=-2) / torch.where(total > 0, total, torch.nan)


def forecast_variance(
    point: Float[Tensor, "*batch member horizon"],
    weights: Float[Tensor, "*#batch member"],
    mean: Float[Tensor, "*batch horizon"],
    sigma: Float[Tensor, "*batch horizon"],
) -> Float[Tensor, "*batch horizon"]:
    """Variance by the equation in levels, plus the weighted variance between the members."""
    weight = torch.where(point.isnan(), 0.0, weights[..., None])
    deviation = (point - mean[..., None, :]).nan_to_num(0.0)
    return sigma.square() + BETWEEN * (weight * deviation.square()).sum(dim=-2)


def backtest(
    panel: Panel,
    members: Sequence[Member],
    n_origins: Int[Tensor, " series"],
    horizon: int,
    longest: int,
    fit_equation: FitEquation,
) -> Backtest:
    """Forecast from the origins of each series, `horizon` points apart.

    The members are fitted again at some of the origins only, to what was known then.
    """
    shape = (len(panel), int(n_origins.max()), horizon)
    actual = torch.full(shape, torch.nan, dtype=torch.float64)
    result = Backtest(actual, actual[:, :, None].repeat(1, 1, 1 + len(members), 1), actual.clone())
    per_fit = (n_origins + FITS - 1) // FITS
    for fit in range(min(FITS, shape[1])):
        newest = n_origins - fit * per_fit  # origins count back from the end, the last being 1
        rows = (newest > 0).nonzero()[:, 0]
        if not len(rows):  # a few origins are shared out among fewer fits
            break
        past, origin = panel.select(rows.numpy()), newest[rows]
        fitted = _Fitted.of(past.without_last(origin * horizon), members, longest, fit_equation)
        count = torch.minimum(per_fit[rows], origin)
        for step in range(int(count.max())):
            inside = (step < count).nonzero()[:, 0]
            fitted.forecast(past, origin - step, inside, rows, result)
    return result


@dataclass(frozen=True)
class _Fitted:
    """Members fitted to series."""

    members: Sequence[Member]
    equations: Sequence[Equations]
    forecast_equation: ForecastEquation
    longest: int

    @classmethod
    def of(
        cls, known: Panel, members: Sequence[Member], longest: int, fit_equation: FitEquation
    ) -> "_Fitted":
        equations = fit_members(known, members, longest)
        return cls(members, equations, fit_equation(known), longest)

    def forecast(
        self,
        past: Panel,
        origin: Int[Tensor, " series"],
        inside: Int[Tensor, " row"],
        rows: Int[Tensor, " series"],
        result: Backtest,
    ) -> None:
        """Set the results at origins of the series `inside`, which are `rows` of the results."""
        horizon = result.actual.shape[2]
        series, ahead = past.select(inside.numpy()), horizon * origin[inside]
        known = series.without_last(ahead)
        equation = self.forecast_equation(known, horizon)
        equations = [fitted.select(inside) for fitted in self.equations]
        values = padded_values(known, self.longest)
        index = (rows[inside], origin[inside] - 1)
        result.point[index] = forecast_all(self.members, equations, values, equation.point)
        result.actual[index] = padded_values(series.without_last(ahead - horizon), horizon)
        result.sigma[index] = equation.quantiles[:, :, 0] - equation.point


def forecast_all(
    members: Sequence[Member],
    equations: Sequence[Equations],
    values: Float[Tensor, "series time"],
    point: Float[Tensor, "series horizon"],
) -> Float[Tensor, "series member horizon"]:
    """Forecasts of the equation in levels, then of each member, within the bounds."""
    horizon = point.shape[1]
    forecasts = torch.empty(len(values), 1 + len(members), horizon, dtype=values.dtype)
    lengths = observed_lengths(values)
    seasons = [member.season for member in members]
    for rows, width in length_classes(lengths, values.shape[1]):
        context = fill_gaps(last_points(values[rows], width), seasons)
        forecasts[rows, 0] = bound(point[rows], context)
        adjusted: Adjusted = {}
        for index, (member, fitted) in enumerate(zip(members, equations, strict=True), start=1):
            if width < member.season:
                forecasts[rows, index] = forecasts[rows, 0]
                continue
            forecast = forecast_member(member, fitted.select(rows), context, horizon, adjusted)
            forecasts[rows, index] = bound(forecast, context)
    return forecasts


def fit_members(panel: Panel, members: Sequence[Member], longest: int) -> tuple[Equations, ...]:
    """Equations of each member for all series of a panel."""
    values = padded_values(panel, longest)
    seasons = [member.season for member in members]
    rows, parts = [], []
    for row, width in length_classes(panel.lengths, longest):
        context = fill_gaps(last_points(values[row], width), seasons)
        rows.append(row)
        adjusted: Adjusted = {}
        parts.append([fit_member(member, context, adjusted) for member in members])
    return tuple(
        Equations.scatter([part[index] for part in parts], rows, len(panel))
        for index in range(len(members))
    )
