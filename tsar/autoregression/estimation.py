"""Estimation of the equations of some groups: solve, select regressors, correct, summarize."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.bias_correction import correct_bias, drift_shrinkage, limit_roots
from tsar.autoregression.design import Design
from tsar.autoregression.gram import Moments, NormalEquations, lagged_moments
from tsar.autoregression.inverse_gram import InverseGram, inverse_gram, lag_inverse_gram
from tsar.autoregression.lag_selection import select_lags
from tsar.autoregression.least_squares import (
    Factorization,
    LeastSquares,
    active_block,
    factorize,
    least_squares,
    refit,
)
from tsar.autoregression.parameter_uncertainty import ParameterUncertainty
from tsar.autoregression.penalty import fit_penalized
from tsar.autoregression.refinement import refine, residual_sums
from tsar.autoregression.results import MIN_DF, STEPWISE, ARResults, concatenate
from tsar.autoregression.segments import Segments, size_classes

Sparsity = float | Literal["auto"] | None

# Likelihood ratio statistics of the least squares fit against the corrected one. Up to the first
# the correction applies in full, from the second on not at all. Roots need more: with few windows
# many lags fit oscillations by chance.
SUM_LR, ROOTS_LR = (20.0, 40.0), (60.0, 100.0)


@dataclass(frozen=True)
class FitSpec:
    """Specification of a fit; see `fit_closed_form`. `origin` is that of each regressor."""

    design: Design
    ridge: float
    sparsity: Sparsity
    origin: Float[Tensor, "group term"]
    n_series: Float[Tensor, " group"]
    bias_correction: bool
    share: Float[Tensor, " group"] | None
    selected: Bool[Tensor, "group term"] | None

    def select(self, groups: slice | Tensor) -> "FitSpec":
        """Specification for some groups."""
        return replace(
            self,
            origin=self.origin[groups],
            n_series=self.n_series[groups],
            share=None if self.share is None else self.share[groups],
            selected=None if self.selected is None else self.selected[groups],
        )


def fit_groups(
    channels: Float[Tensor, "channel total"], segments: Segments, spec: FitSpec
) -> ARResults:
    """Fit groups whose Gram matrices fit in memory at once; see `fit_closed_form`."""
    design = spec.design
    moments = lagged_moments(channels, segments, design.max_lag)
    if spec.share is not None:
        moments = moments.scaled(spec.share)
    if spec.sparsity is None and spec.selected is None and design.shares_regressors:
        equations = _equations(moments, design, 0, design.horizon - 1)
        return _fit_shared(moments, _Problem(equations, channels, segments), spec)
    steps = [
        _fit_step(_Problem(_equations(moments, design, step, step), channels, segments), spec)
        for step in range(design.horizon)
    ]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(step, name) for step in steps], dim=1) for name in STEPWISE
    }
    return replace(steps[0], **joined)


def _equations(moments: Moments, design: Design, first: int, last: int) -> NormalEquations:
    """Normal equations of steps `first` to `last`, which must have the same regressors."""
    targets = moments.terms(0, design.horizon - 1 - last, design.horizon - 1 - first).flip(0)
    return moments.normal_equations(design.regressors(moments, first), targets)


@dataclass(frozen=True)
class _Problem:
    """Normal equations, and the data that they were computed from."""

    equations: NormalEquations
    channels: Float[Tensor, "channel total"]
    segments: Segments

    def take(self, groups: Int[Tensor, " taken"]) -> "_Problem":
        """Problem of some groups."""
        segments = self.segments.take(groups)
        return _Problem(self.equations.take(groups), self.channels, segments)

    def rss(self, coef: Float[Tensor, "group term step"]) -> Float[Tensor, "group step"]:
        """Residual sums of squares, to at least seven digits."""
        rss = self.equations.rss(coef)
        small = rss < 1e-8 * self.equations.tss  # lost in the rounding of the moments
        if bool(small.any()):  # device synchronization
            exact = residual_sums(coef, self.equations, self.channels, self.segments).rss
            rss = torch.where(small, exact.clamp(min=0), rss)
        return rss


def _fit_shared(moments: Moments, problem: _Problem, spec: FitSpec) -> ARResults:
    """Fit all steps by one factorization."""
    equations = problem.equations
    rough = least_squares(equations.gram, equations.cross, ridge=spec.ridge)
    solution = refine(rough, equations, problem.channels, problem.segments)
    inverse = lag_inverse_gram(moments, equations, solution, equations.regressor_mean - spec.origin)
    active = torch.ones_like(solution.coef, dtype=torch.bool)
    terms = torch.arange(active.shape[1], device=active.device).expand(active.shape[:2])
    estimate = _correct(
        solution.coef, solution.factorization, terms, active[:, :, 0], problem, spec
    )
    return _results(equations, estimate, active, inverse, inverse.root, terms, spec)


def _fit_step(problem: _Problem, spec: FitSpec) -> ARResults:
    """Fit one step with its own regressors, groups with similar numbers of them together."""
    coef, active = _select_regressors(problem.equations, spec)
    classes = list(size_classes(active.sum(1)))
    if len(classes) == 1:
        return _fit_active(problem, coef, active, classes[0][1], spec)
    parts = [
        _fit_active(problem.take(rows), coef[rows], active[rows], size, spec.select(rows))
        for rows, size in classes
    ]
    return concatenate(parts).take(torch.cat([rows for rows, _ in classes]).argsort())


def _fit_active(
    problem: _Problem,
    coef: Float[Tensor, "group term 1"],
    active: Bool[Tensor, "group term"],
    size: int,
    spec: FitSpec,
) -> ARResults:
    """Fit one step with at most `size` selected regressors, given their coefficients."""
    equations = problem.equations
    terms, block = active_block(equations.gram, active, size)
    factorization = factorize(block, ridge=spec.ridge)
    if bool(factorization.ill_conditioned.any()):  # device synchronization
        restricted = equations.restrict(active)
        rough = LeastSquares(coef, factorize(restricted.gram, ridge=spec.ridge))
        coef = refine(rough, restricted, problem.channels, problem.segments).coef
    mean = (equations.regressor_mean - spec.origin) * active
    inverse = inverse_gram(factorization, block, mean.gather(1, terms))
    diagonal = torch.zeros_like(mean).scatter(1, terms, inverse.diagonal)
    estimate = _correct(coef, factorization, terms, active, problem, spec)
    root, inverse = inverse.root, replace(inverse, diagonal=diagonal, root=None)
    return _results(equations, estimate, active[:, :, None], inverse, root, terms, spec)


def _select_regressors(
    equations: NormalEquations, spec: FitSpec
) -> tuple[Float[Tensor, "group term 1"], Bool[Tensor, "group term"]]:
    """Coefficients of the selected regressors, and which these are."""
    gram, cross, tss = equations.gram, equations.cross[:, :, 0], equations.tss[:, 0]
    sparsity = spec.sparsity
    if spec.selected is not None:
        return refit(gram, cross, spec.selected)[:, :, None], spec.selected
    if sparsity is None:
        solution = least_squares(gram, equations.cross, ridge=spec.ridge)
        return solution.coef, torch.ones_like(cross, dtype=torch.bool)
    if sparsity == "auto":
        selection = select_lags(gram, cross, tss, equations.nobs)
        return selection.coef[:, :, None], selection.active
    penalized = fit_penalized(gram, cross, tss, equations.nobs, density=float(sparsity))
    return penalized.coef[:, :, None], penalized.active


class _Estimate(NamedTuple):
    """Final coefficients, their residual sums of squares, and `BiasCorrection.drift_weight`."""

    coef: Float[Tensor, "group term step"]
    rss: Float[Tensor, "group step"]
    drift_weight: Float[Tensor, " group"]


def _correct(
    coef: Float[Tensor, "group term step"],
    factorization: Factorization,
    terms: Int[Tensor, "group active"],
    active: Bool[Tensor, "group term"],
    problem: _Problem,
    spec: FitSpec,
) -> _Estimate:
    """Correct the bias, if the specification says so and the fit hardly worsens.

    Significant growth, and recursions without noise, keep their least squares coefficients.
    """
    rss, nobs = problem.rss(coef), problem.equations.nobs
    if not spec.bias_correction:
        return _Estimate(coef, rss, torch.zeros_like(nobs))
    lags = active & (torch.arange(active.shape[1], device=active.device) < spec.design.order)
    solved = factorization.solve(lags.gather(1, terms).to(coef)[:, :, None])[:, :, 0]
    direction = torch.zeros_like(coef[:, :, 0]).scatter(1, terms, solved)
    corrected = correct_bias(coef[:, :, 0], direction, lags, nobs, spec.n_series)
    df_per_series = (nobs - active.sum(1) - 1) / spec.n_series
    weight = _correction_weight(rss, problem.rss(corrected.coef[:, :, None]), df_per_series, SUM_LR)
    coef = _blend(coef, corrected.coef[:, :, None], weight[:, None])
    limited = limit_roots(coef[:, :, 0], spec.design.order, nobs)[:, :, None]
    # Significant oscillations keep their roots, and so does significant growth.
    limit_weight = _correction_weight(rss, problem.rss(limited), df_per_series, ROOTS_LR)
    coef = _blend(coef, limited, (weight * limit_weight)[:, None])
    return _Estimate(coef, problem.rss(coef), corrected.drift_weight * weight[:, 0])


def _blend(
    first: Float[Tensor, "group term step"],
    second: Float[Tensor, "group term step"],
    weight: Float[Tensor, "group 1 step"],
) -> Float[Tensor, "group term step"]:
    """Weighted mean; unlike lerp, it rounds alike for any number of groups."""
    return first + weight * (second - first)


def _correction_weight(
    rss: Float[Tensor, "group step"],
    corrected_rss: Float[Tensor, "group step"],
    df_resid: Float[Tensor, " group"],
    thresholds: tuple[float, float],
) -> Float[Tensor, "group step"]:
    """Weight of corrected coefficients: 1 where their fit is hardly worse, down to 0.

    By the likelihood ratio statistic, linear between the two thresholds; averaged over the series
    of a group, because their bias does not depend on how many they are.
    """
    tiny = torch.finfo(rss.dtype).tiny
    statistic = df_resid[:, None] * (corrected_rss.clamp(min=tiny) / rss.clamp(min=tiny)).log()
    low, high = thresholds
    return ((high - statistic) / (high - low)).clamp(0, 1)


def _results(
    equations: NormalEquations,
    estimate: _Estimate,
    active: Bool[Tensor, "group term step"],
    inverse: InverseGram,
    root: Float[Tensor, "group active active"] | None,
    terms: Int[Tensor, "group active"],
    spec: FitSpec,
) -> ARResults:
    """Standard errors, degrees of freedom and uncertainty of an estimate."""
    coef, rss, nobs = estimate.coef, estimate.rss, equations.nobs
    df_resid = (nobs - inverse.rank - 1)[:, None].expand_as(rss)
    variance = rss / df_resid.clamp(min=MIN_DF)
    coef_variance = inverse.diagonal.clamp(min=0)[:, :, None] * variance[:, None]
    mean_variance = variance * (1 / nobs.clamp(min=1) + inverse.mean_form)[:, None]
    results = ARResults(
        coef=coef.transpose(1, 2),
        std_err=coef_variance.sqrt().transpose(1, 2),
        active=active.transpose(1, 2),
        intercept=equations.intercept(coef),
        intercept_std_err=mean_variance.sqrt(),
        rss=rss,
        df_resid=df_resid,
        nobs=nobs,
        n_series=spec.n_series,
    )
    results = _shrink_drift(results, estimate.drift_weight, spec)
    if spec.design.horizon > 1 or root is None:
        return results
    n_active, share = results.active.sum(dim=(1, 2)), results.estimation_share[:, 0]
    uncertainty = ParameterUncertainty.from_fit(
        terms, root, equations.regressor_mean, n_active, share, nobs / spec.n_series
    )
    return replace(results, uncertainty=uncertainty)


def _shrink_drift(
    results: ARResults, drift_weight: Float[Tensor, " group"], spec: FitSpec
) -> ARResults:
    """Shrink a drift that is within its standard error; not with covariates."""
    if not spec.bias_correction or spec.design.n_past + spec.design.n_future:
        return results
    intercept, nobs = results.intercept, results.nobs
    variance = results.resid_std[:, 0].square()
    factor = drift_shrinkage(drift_weight, intercept[:, 0], variance, nobs)[:, None]
    added = nobs[:, None] * (intercept * (1 - factor)).square()
    return replace(results, intercept=intercept * factor, rss=results.rss + added)
