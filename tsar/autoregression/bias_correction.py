"""Small-sample bias correction: sum of the coefficients, explosive roots, drift."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.dynamics import is_stable, roots
from tsar.autoregression.segments import size_classes

MAX_SUM = 1.0  # largest corrected sum of the coefficients: a unit root
DRIFT_SLOPE = 4.0  # a quarter of the bias beyond a sum of 1 makes the intercept a drift
MAX_LOG_GROWTH = 1.0  # of an oscillation, over as many steps as there were windows


class BiasCorrection(NamedTuple):
    """Corrected coefficients, and the weight (0 to 1) of treating the intercept as a drift.

    The weight is 1 where the corrected sum would exceed 1 by a quarter of the bias or more
    (`DRIFT_SLOPE`), 0 where it is below 1, and linear between.
    """

    coef: Float[Tensor, "group term"]
    drift_weight: Float[Tensor, " group"]


def correct_bias(
    coef: Float[Tensor, "group term"],
    direction: Float[Tensor, "group term"],
    lags: Bool[Tensor, "group term"],
    nobs: Float[Tensor, " group"],
    n_series: Float[Tensor, " group"],
) -> BiasCorrection:
    """Raise the sum of least squares coefficients to remove its small-sample bias.

    The sum s of the coefficients (the persistence) is biased downwards because the mean is
    estimated from the same points: with one lag by (1 + 3 s) / n for n windows of one series, of
    which 2 s / n remain when the mean is known. The sum is raised by that, to 1 at most: a random
    walk with drift rather than an explosive series. Where later lags offset the first, as in
    cycles, the bias is smaller by the factor 1 + a2 + 2 a3 + 3 a4 ..., which also scales Dickey and
    Fuller's distribution with several lags. Where they reinforce it, the bias is larger; that part
    is not corrected. The coefficients are the best fit of all with that sum.

    Parameters
    ----------
    coef
        Least squares coefficients.
    direction
        ``inverse(gram) @ lags``: the change of the coefficients per change of their sum.
    lags
        The terms of the sum: active lags of the target, which come first.
    nobs, n_series
        Numbers of windows, and of the series that they come from, each with its own mean.

    References
    ----------
    M. G. Kendall, Note on bias in the estimation of autocorrelation, Biometrika 41 (1954).
    F. H. C. Marriott, J. A. Pope, Bias in the estimation of autocorrelations, Biometrika 41 (1954).
    S. Nickell, Biases in dynamic models with fixed effects, Econometrica 49 (1981), for several
    series. S. E. Said, D. A. Dickey, Testing for unit roots in autoregressive-moving average models
    of unknown order, Biometrika 71 (1984), for several lags. L. Kilian, Small-sample confidence
    intervals for impulse response functions, Review of Economics and Statistics 80 (1998), for
    forecasts by corrected coefficients.

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> half, lag = 0.5 * one[:, None], one[:, None] > 0
    >>> correct_bias(half, one[:, None], lag, 50 * one, one).coef
    tensor([[0.5500]], dtype=torch.float64)
    """
    total = (coef * lags).sum(1)
    nobs = nobs.clamp(min=1)
    index = torch.arange(coef.shape[1], device=coef.device)
    factor = (1 + (coef * lags * index).sum(1)).clamp(0, 1)
    bias = ((1 + total) * n_series / nobs + 2 * total / nobs).clamp(min=0) * factor
    corrected = (total + bias).clamp(max=MAX_SUM)
    change = (direction * lags).sum(1)
    # Without lags, or where they are constant, the sum can't change.
    possible = change > torch.finfo(change.dtype).tiny
    step = torch.where(possible, (corrected - total) / torch.where(possible, change, 1.0), 0.0)
    excess = (total + bias - MAX_SUM) / bias.clamp(min=torch.finfo(bias.dtype).eps)
    drift_weight = (DRIFT_SLOPE * excess).clamp(0, 1) * possible
    return BiasCorrection(coef + direction * step[:, None], drift_weight)


def limit_roots(
    coef: Float[Tensor, "group term"], order: int, nobs: Float[Tensor, " group"]
) -> Float[Tensor, "group term"]:
    """Shrink explosive roots, so that oscillations hardly grow.

    A root of size r > 1 multiplies an oscillation by r at every step. Few windows and many lags
    give such roots by chance, and forecasts far outside the range of the data. Where the largest
    root exceeds 1 + `MAX_LOG_GROWTH` / n, all roots are divided by the ratio of the two: the
    coefficient at lag j by its j-th power. The first `order` terms are lags of the target; n is the
    number of windows that they were fitted to.

    Examples
    --------
    >>> hundred = torch.tensor([100.0], dtype=torch.float64)
    >>> limit_roots(torch.tensor([[0.0, 1.21]], dtype=torch.float64), 2, hundred)
    tensor([[0.0000, 1.0201]], dtype=torch.float64)
    """
    lag = torch.arange(1, order + 1, device=coef.device)
    limit = 1 + MAX_LOG_GROWTH / nobs.clamp(min=1)
    limited = coef.clone()
    for rows, size in size_classes(((coef[:, :order] != 0) * lag).amax(1)):
        last = min(size, order)  # largest lag used in the class
        scaled = coef[rows, :last] / limit[rows, None] ** lag[:last]
        explosive = rows[~is_stable(scaled)]
        if len(explosive):
            used = coef[explosive, :last]
            ratio = (limit[explosive] / roots(used).abs().amax(1)).clamp(max=1.0)
            limited[explosive, :last] = used * ratio[:, None] ** lag[:last]
    return limited


def drift_shrinkage(
    drift_weight: Float[Tensor, " group"],
    drift: Float[Tensor, " group"],
    variance: Float[Tensor, " group"],
    nobs: Float[Tensor, " group"],
) -> Float[Tensor, " group"]:
    """Factor that shrinks a drift: 1 - 1 / t^2, and 0 where its t statistic is below 1.

    With coefficients that sum to 1 the intercept is a drift: each step of a forecast moves by it,
    and by its error. A drift within its standard error is noise (the non-negative garrote). With a
    `drift_weight` of 0 the intercept is no drift, and does not shrink. The variance is that of the
    residuals.

    References
    ----------
    L. Breiman, Better subset regression using the nonnegative garrote, Technometrics 37 (1995).

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> drift_shrinkage(one, 0.2 * one, one, 100 * one)
    tensor([0.7500], dtype=torch.float64)
    >>> drift_shrinkage(one, 0.05 * one, one, 100 * one)
    tensor([0.], dtype=torch.float64)
    """
    squared_error = variance / nobs.clamp(min=1)
    tiny = torch.finfo(drift.dtype).tiny
    noise_share = (squared_error / drift.square().clamp(min=tiny)).clamp(max=1)
    return 1 - drift_weight * noise_share
