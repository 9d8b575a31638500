"""Hannan and Rissanen's method: the autoregression with moving averages that fits many windows."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.spacetime.stability import LARGEST, step_down

ROUNDING = 1e-13  # share of the largest eigenvalue below which a direction holds nothing
NUMBERS = 1 << 23  # float64 of windows that are unfolded at once


def hannan_rissanen(
    windows: Float[Tensor, "window time"], order: int
) -> tuple[Float[Tensor, " order"], Float[Tensor, " order"]]:
    """Reflection coefficients of an autoregression, and of what undoes its moving averages.

    A long autoregression tells the innovations, and least squares on the lags of both the rest: of
    series without noise exactly. Roots outside the unit circle are drawn to just inside, all by the
    same factor.

    Parameters
    ----------
    windows
        Without missing points.
    order
        Of both; coefficients beyond a third of the windows are 0.

    Returns
    -------
    tuple of tensors
        Of ``phi`` in ``x[t] = sum phi[k] x[t - k] + e[t] + sum theta[k] e[t - k]``, and of
        ``-theta``: by that recurrence the innovations follow from what ``phi`` leaves.

    Examples
    --------
    >>> wave = torch.arange(80.0).mul(0.5).sin()[None]
    >>> autoregression, averages = hannan_rissanen(wave, 2)
    >>> autoregression.round(decimals=3), averages.abs().max() < 1e-3
    (tensor([ 0.8780, -1.0000]), tensor(True))

    References
    ----------
    Hannan & Rissanen 1982, "Recursive estimation of mixed autoregressive-moving average order",
    Biometrika 69.
    """
    values, time = windows.double(), windows.shape[1]
    fitted = min(order, (time - 1) // 3)
    if not fitted:
        return windows.new_zeros(order), windows.new_zeros(order)
    long = min(max(2 * fitted, fitted + 16), time - 2 * fitted)
    parts = values.split(max(1, NUMBERS // (time * (long + 2 * fitted))))
    before = _solve(_lagged(part, long) for part in parts)
    both = _solve(
        _join(_lagged(part[:, long:], fitted), _lagged(_left(part, before), fitted))
        for part in parts
    )
    autoregression, averages = (
        nn.functional.pad(step_down(_inside(coef)), (0, order - fitted)).to(windows.dtype)
        for coef in (both[:fitted], -both[fitted:])
    )
    return autoregression, averages


Equations = tuple[Float[Tensor, " target"], Float[Tensor, "target lag"]]


def _lagged(series: Float[Tensor, "window time"], lags: int) -> Equations:
    """Every point with as many before it, and those, newest first."""
    spans = series.unfold(1, lags + 1, 1).flatten(0, 1)
    return spans[:, -1], spans[:, :-1].flip(1)


def _join(
    values: Equations, errors: Equations
) -> tuple[Float[Tensor, " target"], Float[Tensor, "target both"]]:
    """The same points with the lags of both before them."""
    return values[0], torch.cat([values[1], errors[1]], dim=1)


def _left(
    series: Float[Tensor, "window time"], coef: Float[Tensor, " lag"]
) -> Float[Tensor, "window later"]:
    target, before = _lagged(series, len(coef))
    return (target - before @ coef).view(len(series), -1)


def _solve(parts: Iterable[Equations]) -> Float[Tensor, " lag"]:
    """Least squares; of least norm where the lags depend on each other."""
    gram, match = torch.zeros(()).double(), torch.zeros(()).double()
    for target, before in parts:  # one by one: for many lags each is large
        gram, match = gram + before.T @ before, match + before.T @ target
    return torch.linalg.pinv(gram, rtol=ROUNDING, hermitian=True) @ match


def _inside(coef: Float[Tensor, " order"]) -> Float[Tensor, " order"]:
    """The recurrence with its roots inside the unit circle."""
    companion = torch.diag(torch.ones(len(coef) - 1).to(coef), -1)
    companion[0] = coef
    largest = float(torch.linalg.eigvals(companion).abs().max())
    shrink = min(1.0, LARGEST / max(largest, LARGEST))
    return coef * shrink ** torch.arange(1, len(coef) + 1).to(coef)
