"""Risk of heads fitted to one trajectory: the limit against its equations and simulation."""

import numpy as np
import pytest
import torch
from theory.population import LatentModel
from theory.simulation import sample_model, simulate
from theory.trajectory import trajectory_risk
from torch import Tensor

from tsar.complexity.theory import ridgeless_risk


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("features", [14, 60])
def test_states_without_memory_have_the_risk_of_iid_rows(features: int) -> None:
    sampled = sample_model(3, features, generator=seeded())
    model = LatentModel(torch.zeros(3, 3).double(), sampled.readout, 1.0, 1.0)
    serial, iid = trajectory_risk(model, 12), ridgeless_risk(model.spectrum, 12)
    assert float(serial.variance) == pytest.approx(float(iid.variance), rel=1e-8)
    assert float(serial.bias) == pytest.approx(0.0, abs=1e-12)  # nothing can be forecast


def resolvent(model: LatentModel, n_rows: int, multiple: float, penalty: float) -> Tensor:
    """Fixed point by products of all pairs of rows; `multiple` of the covariance is added to I."""
    size = model.readout.shape[1]
    identity, covariance = torch.eye(size).double(), model.feature_covariance
    products = torch.empty(n_rows, n_rows, size, size).double()
    for t in range(n_rows):
        for s in range(n_rows):
            power = torch.linalg.matrix_power(model.transition, abs(s - t))
            product = model.readout.T @ model.state_covariance @ power @ model.readout
            products[t, s] = product if s > t else product.T
        products[t, t] = covariance
    inverse = identity / 2
    for _ in range(5000):
        over_rows = torch.einsum("tsab,ab->ts", products, inverse)
        weights = torch.linalg.inv(penalty * torch.eye(n_rows).double() + over_rows)
        over_features = torch.einsum("tsab,ts->ab", products, weights)
        inverse = torch.linalg.inv(
            identity + multiple * covariance + (over_features + over_features.T) / 2
        )
    return inverse


def test_the_limit_solves_its_equations() -> None:
    model, n_rows, step = sample_model(3, 16, generator=seeded()), 7, 1e-4
    low, high = (resolvent(model, n_rows, multiple, 0.0) for multiple in (-step, step))
    bias = -torch.trace(model.head.T @ (high - low) @ model.head) / (2 * step)
    at = [resolvent(model, n_rows, 0.0, penalty) for penalty in (0.0, step, 2 * step)]
    derivative = (4 * at[1] - 3 * at[0] - at[2]) / (2 * step)
    variance = model.residual_variance * (derivative * model.feature_covariance).sum()
    risk = trajectory_risk(model, n_rows)
    assert float(risk.bias) == pytest.approx(float(bias), rel=1e-5)
    expected = float(variance * (16 - 7) / (16 - 7 - 1))
    assert float(risk.variance) == pytest.approx(expected, rel=1e-5)


def test_the_limit_of_slow_states_agrees_with_simulation() -> None:
    model = sample_model(16, 800, scheme="aligned", persistence=0.97, generator=seeded(2))
    options = {"n_rows": 250, "repetitions": 60, "serial": True}
    simulated = simulate(model, (800,), **options, generator=seeded(1)).iloc[0]
    iid, limit = ridgeless_risk(model.spectrum, 250), trajectory_risk(model, 250)
    assert simulated["bias"] == pytest.approx(float(limit.bias), rel=0.05)
    assert simulated["bias"] > 1.2 * float(iid.bias)
    assert simulated["excess"] == pytest.approx(float(limit.excess), rel=0.04)
    np.testing.assert_allclose(simulated["theory_excess"], float(limit.excess))


def test_few_features_have_inflated_variance_and_the_threshold_is_infinite() -> None:
    model = sample_model(4, 60, generator=seeded())
    few = model.with_features(3)
    expected = float(ridgeless_risk(few.spectrum, 40).variance) * few.variance_inflation(40)
    assert float(trajectory_risk(few, 40).variance) == pytest.approx(expected)
    assert float(trajectory_risk(model.with_features(41), 40).excess) == np.inf
    near = sample_model(4, 83, generator=seeded())
    assert trajectory_risk(near, 80).excess == ridgeless_risk(near.spectrum, 80).excess


@pytest.mark.parametrize("features", [6, 30, 50])
def test_the_best_head_of_noiseless_features_follows_from_their_moments(features: int) -> None:
    sampled = sample_model(30, 50, generator=seeded())
    model = LatentModel(sampled.transition, sampled.readout[:, :features], 1.0, 0.0)
    cross = model.readout.T @ model.state_covariance
    expected = torch.linalg.pinv(cross @ model.readout, hermitian=True) @ cross @ model.transition
    prediction = model.readout @ model.head  # the head of collinear features is not unique
    torch.testing.assert_close(prediction, model.readout @ expected, rtol=1e-6, atol=1e-8)
    assert float(model.excess(expected)) == pytest.approx(0.0, abs=1e-9)
    residual_variance = model.null_risk - model.variance_of(expected)
    assert float(model.residual_variance) == pytest.approx(float(residual_variance), rel=1e-8)


def test_noiseless_features_have_the_rank_of_the_states() -> None:
    sampled = sample_model(4, 60, generator=seeded())
    model = LatentModel(sampled.transition, sampled.readout, 1.0, 0.0)
    risk = trajectory_risk(model, 30)
    assert float(risk.excess) == pytest.approx(4 * 4 / (30 - 5), rel=1e-6)
