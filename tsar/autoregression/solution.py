"""What autoregressions in closed form are regressed on, and what is found."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.estimates import Estimates
from tsar.autoregression.gram import Moments

# Degrees of freedom that a variance is divided by at least; a ridge may leave less than one.
LEAST = 1e-6
STEPWISE = ("coef", "error", "active", "intercept", "intercept_error", "power", "freedom")


@dataclass(frozen=True)
class Terms:
    """What each step of the horizon is regressed on.

    The channels are the target, then `past` covariates, then `future` ones. The terms are `lags`
    values of the target, the newest first, then as many of each past covariate, then each future
    covariate at the time that is forecast.
    """

    lags: int
    horizon: int
    past: int = 0
    future: int = 0

    @property
    def max_lag(self) -> int:
        """Largest lag behind the last point of the horizon."""
        return self.lags + self.horizon - 1

    @property
    def shared(self) -> bool:
        """Whether all steps have the same regressors, so that one factorization serves them."""
        return self.future == 0 or self.horizon == 1

    def spread(self, channels: Float[Tensor, "group channel"]) -> Float[Tensor, "group term"]:
        """A number of each channel, at each of its terms."""
        lagged = channels[:, : 1 + self.past].repeat_interleave(self.lags, dim=1)
        return torch.cat([lagged, channels[:, 1 + self.past :]], dim=1)

    def regressors(self, moments: Moments, step: int) -> Int[Tensor, " term"]:
        """Terms of a step, among those of the moments."""
        lagged = [
            moments.terms(channel, self.horizon, self.max_lag) for channel in range(1 + self.past)
        ]
        lead = self.horizon - 1 - step
        channels = range(1 + self.past, 1 + self.past + self.future)
        return torch.cat([*lagged, *(moments.terms(channel, lead, lead) for channel in channels)])


@dataclass(frozen=True)
class ClosedForm:
    """Least squares coefficients of every group and step, and what goes with them.

    Attributes
    ----------
    coef, error, active
        Coefficients, their standard errors, and which terms were kept.
    intercept, intercept_error
        Constants, and the standard errors that they have in the units of the `origin`.
    power, freedom
        Sums of squared residuals, and degrees of freedom left to these.
    count, series
        Complete windows of each group, and the series that they are of.
    estimates
        What the coefficients of one equation were estimated from, where that is not too large.
    """

    coef: Float[Tensor, "group step term"]
    error: Float[Tensor, "group step term"]
    active: Bool[Tensor, "group step term"]
    intercept: Float[Tensor, "group step"]
    intercept_error: Float[Tensor, "group step"]
    power: Float[Tensor, "group step"]
    freedom: Float[Tensor, "group step"]
    count: Float[Tensor, " group"]
    series: Float[Tensor, " group"]
    estimates: Estimates | None = None

    @property
    def deviation(self) -> Float[Tensor, "group step"]:
        """Standard deviation of the residuals, unbiased in their variance."""
        return (self.power / self.freedom.clamp(min=LEAST)).sqrt()

    @property
    def free(self) -> Float[Tensor, "group step"]:
        """Degrees of freedom less the means of the series but one, which were estimated, too."""
        return (self.freedom - (self.series - 1)[:, None]).clamp(min=LEAST)

    @property
    def spread(self) -> Float[Tensor, "group step"]:
        """Standard deviation of a shock, of which also the means of the series took a part."""
        return (self.power / self.free).sqrt()

    @property
    def estimated(self) -> Float[Tensor, "group step"]:
        """What k estimated coefficients and means add to the variance of a step, a share k / n.

        Akaike's final prediction error (1969).
        """
        return 1 - self.free / self.count.clamp(min=1)[:, None]

    def to(self, device: torch.device | str) -> "ClosedForm":
        """The same on a device."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: part.to(device) for name, part in parts.items() if part is not None}
        return replace(self, **moved)
