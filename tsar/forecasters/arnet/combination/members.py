"""Members of a combination: equations for the series as it is, or for what a transform leaves.

Each is an autoregression of levels, of first or of seasonal differences, or exponential smoothing,
of the series, its logarithm, or the series without a seasonal profile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.nested_orders import NestedFit, fit_nested
from tsar.forecasters.arnet.combination.padded import (
    difference,
    observed_lengths,
    undo_seasonal_difference,
)
from tsar.forecasters.arnet.combination.profile import Profile
from tsar.forecasters.arnet.combination.smoothing import FACTORS, last_level, smooth
from tsar.records import record

DAMPING = 0.9  # factor by which the drift of each further step is smaller
ORDER_SHARE = 0.4  # largest order as a share of the observations
PROFILE_CYCLES = 2  # complete seasons that a profile and seasonal differences need

# Values without a profile, and the profile, by the season and the kind of the profile.
Adjusted = dict[tuple[int, str], tuple[Tensor, Profile]]
Kind = Literal["levels", "differences", "seasonal differences", "smoothing", "drift"]
Season = Literal["none", "additive", "multiplicative", "auto"]


@record("combination_member")
@dataclass(frozen=True)
class Member:
    """One way to forecast a series.

    Attributes
    ----------
    kind
        What the equation forecasts. ``"smoothing"``: the level of simple exponential smoothing plus
        the slope of the line of least squares; ``"drift"``: the last value plus the mean change.
    max_order
        Largest order of the autoregression.
    season
        Points in the season that is differenced or removed; 1 for none.
    profile
        Whether a seasonal profile is removed first and put back; ``"auto"``: multiplicative where
        all values are positive.
    drift
        Share of the estimated drift that remains at first.
    damping
        Factor of the drift from step to step.
    log
        Whether the logarithm is forecast, of series whose values are all positive.
    """

    kind: Kind
    max_order: int = 0
    season: int = 1
    profile: Season = "none"
    drift: float = 1.0
    damping: float = DAMPING
    log: bool = False

    @property
    def name(self) -> str:
        """What the member does, in words."""
        name = self.kind if self.kind != "seasonal differences" else f"differences {self.season}"
        name = f"log {name}" if self.log else name
        kind = {"auto": "", "none": ""}.get(self.profile, f"{self.profile} ")
        return name if self.profile == "none" else f"{name}, {kind}season {self.season}"


@record("combination_equations")
@dataclass(frozen=True)
class Equations:
    """Fitted parameters of a member, a row for each series.

    Attributes
    ----------
    coef, intercept
        Autoregression, lag 1 first.
    coef_without
        Autoregression without an intercept, of differences: the forecast without a drift.
    factor
        Smoothing factor.
    log, multiplicative
        Whether the logarithm is forecast, and whether the profile is multiplicative.
    """

    coef: Float[Tensor, "series lag"]
    intercept: Float[Tensor, " series"]
    coef_without: Float[Tensor, "series other_lag"]
    factor: Float[Tensor, " series"]
    log: Bool[Tensor, " series"]
    multiplicative: Bool[Tensor, " series"]

    def select(self, rows: Int[Tensor, " row"]) -> "Equations":
        """Equations of some series."""
        return Equations(**{name: value[rows] for name, value in vars(self).items()})

    @classmethod
    def scatter(
        cls, parts: Sequence["Equations"], rows: Sequence[Int[Tensor, " _"]], n_series: int
    ) -> "Equations":
        """Join the equations of some rows each; series of no part have zeros."""

        def join(values: Sequence[Tensor]) -> Tensor:
            width = max(value[0].numel() if value.ndim > 1 else 0 for value in values)
            shape = (n_series, width) if values[0].ndim > 1 else (n_series,)
            joined = values[0].new_zeros(shape)
            for row, value in zip(rows, values, strict=True):
                if value.ndim > 1:
                    joined[row, : value.shape[1]] = value
                else:
                    joined[row] = value
            return joined

        return cls(**{name: join([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def supports(member: Member, lengths: Int[Tensor, " series"]) -> Bool[Tensor, " series"]:
    """Whether series of some lengths are long enough for a member."""
    if member.kind == "seasonal differences":
        return lengths >= member.season + 4
    if member.profile != "none":
        return lengths >= PROFILE_CYCLES * member.season
    return lengths >= 2


def fit_member(
    member: Member, values: Float[Tensor, "series time"], adjusted: Adjusted | None = None
) -> Equations:
    """Fit a member to series (newest last, NaN before the first point only).

    Members that are fitted to the same values share what they compute by passing the same dict.
    """
    positive = (values.nan_to_num(1.0) > 0).all(dim=1)
    log = positive & member.log
    multiplicative = positive & (member.profile == "auto")
    multiplicative = multiplicative | (positive & (member.profile == "multiplicative"))
    plain, _ = _transform(member, values, log, multiplicative, adjusted)
    zero = plain.new_zeros(len(plain))
    equation = without = NestedFit(plain.new_zeros(len(plain), 0), zero)
    factor = zero
    if member.kind == "smoothing":
        factor = plain.new_tensor(FACTORS)[smooth(plain).sse.argmin(dim=1)]
    elif member.kind != "drift":
        changes = _changes(member, plain)
        orders = (ORDER_SHARE * observed_lengths(changes)).long().clamp(max=member.max_order)
        width = max(min(member.max_order, int(ORDER_SHARE * values.shape[1])), 1)
        equation = fit_nested(changes, orders, width)
        if member.kind == "differences":
            without = fit_nested(changes, orders, width, fit_intercept=False)
    return Equations(*equation, without.coef, factor, log, multiplicative)


def forecast_member(
    member: Member,
    equations: Equations,
    values: Float[Tensor, "series time"],
    horizon: int,
    adjusted: Adjusted | None = None,
) -> Float[Tensor, "series horizon"]:
    """Forecast after the last point of each series; see `fit_member` for `adjusted`."""
    plain, profile = _transform(member, values, equations.log, equations.multiplicative, adjusted)
    forecast = _forecast_plain(member, equations, plain, horizon)
    if profile is not None:
        forecast = profile.restore(forecast)
    if not member.log:
        return forecast
    low, high = _bounds(plain)
    bounded = forecast.clamp(low[:, None], high[:, None]).exp()
    return torch.where(equations.log[:, None], bounded, forecast)


def bound(
    forecast: Float[Tensor, "series horizon"], values: Float[Tensor, "series time"]
) -> Float[Tensor, "series horizon"]:
    """Forecasts within one range beyond the values, and not negative where no value is."""
    low, high = _bounds(values)
    smallest = values.nan_to_num(torch.inf).amin(dim=1)
    low = torch.where(smallest >= 0, low.clamp(min=0), low)
    return forecast.clamp(low[:, None], high[:, None])


def _bounds(
    values: Float[Tensor, "series time"],
) -> tuple[Float[Tensor, " series"], Float[Tensor, " series"]]:
    low = values.nan_to_num(torch.inf).amin(dim=1)
    high = values.nan_to_num(-torch.inf).amax(dim=1)
    return 2 * low - high, 2 * high - low


def _transform(
    member: Member,
    values: Float[Tensor, "series time"],
    log: Bool[Tensor, " series"],
    multiplicative: Bool[Tensor, " series"],
    adjusted: Adjusted | None,
) -> tuple[Float[Tensor, "series time"], Profile | None]:
    """Logarithm of values, or values without their profile, which is the second result."""
    if member.log:
        tiny = torch.finfo(values.dtype).tiny
        return torch.where(log[:, None], values.clamp(min=tiny).log(), values), None
    if member.profile == "none":
        return values, None
    adjusted = {} if adjusted is None else adjusted
    key = (member.season, member.profile)
    if key not in adjusted:
        # A context of newer points that are not positive has an additive season.
        positive = (values.nan_to_num(1.0) > 0).all(dim=1)
        profile = Profile.of(values, member.season, multiplicative & positive)
        adjusted[key] = profile.remove(values), profile
    return adjusted[key]


def _changes(member: Member, plain: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """What the autoregression is of."""
    if member.kind == "levels":
        return plain
    return difference(plain, 1 if member.kind == "differences" else member.season)


def _forecast_plain(
    member: Member, equations: Equations, plain: Float[Tensor, "series time"], horizon: int
) -> Float[Tensor, "series horizon"]:
    last = plain[:, -1:]
    decay = member.damping ** torch.arange(1, horizon + 1, dtype=plain.dtype)
    if member.kind == "drift":
        count = (observed_lengths(plain) - 1).clamp(min=1)
        first = plain.gather(1, (plain.shape[1] - 1 - count)[:, None].clamp(min=0))
        return last + (last - first) / count[:, None] * member.drift * decay.cumsum(0)
    if member.kind == "smoothing":
        level = last_level(plain, equations.factor)[:, None]
        return level + member.drift * _slope(plain)[:, None] * decay.cumsum(0)
    changes = _changes(member, plain)
    forecast = iterate(equations.coef, equations.intercept, changes, horizon)
    if member.kind == "levels":
        return forecast
    if member.kind == "seasonal differences":
        return undo_seasonal_difference(forecast, plain, member.season)
    zero = torch.zeros_like(equations.intercept)
    without = iterate(equations.coef_without, zero, changes, horizon)
    drift = member.drift * decay * (forecast - without)
    return last + (without + drift).cumsum(dim=1)


def _slope(values: Float[Tensor, "series time"]) -> Float[Tensor, " series"]:
    """Slope of the line of least squares."""
    observed = ~values.isnan()
    time = torch.arange(values.shape[1], dtype=values.dtype)
    mean = (observed * time).sum(dim=1) / observed.sum(dim=1).clamp(min=1)
    centred = observed * (time - mean[:, None])
    level = values.nanmean(dim=1).nan_to_num(0.0)[:, None]
    products = centred * (values - level).nan_to_num(0.0)
    return products.sum(dim=1) / centred.square().sum(dim=1).clamp(min=1)


def iterate(
    coef: Float[Tensor, "series lag"],
    intercept: Float[Tensor, " series"],
    values: Float[Tensor, "series time"],
    horizon: int,
) -> Float[Tensor, "series horizon"]:
    """Forecasts of an autoregression fed back; points before a series count as 0."""
    order = coef.shape[1]
    context = torch.nn.functional.pad(values, (max(order - values.shape[1], 0), 0))
    context = context[:, context.shape[1] - order :].nan_to_num(0.0)
    path = torch.cat([context, context.new_zeros(len(context), horizon)], dim=1)
    reversed_coef = coef.flip(1)
    for step in range(horizon):
        lags = path[:, step : step + order]
        path[:, order + step] = intercept + (lags * reversed_coef).sum(dim=1)
    return path[:, order:]
