"""Companion kernels against matrix powers, explicit recurrences and scipy's filters."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

import tsar.forecasters.spacetime.companion as companion
from tsar.forecasters.spacetime.companion import (
    closed_loop,
    impulse_response,
    kernel,
    last_column,
    newest_values,
    run_on,
)
from tsar.forecasters.spacetime.stability import MOST, bounded, free, integrate, step_up, unit_norm

ORDERS = (1, 2, 5, 16, 33)
LENGTHS = (1, 2, 7, 16, 25)
# Of the largest value: what rounding leaves in a sum that cancels is not small against the sum.
CLOSE = {torch.float64: 1e-11, torch.float32: 1e-4}
dtypes = pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
orders = pytest.mark.parametrize("order", ORDERS)
lengths = pytest.mark.parametrize("length", LENGTHS)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def final_state(signal: Tensor, coef: Tensor, size: int) -> Tensor:
    return newest_values(signal, impulse_response(coef, signal.shape[-1]), size)


def stable(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    # Coefficients in the hundreds, whose terms cancel, are not for float32.
    largest = 0.7 if dtype == torch.float64 else 0.3
    return step_up(largest * torch.tanh(draw(*shape, seed=seed))).to(dtype)


def numpy(tensor: Tensor) -> Any:
    return tensor.double().numpy()


def check(found: Any, expected: Any, dtype: torch.dtype = torch.float64) -> None:
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE[dtype] * largest)


def filtered(coef: Tensor, taps: Tensor, signal: Tensor) -> Any:
    """The recurrence by scipy, a row at a time."""
    rows = zip(numpy(coef), numpy(taps), numpy(signal), strict=True)
    return np.stack([lfilter(c, np.r_[1, -a], u) for a, c, u in rows])


def roll(coef: Any, taps: Any, state: Any, steps: int) -> tuple[list[float], list[float]]:
    """Outputs and values of a closed loop, a step at a time."""
    values, outputs = list(state), []
    for _ in range(steps):
        outputs.append(sum(c * values[-1 - j] for j, c in enumerate(taps)))
        values.append(sum(a * values[-1 - j] for j, a in enumerate(coef)))
    return outputs, values[-len(state) :]


def controller(coef: Any) -> Any:
    order = len(coef)
    return np.vstack([coef, np.eye(order)[:-1]])


# --- the open loop ---


@dtypes
@orders
@lengths
def test_the_kernel_is_the_recurrence(order: int, length: int, dtype: torch.dtype) -> None:
    coef, taps = stable(3, order, dtype=dtype), draw(3, order, seed=1, dtype=dtype)
    one = torch.zeros(3, length, dtype=dtype)
    one[:, 0] = 1
    found = numpy(kernel(coef, taps, length))
    check(found, filtered(coef, taps, one), dtype)
    response = numpy(impulse_response(coef, length))
    check(response, filtered(coef, torch.ones(3, 1), one), dtype)


@pytest.mark.parametrize("length", (33, 64, 300, 5000))
def test_long_answers_of_roots_that_crowd_are_those_of_the_recurrence(length: int) -> None:
    """Newton's iteration by Fourier transforms is off by 1e5 here."""
    reflection = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).double()
    coef = step_up(bounded(reflection))
    one = torch.nn.functional.one_hot(torch.tensor(0), length).expand(20, -1)
    expected = filtered(coef, torch.ones(20, 1), one)
    found = numpy(impulse_response(coef, length))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@orders
@lengths
def test_the_kernel_is_that_of_powers_of_the_matrix(order: int, length: int) -> None:
    coef, taps = stable(order), draw(order, seed=1)
    matrix, unit = controller(numpy(coef)), np.eye(order)[0]
    powers = [np.linalg.matrix_power(matrix, m) @ unit for m in range(length)]
    expected = [numpy(taps) @ power for power in powers]
    check(numpy(kernel(coef, taps, length)), expected)


def test_the_first_taps_of_a_kernel_without_memory_are_the_taps() -> None:
    taps = draw(4, 5)
    found = kernel(torch.zeros(4, 5, dtype=torch.float64), taps, 9)
    torch.testing.assert_close(found[:, :5], taps)
    assert found[:, 5:].abs().max() < 1e-15


@dtypes
@orders
@lengths
def test_the_state_is_that_of_the_recurrence(
    order: int, length: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    coef, signal = stable(3, order, dtype=dtype), draw(2, 3, length, dtype=dtype)
    dense = final_state(signal, coef, order)
    monkeypatch.setattr(companion, "DENSE", 0)
    fourier = final_state(signal, coef, order)
    for row in range(2):
        values = filtered(coef, torch.ones(3, 1), signal[row])
        expected = np.pad(values, ((0, 0), (order, 0)))[:, -order:]
        check(numpy(dense[row]), expected, dtype)
        check(numpy(fourier[row]), expected, dtype)


# --- the closed loop ---


@dtypes
@orders
@pytest.mark.parametrize("steps", (1, 2, 16, 40))
def test_the_closed_loop_runs_on(
    order: int, steps: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    coef, taps = stable(3, order, dtype=dtype), draw(3, order, seed=1, dtype=dtype)
    state = draw(2, 3, order, seed=2, dtype=dtype)
    dense = closed_loop(coef, taps, state, steps), run_on(coef, state, steps)
    monkeypatch.setattr(companion, "DENSE", 0)
    fourier = closed_loop(coef, taps, state, steps), run_on(coef, state, steps)
    for found, after in (dense, fourier):
        for row in range(2):
            for channel in range(3):
                arguments = (numpy(coef[channel]), numpy(taps[channel]))
                outputs, values = roll(*arguments, numpy(state[row, channel]), steps)
                check(numpy(found[row, channel]), outputs, dtype)
                check(numpy(after[row, channel]), values, dtype)


@orders
def test_the_open_loop_ends_where_the_closed_one_begins(order: int) -> None:
    coef, loop, taps = stable(2, order), stable(2, order, seed=3), draw(2, order, seed=1)
    signal = draw(4, 2, 20)
    opened = filtered(coef, taps, signal[0])
    closed = closed_loop(loop, taps, final_state(signal, coef, order), 3)
    check(numpy(closed[0, :, 0]), opened[:, -1])


def test_a_loop_may_be_run_in_pieces() -> None:
    coef, taps, state = stable(3, 6), draw(3, 6, seed=1), draw(2, 3, 6, seed=2)
    whole, after = closed_loop(coef, taps, state, 23), run_on(coef, state, 23)
    pieces = []
    for steps in (1, 4, 18):
        pieces.append(closed_loop(coef, taps, state, steps))
        state = run_on(coef, state, steps)
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole)
    torch.testing.assert_close(state, after)


def test_feedback_only_changes_the_coefficients() -> None:
    coef, feedback = numpy(stable(5)), numpy(draw(5, seed=4))
    loop = controller(coef) + np.outer(np.eye(5)[0], feedback)
    np.testing.assert_array_equal(loop, controller(coef + feedback))


@pytest.mark.parametrize(
    "lags", ({1: 0.6}, {1: 1.9, 2: -0.98}, {4: 1.0}, {1: 1.0, 12: 1.0, 13: -1.0})
)
def test_an_autoregression_forecasts_itself(lags: dict[int, float]) -> None:
    coef = np.zeros(max(lags))
    for lag, value in lags.items():
        coef[lag - 1] = value
    past = np.random.default_rng(0).normal(size=len(coef))
    _, expected = roll(coef, [1.0], past, 300)
    own = torch.from_numpy(coef)[None]
    found = closed_loop(own, own, torch.from_numpy(past)[None, None], 300)
    check(found[0, 0, -len(coef) :].numpy(), expected)


# --- the paper's form ---


@dtypes
@orders
@lengths
def test_the_last_column_form_is_that_of_powers(
    order: int, length: int, dtype: torch.dtype
) -> None:
    column = 0.9 * unit_norm(draw(order)).to(dtype)
    inputs, outputs = draw(order, seed=1, dtype=dtype), draw(order, seed=2, dtype=dtype)
    matrix = np.eye(order, k=-1)
    matrix[:, -1] = numpy(column)
    expected = [
        numpy(outputs) @ np.linalg.matrix_power(matrix, m) @ numpy(inputs) for m in range(length)
    ]
    found = last_column(column, inputs, outputs, length)
    check(numpy(found), expected, dtype)


def test_inputs_are_redundant() -> None:
    """(a, b, c) is (a, e_1, its first taps), and the same filter in the controller form."""
    column, inputs, outputs = 0.9 * unit_norm(draw(6)), draw(6, seed=1), draw(6, seed=2)
    whole = last_column(column, inputs, outputs, 30)
    unit = torch.eye(6, dtype=torch.float64)[0]
    torch.testing.assert_close(last_column(column, unit, whole[:6], 30), whole)
    coef = column.flip(0)
    numerator = torch.from_numpy(np.convolve(np.r_[1, -numpy(coef)], numpy(whole))[:6])
    torch.testing.assert_close(kernel(coef, numerator, 30), whole)


# --- stability ---


@pytest.mark.parametrize("order", (1, 2, 3, 7, 8, 64, 128))
def test_reflections_give_levinsons_coefficients(order: int) -> None:
    reflection = 0.9 * torch.tanh(draw(5, order))
    expected = []
    for row in numpy(reflection):
        coef = np.zeros(0)
        for last in row:
            coef = np.r_[coef - last * coef[::-1], last]
        expected.append(coef)
    found = numpy(step_up(reflection))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("order", (2, 8, 32, 64, 128))
@pytest.mark.parametrize("spread", (0.2, 1.0, 3.0))
def test_whatever_the_parameters_no_answer_explodes(order: int, spread: float) -> None:
    coef = step_up(bounded(spread * draw(1000, order)))
    some = numpy(coef)[:: max(1, order // 4)]
    assert max(np.abs(np.linalg.eigvals(controller(row))).max() for row in some) < 1 + 1e-9
    assert impulse_response(coef[:50], 10_000).abs().max() < np.exp(MOST / 2)


def test_parameters_of_reflections_are_found_again() -> None:
    reflection = 0.99 * torch.tanh(draw(4, 12))
    torch.testing.assert_close(bounded(free(reflection)), reflection)
    assert bounded(draw(1000) * 100).abs().max() < 1
    assert free(torch.tensor([1.0, -1.0])).isfinite().all()


@pytest.mark.parametrize("order", (1, 2, 24, 96))
@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_nothing_overflows_on_the_border(order: int, sign: float) -> None:
    """All-positive coefficients, roots on the unit circle: finite values and gradients."""
    at_lag = torch.zeros(1, order, dtype=torch.float64)
    at_lag[0, -1] = sign * torch.pi / 2
    even = torch.full((1, order), sign / order, dtype=torch.float64)  # coefficients, of size 1
    for make, start in ((lambda angle: step_up(bounded(angle)), at_lag), (unit_norm, even)):
        parameter = start.clone().requires_grad_()
        coef = make(parameter)
        state = torch.ones(1, 1, order, dtype=torch.float64)
        outputs = closed_loop(coef, coef, state, 10_000)
        outputs.square().mean().backward()
        assert outputs.isfinite().all() and outputs.abs().max() < 1e3
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_the_paper_s_kernel_breaks_where_ours_does_not() -> None:
    column = torch.full((4,), 0.25)  # a pole at z = 1, where the transform is 0 / 0
    unit = torch.eye(4)[0]
    exact = kernel(column.flip(0), unit, 64)
    assert exact.isfinite().all()
    broken = last_column(column.double(), unit.double(), unit.double(), 64)
    assert not torch.allclose(broken, kernel(column.double(), unit.double(), 64), atol=1e-6)


def test_unit_roots_keep_a_level_and_a_trend() -> None:
    none = torch.zeros(1, 3, dtype=torch.float64)
    level, trend = (integrate(none, roots) for roots in (1, 2))
    state = torch.tensor([[[1.0, 2.0, 5.0, 7.0]]], dtype=torch.float64)
    check(closed_loop(level, level, state, 3).numpy(), [[[7.0, 7.0, 7.0]]])
    state = torch.tensor([[[0.0, 1.0, 2.0, 5.0, 7.0]]], dtype=torch.float64)
    torch.testing.assert_close(
        closed_loop(trend, trend, state, 3),
        torch.tensor([[[9.0, 11.0, 13.0]]], dtype=torch.float64),
    )


# --- gradients ---


def test_gradients_are_right() -> None:
    angle = (0.5 * draw(2, 3)).requires_grad_()
    taps, signal = draw(2, 3, seed=1).requires_grad_(), draw(2, 2, 7, seed=2).requires_grad_()

    def run(angle: Tensor, taps: Tensor, signal: Tensor) -> tuple[Tensor, ...]:
        coef = step_up(bounded(angle))
        state = final_state(signal, coef, 3)
        return kernel(coef, taps, 9), closed_loop(coef, taps, state, 6), run_on(coef, state, 2)

    assert torch.autograd.gradcheck(run, (angle, taps, signal))


def test_the_gradient_of_a_response_shorter_than_its_order() -> None:
    coef = stable(2, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: impulse_response(c, 4), (coef,))
