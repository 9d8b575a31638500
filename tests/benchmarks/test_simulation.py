"""Simulated heads agree with the theory; ridge takes the peak; symbols show degeneracy."""

import numpy as np
import pytest
import torch
from theory.simulation import Scheme, draw_model, draw_pairs, simulate
from theory.symbols import (
    SymbolModel,
    draw_sequences,
    draw_symbol_model,
    state_before,
    tune_over_states,
)
from torch import Tensor

from tsar.complexity.theory import ridgeless_risk

SIZES = (5, 20, 80, 150, 230, 300, 500, 1200)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("serial", (False, True))
@pytest.mark.parametrize("scheme", ("general", "aligned"))
def test_theory_is_within_five_percent_of_simulation(scheme: Scheme, serial: bool) -> None:
    """Ten percent at the smallest size."""
    sizes = SIZES if scheme == "general" else SIZES[1:]
    for several in (sizes,) if scheme == "general" else [(size,) for size in sizes]:
        model = draw_model(20, max(several), scheme=scheme, generator=seeded())
        found = simulate(model, several, repetitions=60, serial=serial, generator=seeded(1))
        off = abs(found["excess"] / found["theory_excess"] - 1)
        assert (off <= np.where(found["size"] == sizes[0], 0.1, 0.05)).all(), off


def test_rows_of_a_trajectory_are_worth_fewer() -> None:
    """With two features of 20 states a quarter more variance than of rows apart."""
    model = draw_model(20, 2, generator=seeded())
    found = simulate(model, (2,), repetitions=600, serial=True, generator=seeded(1)).iloc[0]
    apart = ridgeless_risk(model.spectrum, 200).excess
    assert found["excess"] > 1.15 * float(apart)
    assert found["excess"] == pytest.approx(found["theory_excess"], rel=0.06)


@pytest.mark.parametrize("features", (2, 5))
def test_the_worth_of_rows_is_that_of_all_pairs_of_rows(features: int) -> None:
    """Every covariance of 6 rows written out, Isserlis' theorem for each pair."""
    rows, states = 6, 3
    model = draw_model(states, features, generator=seeded())
    # Each row is a linear map of the first state and all noises: shape (numbers, source).
    sources = states + (rows + 1) * states + rows * features
    root = torch.linalg.cholesky(model.state_covariance)
    state = torch.zeros(sources, states).double()
    state[:states] = root.T
    noises = torch.eye(sources).double()[states:]
    seen, left = [], []
    for row in range(rows):
        shown = state @ model.readout
        place = (rows + 1) * states + row * features
        shown += model.feature_noise**0.5 * noises[place : place + features].T
        place = row * states
        state = state @ model.transition
        state = state + model.state_noise**0.5 * noises[place : place + states].T
        seen.append(shown)
        left.append(state - shown @ model.head)
    inverse = torch.linalg.inv(model.feature_covariance)
    total = torch.zeros(()).double()
    for x, e in zip(seen, left, strict=True):
        for other_x, other_e in zip(seen, left, strict=True):
            moment = (x.T @ other_x) * (e.T @ other_e).trace()
            moment = moment + x.T @ other_e @ e.T @ other_x
            total += (inverse * moment.T).sum()
    expected = total / (rows * features * model.noise)
    assert model.dependence(rows) == pytest.approx(float(expected), rel=1e-12)


def test_total_risk_has_an_interior_minimum_and_excess_risk_has_not() -> None:
    model = draw_model(20, 2000, generator=seeded())
    found = simulate(model, (2, 5, 10, 20, 40, 80, 160), repetitions=8, generator=seeded(1))
    assert found["excess"].is_monotonic_increasing  # the first descent is degenerate
    assert found["excess"].iloc[0] < 0.05 * found["null"].iloc[0]
    assert found["total"].idxmin() == 3  # 20 features for 20 states
    assert (found["total"] > found["bayes"]).all()
    assert (found["bias"] < 1e-12 * found["variance"]).all()


def test_ridge_takes_the_peak() -> None:
    model = draw_model(20, 600, generator=seeded())
    sizes = (100, 190, 210, 600)
    found = simulate(model, sizes, repetitions=8, ridge=True, generator=seeded(1))
    assert found["excess"].max() > 100 * found["ridge_excess"].max()
    np.testing.assert_allclose(found["ridge_excess"], found["ridge_theory"], rtol=0.1)
    assert (found["ridge_tuned"] < 1.1 * found["ridge_excess"]).all()
    assert found["ridge_theory"].is_monotonic_decreasing


def test_bias_and_variance_add_up() -> None:
    model = draw_model(5, 60, scheme="aligned", generator=seeded())
    found = simulate(model, (60,), rows=30, repetitions=300, generator=seeded(1)).iloc[0]
    assert found["bias"] + found["variance"] == pytest.approx(found["excess"], rel=0.05)
    assert found["bias"] == pytest.approx(found["theory_bias"], rel=0.1)


def test_a_trajectory_moves_as_the_model_says() -> None:
    model = draw_model(3, 4, generator=seeded())
    seen, after = draw_pairs(model, 4000, 2, serial=True, generator=seeded(1))
    before = after[:, :-1]
    moved = after[:, 1:] - before @ model.transition
    flat = moved.flatten(0, 1)
    torch.testing.assert_close(flat.T.cov(), torch.eye(3).double(), rtol=0, atol=0.06)
    covariance = after.flatten(0, 1).T.cov()
    torch.testing.assert_close(covariance, model.state_covariance, rtol=0.1, atol=0.2)
    noise = seen[:, 1:] - before @ model.readout
    torch.testing.assert_close(
        noise.flatten(0, 1).T.cov(), torch.eye(4).double(), rtol=0, atol=0.06
    )


# --- symbols ----------------------------------------------------------------------------------


def enumerated(model: SymbolModel, sequence: list[int]) -> Tensor:
    """Probability of the state before a sequence, path by path."""
    states = range(len(model.transition))
    weight = torch.zeros(len(model.transition), dtype=torch.float64)

    def follow(state: int, left: list[int]) -> float:
        if not left:
            return 1.0
        return sum(
            float(model.transition[state, k] * model.emission[k, left[0]]) * follow(k, left[1:])
            for k in states
        )

    for first in states:
        weight[first] = float(model.stationary[first]) * follow(first, sequence)
    return weight / weight.sum()


def test_the_state_before_is_that_of_all_paths() -> None:
    model = draw_symbol_model(3, symbols=2, generator=seeded(3))
    blurred = SymbolModel(
        0.5 * model.transition + 0.5 / 3, 0.5 * model.emission + 0.25, model.weights
    )
    sequences = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 1]])
    found = state_before(blurred, sequences)
    for row, sequence in zip(found, sequences.tolist(), strict=True):
        torch.testing.assert_close(row, enumerated(blurred, sequence))


def test_sequences_follow_the_model() -> None:
    model = draw_symbol_model(4, generator=seeded())
    drawn = draw_sequences(model, 4000, 3, seeded(1))
    share = torch.bincount(drawn[:, 2], minlength=10) / 4000
    torch.testing.assert_close(share.double(), model.stationary @ model.emission, rtol=0, atol=0.03)


def test_more_states_than_symbols_make_head_tuning_fail() -> None:
    sizes = {"train": 600, "test": 400, "length": 24}
    found = tune_over_states((4, 8, 20), repetitions=4, generator=seeded(), **sizes)
    few, some, many = found.to_dict("records")
    assert few["accuracy"] > 0.97
    assert some["accuracy"] > 0.95
    assert many["accuracy"] < 0.93
    assert many["accuracy_of_states"] > many["accuracy"] + 0.04
