"""Least squares of an order chosen by AICc among 0, 1, 2 ..., batched over short series."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.runtime.memory import BLOCK_ELEMENTS, chunked, rows_within

# Added to the diagonal of correlations, so that dependent lags can be factorized; far below what
# the choice of an order or a forecast can show.
JITTER = 1e-10


class NestedFit(NamedTuple):
    """Equations of the chosen orders: coefficients, lag 1 first, 0 beyond the order; intercepts."""

    coef: Float[Tensor, "series lag"]
    intercept: Float[Tensor, " series"]


def fit_nested(
    values: Float[Tensor, "series time"],
    max_orders: Int[Tensor, " series"],
    width: int,
    *,
    fit_intercept: bool = True,
) -> NestedFit:
    """Fit autoregressions whose orders minimize the corrected information criterion of Akaike.

    All orders of a series are compared on the same targets, those after its `max_orders` points,
    by one Cholesky factorization, whose leading blocks are those of the smaller orders.

    Parameters
    ----------
    values
        Newest last, NaN before the first point of a series only.
    max_orders
        Largest order of each series.
    width
        Number of lags of the result, at least the largest of `max_orders`. The last digits of the
        result depend on it.
    fit_intercept
        Whether the equations have an intercept; otherwise the mean of the series is zero.

    References
    ----------
    C. Hurvich, C.-L. Tsai, Regression and time series model selection in small samples, Biometrika
    76 (1989).

    Examples
    --------
    >>> wave = torch.arange(40, dtype=torch.float64).sin()[None]
    >>> fit_nested(wave, torch.tensor([2]), 2).coef.round(decimals=4)
    tensor([[ 1.0806, -1.0000]], dtype=torch.float64)
    """

    def fit(rows: slice) -> NestedFit:
        return _fit(values[rows], max_orders[rows], width, fit_intercept)

    size = rows_within(BLOCK_ELEMENTS, values.shape[1] * (width + 1) + 4 * width**2)
    parts = list(chunked(fit, len(values), size))
    return NestedFit(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _fit(
    values: Float[Tensor, "series time"],
    max_orders: Int[Tensor, " series"],
    width: int,
    fit_intercept: bool,
) -> NestedFit:
    first = (~values.isnan()).int().argmax(dim=1) + max_orders
    nobs = (values.shape[1] - first).clamp(min=0).to(values)
    level = values.nanmean(dim=1).nan_to_num(0.0) if fit_intercept else torch.zeros_like(nobs)
    padded = torch.nn.functional.pad((values - level[:, None]).nan_to_num(0.0), (width, 0))
    allowed = torch.arange(width + 1) <= max_orders[:, None]
    gram = _lag_products(padded, first, width)
    if fit_intercept:
        total = _lag_sums(padded, first, width)
        mean = total / nobs.clamp(min=1)[:, None]
        gram = gram - total[:, :, None] * mean[:, None]
    gram = gram * (allowed[:, :, None] & allowed[:, None])
    coef = _solve(gram, nobs, allowed, fit_intercept)
    if not fit_intercept:
        return NestedFit(coef, level)
    mean = mean + level[:, None]
    return NestedFit(coef, mean[:, 0] - (coef * mean[:, 1:]).sum(dim=1))


def _lag_products(
    padded: Float[Tensor, "series padded"], first: Int[Tensor, " series"], width: int
) -> Float[Tensor, "series term term"]:
    """Sums over the targets from `first` on of the products of lags 0 to `width`.

    The first row is summed; entry (i + 1, j + 1) is that of (i, j), plus the product of the points
    before the first target, less that of the last ones.

    Parameters
    ----------
    padded
        Values with `width` zeros before them.
    """
    time = padded.shape[1] - width
    targets = padded[:, width:] * (torch.arange(time) >= first[:, None])
    windows = padded.unfold(1, width + 1, 1)  # oldest lag first, the target last
    row = (targets[:, None] @ windows)[:, 0].flip(1)
    lags = torch.arange(width + 1)
    before = padded.gather(1, (first[:, None] + width - 1 - lags).clamp(min=0))
    last = padded[:, padded.shape[1] - 1 - lags]
    gram = row.new_zeros(len(row), width + 1, width + 1)
    gram[:, 0] = row
    for lag in range(width):
        added = before[:, lag : lag + 1] * before[:, lag:-1]
        removed = last[:, lag : lag + 1] * last[:, lag:-1]
        gram[:, lag + 1, lag + 1 :] = gram[:, lag, lag:-1] + added - removed
    return gram + gram.triu(1).mT


def _lag_sums(
    padded: Float[Tensor, "series padded"], first: Int[Tensor, " series"], width: int
) -> Float[Tensor, "series term"]:
    """Sums over the targets from `first` on of lags 0 to `width`."""
    time = torch.arange(padded.shape[1])
    lags = torch.arange(width + 1)
    mask = time >= (first + width)[:, None]
    total = (padded * mask).sum(dim=1, keepdim=True)
    before = padded.gather(1, (first[:, None] + width - 1 - lags[:-1]).clamp(min=0))
    change = before - padded[:, padded.shape[1] - 1 - lags[:-1]]
    return torch.cat([total, total + change.cumsum(dim=1)], dim=1)


def _solve(
    gram: Float[Tensor, "series term term"],
    nobs: Float[Tensor, " series"],
    allowed: Bool[Tensor, "series term"],
    fit_intercept: bool,
) -> Float[Tensor, "series lag"]:
    """Coefficients of the best order."""
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    correlation = gram / scale[:, :, None] / scale[:, None]
    regressors = correlation[:, 1:, 1:].clone()
    regressors.diagonal(dim1=1, dim2=2).fill_(1 + JITTER)
    factor, failure = torch.linalg.cholesky_ex(regressors)
    if bool(failure.any()):
        regressors.diagonal(dim1=1, dim2=2).fill_(1 + 1e4 * JITTER)
        factor = torch.where(
            (failure > 0)[:, None, None], torch.linalg.cholesky_ex(regressors).L, factor
        )
    cross = correlation[:, 1:, :1]
    steps = torch.linalg.solve_triangular(factor, cross, upper=False)[:, :, 0].nan_to_num(0.0)
    unexplained = 1 - torch.nn.functional.pad(steps.square().cumsum(dim=1), (1, 0))
    criterion = _aicc(unexplained, nobs, fit_intercept)
    order = torch.where(allowed, criterion, torch.inf).argmin(dim=1)
    used = torch.arange(steps.shape[1]) < order[:, None]
    kept = torch.where(used, steps, 0.0)[:, :, None]
    coef = torch.linalg.solve_triangular(factor.mT, kept, upper=True)[:, :, 0].nan_to_num(0.0)
    return coef * scale[:, :1] / scale[:, 1:]


def _aicc(
    unexplained: Float[Tensor, "series order"],
    nobs: Float[Tensor, " series"],
    fit_intercept: bool,
) -> Float[Tensor, "series order"]:
    """Criterion of orders 0, 1, ...; infinite without residual degrees of freedom.

    The coefficients, the intercept and the variance count as parameters.
    """
    n_parameters = torch.arange(unexplained.shape[1]) + (2 if fit_intercept else 1)
    df_resid = nobs[:, None] - n_parameters - 1
    fit = nobs[:, None] * unexplained.clamp(min=1e-12).log()
    penalty = 2 * n_parameters * nobs[:, None] / df_resid.clamp(min=1)
    return fit + torch.where(df_resid > 0, penalty, torch.inf)
