"""What the coefficients of an autoregression imply: responses, roots, stability, forecasts."""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

# Elements of the triangular matrices that `horizon_map` builds at once: 32 MB of float64.
MATRICES = 2**22
# Impulse responses advance by this many steps at once.
BLOCK = 32
ROUNDING = 1e-12  # of coefficients whose sum is 1, a unit root


def psi_weights(coef: Float[Tensor, "group lag"], horizon: int) -> Float[Tensor, "group horizon"]:
    """Return the response of the series to a shock of 1, from the moment of the shock on.

    With innovations of variance s, the variance of a forecast h steps ahead is s times the sum of
    the first h squared weights. They are computed a block at a time, by the `horizon_map` of a
    block.

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
    per_chunk = max(1, MATRICES // (BLOCK * (BLOCK + coef.shape[1])))
    return torch.cat([_response(part.double(), horizon) for part in coef.split(per_chunk)])


def _response(coef: Float[Tensor, "group lag"], horizon: int) -> Float[Tensor, "group horizon"]:
    """Forecast from a context of zeros and a one, block after block."""
    lags = coef.shape[1]
    step = horizon_map(coef, min(BLOCK, horizon))
    path = torch.nn.functional.pad(coef.new_ones(len(coef), 1), (max(lags - 1, 0), 0))
    for _ in range(1, horizon, BLOCK):
        newest = path[:, path.shape[1] - lags :].flip(1)
        path = torch.cat([path, (step @ newest[:, :, None])[:, :, 0]], dim=1)
    return path[:, max(lags - 1, 0) :][:, :horizon]


def horizon_map(
    coef: Float[Tensor, "group lag"], horizon: int
) -> Float[Tensor, "group horizon lag"]:
    """Return the linear map from the last points to all forecasts, newest point first.

    Forecasts of the deviations from the mean are ``map @ context.flip(-1)``, for a context with the
    oldest point first: the recursion y[t] = sum(coef[i] * y[t-1-i]) without its loop. They solve a
    unit triangular Toeplitz system: each step less the recursion's part of the steps before it is
    what comes from the context alone.

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
    per_chunk = max(1, MATRICES // (horizon * (horizon + coef.shape[1])))
    return torch.cat([_map(part.double(), horizon) for part in coef.split(per_chunk)])


def _map(coef: Float[Tensor, "group lag"], horizon: int) -> Float[Tensor, "group horizon lag"]:
    known = min(coef.shape[1], horizon - 1)
    row = torch.nn.functional.pad(-coef[:, :known].flip(1), (horizon - 1 - known, horizon))
    toeplitz = row.unfold(1, horizon, 1).flip(1)  # the unit diagonal is understood
    context = torch.nn.functional.pad(coef, (0, horizon - 1)).unfold(1, coef.shape[1], 1)
    return torch.linalg.solve_triangular(toeplitz, context, upper=False, unitriangular=True)


def roots(coef: Float[Tensor, "group lag"]) -> Complex[Tensor, "group lag"]:
    """Return the inverse roots of 1 - coef(z), the largest first; stable if all are inside 1.

    They are the eigenvalues of the companion matrix, O(p^3): moderate for p up to a few hundred,
    seconds for p = 1000; `is_stable` needs no roots. Each trailing zero coefficient gives an exact
    zero.

    Examples
    --------
    >>> import torch
    >>> roots(torch.tensor([[0.0, 0.25, 0.0]])).abs()
    tensor([[0.5000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    groups, lags = coef.shape
    position = torch.arange(1, lags + 1, device=coef.device)
    order = (position * (coef != 0)).amax(1) if lags else position.new_zeros(groups)
    found = coef.new_zeros(groups, lags, dtype=torch.complex128)
    # The zeros would be defective eigenvalues, off by a root of eps: leave them out.
    for size in order.unique().tolist():
        chosen = (order == size).nonzero()[:, 0]
        found[chosen, :size] = torch.linalg.eigvals(_companion(coef[chosen, :size].double()))
    return found.gather(1, found.abs().argsort(dim=1, descending=True))


def _companion(coef: Float[Tensor, "group lag"]) -> Float[Tensor, "group lag lag"]:
    groups, lags = coef.shape
    matrix = coef.new_zeros(groups, lags, lags)
    matrix.diagonal(offset=-1, dim1=1, dim2=2).fill_(1.0)
    matrix[:, :1] = coef[:, None]
    return matrix


def reflection_coefficients(coef: Float[Tensor, "group lag"]) -> Float[Tensor, "group lag"]:
    """Return the partial autocorrelations that the coefficients imply (Levinson's steps, undone).

    They are all below 1 in size exactly if the autoregression is stable. Where one is not, those of
    lower lags have no meaning and are returned as 0.

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
    found = []
    for _ in range(coef.shape[1]):
        last, rest = rest[:, -1:], rest[:, :-1]
        found.append(last)
        inside = last.abs() < 1
        divisor = torch.where(inside, 1 - last.square(), 1.0)
        rest = torch.where(inside, (rest + last * rest.flip(1)) / divisor, 0.0)
    return torch.cat(found[::-1], dim=1) if found else rest


def is_stable(coef: Float[Tensor, "group lag"]) -> Bool[Tensor, " group"]:
    """Say which autoregressions forget a shock, without their roots.

    Examples
    --------
    >>> import torch
    >>> is_stable(torch.tensor([[0.5, 0.4], [0.5, 0.6]]))
    tensor([ True, False])
    """
    inside = (reflection_coefficients(coef).abs() < 1).all(1)
    return inside & (coef.double().sum(1) < 1 - ROUNDING)


def _check_horizon(horizon: int) -> None:
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1; got {horizon}. Give the steps to forecast.")
