"""Equations of some groups by least squares: one for each step, or one for all."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.estimates import Estimates
from tsar.autoregression.gram import Moments, Regression, lagged_moments
from tsar.autoregression.penalty import penalize
from tsar.autoregression.persistence import correct_persistence, drift_share, limit_growth
from tsar.autoregression.precision import Precision, lag_precision, precision
from tsar.autoregression.refine import refine, residuals
from tsar.autoregression.runs import Runs
from tsar.autoregression.select import select_lags
from tsar.autoregression.solution import LEAST, STEPWISE, ClosedForm, Terms
from tsar.autoregression.solve import (
    Factorization,
    LeastSquares,
    factorize,
    least_squares,
    submatrix,
)

Sparsity = float | Literal["auto"] | None

# Twice the logarithm of the likelihood ratio, up to which what least squares found may be chance,
# and from which on it is none. Of swings it takes more: many lags swing with few windows.
GROWN, SWINGING = (20.0, 40.0), (60.0, 100.0)


@dataclass(frozen=True)
class How:
    """What is asked for of some groups; `zero` is the origin at each term."""

    terms: Terms
    ridge: float
    sparsity: Sparsity
    zero: Float[Tensor, "group term"]
    series: Float[Tensor, " group"]
    corrected: bool

    def select(self, groups: Int[Tensor, " chosen"]) -> "How":
        """The same of some groups."""
        chosen = groups.to(self.zero.device)
        return replace(self, zero=self.zero[chosen], series=self.series.to(self.zero)[chosen])

    def lags(self, active: Bool[Tensor, "group term"]) -> Bool[Tensor, "group term"]:
        """The active terms that are lags of the target."""
        return active & (torch.arange(active.shape[1], device=active.device) < self.terms.lags)


def fit_groups(channels: Float[Tensor, "channel total"], runs: Runs, how: How) -> ClosedForm:
    """Fit groups whose Gram matrices are held at once; see `fit_closed_form`."""
    terms = how.terms
    moments = lagged_moments(channels, runs, terms.max_lag)
    if how.sparsity is None and terms.shared:
        regression = _regression(moments, terms, 0, terms.horizon - 1)
        return _fit_shared(moments, _System(regression, channels, runs), how)
    steps = [
        _fit_step(_System(_regression(moments, terms, step, step), channels, runs), how)
        for step in range(terms.horizon)
    ]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(step, name) for step in steps], dim=1) for name in STEPWISE
    }
    return replace(steps[0], **joined)


def _regression(moments: Moments, terms: Terms, first: int, last: int) -> Regression:
    """Normal equations of steps `first` to `last`, which must have the same regressors."""
    targets = moments.terms(0, terms.horizon - 1 - last, terms.horizon - 1 - first).flip(0)
    return moments.regression(terms.regressors(moments, first), targets)


@dataclass(frozen=True)
class _System:
    """Normal equations, and the points that they were made of."""

    regression: Regression
    channels: Float[Tensor, "channel total"]
    runs: Runs

    def power(self, coef: Float[Tensor, "group term step"]) -> Float[Tensor, "group step"]:
        """Sums of squared residuals, to at least seven digits."""
        power = self.regression.residual_power(coef)
        faint = power < 1e-8 * self.regression.power
        if bool(faint.any()):  # the host waits here; so little is lost in rounding of the moments
            exact = residuals(coef, self.regression, self.channels, self.runs).power.clamp(min=0)
            power = torch.where(faint, exact, power)
        return power


def _fit_shared(moments: Moments, system: _System, how: How) -> ClosedForm:
    """All steps by one factorization."""
    regression = system.regression
    rough = least_squares(regression.gram, regression.cross, ridge=how.ridge)
    solution = refine(rough, regression, system.channels, system.runs)
    known = lag_precision(moments, regression, solution, regression.regressor_mean - how.zero)
    active = torch.ones_like(solution.coef, dtype=torch.bool)
    rows = torch.arange(active.shape[1], device=active.device).expand(active.shape[:2])
    factorization, kept = solution.factorization, active[:, :, 0]
    settled = _unbiased(solution.coef, factorization, rows, kept, system, how)
    return _finish(regression, settled, active, known, known.root, rows, how)


def _fit_step(system: _System, how: How) -> ClosedForm:
    """One step with its own regressors."""
    regression = system.regression
    coef, active = _choose(regression, how.ridge, how.sparsity)
    rows, block = _active_block(regression.gram, active)
    factorization = factorize(block, ridge=how.ridge)
    if bool(factorization.ill_conditioned.any()):  # the host waits here
        kept = regression.restrict(active)
        rough = LeastSquares(coef, factorize(kept.gram, ridge=how.ridge))
        coef = refine(rough, kept, system.channels, system.runs).coef
    means = (regression.regressor_mean - how.zero) * active
    known = precision(factorization, block, means.gather(1, rows))
    spread = torch.zeros_like(regression.cross[:, :, 0]).scatter(1, rows, known.diagonal)
    settled = _unbiased(coef, factorization, rows, active, system, how)
    root, known = known.root, replace(known, diagonal=spread, root=None)
    return _finish(regression, settled, active[:, :, None], known, root, rows, how)


class _Settled(NamedTuple):
    """Coefficients as they are used, their residuals, and how much of a drift the constant is."""

    coef: Float[Tensor, "group term step"]
    power: Float[Tensor, "group step"]
    beyond: Float[Tensor, " group"]


def _unbiased(
    coef: Float[Tensor, "group term step"],
    factorization: Factorization,
    rows: Int[Tensor, "group kept"],
    active: Bool[Tensor, "group term"],
    system: _System,
    how: How,
) -> _Settled:
    """Coefficients corrected, where that is asked for and nothing speaks against.

    Growth that is beyond doubt, and recursions without noise, stay as least squares has them.
    """
    power, count = system.power(coef), system.regression.count
    if not how.corrected:
        return _Settled(coef, power, torch.zeros_like(count))
    lags = how.lags(active)
    small = factorization.solve(lags.gather(1, rows).to(coef)[:, :, None])[:, :, 0]
    direction = torch.zeros_like(coef[:, :, 0]).scatter(1, rows, small)
    raised = correct_persistence(coef[:, :, 0], direction, lags, count, how.series)
    freedom = (count - active.sum(1) - 1) / how.series
    doubt = _doubt(power, system.power(raised.coef[:, :, None]), freedom, GROWN)
    found = torch.lerp(coef, raised.coef[:, :, None], doubt[:, None])
    tamed = limit_growth(found[:, :, 0], how.terms.lags, count)[:, :, None]
    # Swings that are beyond doubt stay, too, and those of a growth that does.
    calm = doubt * _doubt(power, system.power(tamed), freedom, SWINGING)
    found = torch.lerp(found, tamed, calm[:, None])
    return _Settled(found, system.power(found), raised.beyond * doubt[:, 0])


def _finish(
    regression: Regression,
    settled: _Settled,
    active: Bool[Tensor, "group term step"],
    known: Precision,
    root: Float[Tensor, "group kept kept"] | None,
    rows: Int[Tensor, "group kept"],
    how: How,
) -> ClosedForm:
    """All that goes with settled coefficients."""
    found = _assemble(regression, settled.coef, active, settled.power, known, how)
    found = _less_drift(found, settled.beyond, how)
    return replace(found, estimates=_estimates(regression, root, rows, found, how))


def _doubt(
    power: Float[Tensor, "group step"],
    raised: Float[Tensor, "group step"],
    freedom: Float[Tensor, " group"],
    between: tuple[float, float],
) -> Float[Tensor, "group step"]:
    """From 1, where coefficients that fit less well are as good as others, to 0.

    By twice the logarithm of the likelihood ratio, from the first number to the second; of several
    series it is a mean, for their bias is there however many they are.
    """
    least = torch.finfo(power.dtype).tiny
    ratio = freedom[:, None] * (raised.clamp(min=least) / power.clamp(min=least)).log()
    unsure, sure = between
    return ((sure - ratio) / (sure - unsure)).clamp(0, 1)


def _less_drift(found: ClosedForm, beyond: Float[Tensor, " group"], how: How) -> ClosedForm:
    """The same with as much of a drift as is more than chance; without covariates."""
    if not how.corrected or how.terms.past + how.terms.future:
        return found
    variance = found.deviation[:, 0].square()
    share = drift_share(beyond, found.intercept[:, 0], variance, found.count)[:, None]
    lost = found.count[:, None] * (found.intercept * (1 - share)).square()
    return replace(found, intercept=found.intercept * share, power=found.power + lost)


def _estimates(
    regression: Regression,
    root: Float[Tensor, "group kept kept"] | None,
    rows: Int[Tensor, "group kept"],
    found: ClosedForm,
    how: How,
) -> Estimates | None:
    """Of one equation, of few terms and without a ridge, whose errors are others."""
    if how.terms.horizon > 1 or root is None:
        return None
    return Estimates.of(
        rows,
        root,
        regression.regressor_mean,
        found.active.sum(dim=(1, 2)),
        found.estimated[:, 0],
        regression.count / how.series,
    )


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


def _assemble(
    regression: Regression,
    coef: Float[Tensor, "group term step"],
    active: Bool[Tensor, "group term step"],
    power: Float[Tensor, "group step"],
    known: Precision,
    how: How,
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
        series=how.series.to(power),
    )
