"""Autoregression in closed form: lags of the target and of covariates, for one step or many."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.gram import Moments, Regression, lagged_moments
from tsar.autoregression.penalty import penalize
from tsar.autoregression.precision import Precision, lag_precision, precision
from tsar.autoregression.refine import refine, residuals
from tsar.autoregression.runs import Runs
from tsar.autoregression.select import select_lags
from tsar.autoregression.solve import (
    LeastSquares,
    factorize,
    least_squares,
    submatrix,
)

Sparsity = float | Literal["auto"] | None

# Degrees of freedom that a variance is divided by at least; a ridge may leave less than one.
LEAST = 1e-6


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
    count
        Complete windows of each group.
    """

    coef: Float[Tensor, "group step term"]
    error: Float[Tensor, "group step term"]
    active: Bool[Tensor, "group step term"]
    intercept: Float[Tensor, "group step"]
    intercept_error: Float[Tensor, "group step"]
    power: Float[Tensor, "group step"]
    freedom: Float[Tensor, "group step"]
    count: Float[Tensor, " group"]

    @property
    def deviation(self) -> Float[Tensor, "group step"]:
        """Standard deviation of the residuals, unbiased in their variance."""
        return (self.power / self.freedom.clamp(min=LEAST)).sqrt()

    @property
    def forecast_deviation(self) -> Float[Tensor, "group step"]:
        """Standard deviation of a one-step forecast error: of the residuals and the coefficients.

        By Akaike's final prediction error (1969), k estimated coefficients raise the variance by
        k / n.
        """
        estimated = self.count[:, None] - self.freedom
        return self.deviation * (1 + estimated / self.count.clamp(min=1)[:, None]).sqrt()

    def to(self, device: torch.device | str) -> "ClosedForm":
        """The same on a device."""
        return replace(
            self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)}
        )


def fit_closed_form(
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    terms: Terms,
    *,
    ridge: float = 0.0,
    sparsity: Sparsity = None,
    origin: Float[Tensor, "group channel"] | None = None,
) -> ClosedForm:
    """Fit every group and every step of the horizon by least squares, in float64.

    Parameters
    ----------
    channels
        The target, then past, then future covariates, series end to end.
    runs
        Complete runs of the channels, and the group that each belongs to.
    terms
        What to regress on.
    ridge
        See `least_squares`; must be 0 with a `sparsity`.
    sparsity
        None: all terms. ``"auto"``: those that an information criterion chooses
        (`select_lags`). A density in (0, 1]: AR-Net's penalty (`penalize`), survivors refitted.
    origin
        What zero was before the channels were shifted and scaled, for the standard errors of the
        constants; None: zero.

    Returns
    -------
    ClosedForm
        Always finite; a group without a complete window has coefficients of zero.

    Examples
    --------
    >>> import torch
    >>> series = torch.arange(40, dtype=torch.float64).sin()[None]
    >>> runs = Runs(torch.tensor([0]), torch.tensor([40]), torch.tensor([0]), 1)
    >>> fit_closed_form(series, runs, Terms(lags=2, horizon=1)).coef.round(decimals=4)
    tensor([[[ 1.0806, -1.0000]]], dtype=torch.float64)
    """
    moments = lagged_moments(channels, runs, terms.max_lag)
    zero = moments.mean.new_zeros(runs.n_groups, len(channels)) if origin is None else origin
    zero = terms.spread(zero.to(moments.mean))
    if sparsity is None and terms.shared:
        return _fit_shared(moments, channels, runs, terms, ridge, zero)
    pieces = [
        _fit_step(_regression(moments, terms, step, step), channels, runs, ridge, sparsity, zero)
        for step in range(terms.horizon)
    ]
    return ClosedForm(
        **{name: torch.cat([getattr(piece, name) for piece in pieces], dim=1) for name in STEPWISE},
        count=moments.count,
    )


STEPWISE = ("coef", "error", "active", "intercept", "intercept_error", "power", "freedom")


def _regression(moments: Moments, terms: Terms, first: int, last: int) -> Regression:
    """Normal equations of steps `first` to `last`, which must have the same regressors."""
    targets = moments.terms(0, terms.horizon - 1 - last, terms.horizon - 1 - first).flip(0)
    return moments.regression(terms.regressors(moments, first), targets)


def _fit_shared(
    moments: Moments,
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    terms: Terms,
    ridge: float,
    zero: Float[Tensor, "group term"],
) -> ClosedForm:
    """All steps by one factorization."""
    regression = _regression(moments, terms, 0, terms.horizon - 1)
    rough = least_squares(regression.gram, regression.cross, ridge=ridge)
    solution = refine(rough, regression, channels, runs)
    known = lag_precision(moments, regression, solution, regression.regressor_mean - zero)
    active = torch.ones_like(solution.coef, dtype=torch.bool)
    power = _power(regression, solution.coef, channels, runs)
    return _assemble(regression, solution.coef, active, power, known)


def _fit_step(
    regression: Regression,
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    ridge: float,
    sparsity: Sparsity,
    zero: Float[Tensor, "group term"],
) -> ClosedForm:
    """One step with its own regressors."""
    coef, active = _choose(regression, ridge, sparsity)
    rows, block = _active_block(regression.gram, active)
    factorization = factorize(block, ridge=ridge)
    if bool(factorization.ill_conditioned.any()):  # the host waits here
        kept = regression.restrict(active)
        rough = LeastSquares(coef, factorize(kept.gram, ridge=ridge))
        coef = refine(rough, kept, channels, runs).coef
    means = (regression.regressor_mean - zero) * active
    known = precision(factorization, block, means.gather(1, rows))
    spread = torch.zeros_like(regression.cross[:, :, 0]).scatter(1, rows, known.diagonal)
    power = _power(regression, coef, channels, runs)
    known = replace(known, diagonal=spread)
    return _assemble(regression, coef, active[:, :, None], power, known)


def _choose(
    regression: Regression, ridge: float, sparsity: Sparsity
) -> tuple[Float[Tensor, "group term 1"], Bool[Tensor, "group term"]]:
    """Coefficients of the terms that are kept, and which these are."""
    gram, cross, power = regression.gram, regression.cross[:, :, 0], regression.power[:, 0]
    if sparsity is None:
        solution = least_squares(gram, regression.cross, ridge=ridge)
        return solution.coef, torch.ones_like(cross, dtype=torch.bool)
    if sparsity == "auto":
        chosen = select_lags(gram, cross, power, regression.count)
        return chosen.coef[:, :, None], chosen.active
    found = penalize(gram, cross, power, regression.count, density=float(sparsity))
    return found.coef[:, :, None], found.active


def _active_block(
    gram: Float[Tensor, "group term term"], active: Bool[Tensor, "group term"]
) -> tuple[Int[Tensor, "group kept"], Float[Tensor, "group kept kept"]]:
    """Rows of the active terms of each group, and the Gram matrix of these."""
    size = int(active.sum(1).max()) if active.numel() else 0  # the host waits here
    rows = (~active).long().argsort(dim=1, stable=True)[:, :size]
    kept = active.gather(1, rows).double()
    return rows, submatrix(gram, rows) * kept[:, :, None] * kept[:, None]


def _power(
    regression: Regression,
    coef: Float[Tensor, "group term step"],
    channels: Float[Tensor, "channel total"],
    runs: Runs,
) -> Float[Tensor, "group step"]:
    """Sums of squared residuals, to at least seven digits."""
    power = regression.residual_power(coef)
    faint = power < 1e-8 * regression.power
    if bool(faint.any()):  # the host waits here; so little is lost in the rounding of the moments
        exact = residuals(coef, regression, channels, runs).power.clamp(min=0)
        power = torch.where(faint, exact, power)
    return power


def _assemble(
    regression: Regression,
    coef: Float[Tensor, "group term step"],
    active: Bool[Tensor, "group term step"],
    power: Float[Tensor, "group step"],
    known: Precision,
) -> ClosedForm:
    freedom = (regression.count - known.rank - 1)[:, None].expand_as(power)
    variance = power / freedom.clamp(min=LEAST)
    return ClosedForm(
        coef=coef.transpose(1, 2),
        error=(known.diagonal.clamp(min=0)[:, :, None] * variance[:, None]).sqrt().transpose(1, 2),
        active=active.transpose(1, 2),
        intercept=regression.intercept(coef),
        intercept_error=(
            variance * (1 / regression.count.clamp(min=1) + known.level)[:, None]
        ).sqrt(),
        power=power,
        freedom=freedom,
        count=regression.count,
    )
