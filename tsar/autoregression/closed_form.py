"""Autoregression in closed form: lags of the target and of covariates, for one step or many."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.estimates import ROOM, Estimates
from tsar.autoregression.gram import Moments, Regression, lagged_moments
from tsar.autoregression.penalty import penalize
from tsar.autoregression.persistence import correct_persistence, limit_growth
from tsar.autoregression.precision import Precision, lag_precision, precision
from tsar.autoregression.refine import refine, residuals
from tsar.autoregression.runs import Runs
from tsar.autoregression.select import select_lags
from tsar.autoregression.solve import (
    Factorization,
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
    estimates: Estimates | None = None

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
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: part.to(device) for name, part in parts.items() if part is not None}
        return replace(self, **moved)


def fit_closed_form(
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    terms: Terms,
    *,
    ridge: float = 0.0,
    sparsity: Sparsity = None,
    origin: Float[Tensor, "group channel"] | None = None,
    series: Float[Tensor, " group"] | None = None,
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
    series
        Series of each group, by which the bias of one equation is told; it is corrected, and its
        recursion kept from running away (`correct_persistence`, `limit_growth`). None: neither.

    Returns
    -------
    ClosedForm
        Always finite; a group without a complete window has coefficients of zero.

    Raises
    ------
    ValueError
        Of several steps the bias was to be corrected.

    Examples
    --------
    >>> import torch
    >>> series = torch.arange(40, dtype=torch.float64).sin()[None]
    >>> runs = Runs(torch.tensor([0]), torch.tensor([40]), torch.tensor([0]), 1)
    >>> fit_closed_form(series, runs, Terms(lags=2, horizon=1)).coef.round(decimals=4)
    tensor([[[ 1.0806, -1.0000]]], dtype=torch.float64)
    """
    if series is not None and terms.horizon > 1:
        raise ValueError(
            f"series must be None with several steps, whose bias is not known; got a horizon of "
            f"{terms.horizon}. Leave it out."
        )
    moments = lagged_moments(channels, runs, terms.max_lag)
    zero = moments.mean.new_zeros(runs.n_groups, len(channels)) if origin is None else origin
    how = _How(terms, ridge, sparsity, terms.spread(zero.to(moments.mean)), series)
    if sparsity is None and terms.shared:
        return _fit_shared(moments, channels, runs, how)
    pieces = [
        _fit_step(_regression(moments, terms, step, step), channels, runs, how)
        for step in range(terms.horizon)
    ]
    if len(pieces) == 1:
        return pieces[0]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(piece, name) for piece in pieces], dim=1) for name in STEPWISE
    }
    return replace(pieces[0], **joined)


STEPWISE = ("coef", "error", "active", "intercept", "intercept_error", "power", "freedom")


def _regression(moments: Moments, terms: Terms, first: int, last: int) -> Regression:
    """Normal equations of steps `first` to `last`, which must have the same regressors."""
    targets = moments.terms(0, terms.horizon - 1 - last, terms.horizon - 1 - first).flip(0)
    return moments.regression(terms.regressors(moments, first), targets)


@dataclass(frozen=True)
class _How:
    """What is asked for; `zero` is the origin at each term."""

    terms: Terms
    ridge: float
    sparsity: Sparsity
    zero: Float[Tensor, "group term"]
    series: Float[Tensor, " group"] | None

    def lags(self, active: Bool[Tensor, "group term"]) -> Bool[Tensor, "group term"]:
        """The active terms that are lags of the target."""
        return active & (torch.arange(active.shape[1], device=active.device) < self.terms.lags)


def _fit_shared(
    moments: Moments, channels: Float[Tensor, "channel total"], runs: Runs, how: _How
) -> ClosedForm:
    """All steps by one factorization."""
    regression = _regression(moments, how.terms, 0, how.terms.horizon - 1)
    rough = least_squares(regression.gram, regression.cross, ridge=how.ridge)
    solution = refine(rough, regression, channels, runs)
    known = lag_precision(moments, regression, solution, regression.regressor_mean - how.zero)
    active = torch.ones_like(solution.coef, dtype=torch.bool)
    rows = torch.arange(active.shape[1], device=active.device).expand(active.shape[:2])
    factorization = solution.factorization
    coef = _unbiased(solution.coef, factorization, rows, active[:, :, 0], regression, how)
    power = _power(regression, coef, channels, runs)
    estimates = _estimates(regression, regression.gram, rows, how)
    return _assemble(regression, coef, active, power, known, estimates)


def _fit_step(
    regression: Regression, channels: Float[Tensor, "channel total"], runs: Runs, how: _How
) -> ClosedForm:
    """One step with its own regressors."""
    coef, active = _choose(regression, how.ridge, how.sparsity)
    rows, block = _active_block(regression.gram, active)
    factorization = factorize(block, ridge=how.ridge)
    if bool(factorization.ill_conditioned.any()):  # the host waits here
        kept = regression.restrict(active)
        rough = LeastSquares(coef, factorize(kept.gram, ridge=how.ridge))
        coef = refine(rough, kept, channels, runs).coef
    means = (regression.regressor_mean - how.zero) * active
    known = precision(factorization, block, means.gather(1, rows))
    spread = torch.zeros_like(regression.cross[:, :, 0]).scatter(1, rows, known.diagonal)
    coef = _unbiased(coef, factorization, rows, active, regression, how)
    power = _power(regression, coef, channels, runs)
    known = replace(known, diagonal=spread)
    estimates = _estimates(regression, block, rows, how)
    return _assemble(regression, coef, active[:, :, None], power, known, estimates)


def _unbiased(
    coef: Float[Tensor, "group term step"],
    factorization: Factorization,
    rows: Int[Tensor, "group kept"],
    active: Bool[Tensor, "group term"],
    regression: Regression,
    how: _How,
) -> Float[Tensor, "group term step"]:
    """Coefficients with the persistence corrected, where that is asked for."""
    if how.series is None:
        return coef
    lags = how.lags(active)
    small = factorization.solve(lags.gather(1, rows).to(coef)[:, :, None])[:, :, 0]
    direction = torch.zeros_like(coef[:, :, 0]).scatter(1, rows, small)
    count, series = regression.count, how.series.to(coef)
    found = correct_persistence(coef[:, :, 0], direction, lags, count, series)
    return limit_growth(found, how.terms.lags, count)[:, :, None]


def _estimates(
    regression: Regression,
    block: Float[Tensor, "group kept kept"],
    rows: Int[Tensor, "group kept"],
    how: _How,
) -> Estimates | None:
    """Of one equation without a ridge, whose errors are others; None where it is too large."""
    if how.terms.horizon > 1 or how.ridge or block.numel() > ROOM:
        return None
    return Estimates(rows, block, regression.regressor_mean.gather(1, rows), regression.count)


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
    estimates: Estimates | None,
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
        estimates=estimates,
    )
