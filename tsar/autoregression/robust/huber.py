"""Regression with Huber's loss, from a robust start, batched over systems."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.autoregression.least_squares import factorize
from tsar.autoregression.results import MIN_DF
from tsar.autoregression.robust.rows import Rows

TUNING = (
    1.345  # robust deviations beyond which the loss is linear: 95 % efficient for normal errors
)
# Robust deviations beyond which residuals count in the scale as if at that bound, and the mean of
# the bounded squares of normal numbers. The scale breaks down from a share 0.92 / 4 of outliers on.
BOUND, BOUNDED_SQUARE = 2.0, 0.9205369
SCALE_STEPS, MAX_STEPS = 100, 200
TOLERANCE = 1e-9  # largest change of the fitted values at convergence, in robust deviations
EXACT = 1e-7  # residuals within this share of the target are rounding: least squares is exact
NORMAL = 1.4826  # standard deviation of normal numbers over their median absolute deviation


class HuberFit(NamedTuple):
    """Coefficients, the robust scale of their residuals, and the factor of their standard errors.

    Standard errors are those of least squares with residuals of deviation `std_err_scale`. The
    intercept is that of centred regressors.
    """

    coef: Float[Tensor, "group term"]
    intercept: Float[Tensor, " group"]
    scale: Float[Tensor, " group"]
    std_err_scale: Float[Tensor, " group"]
    df_resid: Float[Tensor, " group"]


def fit_huber(
    rows: Rows,
    coef: Float[Tensor, "group term"],
    intercept: Float[Tensor, " group"],
    ridge: float = 0.0,
) -> HuberFit:
    """Minimize Huber's loss of the residuals, quadratic up to 1.345 robust deviations.

    Least squares of the fitted values plus the residuals bounded by that, again and again: each
    step solves with the same factorization. The deviation is that of the start (`huber_scale`).

    Parameters
    ----------
    rows
        Regressions.
    coef, intercept
        Start; the intercept is that of centred regressors.
    ridge
        See `least_squares`.

    References
    ----------
    P. J. Huber, Robust Statistics (1981), section 7.8: the method of modified residuals; its
    equation 7.6.9 gives the standard errors.
    """
    nobs, n_terms = rows.nobs, rows.active.sum(dim=1)
    df_resid = (nobs - n_terms - 1).clamp(min=MIN_DF)
    factorization = factorize(rows.gram(rows.weight), ridge=ridge)
    shrinkage = ridge * rows.gram(rows.weight).diagonal(dim1=1, dim2=2)
    residuals = rows.residuals(coef, intercept)
    scale = huber_scale(residuals, rows.weight, df_resid)
    spread = (rows.target.square() * rows.weight).sum(dim=1).div(nobs.clamp(min=1)).sqrt()
    moving = (scale > EXACT * spread) & (nobs > n_terms + 1)
    bound = TUNING * scale[:, None]
    deviation = (rows.regressors.square() * rows.weight[:, None]).sum(dim=2)
    deviation = (deviation / nobs.clamp(min=1)[:, None]).sqrt()
    for _ in range(MAX_STEPS):
        bounded = residuals.clamp(-bound, bound) * rows.weight
        gradient = rows.cross(bounded) - shrinkage * coef
        change = factorization.solve(gradient[:, :, None])[:, :, 0] * moving[:, None]
        shift = bounded.sum(dim=1) / nobs.clamp(min=1) * moving
        coef, intercept = coef + change, intercept + shift
        residuals = rows.residuals(coef, intercept)
        largest = torch.maximum((change * deviation).abs().amax(dim=1), shift.abs())
        moving = moving & (largest > TOLERANCE * scale)
        if not bool(moving.any()):  # device synchronization
            break
    final = huber_scale(residuals, rows.weight, df_resid)
    return HuberFit(coef, intercept, final, _std_err_scale(rows, residuals, bound), df_resid)


def _std_err_scale(
    rows: Rows, residuals: Float[Tensor, "group row"], bound: Float[Tensor, "group 1"]
) -> Float[Tensor, " group"]:
    """Deviation of residuals of least squares with the same standard errors."""
    nobs, n_terms = rows.nobs.clamp(min=1), rows.active.sum(dim=1) + 1
    within = (residuals.abs() <= bound).double()
    share = ((within * rows.weight).sum(dim=1) / nobs).clamp(min=MIN_DF)
    bounded = (residuals.clamp(-bound, bound).square() * rows.weight).sum(dim=1)
    variance = bounded / (nobs - n_terms).clamp(min=MIN_DF)
    factor = 1 + n_terms / nobs * (1 - share) / share
    return factor * variance.sqrt() / share


def huber_scale(
    residuals: Float[Tensor, "group row"],
    weight: Float[Tensor, "group row"],
    df_resid: Float[Tensor, " group"],
) -> Float[Tensor, " group"]:
    """Robust standard deviation of residuals: Huber's proposal 2.

    The scale s at which the sum of min(r / s, 2)^2 is what normal residuals would have.
    At most 0.92 / 4 of the residuals may be outliers of any size.

    Parameters
    ----------
    residuals, weight
        Residuals and their weights.
    df_resid
        Degrees of freedom.

    Examples
    --------
    >>> residuals = torch.tensor([[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1e9]], dtype=torch.float64)
    >>> huber_scale(residuals, torch.ones_like(residuals), torch.tensor([7.0])).round(decimals=2)
    tensor([1.5700], dtype=torch.float64)
    """
    size = torch.where(weight > 0, residuals.abs(), torch.nan)
    total = df_resid.clamp(min=MIN_DF) * BOUNDED_SQUARE
    rms = ((residuals.square() * weight).sum(dim=1) / df_resid.clamp(min=MIN_DF)).sqrt()
    start = NORMAL * size.nanmedian(dim=1).values.nan_to_num(0.0)
    scale = torch.where(start > 0, start, rms)
    for _ in range(SCALE_STEPS):
        bound = BOUND * scale[:, None]
        squares = (residuals.clamp(-bound, bound).square() * weight).sum(dim=1)
        new = (squares / total).sqrt()
        change = (new - scale).abs() > TOLERANCE * scale
        scale = new
        if not bool(change.any()):  # device synchronization
            break
    return scale
