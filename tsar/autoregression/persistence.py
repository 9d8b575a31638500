"""How long an autoregression remembers, which least squares finds too short, or without an end."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.dynamics import is_stable, roots

UNIT_ROOT = 1.0  # a sum of the coefficients beyond which a series would run away
STEEP = 4.0  # a quarter of the bias beyond a sum of 1 makes the constant a drift
GROWTH = 1.0  # logarithm of the most that a swing grows by over as many steps as there were windows


class Raised(NamedTuple):
    """Coefficients with a raised sum, and how much of a drift the constant is, 0 to 1.

    It is one where the sum would have come beyond 1 (`STEEP`), and turns into one step by step.
    """

    coef: Float[Tensor, "group term"]
    beyond: Float[Tensor, " group"]


def correct_persistence(
    coef: Float[Tensor, "group term"],
    direction: Float[Tensor, "group term"],
    lags: Bool[Tensor, "group term"],
    count: Float[Tensor, " group"],
    series: Float[Tensor, " group"],
) -> Raised:
    """Least squares coefficients with a sum that is right on average.

    The sum s of the coefficients, the persistence, tells how much of a level is kept. Least squares
    finds it too low, because the mean is estimated from the points that are explained: with one lag
    by (1 + 3 s) / n for n windows of one series, of which 2 s / n are there also when the mean is
    known. It is raised by that, to 1 at most: a random walk with drift, from which a series does
    not return, instead of one that runs away. Where later lags take back what the first gives, as
    in cycles, a level is hardly kept, and the bias is smaller by 1 + a2 + 2 a3 + 3 a4 ..., the
    factor in which Dickey and Fuller's distribution comes with several lags. Where they add to it,
    the bias is larger; that is not made up for. The coefficients are those that fit best among all
    with that sum.

    Parameters
    ----------
    coef
        Least squares coefficients.
    direction
        ``inverse(gram) @ lags``: how they change with their sum.
    lags
        The terms that are summed: lags of the target that were not left out, which come first.
    count, series
        Windows, and the series that they are of, each with a mean of its own.

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
    >>> correct_persistence(half, one[:, None], lag, 50 * one, one).coef
    tensor([[0.5500]], dtype=torch.float64)
    """
    total = (coef * lags).sum(1)
    windows = count.clamp(min=1)
    place = torch.arange(coef.shape[1], device=coef.device)
    kept = (1 + (coef * lags * place).sum(1)).clamp(0, 1)
    bias = ((1 + total) * series / windows + 2 * total / windows).clamp(min=0) * kept
    raised = (total + bias).clamp(max=UNIT_ROOT)
    reach = (direction * lags).sum(1)
    # Without lags, or where they are constant, there is no sum to change.
    possible = reach > torch.finfo(reach.dtype).tiny
    share = torch.where(possible, (raised - total) / torch.where(possible, reach, 1.0), 0.0)
    least = torch.finfo(reach.dtype).eps
    beyond = (STEEP * (total + bias - UNIT_ROOT) / bias.clamp(min=least)).clamp(0, 1) * possible
    return Raised(coef + direction * share[:, None], beyond)


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
    beyond: Float[Tensor, " group"],
    drift: Float[Tensor, " group"],
    variance: Float[Tensor, " group"],
    count: Float[Tensor, " group"],
) -> Float[Tensor, " group"]:
    """Share of a drift that is kept: 1 - 1 / t^2, none where t is below 1.

    With a sum of 1 the constant is a drift, by which every step of a forecast moves on, and by
    whose error, too. What is within its standard error is noise (the non-negative garrote).

    Parameters
    ----------
    beyond
        How much of a drift the constant is; 0: none, it is kept.
    drift, variance, count
        The constant, the variance of the residuals, and the windows.

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
    noise = (squared / drift.square().clamp(min=torch.finfo(drift.dtype).tiny)).clamp(max=1)
    return 1 - beyond * noise
