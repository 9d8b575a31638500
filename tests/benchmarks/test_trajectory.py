"""Heads from one trajectory: the limit beside its equations written out, and beside simulation."""

import numpy as np
import pytest
import torch
from theory.population import LatentModel
from theory.simulation import draw_model, simulate
from theory.trajectory import trajectory_risk
from torch import Tensor

from tsar.complexity.theory import Risk, ridgeless_risk


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def excess(risk: Risk) -> float:
    return float(risk.excess)


@pytest.mark.parametrize("features", [14, 60])
def test_rows_without_memory_cost_what_rows_apart_do(features: int) -> None:
    drawn = draw_model(3, features, generator=seeded())
    model = LatentModel(torch.zeros(3, 3).double(), drawn.readout, 1.0, 1.0)
    alike, apart = trajectory_risk(model, 12), ridgeless_risk(model.spectrum, 12)
    assert float(alike.variance) == pytest.approx(float(apart.variance), rel=1e-8)
    assert float(alike.bias) == pytest.approx(0.0, abs=1e-12)  # there is nothing to forecast


def written_out(model: LatentModel, rows: int, tilt: float, penalty: float) -> Tensor:
    """What is missed, from products of every two rows and features; `tilt` of the covariance."""
    size = model.readout.shape[1]
    one, covariance = torch.eye(size).double(), model.feature_covariance
    products = torch.empty(rows, rows, size, size).double()
    for t in range(rows):
        for s in range(rows):
            power = torch.linalg.matrix_power(model.transition, abs(s - t))
            ahead = model.readout.T @ model.state_covariance @ power @ model.readout
            products[t, s] = ahead if s > t else ahead.T
        products[t, t] = covariance
    missed = one / 2
    for _ in range(5000):
        among_rows = torch.einsum("tsab,ab->ts", products, missed)
        weights = torch.linalg.inv(penalty * torch.eye(rows).double() + among_rows)
        crowd = torch.einsum("tsab,ts->ab", products, weights)
        missed = torch.linalg.inv(one + tilt * covariance + (crowd + crowd.T) / 2)
    return missed


def test_the_limit_is_the_root_of_its_equations() -> None:
    model, rows, step = draw_model(3, 16, generator=seeded()), 7, 1e-4
    tilted = [written_out(model, rows, tilt, 0.0) for tilt in (-step, step)]
    bias = -torch.trace(model.head.T @ (tilted[1] - tilted[0]) @ model.head) / (2 * step)
    punished = [written_out(model, rows, 0.0, penalty) for penalty in (0.0, step, 2 * step)]
    slope = (4 * punished[1] - 3 * punished[0] - punished[2]) / (2 * step)
    variance = model.noise * (slope * model.feature_covariance).sum() * (16 - 7) / (16 - 7 - 1)
    found = trajectory_risk(model, rows)
    assert float(found.bias) == pytest.approx(float(bias), rel=1e-5)
    assert float(found.variance) == pytest.approx(float(variance), rel=1e-5)


def test_slow_states_cost_what_their_trajectories_show() -> None:
    model = draw_model(16, 800, scheme="aligned", persistence=0.97, generator=seeded(2))
    found = simulate(model, (800,), rows=250, repetitions=60, serial=True, generator=seeded(1))
    simulated = found.iloc[0]
    apart, limit = ridgeless_risk(model.spectrum, 250), trajectory_risk(model, 250)
    assert simulated["bias"] == pytest.approx(float(limit.bias), rel=0.05)
    assert simulated["bias"] > 1.2 * float(apart.bias)
    assert simulated["excess"] == pytest.approx(excess(limit), rel=0.04)
    np.testing.assert_allclose(simulated["theory_excess"], excess(limit))


def test_few_features_cost_what_dependence_says_and_the_peak_is_infinite() -> None:
    model = draw_model(4, 60, generator=seeded())
    few = model.with_features(3)
    expected = float(ridgeless_risk(few.spectrum, 40).variance) * few.dependence(40)
    assert float(trajectory_risk(few, 40).variance) == pytest.approx(expected)
    assert excess(trajectory_risk(model.with_features(41), 40)) == np.inf
    beside = draw_model(4, 83, generator=seeded())
    assert excess(trajectory_risk(beside, 80)) == excess(ridgeless_risk(beside.spectrum, 80))


@pytest.mark.parametrize("features", [6, 30, 50])
def test_the_best_head_of_noiseless_features_is_that_of_their_moments(features: int) -> None:
    drawn = draw_model(30, 50, generator=seeded())
    model = LatentModel(drawn.transition, drawn.readout[:, :features], 1.0, 0.0)
    shown = model.readout.T @ model.state_covariance
    expected = torch.linalg.pinv(shown @ model.readout, hermitian=True) @ shown @ model.transition
    ahead = model.readout @ model.head  # of features that depend on each other there are many
    torch.testing.assert_close(ahead, model.readout @ expected, rtol=1e-6, atol=1e-8)
    assert float(model.excess(expected)) == pytest.approx(0.0, abs=1e-9)
    left = model.null - model.norm(expected)
    assert float(model.noise) == pytest.approx(float(left), rel=1e-8)


def test_features_without_noise_are_as_many_as_the_states() -> None:
    drawn = draw_model(4, 60, generator=seeded())
    model = LatentModel(drawn.transition, drawn.readout, 1.0, 0.0)
    assert excess(trajectory_risk(model, 30)) == pytest.approx(4 * 4 / (30 - 5), rel=1e-6)
