"""Robust fits of the equations of all groups and steps, given their regressors and a start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.results import MIN_DF, ARResults
from tsar.autoregression.robust.huber import fit_huber
from tsar.autoregression.robust.quantile_regression import fit_quantiles
from tsar.autoregression.robust.rows import Rows, RowSource
from tsar.autoregression.segments import size_classes
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within

# Rows for each coefficient without which the start stays: fewer could be fitted exactly.
ROWS_PER_COEF = 2

Part = tuple[Int[Tensor, " taken"], Rows, Int[Tensor, "taken active"]]


@dataclass(frozen=True)
class QuantileEquations:
    """Coefficients and intercepts of each quantile level."""

    coef: Float[Tensor, "group step level term"]
    intercept: Float[Tensor, "group step level"]


def huber_equations(source: RowSource, start: ARResults, ridge: float = 0.0) -> ARResults:
    """Fit each equation with Huber's loss to the regressors that another fit selected.

    Parameters
    ----------
    source
        Rows of the regressions.
    start
        Least squares of series without outliers.
    ridge
        See `least_squares`.

    Returns
    -------
    ARResults
        Residual sums of squares are those of the robust scale (`huber_scale`).
    """
    coef, intercept = start.coef.clone(), start.intercept.clone()
    rss, df_resid, std_err = start.rss.clone(), start.df_resid.clone(), start.std_err.clone()
    intercept_std_err = start.intercept_std_err.clone()
    for step in range(coef.shape[1]):
        for groups, rows, terms in _parts(source, start, step):
            first = coef[groups, step].gather(1, terms)
            offset = (rows.mean * first * rows.active).sum(dim=1)
            fit = fit_huber(rows, first * rows.active, intercept[groups, step] + offset, ridge)
            offset = (rows.mean * fit.coef).sum(dim=1)
            coef[groups, step] = torch.zeros_like(coef[groups, step]).scatter(1, terms, fit.coef)
            intercept[groups, step] = fit.intercept - offset
            factor = fit.std_err_scale / start.resid_std[groups, step].clamp(min=MIN_DF)
            std_err[groups, step] *= factor[:, None]
            intercept_std_err[groups, step] *= factor
            df_resid[groups, step] = fit.df_resid
            rss[groups, step] = fit.scale.square() * fit.df_resid
    return replace(
        start,
        coef=coef,
        intercept=intercept,
        rss=rss,
        df_resid=df_resid,
        std_err=std_err,
        intercept_std_err=intercept_std_err,
    )


def quantile_equations(
    source: RowSource, start: ARResults, levels: Sequence[float], ridge: float = 0.0
) -> QuantileEquations:
    """Fit an equation for each quantile level to the regressors that another fit selected.

    Parameters
    ----------
    source
        Rows of the regressions.
    start
        Least squares of series without outliers, whose regressors are taken.
    levels
        Quantile levels.
    ridge
        See `fit_quantiles`.
    """
    coef = start.coef[:, :, None].repeat(1, 1, len(levels), 1)
    level = start.intercept.new_tensor(list(levels))
    scores = torch.special.ndtri(level)
    intercept = start.intercept[:, :, None] + scores * start.resid_std[:, :, None]
    for step in range(coef.shape[1]):
        for groups, rows, terms in _parts(source, start, step):
            pairs = torch.cartesian_prod(torch.arange(len(groups)), torch.arange(len(levels)))
            for some in pairs.split(rows_within(CACHE_ELEMENTS, rows.regressors[0].numel())):
                row, index = some.T
                fit = fit_quantiles(rows.take(row), level[index], ridge)
                empty = coef.new_zeros(len(row), coef.shape[3])
                coef[groups[row], step, index] = empty.scatter(1, terms[row], fit.coef)
                offset = (rows.mean[row] * fit.coef).sum(dim=1)
                intercept[groups[row], step, index] = fit.intercept - offset
    return QuantileEquations(coef, intercept)


def _parts(source: RowSource, start: ARResults, step: int) -> Iterator[Part]:
    """Groups with enough rows, these, and the terms of their columns; similar groups together.

    Groups are padded to sizes that depend on themselves alone, as padding changes the rounding.
    """
    active, counts = start.active[:, step], source.counts()
    for some, size in size_classes(active.sum(dim=1)):
        for inner, length in size_classes(counts[some]):
            inside = some[inner]
            for groups in inside.split(rows_within(CACHE_ELEMENTS, length * size)):
                rows, terms = source.read(groups, step, active[groups], size)
                enough = rows.nobs > ROWS_PER_COEF * (rows.active.sum(dim=1) + 1)
                kept = enough.nonzero()[:, 0]
                if len(kept):
                    yield groups[kept], rows.take(kept), terms[kept]
