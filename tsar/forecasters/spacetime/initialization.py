"""Closed-form initial recurrences: Burg's method (AR) and that of Hannan and Rissanen (ARMA)."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.spacetime.stability import MAX_REFLECTION, step_down
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

MIN_RESIDUAL_VARIANCE = 1e-8  # fraction of the variance below which residuals are rounding errors
PINV_RTOL = 1e-13  # eigenvalues below this fraction of the largest count as 0


def burg(windows: Float[Tensor, "window time"], order: int) -> Float[Tensor, " order"]:
    """Reflection coefficients that minimize forward and backward prediction errors (Burg).

    Each lies in [-1, 1], so the autoregression is stable. Unlike the Yule-Walker estimate it does
    not damp oscillations because of the edges of short windows. Coefficients are 0 if the windows,
    which have no missing points, are too short for them, and after the one that leaves less than
    `MIN_RESIDUAL_VARIANCE` of the variance.

    Examples
    --------
    >>> wave = torch.arange(40.0).mul(0.5).sin()[None]
    >>> burg(wave, 2)[1]
    tensor(-0.9997)

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 7.6.
    """
    forward, backward = windows.double()[:, 1:], windows.double()[:, :-1]
    coefficients: list[Tensor] = []
    residual_variance = 1.0  # as a fraction
    for _ in range(min(order, windows.shape[1] - 1)):
        if residual_variance < MIN_RESIDUAL_VARIANCE:
            break
        energy = forward.square().sum() + backward.square().sum()
        product = (forward * backward).sum()
        last = 2 * product / energy.clamp(min=torch.finfo(torch.float64).tiny)
        coefficients.append(last)
        residual_variance *= 1 - float(last) ** 2
        errors = forward - last * backward, backward - last * forward
        forward, backward = errors[0][:, 1:], errors[1][:, :-1]
    reflection = windows.new_zeros(order)
    if coefficients:
        reflection[: len(coefficients)] = torch.stack(coefficients).to(windows.dtype)
    return reflection


def hannan_rissanen(
    windows: Float[Tensor, "window time"], order: int
) -> tuple[Float[Tensor, " order"], Float[Tensor, " order"]]:
    """Reflection coefficients of an ARMA(order, order): of its AR part and of its inverse MA part.

    A long autoregression estimates the innovations, and least squares on the lags of values and
    innovations the coefficients: exact for series without noise. Roots outside the unit circle are
    scaled to just inside, all by the same factor. Coefficients beyond a third of the length of the
    windows, which have no missing points, are 0.

    Returns
    -------
    tuple of tensors
        Of ``phi`` in ``x[t] = sum phi[k] x[t - k] + e[t] + sum theta[k] e[t - k]``, and of
        ``-theta``: that recurrence recovers the innovations from the residuals of ``phi``.

    Examples
    --------
    >>> wave = torch.arange(80.0).mul(0.5).sin()[None]
    >>> autoregression, moving_average = hannan_rissanen(wave, 2)
    >>> autoregression.round(decimals=3), moving_average.abs().max() < 1e-3
    (tensor([ 0.8780, -1.0000]), tensor(True))

    References
    ----------
    Hannan & Rissanen 1982, "Recursive estimation of mixed autoregressive-moving average order",
    Biometrika 69.
    """
    values, time = windows.double(), windows.shape[1]
    fitted_order = min(order, (time - 1) // 3)
    if not fitted_order:
        return windows.new_zeros(order), windows.new_zeros(order)
    long_order = min(max(2 * fitted_order, fitted_order + 16), time - 2 * fitted_order)
    row_elements = time * (long_order + 2 * fitted_order)
    chunks = values.split(rows_within(2 * BLOCK_ELEMENTS, row_elements))
    long_coef = _least_squares(_lag_matrix(chunk, long_order) for chunk in chunks)
    coef = _least_squares(_arma_regression(chunk, long_coef, fitted_order) for chunk in chunks)
    autoregression, inverse_moving_average = (
        nn.functional.pad(step_down(_stabilize(part)), (0, order - fitted_order)).to(windows.dtype)
        for part in (coef[:fitted_order], -coef[fitted_order:])
    )
    return autoregression, inverse_moving_average


Regression = tuple[Float[Tensor, " target"], Float[Tensor, "target lag"]]


def _lag_matrix(series: Float[Tensor, "window time"], lags: int) -> Regression:
    """Targets, and the matrix of their lagged values, lag 1 first."""
    spans = series.unfold(1, lags + 1, 1).flatten(0, 1)
    return spans[:, -1], spans[:, :-1].flip(1)


def _arma_regression(
    series: Float[Tensor, "window time"], coef: Float[Tensor, " long_lag"], lags: int
) -> Regression:
    """Targets, and the matrix of the lags of values and innovations, the residuals of `coef`."""
    target, lagged = _lag_matrix(series, len(coef))
    innovations = (target - lagged @ coef).view(len(series), -1)
    target, lagged_values = _lag_matrix(series[:, len(coef) :], lags)
    return target, torch.cat([lagged_values, _lag_matrix(innovations, lags)[1]], dim=1)


def _least_squares(regressions: Iterable[Regression]) -> Float[Tensor, " lag"]:
    """Least squares of minimum norm, accumulated over chunks, whose lag matrices are large."""
    gram, cross = torch.zeros(()).double(), torch.zeros(()).double()
    for target, lagged in regressions:
        gram, cross = gram + lagged.T @ lagged, cross + lagged.T @ target
    return torch.linalg.pinv(gram, rtol=PINV_RTOL, hermitian=True) @ cross


def _stabilize(coef: Float[Tensor, " order"]) -> Float[Tensor, " order"]:
    """Scale the roots so that all are inside the unit circle."""
    companion = torch.diag(torch.ones(len(coef) - 1).to(coef), -1)
    companion[0] = coef
    radius = float(torch.linalg.eigvals(companion).abs().max())
    factor = min(1.0, MAX_REFLECTION / max(radius, MAX_REFLECTION))
    return coef * factor ** torch.arange(1, len(coef) + 1).to(coef)
