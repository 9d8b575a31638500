"""Kernels, states and closed-loop forecasts of state spaces with a companion matrix.

In controller form, with B = e_1, the state is the last `order` values of

    v[t] = u[t] + sum_j coef[j] v[t - 1 - j],    y[t] = sum_j taps[j] v[t - j],

so the output y is the input u filtered by ``taps(z) / D(z)`` with ``D(z) = 1 - z coef(z)``. State
feedback K changes only the coefficients: the closed loop A + B K is a companion matrix too.

The paper's form is a shift matrix plus a last column `a`, with input and output vectors b and c. It
is the same filter, with ``coef = a.flip(0)`` and ``taps(z) = D(z) K(z)`` for its kernel K. The
paper computes K at the roots of unity, which is 0 / 0 where A has an eigenvalue there.

References
----------
Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
(arXiv 2303.09489), section 3.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tsar.nn.convolution import convolve, correlate
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within

# Up to this order, one dense matrix product per channel is at least as fast as Fourier transforms:
# 0.4 to 0.9 of their time with 128 channels on two processor cores.
MAX_DENSE_ORDER = 256
MIN_BLOCK = 32  # values of a power series that are computed at once


def impulse_response(
    coef: Float[Tensor, "*batch order"], length: int
) -> Float[Tensor, "*batch length"]:
    """Impulse response of v: the first coefficients of the power series 1 / D(z).

    By forward substitution in blocks. It divides by nothing, so roots on the unit circle are no
    special case, and its error is that of the recurrence. Newton's iteration by Fourier transforms
    needs fewer steps, but where roots cluster near 1, each doubling squares its rounding error,
    which is relative to the largest value. `coef` has lag 1 first; the first value is 1.

    Examples
    --------
    >>> impulse_response(torch.tensor([0.5]), 4)
    tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    response: Tensor = _ImpulseResponse.apply(coef, length)
    return response


class _ImpulseResponse(torch.autograd.Function):
    """g = 1 / D. Its differential is -g g dD, so backward needs none of the steps of forward."""

    @staticmethod
    def forward(ctx: Any, coef: Tensor, length: int) -> Tensor:
        rows = _power_series(coef.reshape(-1, coef.shape[-1]), length)
        response = rows.reshape(*coef.shape[:-1], length)
        ctx.order = coef.shape[-1]
        ctx.save_for_backward(response)
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        (response,), order = ctx.saved_tensors, ctx.order
        square = convolve(response, response)
        lags = min(order + 1, square.shape[-1])
        gradient = correlate(grad_outputs[0], square, lags)[..., 1:]
        return torch.nn.functional.pad(gradient, (0, order - gradient.shape[-1])), None


def _power_series(coef: Float[Tensor, "row order"], length: int) -> Float[Tensor, "row length"]:
    """Power series of 1 / D(z). Each block solves a triangular system, given the values before."""
    rows, order = coef.shape
    max_block = rows_within(CACHE_ELEMENTS // 16, order)
    block = min(max(MIN_BLOCK, min(length // 64, max_block)), length)
    band = torch.nn.functional.pad(-coef[:, : block - 1], (block, 0))
    band[:, block - 1] = 1
    band = torch.nn.functional.pad(band, (0, 2 * block - 1 - band.shape[1]))
    matrix = band.unfold(1, block, 1).flip(2)
    # Contribution of the values before a block, newest first, to each of its values.
    previous = torch.nn.functional.pad(coef, (0, block - 1)).unfold(1, order, 1)
    impulse = torch.zeros_like(previous[:, :, :1])
    impulse[:, 0] = 1
    solution = torch.linalg.solve_triangular(
        matrix, torch.cat([impulse, previous], dim=2), upper=False, unitriangular=True
    )
    series = coef.new_zeros(rows, order + length + block)
    series[:, order : order + block] = solution[:, :, 0]
    transition = solution[:, :, 1:]
    for start in range(order + block, order + length, block):
        newest = series[:, start - order : start].flip(1)
        series[:, start : start + block] = (transition @ newest[:, :, None])[:, :, 0]
    return series[:, order : order + length].clone()


def kernel(
    coef: Float[Tensor, "*#batch order"], taps: Float[Tensor, "*#batch tap"], length: int
) -> Float[Tensor, "*batch length"]:
    """Convolution kernel of the output y: the power series of ``taps(z) / D(z)``.

    Examples
    --------
    >>> kernel(torch.tensor([0.5]), torch.tensor([1.0, 1.0]), 3)
    tensor([1.0000, 1.5000, 0.7500])
    """
    return convolve(impulse_response(coef, length), taps, length)


def final_state(
    signal: Float[Tensor, "batch channel time"], response: Float[Tensor, "channel time"], size: int
) -> Float[Tensor, "batch channel size"]:
    """Last values of a signal filtered by an impulse response, oldest first, zeros before it.

    With the response of `impulse_response` this is the state after the signal. One matrix product
    per channel if `size` is at most `MAX_DENSE_ORDER`, else Fourier transforms.

    Examples
    --------
    >>> final_state(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[1.0, 0.5]]), 3)
    tensor([[[0.0000, 1.0000, 0.5000]]])
    """
    time, response = signal.shape[-1], response.to(signal)
    nonzero = min(size, time)
    if size <= MAX_DENSE_ORDER:
        # Row i of each matrix holds the contribution of each input, newest first, to state i.
        matrix = torch.nn.functional.pad(response, (nonzero - 1, 0)).unfold(-1, time, 1)
        values = _matmul_by_channel(signal.flip(-1), matrix)
    else:
        values = convolve(signal, response)[..., time - nonzero :]
    return torch.nn.functional.pad(values, (size - nonzero, 0))


def closed_loop(
    coef: Float[Tensor, "channel order"],
    taps: Float[Tensor, "channel tap"],
    state: Float[Tensor, "batch channel order"],
    steps: int,
) -> Float[Tensor, "batch channel steps"]:
    """Outputs of the recurrence without inputs: ``v[t] = sum_j coef[j] v[t - 1 - j]``.

    The first output is that of `state` itself. It equals the last open-loop output with the same
    `taps`, which forecasts the first unknown step.

    The zero-input response is computed in two steps: ``D(z) state(z)`` are the `order` inputs that
    produce the state from zero, and their convolution with the kernel gives the outputs. One
    matrix product per channel if `order` is at most `MAX_DENSE_ORDER`, else Fourier transforms in
    O((order + steps) log(order + steps)). Kernels are computed in the precision of `coef` (lag 1
    first) and `taps` (at most `order`), the rest in that of `state`, from `final_state`.

    Examples
    --------
    >>> closed_loop(torch.tensor([[0.5]]), torch.tensor([[1.0]]), torch.tensor([[[8.0]]]), 3)
    tensor([[[8., 4., 2.]]])
    """
    length = coef.shape[-1] + steps - 1
    return _zero_input_response(coef, state, kernel(coef, taps, length))


def advance_state(
    coef: Float[Tensor, "channel order"], state: Float[Tensor, "batch channel order"], steps: int
) -> Float[Tensor, "batch channel order"]:
    """State of the closed loop after some steps: the last values of v, oldest first.

    Examples
    --------
    >>> advance_state(torch.tensor([[0.5]]), torch.tensor([[[8.0]]]), 3)
    tensor([[[1.]]])
    """
    order = coef.shape[-1]
    new = min(order, steps)
    response = impulse_response(coef, order + steps)[..., steps - new + 1 :]
    return torch.cat([state[..., new:], _zero_input_response(coef, state, response)], dim=-1)


def _zero_input_response(
    coef: Float[Tensor, "channel order"],
    state: Float[Tensor, "batch channel order"],
    response: Float[Tensor, "channel time"],
) -> Float[Tensor, "batch channel steps"]:
    """Convolution of the inputs that produce a state from zero, ``D(z) state(z)``."""
    order, response = coef.shape[-1], response.to(state)
    denominator = torch.nn.functional.pad(-coef.to(state)[..., :-1], (1, 0))
    denominator[..., 0] = 1
    inputs = final_state(state, denominator, order)
    if order <= MAX_DENSE_ORDER:
        # Row i of each matrix holds response[i : i + order], for the newest input first.
        return _matmul_by_channel(inputs.flip(-1), response.unfold(-1, order, 1))
    return convolve(inputs, response, response.shape[-1])[..., order - 1 :]


def _matmul_by_channel(
    inputs: Float[Tensor, "batch channel column"], matrix: Float[Tensor, "channel row column"]
) -> Float[Tensor, "batch channel row"]:
    # Without autocast: the terms of these sums cancel, which bfloat16's eight bits can't represent.
    with torch.autocast(inputs.device.type, enabled=False):
        return (inputs.transpose(0, 1) @ matrix.mT).transpose(0, 1)
