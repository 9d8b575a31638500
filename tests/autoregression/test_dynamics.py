import math

import numpy as np
import pytest
import reference_autoregression as reference
import torch
from scipy.signal import lfilter
from torch.testing import assert_close

from tsar.autoregression import (
    horizon_map,
    is_stable,
    psi_weights,
    reflection_coefficients,
    roots,
)

RANDOM = np.random.default_rng(0)


def coefficients(groups: int, lags: int, scale: float) -> torch.Tensor:
    return torch.tensor(RANDOM.normal(size=(groups, lags)) * scale)


@pytest.mark.parametrize("horizon", [1, 2, 3, 8, 65])
@pytest.mark.parametrize("lags", [1, 2, 7, 30])
def test_psi_weights_are_the_response_of_the_recursion(lags: int, horizon: int) -> None:
    coef = coefficients(4, lags, 0.3 / math.sqrt(lags))
    expected = np.stack([reference.impulse_response(row, horizon) for row in coef.numpy()])
    assert_close(psi_weights(coef, horizon), torch.tensor(expected), rtol=1e-12, atol=1e-14)


def test_psi_weights_agree_with_a_digital_filter_near_the_unit_circle() -> None:
    coef = reference.product([1, -0.9999], [1, -1.99, 0.995])
    expected = lfilter([1.0], [1.0, *(-c for c in coef)], np.eye(1, 2000)[0])
    result = psi_weights(torch.tensor([coef], dtype=torch.float64), 2000)[0]
    assert_close(result, torch.tensor(expected), rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("horizon", [1, 5, 40])
@pytest.mark.parametrize("lags", [1, 3, 24])
def test_the_horizon_map_forecasts_as_the_recursion_does(lags: int, horizon: int) -> None:
    coef = coefficients(3, lags, 0.4 / math.sqrt(lags))
    context = RANDOM.normal(size=(3, lags))
    result = horizon_map(coef, horizon) @ torch.tensor(context[:, ::-1].copy())[:, :, None]
    rows = zip(coef.numpy(), context, strict=True)
    expected = np.stack([reference.iterate(row, past, horizon) for row, past in rows])
    assert_close(result[:, :, 0], torch.tensor(expected), rtol=1e-11, atol=1e-13)


def test_the_maps_of_many_systems_in_chunks_are_those_of_each_alone() -> None:
    coef = coefficients(500, 40, 0.05)
    result = horizon_map(coef, 100)
    assert_close(result[[0, 299, 300, 499]], horizon_map(coef[[0, 299, 300, 499]], 100))


def test_a_shorter_horizon_is_the_prefix_of_a_longer_one() -> None:
    coef = coefficients(2, 5, 0.2)
    assert_close(psi_weights(coef, 7), psi_weights(coef, 50)[:, :7])
    assert_close(horizon_map(coef, 7), horizon_map(coef, 50)[:, :7])


def test_roots_are_those_that_the_polynomial_was_built_from() -> None:
    coef = reference.product([1, -0.9], [1, -2 * 0.8 * math.cos(1.0), 0.64], [1, 0.5])
    result = roots(torch.tensor([coef], dtype=torch.float64))[0]
    wave = 0.8 * complex(math.cos(1.0), math.sin(1.0))
    for root in (0.9, wave, wave.conjugate(), -0.5):
        assert (result - root).abs().min() < 1e-12
    assert result.abs().tolist() == sorted(result.abs().tolist(), reverse=True)


def test_trailing_zeros_are_exact_zero_roots() -> None:
    coef = torch.tensor([[0.5, 0.0, 0.0, 0.0], [0.0, 0.25, 0.0, 0.0], [0.0] * 4]).double()
    sizes = roots(coef).abs()
    expected = torch.tensor([[0.5, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 0]]).double()
    assert_close(sizes, expected, rtol=0, atol=1e-15)
    assert not sizes[expected == 0].any()


@pytest.mark.parametrize("lags", [1, 2, 6])
def test_a_system_is_stable_exactly_if_its_roots_are_inside_the_unit_circle(lags: int) -> None:
    coef = coefficients(300, lags, 0.6)
    stable = is_stable(coef)
    assert torch.equal(stable, roots(coef).abs()[:, 0] < 1)
    assert 0 < stable.sum() < 300


def test_a_random_walk_is_not_stable() -> None:
    assert is_stable(torch.tensor([[1.0], [0.999], [-1.0]])).tolist() == [False, True, False]


def test_levinson_steps_rebuild_the_coefficients_from_the_reflections() -> None:
    partial = RANDOM.uniform(-0.95, 0.95, size=(5, 8))
    coef = np.zeros((5, 0))
    for step in range(8):
        last = partial[:, [step]]
        coef = np.concatenate([coef - last * coef[:, ::-1], last], axis=1)
    assert_close(reflection_coefficients(torch.tensor(coef)), torch.tensor(partial))


@pytest.mark.parametrize("function", [psi_weights, horizon_map])
def test_an_empty_horizon_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match="horizon must be at least 1; got 0"):
        function(torch.zeros(1, 2), 0)
