"""Companion kernels, states and closed loops against matrix powers, recurrences and scipy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

import tsar.forecasters.spacetime.companion as companion
from tsar.forecasters.spacetime.companion import (
    advance_state,
    closed_loop,
    final_state,
    impulse_response,
    kernel,
)
from tsar.forecasters.spacetime.stability import (
    MAX_LOG_VARIANCE_RATIO,
    add_unit_roots,
    constrain,
    l1_normalize,
    step_up,
    unconstrain,
)

ORDERS = (1, 2, 5, 16, 33)
LENGTHS = (1, 2, 7, 16, 25)
# Relative to the largest value, because rounding errors of cancelling terms exceed small sums.
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4}
dtypes = pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
orders = pytest.mark.parametrize("order", ORDERS)
lengths = pytest.mark.parametrize("length", LENGTHS)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def state_after(signal: Tensor, coef: Tensor, size: int) -> Tensor:
    return final_state(signal, impulse_response(coef, signal.shape[-1]), size)


def stable_coef(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    # float32 is too imprecise for coefficients in the hundreds, whose terms cancel.
    largest = 0.7 if dtype == torch.float64 else 0.3
    return step_up(largest * torch.tanh(normal(*shape, seed=seed))).to(dtype)


def numpy(tensor: Tensor) -> Any:
    return tensor.double().numpy()


def assert_close(actual: Any, expected: Any, dtype: torch.dtype = torch.float64) -> None:
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * largest)


def scipy_filter(coef: Tensor, taps: Tensor, signal: Tensor) -> Any:
    """The recurrence by scipy, row by row."""
    rows = zip(numpy(coef), numpy(taps), numpy(signal), strict=True)
    return np.stack([lfilter(c, np.r_[1, -a], u) for a, c, u in rows])


def simulate(coef: Any, taps: Any, state: Any, steps: int) -> tuple[list[float], list[float]]:
    """Outputs and final state of a closed loop, step by step."""
    values, outputs = list(state), []
    for _ in range(steps):
        outputs.append(sum(c * values[-1 - j] for j, c in enumerate(taps)))
        values.append(sum(a * values[-1 - j] for j, a in enumerate(coef)))
    return outputs, values[-len(state) :]


def controller_form(coef: Any) -> Any:
    order = len(coef)
    return np.vstack([coef, np.eye(order)[:-1]])


# --- open loop ---


@dtypes
@orders
@lengths
def test_kernel_equals_the_recurrence(order: int, length: int, dtype: torch.dtype) -> None:
    coef, taps = stable_coef(3, order, dtype=dtype), normal(3, order, seed=1, dtype=dtype)
    impulse = torch.zeros(3, length, dtype=dtype)
    impulse[:, 0] = 1
    actual = numpy(kernel(coef, taps, length))
    assert_close(actual, scipy_filter(coef, taps, impulse), dtype)
    response = numpy(impulse_response(coef, length))
    assert_close(response, scipy_filter(coef, torch.ones(3, 1), impulse), dtype)


@pytest.mark.parametrize("length", (33, 64, 300, 5000))
def test_long_impulse_responses_of_clustered_roots_equal_the_recurrence(length: int) -> None:
    """Newton's iteration by Fourier transforms has errors of 1e5 here."""
    reflection = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).double()
    coef = step_up(constrain(reflection))
    impulse = torch.nn.functional.one_hot(torch.tensor(0), length).expand(20, -1)
    expected = scipy_filter(coef, torch.ones(20, 1), impulse)
    actual = numpy(impulse_response(coef, length))
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


@orders
@lengths
def test_kernel_equals_powers_of_the_controller_form_matrix(order: int, length: int) -> None:
    coef, taps = stable_coef(order), normal(order, seed=1)
    matrix, unit = controller_form(numpy(coef)), np.eye(order)[0]
    powers = [np.linalg.matrix_power(matrix, m) @ unit for m in range(length)]
    expected = [numpy(taps) @ power for power in powers]
    assert_close(numpy(kernel(coef, taps, length)), expected)


def test_kernel_of_zero_coefficients_equals_the_taps() -> None:
    taps = normal(4, 5)
    actual = kernel(torch.zeros(4, 5, dtype=torch.float64), taps, 9)
    torch.testing.assert_close(actual[:, :5], taps)
    assert actual[:, 5:].abs().max() < 1e-15


@dtypes
@orders
@lengths
def test_final_state_equals_the_recurrence(
    order: int, length: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    coef, signal = stable_coef(3, order, dtype=dtype), normal(2, 3, length, dtype=dtype)
    dense = state_after(signal, coef, order)
    monkeypatch.setattr(companion, "MAX_DENSE_ORDER", 0)
    fourier = state_after(signal, coef, order)
    for row in range(2):
        values = scipy_filter(coef, torch.ones(3, 1), signal[row])
        expected = np.pad(values, ((0, 0), (order, 0)))[:, -order:]
        assert_close(numpy(dense[row]), expected, dtype)
        assert_close(numpy(fourier[row]), expected, dtype)


# --- closed loop ---


@dtypes
@orders
@pytest.mark.parametrize("steps", (1, 2, 16, 40))
def test_closed_loop_equals_the_recurrence(
    order: int, steps: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    coef, taps = stable_coef(3, order, dtype=dtype), normal(3, order, seed=1, dtype=dtype)
    state = normal(2, 3, order, seed=2, dtype=dtype)
    dense = closed_loop(coef, taps, state, steps), advance_state(coef, state, steps)
    monkeypatch.setattr(companion, "MAX_DENSE_ORDER", 0)
    fourier = closed_loop(coef, taps, state, steps), advance_state(coef, state, steps)
    for outputs, final in (dense, fourier):
        for row in range(2):
            for channel in range(3):
                arguments = (numpy(coef[channel]), numpy(taps[channel]))
                expected = simulate(*arguments, numpy(state[row, channel]), steps)
                assert_close(numpy(outputs[row, channel]), expected[0], dtype)
                assert_close(numpy(final[row, channel]), expected[1], dtype)


@orders
def test_last_open_loop_output_equals_the_first_closed_loop_output(order: int) -> None:
    coef, loop_coef, taps = (
        stable_coef(2, order),
        stable_coef(2, order, seed=3),
        normal(2, order, seed=1),
    )
    signal = normal(4, 2, 20)
    open_loop = scipy_filter(coef, taps, signal[0])
    closed = closed_loop(loop_coef, taps, state_after(signal, coef, order), 3)
    assert_close(numpy(closed[0, :, 0]), open_loop[:, -1])


def test_closed_loop_in_chunks_equals_one_call() -> None:
    coef, taps, state = stable_coef(3, 6), normal(3, 6, seed=1), normal(2, 3, 6, seed=2)
    outputs, final = closed_loop(coef, taps, state, 23), advance_state(coef, state, 23)
    chunks = []
    for steps in (1, 4, 18):
        chunks.append(closed_loop(coef, taps, state, steps))
        state = advance_state(coef, state, steps)
    torch.testing.assert_close(torch.cat(chunks, dim=-1), outputs)
    torch.testing.assert_close(state, final)


def test_state_feedback_changes_only_the_coefficients() -> None:
    coef, feedback = numpy(stable_coef(5)), numpy(normal(5, seed=4))
    loop = controller_form(coef) + np.outer(np.eye(5)[0], feedback)
    np.testing.assert_array_equal(loop, controller_form(coef + feedback))


@pytest.mark.parametrize(
    "lags", ({1: 0.6}, {1: 1.9, 2: -0.98}, {4: 1.0}, {1: 1.0, 12: 1.0, 13: -1.0})
)
def test_closed_loop_of_an_autoregression_equals_its_forecasts(lags: dict[int, float]) -> None:
    coef = np.zeros(max(lags))
    for lag, value in lags.items():
        coef[lag - 1] = value
    past = np.random.default_rng(0).normal(size=len(coef))
    _, expected = simulate(coef, [1.0], past, 300)
    tensor = torch.from_numpy(coef)[None]
    actual = closed_loop(tensor, tensor, torch.from_numpy(past)[None, None], 300)
    assert_close(actual[0, 0, -len(coef) :].numpy(), expected)


# --- the paper's last-column form ---


def test_last_column_form_is_the_same_filter() -> None:
    """(a, b, c) equals (a, e_1, first kernel values), and a kernel in controller form."""
    column = numpy(0.9 * l1_normalize(normal(6)))
    inputs, outputs = numpy(normal(6, seed=1)), numpy(normal(6, seed=2))
    matrix = np.eye(6, k=-1)
    matrix[:, -1] = column
    powers = [np.linalg.matrix_power(matrix, m) for m in range(30)]
    expected = [outputs @ power @ inputs for power in powers]
    assert_close([expected[:6] @ power @ np.eye(6)[0] for power in powers], expected)
    coef = column[::-1].copy()
    numerator = np.convolve(np.r_[1, -coef], expected)[:6]
    assert_close(numpy(kernel(torch.from_numpy(coef), torch.from_numpy(numerator), 30)), expected)


@dtypes
def test_kernel_with_a_root_at_1_equals_the_recurrence(dtype: torch.dtype) -> None:
    """The paper's division of transforms is 0 / 0 here."""
    coef = torch.full((1, 4), 0.25, dtype=dtype)
    impulse, unit = torch.eye(1, 64, dtype=dtype), torch.eye(1, 4, dtype=dtype)
    assert_close(numpy(kernel(coef, unit, 64)), scipy_filter(coef, unit, impulse), dtype)


# --- stability ---


@pytest.mark.parametrize("order", (1, 2, 3, 7, 8, 64, 128))
def test_step_up_equals_levinsons_recursion(order: int) -> None:
    reflection = 0.9 * torch.tanh(normal(5, order))
    expected = []
    for row in numpy(reflection):
        coef = np.zeros(0)
        for last in row:
            coef = np.r_[coef - last * coef[::-1], last]
        expected.append(coef)
    actual = numpy(step_up(reflection))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("order", (2, 8, 32, 64, 128))
@pytest.mark.parametrize("scale", (0.2, 1.0, 3.0))
def test_impulse_responses_of_any_parameters_are_constrain(order: int, scale: float) -> None:
    coef = step_up(constrain(scale * normal(1000, order)))
    sample = numpy(coef)[:: max(1, order // 4)]
    assert max(np.abs(np.linalg.eigvals(controller_form(row))).max() for row in sample) < 1 + 1e-9
    assert impulse_response(coef[:50], 10_000).abs().max() < np.exp(MAX_LOG_VARIANCE_RATIO / 2)


def test_unconstrain_is_the_inverse_of_constrain() -> None:
    reflection = 0.99 * torch.tanh(normal(4, 12))
    torch.testing.assert_close(constrain(unconstrain(reflection)), reflection)
    assert constrain(normal(1000) * 100).abs().max() < 1
    assert unconstrain(torch.tensor([1.0, -1.0])).isfinite().all()


@pytest.mark.parametrize("order", (1, 2, 24, 96))
@pytest.mark.parametrize("sign", (1.0, -1.0))
def test_values_and_gradients_are_finite_on_the_stability_boundary(order: int, sign: float) -> None:
    """All-positive coefficients have a root at 1."""
    angle = torch.zeros(1, order, dtype=torch.float64)
    angle[0, -1] = sign * torch.pi / 2
    equal = torch.full((1, order), sign / order, dtype=torch.float64)  # l1 norm 1
    functions = ((lambda angle: step_up(constrain(angle)), angle), (l1_normalize, equal))
    for coefficients, start in functions:
        parameter = start.clone().requires_grad_()
        coef = coefficients(parameter)
        state = torch.ones(1, 1, order, dtype=torch.float64)
        outputs = closed_loop(coef, coef, state, 10_000)
        outputs.square().mean().backward()
        assert outputs.isfinite().all() and outputs.abs().max() < 1e3
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_unit_roots_preserve_a_level_and_a_trend() -> None:
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    level, trend = (add_unit_roots(zeros, unit_roots) for unit_roots in (1, 2))
    state = torch.tensor([[[1.0, 2.0, 5.0, 7.0]]], dtype=torch.float64)
    assert_close(closed_loop(level, level, state, 3).numpy(), [[[7.0, 7.0, 7.0]]])
    state = torch.tensor([[[0.0, 1.0, 2.0, 5.0, 7.0]]], dtype=torch.float64)
    torch.testing.assert_close(
        closed_loop(trend, trend, state, 3),
        torch.tensor([[[9.0, 11.0, 13.0]]], dtype=torch.float64),
    )


# --- gradients ---


def test_gradients_equal_finite_differences() -> None:
    angle = (0.5 * normal(2, 3)).requires_grad_()
    taps, signal = normal(2, 3, seed=1).requires_grad_(), normal(2, 2, 7, seed=2).requires_grad_()

    def run(angle: Tensor, taps: Tensor, signal: Tensor) -> tuple[Tensor, ...]:
        coef = step_up(constrain(angle))
        state = state_after(signal, coef, 3)
        return (
            kernel(coef, taps, 9),
            closed_loop(coef, taps, state, 6),
            advance_state(coef, state, 2),
        )

    assert torch.autograd.gradcheck(run, (angle, taps, signal))


def test_gradient_of_a_response_shorter_than_the_order() -> None:
    coef = stable_coef(2, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: impulse_response(c, 4), (coef,))
