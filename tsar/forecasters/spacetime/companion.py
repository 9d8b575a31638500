"""Companion state spaces: linear recurrences of any order, without their matrices.

In the controller form with B = e_1 the state is the last `order` values of

    v[t] = u[t] + sum_j coef[j] v[t - 1 - j],    y[t] = sum_j taps[j] v[t - j],

so that y is u filtered by ``taps(z) / D(z)`` with ``D(z) = 1 - z coef(z)``. Feedback K of the
state into the input only changes the coefficients: the closed loop is the same recurrence with
others. The paper's form (shift matrix plus a last column) is in `last_column`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tsar.nn.convolution import convolve, correlate

# Up to this many state values the products of a matrix for each channel are at least as fast as
# Fourier transforms: 0.4 to 0.9 of their time with 128 channels on two processor cores.
DENSE = 256
BLOCK = 32  # values of a power series that are found at once, at least
ROOM = 2**14  # and at most, for each value of the state


def impulse_response(
    coef: Float[Tensor, "*batch order"], length: int
) -> Float[Tensor, "*batch length"]:
    """First values of v after one u of 1: the power series of 1 / D(z).

    By forward substitution, a block at a time: nothing is divided, so roots on the unit circle are
    no special case, and the error stays that of the recurrence itself. Newton's iteration by
    Fourier transforms needs fewer steps, but where roots crowd near 1 each doubling squares its
    rounding, which is relative to the largest value.

    Parameters
    ----------
    coef
        Coefficients, lag 1 first.
    length
        Values to return, at least 1; the first is 1.

    Examples
    --------
    >>> impulse_response(torch.tensor([0.5]), 4)
    tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """
    response: Tensor = _Inverse.apply(coef, length)
    return response


class _Inverse(torch.autograd.Function):
    """g = 1 / D; a change of D by e changes it by -g g e, so nothing of the steps is kept."""

    @staticmethod
    def forward(ctx: Any, coef: Tensor, length: int) -> Tensor:
        rows = _power_series(coef.reshape(-1, coef.shape[-1]), length)
        response = rows.reshape(*coef.shape[:-1], length)
        ctx.order = coef.shape[-1]
        ctx.save_for_backward(response)
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (response,), gradient = ctx.saved_tensors, gradients[0]
        order = ctx.order
        square = convolve(response, response)
        found = correlate(gradient, square, min(order + 1, square.shape[-1]))[..., 1:]
        return torch.nn.functional.pad(found, (0, order - found.shape[-1])), None


def _power_series(coef: Float[Tensor, "row order"], length: int) -> Float[Tensor, "row length"]:
    """The power series of 1 / D(z): a block solves a triangular system, given the values before."""
    rows, order = coef.shape
    block = min(max(BLOCK, min(length // 64, ROOM // order)), length)
    known = torch.nn.functional.pad(-coef[:, : block - 1], (block, 0))
    known[:, block - 1] = 1
    known = torch.nn.functional.pad(known, (0, 2 * block - 1 - known.shape[1]))
    matrix = known.unfold(1, block, 1).flip(2)
    # What the values before it give to each value of a block, the newest of them first.
    before = torch.nn.functional.pad(coef, (0, block - 1)).unfold(1, order, 1)
    one = torch.zeros_like(before[:, :, :1])
    one[:, 0] = 1
    solved = torch.linalg.solve_triangular(
        matrix, torch.cat([one, before], dim=2), upper=False, unitriangular=True
    )
    path = coef.new_zeros(rows, order + length + block)
    path[:, order : order + block] = solved[:, :, 0]
    step = solved[:, :, 1:]
    for place in range(order + block, order + length, block):
        newest = path[:, place - order : place].flip(1)
        path[:, place : place + block] = (step @ newest[:, :, None])[:, :, 0]
    return path[:, order : order + length].clone()


def kernel(
    coef: Float[Tensor, "*#batch order"], taps: Float[Tensor, "*#batch tap"], length: int
) -> Float[Tensor, "*batch length"]:
    """First values of y after one u of 1: the power series of ``taps(z) / D(z)``.

    Examples
    --------
    >>> kernel(torch.tensor([0.5]), torch.tensor([1.0, 1.0]), 3)
    tensor([1.0000, 1.5000, 0.7500])
    """
    return convolve(impulse_response(coef, length), taps, length)


def newest_values(
    signal: Float[Tensor, "batch channel time"], response: Float[Tensor, "channel time"], size: int
) -> Float[Tensor, "batch channel size"]:
    """Last values of a signal that is filtered by a response, oldest first, zeros before it.

    With `impulse_response`, the state after the signal: one correlation, a matrix product for each
    channel where `size` is at most `DENSE`, else Fourier transforms.

    Examples
    --------
    >>> newest_values(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[1.0, 0.5]]), 3)
    tensor([[[0.0000, 1.0000, 0.5000]]])
    """
    time, response = signal.shape[-1], response.to(signal)
    last = min(size, time)
    if size <= DENSE:
        # Row i of each matrix holds what each input, the newest first, leaves in the state.
        matrix = torch.nn.functional.pad(response, (last - 1, 0)).unfold(-1, time, 1)
        values = _products(signal.flip(-1), matrix)
    else:
        values = convolve(signal, response)[..., time - last :]
    return torch.nn.functional.pad(values, (size - last, 0))


def closed_loop(
    coef: Float[Tensor, "channel order"],
    taps: Float[Tensor, "channel tap"],
    state: Float[Tensor, "batch channel order"],
    steps: int,
) -> Float[Tensor, "batch channel steps"]:
    """Run on from a state without inputs: ``v[t] = sum_j coef[j] v[t - 1 - j]``, y as before.

    The first output is that of the state itself: the last one of an open loop with the same
    `taps`, which there forecasts the first step that is not known yet.

    What the state holds is the answer to `order` inputs just before it, found by D(z); the rest is
    one convolution of these with the kernel: a matrix product for each channel where `order` is
    at most `DENSE`, else Fourier transforms in O((order + steps) log).

    Parameters
    ----------
    coef
        Coefficients of the closed loop, lag 1 first. What is computed of them and of the taps
        alone is computed in their precision, the rest in that of the state.
    taps
        Weights of the newest values of v in y; not more than `order`.
    state
        Last values of v, oldest first, as `newest_values` gives them.

    Examples
    --------
    >>> closed_loop(torch.tensor([[0.5]]), torch.tensor([[1.0]]), torch.tensor([[[8.0]]]), 3)
    tensor([[[8., 4., 2.]]])
    """
    length = coef.shape[-1] + steps - 1
    return _answer(coef, state, kernel(coef, taps, length))


def run_on(
    coef: Float[Tensor, "channel order"], state: Float[Tensor, "batch channel order"], steps: int
) -> Float[Tensor, "batch channel order"]:
    """State of a closed loop some steps later: the last values of v, oldest first.

    Examples
    --------
    >>> run_on(torch.tensor([[0.5]]), torch.tensor([[[8.0]]]), 3)
    tensor([[[1.]]])
    """
    order = coef.shape[-1]
    last = min(order, steps)
    response = impulse_response(coef, order + steps)[..., steps - last + 1 :]
    return torch.cat([state[..., last:], _answer(coef, state, response)], dim=-1)


def _answer(
    coef: Float[Tensor, "channel order"],
    state: Float[Tensor, "batch channel order"],
    response: Float[Tensor, "channel time"],
) -> Float[Tensor, "batch channel steps"]:
    inputs = earlier_inputs(coef.to(state), state)
    answer = _answer_dense if coef.shape[-1] <= DENSE else _answer_by_fourier
    return answer(inputs, response.to(state))


def earlier_inputs(
    coef: Float[Tensor, "channel order"], state: Float[Tensor, "batch channel order"]
) -> Float[Tensor, "batch channel order"]:
    """Inputs whose answers, after zeros, are the values of a state: ``D(z) state(z)``."""
    known = torch.nn.functional.pad(-coef[..., :-1], (1, 0))
    known[..., 0] = 1
    return newest_values(state, known, state.shape[-1])


def _answer_dense(
    inputs: Float[Tensor, "batch channel order"], response: Float[Tensor, "channel time"]
) -> Float[Tensor, "batch channel steps"]:
    # Row i of each matrix holds response[i : i + order], the newest input first.
    return _products(inputs.flip(-1), response.unfold(-1, inputs.shape[-1], 1))


def _products(
    inputs: Float[Tensor, "batch channel column"], matrix: Float[Tensor, "channel row column"]
) -> Float[Tensor, "batch channel row"]:
    # Sums of terms that cancel: not for the eight bits of bfloat16.
    with torch.autocast(inputs.device.type, enabled=False):
        return (inputs.transpose(0, 1) @ matrix.mT).transpose(0, 1)


def _answer_by_fourier(
    inputs: Float[Tensor, "batch channel order"], response: Float[Tensor, "channel time"]
) -> Float[Tensor, "batch channel steps"]:
    return convolve(inputs, response, response.shape[-1])[..., inputs.shape[-1] - 1 :]


def last_column(
    column: Float[Tensor, "*batch order"],
    inputs: Float[Tensor, "*batch order"],
    outputs: Float[Tensor, "*batch order"],
    length: int,
) -> Float[Tensor, "*batch length"]:
    """Kernel ``c A^m b`` of the paper's companion matrix, for reference.

    A has ones below its diagonal and `column` (a) as its last column: ``A = S + a e^T``. By
    Woodbury's identity at the roots of unity, with ``c~ = c (I - A^length)`` against what wraps
    around: ``K(z) = <c~, b> + <c~, a> <e, b> / (1/z - <e, a>)``, where ``<u, v>`` is the transform
    of the correlation of u and v. Where A has an eigenvalue at a root of unity this is 0 / 0;
    `kernel` has no such place.

    Examples
    --------
    >>> last_column(torch.tensor([0.5]), torch.tensor([1.0]), torch.tensor([2.0]), 3)
    tensor([2.0000, 1.0000, 0.5000])

    References
    ----------
    Zhang et al. 2023 (arXiv 2303.09489), algorithm 1.
    """
    order = column.shape[-1]
    truncated = outputs - _advance(outputs, column, length)
    end = torch.zeros_like(column)
    end[..., -1] = 1
    frequency = torch.arange(length // 2 + 1, dtype=column.dtype, device=column.device)
    inverse = torch.polar(torch.ones_like(frequency), 2 * torch.pi * frequency / length)
    products = [
        _folded(correlate(u, v, order), length)
        for u, v in ((truncated, inputs), (truncated, column), (end, inputs), (end, column))
    ]
    spectrum = products[0] + products[1] * products[2] / (inverse - products[3])
    return torch.fft.irfft(spectrum, n=length)


def _advance(
    outputs: Float[Tensor, "*batch order"], column: Float[Tensor, "*batch order"], steps: int
) -> Float[Tensor, "*batch order"]:
    """``c A^steps``: the sequence c, continued by the recurrence that the last column is."""
    order = column.shape[-1]
    coef = column.flip(-1)
    batch = torch.broadcast_shapes(coef.shape, outputs.shape)
    coef, known = (part.expand(batch).reshape(-1, order) for part in (coef, outputs))
    return run_on(coef, known[None], steps)[0].reshape(batch)


def _folded(values: Float[Tensor, "*batch lag"], length: int) -> Tensor:
    """Transform at the roots of unity of `length`, of a sequence of any length."""
    missing = -values.shape[-1] % length
    blocks = torch.nn.functional.pad(values, (0, missing)).unflatten(-1, (-1, length))
    return torch.fft.rfft(blocks.sum(-2), n=length)
