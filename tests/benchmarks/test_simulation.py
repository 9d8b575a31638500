"""Simulated risks against the theory, for latent-state models and for symbols."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from theory.population import stationary_covariance
from theory.ridge import generalized_cross_validation
from theory.simulation import Scheme, sample_model, sample_rows, simulate
from theory.symbols import (
    SymbolModel,
    initial_state_proba,
    sample_sequences,
    sample_symbol_model,
    tune_over_states,
)
from torch import Tensor

from tsar.complexity.heads import RidgeSVD
from tsar.complexity.theory import ridgeless_risk

SIZES = (5, 20, 80, 150, 230, 300, 500, 1200)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- models -----------------------------------------------------------------------------------


def test_the_stationary_covariance_is_a_fixed_point() -> None:
    transition, noise = sample_model(6, 1, generator=seeded()).transition, torch.eye(6).double()
    covariance = stationary_covariance(transition, noise)
    torch.testing.assert_close(transition.T @ covariance @ transition + noise, covariance)
    with pytest.raises(ValueError, match=r"spectral radius below 1; got 1\. Scale it down"):
        stationary_covariance(noise, noise)


def test_an_aligned_model_needs_as_many_features_as_states() -> None:
    with pytest.raises(ValueError, match="features must be at least the 5 states"):
        sample_model(5, 4, scheme="aligned", generator=seeded())


def test_a_trajectory_has_the_moments_of_the_model() -> None:
    model = sample_model(3, 4, generator=seeded())
    features, states = sample_rows(model, 4000, 2, serial=True, generator=seeded(1))
    state, next_state = states[:, :-1], states[:, 1:]
    shocks = (next_state - state @ model.transition).flatten(0, 1)
    torch.testing.assert_close(shocks.T.cov(), torch.eye(3).double(), rtol=0, atol=0.06)
    covariance = states.flatten(0, 1).T.cov()
    torch.testing.assert_close(covariance, model.state_covariance, rtol=0.1, atol=0.2)
    noise = (features[:, 1:] - state @ model.readout).flatten(0, 1)
    torch.testing.assert_close(noise.T.cov(), torch.eye(4).double(), rtol=0, atol=0.06)


def test_generalized_cross_validation_by_the_hat_matrix() -> None:
    features = torch.randn(40, 60, generator=seeded(), dtype=torch.float64)
    response = torch.randn(40, 1, generator=seeded(1), dtype=torch.float64)
    response = response + features[:, :3] @ torch.ones(3, 1).double()
    hat = np.stack(
        [
            Ridge(alpha=20.0).fit(features.numpy(), unit).predict(features.numpy())
            for unit in np.eye(40)
        ]
    )
    residuals = response[:, 0].numpy() - hat.T @ response[:, 0].numpy()
    expected = (residuals**2).mean() / (1 - np.trace(hat) / 40) ** 2
    penalty = torch.tensor([20.0], dtype=torch.float64)
    score = generalized_cross_validation(RidgeSVD.of(features), response, penalty)
    assert float(score) == pytest.approx(expected)


# --- risks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("serial", (False, True))
@pytest.mark.parametrize("scheme", ("general", "aligned"))
def test_theory_is_within_five_percent_of_simulation(scheme: Scheme, serial: bool) -> None:
    """Ten percent at the smallest size."""
    sizes = SIZES if scheme == "general" else SIZES[1:]
    for model_sizes in (sizes,) if scheme == "general" else [(size,) for size in sizes]:
        model = sample_model(20, max(model_sizes), scheme=scheme, generator=seeded())
        risks = simulate(model, model_sizes, repetitions=60, serial=serial, generator=seeded(1))
        difference = abs(risks["excess"] / risks["theory_excess"] - 1)
        tolerance = np.where(risks["size"] == sizes[0], 0.1, 0.05)
        assert (difference <= tolerance).all(), difference


def test_serial_rows_inflate_the_variance() -> None:
    """With two features of 20 states by a quarter."""
    model = sample_model(20, 2, generator=seeded())
    risks = simulate(model, (2,), repetitions=600, serial=True, generator=seeded(1)).iloc[0]
    iid = ridgeless_risk(model.spectrum, 200).excess
    assert risks["excess"] > 1.15 * float(iid)
    assert risks["excess"] == pytest.approx(risks["theory_excess"], rel=0.06)


@pytest.mark.parametrize("features", (2, 5))
def test_variance_inflation_equals_the_sum_over_all_pairs_of_rows(features: int) -> None:
    """Every covariance of 6 rows, and Isserlis' theorem for each pair."""
    n_rows, states = 6, 3
    model = sample_model(states, features, generator=seeded())
    # Each row is a linear map of the first state and all noises: shape (sources, output).
    sources = states + (n_rows + 1) * states + n_rows * features
    root = torch.linalg.cholesky(model.state_covariance)
    state = torch.zeros(sources, states).double()
    state[:states] = root.T
    noises = torch.eye(sources).double()[states:]
    inputs, residuals = [], []
    for row in range(n_rows):
        x = state @ model.readout
        first = (n_rows + 1) * states + row * features
        x += model.feature_noise**0.5 * noises[first : first + features].T
        first = row * states
        state = state @ model.transition
        state = state + model.state_noise**0.5 * noises[first : first + states].T
        inputs.append(x)
        residuals.append(state - x @ model.head)
    inverse = torch.linalg.inv(model.feature_covariance)
    total = torch.zeros(()).double()
    for x, e in zip(inputs, residuals, strict=True):
        for other_x, other_e in zip(inputs, residuals, strict=True):
            moment = (x.T @ other_x) * (e.T @ other_e).trace()
            moment = moment + x.T @ other_e @ e.T @ other_x
            total += (inverse * moment.T).sum()
    expected = total / (n_rows * features * model.residual_variance)
    assert model.variance_inflation(n_rows) == pytest.approx(float(expected), rel=1e-12)


def test_total_risk_has_an_interior_minimum_and_excess_risk_has_none() -> None:
    model = sample_model(20, 2000, generator=seeded())
    sizes = (2, 5, 10, 20, 40, 80, 160)
    risks = simulate(model, sizes, repetitions=8, generator=seeded(1))
    assert risks["excess"].is_monotonic_increasing  # the first descent is degenerate
    assert risks["excess"].iloc[0] < 0.05 * risks["null"].iloc[0]
    assert risks["total"].idxmin() == 3  # 20 features for 20 states
    assert (risks["total"] > risks["bayes"]).all()
    assert (risks["bias"] < 1e-12 * risks["variance"]).all()


def test_ridge_removes_the_peak() -> None:
    model = sample_model(20, 600, generator=seeded())
    sizes = (100, 190, 210, 600)
    risks = simulate(model, sizes, repetitions=8, ridge=True, generator=seeded(1))
    assert risks["excess"].max() > 100 * risks["ridge_excess"].max()
    np.testing.assert_allclose(risks["ridge_excess"], risks["ridge_theory"], rtol=0.1)
    assert (risks["ridge_tuned"] < 1.1 * risks["ridge_excess"]).all()
    assert risks["ridge_theory"].is_monotonic_decreasing


def test_bias_and_variance_add_up() -> None:
    model = sample_model(5, 60, scheme="aligned", generator=seeded())
    risks = simulate(model, (60,), n_rows=30, repetitions=300, generator=seeded(1)).iloc[0]
    assert risks["bias"] + risks["variance"] == pytest.approx(risks["excess"], rel=0.05)
    assert risks["bias"] == pytest.approx(risks["theory_bias"], rel=0.1)


# --- symbols ----------------------------------------------------------------------------------


def enumerate_paths(model: SymbolModel, sequence: list[int]) -> Tensor:
    """Posterior of the state before a sequence, by the probability of every path."""
    states = range(len(model.transition))
    weight = torch.zeros(len(model.transition), dtype=torch.float64)

    def likelihood(state: int, symbols: list[int]) -> float:
        if not symbols:
            return 1.0
        return sum(
            float(model.transition[state, k] * model.emission[k, symbols[0]])
            * likelihood(k, symbols[1:])
            for k in states
        )

    for first in states:
        weight[first] = float(model.stationary[first]) * likelihood(first, sequence)
    return weight / weight.sum()


def test_the_initial_state_posterior_equals_the_sum_over_paths() -> None:
    model = sample_symbol_model(3, symbols=2, generator=seeded(3))
    smoothed = SymbolModel(
        0.5 * model.transition + 0.5 / 3, 0.5 * model.emission + 0.25, model.weights
    )
    sequences = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 1]])
    posterior = initial_state_proba(smoothed, sequences)
    for row, sequence in zip(posterior, sequences.tolist(), strict=True):
        torch.testing.assert_close(row, enumerate_paths(smoothed, sequence))


def test_sequences_have_the_stationary_distribution() -> None:
    model = sample_symbol_model(4, generator=seeded())
    sequences = sample_sequences(model, 4000, 3, seeded(1))
    share = torch.bincount(sequences[:, 2], minlength=10) / 4000
    torch.testing.assert_close(share.double(), model.stationary @ model.emission, rtol=0, atol=0.03)


def test_head_tuning_fails_with_more_states_than_symbols() -> None:
    sizes = {"train": 600, "test": 400, "length": 24}
    table = tune_over_states((4, 8, 20), repetitions=4, generator=seeded(), **sizes)
    few, some, many = table.to_dict("records")
    assert few["accuracy"] > 0.97
    assert some["accuracy"] > 0.95
    assert many["accuracy"] < 0.93
    assert many["accuracy_of_states"] > many["accuracy"] + 0.04
