"""Properties of autoregressions: impulse responses, roots, stability, weights of forecasts."""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

PSI_BLOCK = 32  # steps that impulse responses advance by at once
UNIT_ROOT_TOLERANCE = 1e-12  # rounding of coefficients whose sum is 1


def psi_weights(coef: Float[Tensor, "group lag"], horizon: int) -> Float[Tensor, "group horizon"]:
    """Impulse response: psi weights of the moving average representation, from step 0 on.

    With innovations of variance s, the variance of a forecast h steps ahead is s times the sum of
    the first h squared weights. They are computed a block at a time, by the `horizon_map` of a
    block (as `statsmodels.tsa.arima_process.arma2ma` does a weight at a time).

    Parameters
    ----------
    coef : Tensor
        Coefficients, lag 1 first.
    horizon : int
        Number of weights, at least 1; the first is 1.

    Raises
    ------
    ValueError
        If `horizon` is less than 1.

    References
    ----------
    J. D. Hamilton, Time Series Analysis, 1994, section 3.4.

    Examples
    --------
    >>> import torch
    >>> psi_weights(torch.tensor([[0.5]]), 4)
    tensor([[1.0000, 0.5000, 0.2500, 0.1250]], dtype=torch.float64)
    """
    _check_horizon(horizon)
    rows = rows_within(BLOCK_ELEMENTS, PSI_BLOCK * (PSI_BLOCK + coef.shape[1]))
    return torch.cat([_psi_weights(chunk.double(), horizon) for chunk in coef.split(rows)])


def _psi_weights(coef: Float[Tensor, "group lag"], horizon: int) -> Float[Tensor, "group horizon"]:
    """Forecast from a context of zeros and a one, block by block."""
    lags = coef.shape[1]
    step = horizon_map(coef, min(PSI_BLOCK, horizon))
    path = torch.nn.functional.pad(coef.new_ones(len(coef), 1), (max(lags - 1, 0), 0))
    for _ in range(1, horizon, PSI_BLOCK):
        newest = path[:, path.shape[1] - lags :].flip(1)
        path = torch.cat([path, (step @ newest[:, :, None])[:, :, 0]], dim=1)
    return path[:, max(lags - 1, 0) :][:, :horizon]


def horizon_map(
    coef: Float[Tensor, "group lag"], horizon: int
) -> Float[Tensor, "group horizon lag"]:
    """Linear map from the last points, newest first, to all forecasts.

    Forecasts of the deviations from the mean are ``map @ context.flip(-1)``, for a context with the
    oldest point first: the recursion y[t] = sum(coef[i] * y[t-1-i]) without a loop. They solve a
    unit triangular Toeplitz system: each step, less its terms in earlier steps, equals its terms in
    the context.

    Parameters
    ----------
    coef : Tensor
        Coefficients, lag 1 first.
    horizon : int
        Steps to forecast, at least 1.

    Returns
    -------
    Tensor
        Row h - 1 holds the weights of the forecast h steps ahead; row 0 is `coef`.

    Raises
    ------
    ValueError
        If `horizon` is less than 1.

    Examples
    --------
    >>> import torch
    >>> horizon_map(torch.tensor([[0.5, 0.2]]), 2)
    tensor([[[0.5000, 0.2000],
             [0.4500, 0.1000]]], dtype=torch.float64)
    """
    _check_horizon(horizon)
    rows = rows_within(BLOCK_ELEMENTS, horizon * (horizon + coef.shape[1]))
    return torch.cat([_horizon_map(chunk.double(), horizon) for chunk in coef.split(rows)])


def _horizon_map(
    coef: Float[Tensor, "group lag"], horizon: int
) -> Float[Tensor, "group horizon lag"]:
    order = min(coef.shape[1], horizon - 1)
    row = torch.nn.functional.pad(-coef[:, :order].flip(1), (horizon - 1 - order, horizon))
    toeplitz = row.unfold(1, horizon, 1).flip(1)  # the unit diagonal is implicit
    context = torch.nn.functional.pad(coef, (0, horizon - 1)).unfold(1, coef.shape[1], 1)
    return torch.linalg.solve_triangular(toeplitz, context, upper=False, unitriangular=True)


def roots(coef: Float[Tensor, "group lag"]) -> Complex[Tensor, "group lag"]:
    """Inverse roots of 1 - coef(z), the largest first; stable if all are inside the unit circle.

    They are the eigenvalues of the companion matrix, O(p^3): moderate for p up to a few hundred,
    seconds for p = 1000; `is_stable` needs no roots. Each trailing zero coefficient gives a root of
    exactly zero.

    Examples
    --------
    >>> import torch
    >>> roots(torch.tensor([[0.0, 0.25, 0.0]])).abs()
    tensor([[0.5000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    groups, lags = coef.shape
    position = torch.arange(1, lags + 1, device=coef.device)
    order = (position * (coef != 0)).amax(1) if lags else position.new_zeros(groups)
    result = coef.new_zeros(groups, lags, dtype=torch.complex128)
    # Trailing zeros would be defective eigenvalues, wrong by a root of eps: leave them out.
    for size in order.unique().tolist():
        chosen = (order == size).nonzero()[:, 0]
        companion = coef.new_zeros(len(chosen), size, size, dtype=torch.float64)
        companion.diagonal(offset=-1, dim1=1, dim2=2).fill_(1.0)
        companion[:, :1] = coef[chosen, None, :size].double()
        result[chosen, :size] = torch.linalg.eigvals(companion)
    return result.gather(1, result.abs().argsort(dim=1, descending=True))


def reflection_coefficients(coef: Float[Tensor, "group lag"]) -> Float[Tensor, "group lag"]:
    """Partial autocorrelations implied by the coefficients (inverse Levinson recursion).

    All are below 1 in absolute value if and only if the autoregression is stable. Where one is not,
    those of lower lags are undefined and returned as 0.

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 6.4 (step-down).

    Examples
    --------
    >>> import torch
    >>> reflection_coefficients(torch.tensor([[0.3, 0.4]]))
    tensor([[0.5000, 0.4000]], dtype=torch.float64)
    """
    rest = coef.double()
    reflections = []
    for _ in range(coef.shape[1]):
        last, rest = rest[:, -1:], rest[:, :-1]
        reflections.append(last)
        inside = last.abs() < 1
        divisor = torch.where(inside, 1 - last.square(), 1.0)
        rest = torch.where(inside, (rest + last * rest.flip(1)) / divisor, 0.0)
    return torch.cat(reflections[::-1], dim=1) if reflections else rest


def is_stable(coef: Float[Tensor, "group lag"]) -> Bool[Tensor, " group"]:
    """Whether each autoregression is stable (a shock dies out), without computing roots.

    Examples
    --------
    >>> import torch
    >>> is_stable(torch.tensor([[0.5, 0.4], [0.5, 0.6]]))
    tensor([ True, False])
    """
    inside = (reflection_coefficients(coef).abs() < 1).all(1)
    return inside & (coef.double().sum(1) < 1 - UNIT_ROOT_TOLERANCE)


def _check_horizon(horizon: int) -> None:
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1; got {horizon}. Give the steps to forecast.")
