"""How long an autoregression remembers, which least squares finds too short, or without an end."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.dynamics import ROUNDING, is_stable, roots

UNIT_ROOT = 1.0  # a sum of the coefficients beyond which a series would run away
GROWTH = 1.0  # logarithm of the most that a swing grows by over as many steps as there were windows


def correct_persistence(
    coef: Float[Tensor, "group term"],
    direction: Float[Tensor, "group term"],
    lags: Bool[Tensor, "group term"],
    count: Float[Tensor, " group"],
    series: Float[Tensor, " group"],
) -> Float[Tensor, "group term"]:
    """Least squares coefficients with a sum that is right on average.

    The sum s of the coefficients, the persistence, tells how much of a level is kept. Least squares
    finds it too low, because the mean is estimated from the points that are explained: with one lag
    by (1 + 3 s) / n for n windows of one series, of which 2 s / n are there also when the mean is
    known; with several by more. It is raised by that, to 1 at most: a random walk with drift, from
    which a series does not return, instead of one that runs away. The coefficients are those that
    fit best among all with that sum.

    Parameters
    ----------
    coef
        Least squares coefficients.
    direction
        ``inverse(gram) @ lags``: how they change with their sum.
    lags
        The terms that are summed: lags of the target that were not left out.
    count, series
        Windows, and the series that they are of, each with a mean of its own.

    References
    ----------
    M. G. Kendall, Note on bias in the estimation of autocorrelation, Biometrika 41 (1954).
    F. H. C. Marriott, J. A. Pope, Bias in the estimation of autocorrelations, Biometrika 41 (1954).
    S. Nickell, Biases in dynamic models with fixed effects, Econometrica 49 (1981), for several
    series. L. Kilian, Small-sample confidence intervals for impulse response functions, Review of
    Economics and Statistics 80 (1998), for forecasts by corrected coefficients.

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> half, lag = 0.5 * one[:, None], one[:, None] > 0
    >>> correct_persistence(half, one[:, None], lag, 50 * one, one)
    tensor([[0.5500]], dtype=torch.float64)
    """
    total = (coef * lags).sum(1)
    windows = count.clamp(min=1)
    bias = (1 + total) * series / windows + 2 * total / windows
    missing = (total + bias.clamp(min=0)).clamp(max=UNIT_ROOT) - total
    reach = (direction * lags).sum(1)
    # Without lags, or where they are constant, there is no sum to change.
    possible = reach > torch.finfo(reach.dtype).tiny
    share = torch.where(possible, missing / torch.where(possible, reach, 1.0), 0.0)
    return coef + direction * share[:, None]


def limit_growth(
    coef: Float[Tensor, "group term"], lags: int, count: Float[Tensor, " group"]
) -> Float[Tensor, "group term"]:
    """Coefficients of a recursion whose swings hardly grow, where they would run away.

    A root of size r > 1 multiplies a swing by r at every step. Few windows and many lags give such
    roots by chance, and a forecast that is far beyond all that was seen. Where the largest is above
    1 + `GROWTH` / n, all are divided by as much as it exceeds that: the coefficient at lag j by the
    j-th power of it.

    Parameters
    ----------
    coef
        The first `lags` terms are lags of the target.
    count
        Windows n that the coefficients were fitted to.

    Examples
    --------
    >>> hundred = torch.tensor([100.0], dtype=torch.float64)
    >>> limit_growth(torch.tensor([[0.0, 1.21]], dtype=torch.float64), 2, hundred)
    tensor([[0.0000, 1.0201]], dtype=torch.float64)
    """
    used = (coef[:, :lags] != 0).any(dim=0).nonzero()[:, 0]  # the host waits here
    last = int(used[-1]) + 1 if len(used) else 0
    power = torch.arange(1, last + 1, device=coef.device)
    most = 1 + GROWTH / count.clamp(min=1)
    wild = (~is_stable(coef[:, :last] / most[:, None] ** power)).nonzero()[:, 0]
    if not len(wild):
        return coef
    factor = (most[wild] / roots(coef[wild, :last]).abs().amax(1)).clamp(max=1.0)
    tamed = coef.clone()
    tamed[wild, :last] = coef[wild, :last] * factor[:, None] ** power
    return tamed


def drift_share(
    total: Float[Tensor, " group"],
    drift: Float[Tensor, " group"],
    variance: Float[Tensor, " group"],
    count: Float[Tensor, " group"],
) -> Float[Tensor, " group"]:
    """Share of a drift that is kept: 1 - 1 / t^2, none where t is below 1.

    With a sum of 1 the constant is a drift, by which every step of a forecast moves on, and by
    whose error, too. What is within its standard error is noise (the non-negative garrote).

    Parameters
    ----------
    total, drift
        Sum of the coefficients, and the constant. With another sum it is no drift, and kept.
    variance, count
        Of the residuals, and the windows.

    References
    ----------
    L. Breiman, Better subset regression using the nonnegative garrote, Technometrics 37 (1995).

    Examples
    --------
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> drift_share(one, 0.2 * one, one, 100 * one), drift_share(one, 0.05 * one, one, 100 * one)
    (tensor([0.7500], dtype=torch.float64), tensor([0.], dtype=torch.float64))
    """
    squared = variance / count.clamp(min=1)  # of the standard error
    share = 1 - squared / drift.square().clamp(min=torch.finfo(drift.dtype).tiny)
    return torch.where((total - UNIT_ROOT).abs() < ROUNDING, share.clamp(min=0), 1.0)
