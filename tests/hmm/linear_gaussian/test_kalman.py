"""Kalman filter and smoother: against the dense joint Gaussian, a plain loop, and statsmodels."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother
from torch import Tensor

from tsar.hmm.em import select_models
from tsar.hmm.linear_gaussian.forecasting import forecast, simulate
from tsar.hmm.linear_gaussian.kalman import (
    FilterResults,
    StateSpaceModel,
    UniqueCovariances,
    kalman_filter,
    kalman_smoother,
)
from tsar.hmm.linear_gaussian.scan import ElementIds, ScanTree

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-10}


def random_model(
    states: int = 3, features: int = 2, models: int = 1, seed: int = 0, *, rank: int | None = None
) -> StateSpaceModel:
    """Stable models with correlated noises; `rank` is that of the state covariance."""
    generator = np.random.default_rng(seed)

    def covariance(size: int, rank: int | None = None) -> Any:
        factor = generator.normal(size=(models, size, rank or size + 1))
        return factor @ factor.transpose(0, 2, 1) / size

    rotations = np.linalg.qr(generator.normal(size=(models, states, states)))[0]
    values = (
        rotations * generator.uniform(0.3, 0.99, size=(models, states))[:, None],
        covariance(states, rank),
        generator.normal(size=(models, features, states)),
        generator.normal(size=(models, features)),
        covariance(features) + 0.1 * np.eye(features),
        generator.normal(size=(models, states)),
        covariance(states),
    )
    return StateSpaceModel(*map(torch.from_numpy, values))


def random_values(
    sequences: int, length: int, features: int, missing: float, seed: int = 1
) -> Tensor:
    """White noise with missing single values and missing points."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(sequences, length, features))
    values[generator.random(values.shape) < missing] = np.nan
    values[generator.random(values.shape[:2]) < missing] = np.nan
    return torch.from_numpy(values)


def expand(covariances: UniqueCovariances) -> Tensor:
    """Covariance of every time step: (model, sequence, time, row, column)."""
    return covariances.unique[:, covariances.index]


def filter_covariance(results: FilterResults, name: str) -> Tensor:
    """`predicted_state_cov` or `filtered_state_cov` of every time step."""
    covariance: Tensor = getattr(results.elements, name)[:, results.ids.ids[results.pattern]]
    return covariance


def statsmodels_results(model: StateSpaceModel, values: Tensor) -> Any:
    features, states = model.design.shape[1:]
    peer = KalmanSmoother(features, states, k_posdef=states, tolerance=0)
    peer["selection"] = np.eye(states)
    for name in ("transition", "state_cov", "design", "obs_intercept", "obs_cov"):
        peer[name] = getattr(model, name)[0].numpy()
    peer.initialize_known(model.initial_state[0].numpy(), model.initial_state_cov[0].numpy())
    peer.bind(np.array(values.numpy()))
    return peer.smooth()


def joint_distribution(model: StateSpaceModel, length: int) -> tuple[Any, Any, Any, Any]:
    """Mean and covariance of all states, and the linear map from them to the observations."""
    a, q, c, intercept, r, mean, initial = (
        getattr(model, field.name)[0].numpy() for field in fields(model)
    )
    means, rows = [mean], [[initial]]
    for t in range(1, length):
        means.append(a @ means[-1])
        latest = a @ rows[t - 1][t - 1] @ a.T + q
        rows.append([a @ block for block in rows[t - 1]] + [latest])
    size = len(mean)
    covariance = np.zeros((length * size, length * size))
    for t, row in enumerate(rows):
        for s, block in enumerate(row):
            covariance[t * size : (t + 1) * size, s * size : (s + 1) * size] = block
            covariance[s * size : (s + 1) * size, t * size : (t + 1) * size] = block.T
    design, noise = np.kron(np.eye(length), c), np.kron(np.eye(length), r)
    obs_mean = design @ np.concatenate(means) + np.tile(intercept, length)
    return np.concatenate(means), covariance, (design, obs_mean), noise


def condition(
    model: StateSpaceModel, values: Any, until: int | None = None
) -> tuple[Any, Any, Any]:
    """Mean and covariance of all states given the values before `until`; their log density."""
    mean, covariance, (design, obs_mean), noise = joint_distribution(model, len(values))
    flat = values.reshape(-1)
    observed = ~np.isnan(flat)
    if until is not None:
        observed[until * values.shape[1] :] = False
    design, error = design[observed], (flat - obs_mean)[observed]
    total = design @ covariance @ design.T + noise[np.ix_(observed, observed)]
    gain = np.linalg.solve(total, design @ covariance).T
    density = -(
        error @ np.linalg.solve(total, error)
        + np.linalg.slogdet(total)[1]
        + observed.sum() * np.log(2 * np.pi)
    )
    return mean + gain @ error, covariance - gain @ design @ covariance, density / 2


@pytest.mark.parametrize("missing", (0.0, 0.3))
@pytest.mark.parametrize(("states", "features", "rank"), ((1, 1, None), (3, 2, None), (4, 3, 1)))
def test_filter_and_smoother_equal_conditioning_the_joint_gaussian(
    states: int, features: int, rank: int | None, missing: float
) -> None:
    model = random_model(states, features, rank=rank)
    length = 11
    values = random_values(1, length, features, missing)
    filtered = kalman_filter(model, values)
    smoothed = kalman_smoother(model, filtered)
    mean, covariance, density = condition(model, values[0].numpy())
    blocks = covariance.reshape(length, states, length, states)
    np.testing.assert_allclose(filtered.llf[0, 0], density, **CLOSE)
    np.testing.assert_allclose(smoothed.smoothed_state[0, 0], mean.reshape(length, states), **CLOSE)
    smoothed_cov = expand(smoothed.smoothed_state_cov)[0, 0]
    autocov = expand(smoothed.smoothed_state_autocov)[0, 0]
    for t in range(length):
        np.testing.assert_allclose(smoothed_cov[t], blocks[t, :, t], **CLOSE)
        if t + 1 < length:
            np.testing.assert_allclose(autocov[t], blocks[t + 1, :, t], **CLOSE)
        block = slice(t * states, (t + 1) * states)
        mean, covariance, _ = condition(model, values[0].numpy(), until=t + 1)
        np.testing.assert_allclose(filtered.filtered_state[0, 0, t], mean[block], **CLOSE)
        filtered_cov = filter_covariance(filtered, "filtered_state_cov")[0, 0, t]
        np.testing.assert_allclose(filtered_cov, covariance[block, block], **CLOSE)
        mean, covariance, _ = condition(model, values[0].numpy(), until=t)
        np.testing.assert_allclose(filtered.predicted_state[0, 0, t], mean[block], **CLOSE)
        predicted_cov = filter_covariance(filtered, "predicted_state_cov")[0, 0, t]
        np.testing.assert_allclose(predicted_cov, covariance[block, block], **CLOSE)


@pytest.mark.parametrize("missing", (0.0, 0.05))
@pytest.mark.parametrize(("states", "features", "length"), ((1, 1, 1), (2, 1, 257), (5, 3, 1000)))
def test_filter_and_smoother_equal_statsmodels(
    states: int, features: int, length: int, missing: float
) -> None:
    model = random_model(states, features, seed=states)
    values = random_values(1, length, features, missing)
    peer = statsmodels_results(model, values[0])
    filtered = kalman_filter(model, values)
    smoothed = kalman_smoother(model, filtered)
    np.testing.assert_allclose(filtered.llf[0, 0], peer.llf, rtol=1e-11)
    np.testing.assert_allclose(filtered.llf_obs[0, 0], peer.llf_obs, **CLOSE)
    np.testing.assert_allclose(filtered.filtered_state[0, 0].T, peer.filtered_state, **CLOSE)
    np.testing.assert_allclose(filtered.predicted_state[0, 0].T, peer.predicted_state, **CLOSE)
    np.testing.assert_allclose(smoothed.smoothed_state[0, 0].T, peer.smoothed_state, **CLOSE)
    for ours, theirs in (
        (filter_covariance(filtered, "filtered_state_cov"), peer.filtered_state_cov),
        (filter_covariance(filtered, "predicted_state_cov"), peer.predicted_state_cov[:, :, :-1]),
        (expand(smoothed.smoothed_state_cov), peer.smoothed_state_cov),
    ):
        np.testing.assert_allclose(ours[0, 0].permute(1, 2, 0), theirs, **CLOSE)
    autocov = expand(smoothed.smoothed_state_autocov)[0, 0, :-1].permute(1, 2, 0)
    np.testing.assert_allclose(autocov, peer.smoothed_state_autocov[:, :, :-1], **CLOSE)
    np.testing.assert_allclose(filtered.next_state[0, 0], peer.predicted_state[:, -1], **CLOSE)
    np.testing.assert_allclose(
        filtered.next_state_cov[0, 0], peer.predicted_state_cov[:, :, -1], **CLOSE
    )


def test_a_diffuse_initial_state_of_a_random_walk_equals_statsmodels() -> None:
    """A local linear trend with an initial variance of 1e6, and no innovation of the level."""
    model = StateSpaceModel(
        torch.tensor([[[1.0, 1.0], [0.0, 1.0]]], dtype=torch.float64),
        torch.diag_embed(torch.tensor([[0.0, 0.01]], dtype=torch.float64)),
        torch.tensor([[[1.0, 0.0]]], dtype=torch.float64),
        torch.zeros(1, 1, dtype=torch.float64),
        torch.ones(1, 1, 1, dtype=torch.float64),
        torch.zeros(1, 2, dtype=torch.float64),
        1e6 * torch.eye(2, dtype=torch.float64)[None],
    )
    values = random_values(1, 500, 1, 0.1).cumsum(1).nan_to_num(0.0)
    values[0, 40:60] = torch.nan
    peer = statsmodels_results(model, values[0])
    filtered = kalman_filter(model, values)
    smoothed = kalman_smoother(model, filtered)
    np.testing.assert_allclose(filtered.llf[0, 0], peer.llf, rtol=1e-10)
    close = {"rtol": 1e-7, "atol": 1e-7}
    np.testing.assert_allclose(smoothed.smoothed_state[0, 0].T, peer.smoothed_state, **close)
    covariance = expand(smoothed.smoothed_state_cov)[0, 0].permute(1, 2, 0)
    # At the second point statsmodels, which subtracts from 1e6, is off by 1e-4, and not symmetric.
    np.testing.assert_allclose(covariance[:, :, 2:], peer.smoothed_state_cov[:, :, 2:], **close)
    short = values[:, :12]
    smoothed = kalman_smoother(model, kalman_filter(model, short))
    ours = expand(smoothed.smoothed_state_cov)[0, 0]
    dense = condition(model, short[0].numpy())[1].reshape(12, 2, 12, 2)
    for t in range(12):
        np.testing.assert_allclose(ours[t], dense[t, :, t], rtol=1e-6, atol=1e-6)


def test_a_batch_equals_its_models_and_sequences_one_by_one() -> None:
    models = random_model(3, 2, models=3)
    values = random_values(6, 70, 2, 0.2)
    values[4] = values[1]  # the same missing-data pattern: they share their covariances
    values[5] = values[1] * 2
    lengths = torch.tensor([70, 33, 1, 64, 33, 20])
    filtered = kalman_filter(models, values, lengths)
    smoothed = kalman_smoother(models, filtered)
    for m in range(3):
        for s, length in enumerate(lengths.tolist()):
            model = select_models(models, torch.tensor([m]))
            one = kalman_filter(model, values[s : s + 1, :length])
            one_smoothed = kalman_smoother(model, one)
            name, row = "filtered_state_cov", (m, s, slice(length))
            pairs = (
                (filtered.llf[m, s], one.llf[0, 0]),
                (filtered.filtered_state[row], one.filtered_state[0, 0]),
                (filter_covariance(filtered, name)[row], filter_covariance(one, name)[0, 0]),
                (filtered.next_state[m, s], one.next_state[0, 0]),
                (filtered.next_state_cov[m, s], one.next_state_cov[0, 0]),
                (smoothed.smoothed_state[row], one_smoothed.smoothed_state[0, 0]),
                (
                    expand(smoothed.smoothed_state_cov)[row],
                    expand(one_smoothed.smoothed_state_cov)[0, 0],
                ),
                (
                    expand(smoothed.smoothed_state_autocov)[row],
                    expand(one_smoothed.smoothed_state_autocov)[0, 0],
                ),
            )
            for batched, single in pairs:
                torch.testing.assert_close(batched, single, rtol=1e-10, atol=1e-11)


def test_a_forecast_equals_filtering_missing_values() -> None:
    models = random_model(3, 2, models=2)
    values = random_values(2, 30, 2, 0.1)
    filtered = kalman_filter(models, values)
    mean, covariance = forecast(models, filtered.next_state, filtered.next_state_cov, 9)
    extended = torch.cat([values, torch.full((2, 9, 2), torch.nan, dtype=torch.float64)], dim=1)
    later = kalman_filter(models, extended)
    states = later.filtered_state[:, :, 30:]
    states_cov = filter_covariance(later, "filtered_state_cov")[:, :, 30:]
    signal = torch.einsum("mfs,mqhs->mqhf", models.design, states)
    torch.testing.assert_close(mean, signal + models.obs_intercept[:, None, None])
    signal_cov = torch.einsum("mfs,mqhst,mgt->mqhfg", models.design, states_cov, models.design)
    torch.testing.assert_close(covariance, signal_cov + models.obs_cov[:, None, None])
    torch.testing.assert_close(later.llf, filtered.llf)
    short_cov = forecast(models, filtered.next_state, filtered.next_state_cov, 4)[1]
    torch.testing.assert_close(short_cov, covariance[:, :, :4])


def test_padding_after_the_end_of_a_sequence_does_not_overflow() -> None:
    model = random_model(2, 1)
    unstable = replace(model, transition=torch.eye(2, dtype=torch.float64)[None] * 3)
    values = random_values(2, 2000, 1, 0.0)
    padded = kalman_filter(unstable, values, torch.tensor([5, 2000]))
    alone = kalman_filter(unstable, values[:1, :5])
    torch.testing.assert_close(padded.llf[0, 0], alone.llf[0, 0])
    smoothed = kalman_smoother(unstable, padded).smoothed_state
    torch.testing.assert_close(
        smoothed[:, 0, :5], kalman_smoother(unstable, alone).smoothed_state[:, 0]
    )


def test_covariances_in_steady_state_are_computed_once() -> None:
    model = random_model(3, 2)
    filtered = kalman_filter(model, random_values(4, 5000, 2, 0.0))
    assert filtered.elements.filtered_state_cov.shape[1] < 600
    assert kalman_smoother(model, filtered).smoothed_state_cov.unique.shape[1] < 1200


def test_a_long_sequence_with_a_slow_state_is_accurate() -> None:
    """Against a loop in float64 over 200,000 steps; the smoother at its very beginning too."""
    model = replace(
        random_model(1, 1),
        transition=torch.full((1, 1, 1), 0.99999, dtype=torch.float64),
        state_cov=torch.full((1, 1, 1), 1e-6, dtype=torch.float64),
    )
    values = random_values(1, 200_000, 1, 0.0)
    values[0, 100_000:100_010] = torch.nan
    peer = statsmodels_results(model, values[0])
    filtered = kalman_filter(model, values)
    np.testing.assert_allclose(filtered.llf[0, 0], peer.llf, rtol=1e-12)
    state = filtered.filtered_state[0, 0, :, 0]
    np.testing.assert_allclose(state, peer.filtered_state[0], atol=1e-11)
    covariance = filter_covariance(filtered, "filtered_state_cov")[0, 0, :, 0, 0]
    np.testing.assert_allclose(covariance, peer.filtered_state_cov[0, 0], rtol=1e-11)
    state = kalman_smoother(model, filtered).smoothed_state[0, 0, :, 0]
    np.testing.assert_allclose(state, peer.smoothed_state[0], atol=1e-11)


def test_single_precision_is_close_to_double() -> None:
    model = random_model(4, 2)
    single = StateSpaceModel(*(getattr(model, field.name).float() for field in fields(model)))
    values = random_values(2, 3000, 2, 0.02)
    exact, rough = kalman_filter(model, values), kalman_filter(single, values.float())
    torch.testing.assert_close(
        rough.filtered_state.double(), exact.filtered_state, rtol=0, atol=2e-5
    )
    torch.testing.assert_close(rough.llf, exact.llf, rtol=1e-5, atol=0)
    smoothed = kalman_smoother(single, rough).smoothed_state
    assert smoothed.dtype == torch.float32
    torch.testing.assert_close(
        smoothed.double(), kalman_smoother(model, exact).smoothed_state, rtol=0, atol=5e-5
    )


def test_without_observations_states_have_their_prior_distribution() -> None:
    model = random_model(2, 2)
    filtered = kalman_filter(model, torch.full((1, 3, 2), torch.nan, dtype=torch.float64))
    assert float(filtered.llf) == 0
    torch.testing.assert_close(filtered.filtered_state[:, :, 0], model.initial_state[:, None])
    smoothed_cov = expand(kalman_smoother(model, filtered).smoothed_state_cov)
    torch.testing.assert_close(smoothed_cov[:, 0, 0], model.initial_state_cov)


def test_missing_data_patterns_of_many_features() -> None:
    """More features than bits of one code."""
    model = random_model(2, 40)
    values = random_values(1, 12, 40, 0.2)
    _, _, density = condition(model, values[0].numpy())
    np.testing.assert_allclose(kalman_filter(model, values).llf[0, 0], density, **CLOSE)


def test_simulated_paths_have_the_moments_of_the_model() -> None:
    model = random_model(2, 2, rank=1)
    states, values = simulate(model, 20_000, 4, torch.Generator().manual_seed(0))
    mean, covariance, (design, obs_mean), noise = joint_distribution(model, 4)
    flat = values[0].flatten(1).numpy()
    obs_cov = design @ covariance @ design.T + noise
    std = np.sqrt(np.diag(obs_cov))
    assert (abs(flat.mean(0) - obs_mean) < 0.03 * std).all()
    error = np.cov(flat.T) - obs_cov
    assert (abs(error) < 0.04 * std[:, None] * std).all()
    assert (abs(states[0].flatten(1).numpy().mean(0) - mean) < 0.05).all()


@pytest.mark.parametrize("length", (1, 2, 3, 7, 8, 33))
def test_a_linear_recurrence_by_scan_equals_a_loop(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(4, (3, length), generator=generator)  # 3: the identity
    matrices = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=generator) / 2
    vectors = torch.randn(2, 3, length, 2, dtype=torch.float64, generator=generator)
    vectors[:, ids == 3] = 0
    initial = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator)
    path = ScanTree.of(ElementIds(ids, 3)).linear_recurrence(matrices, vectors, initial)
    eye = torch.eye(2, dtype=torch.float64).expand(2, 1, 2, 2)
    with_identity = torch.cat([matrices, eye], dim=1)
    state = initial
    for t in range(length):
        torch.testing.assert_close(path[:, :, t], state)
        matrix = with_identity[:, ids[:, t]]
        state = torch.einsum("msde,mse->msd", matrix, state) + vectors[:, :, t]
    torch.testing.assert_close(path[:, :, length], state)


@pytest.mark.gpu
def test_gpu_equals_cpu() -> None:
    model = random_model(3, 2, models=2)
    values = random_values(3, 200, 2, 0.1)
    on_gpu = StateSpaceModel(*(getattr(model, field.name).cuda() for field in fields(model)))
    cpu, gpu = kalman_filter(model, values), kalman_filter(on_gpu, values.cuda())
    torch.testing.assert_close(gpu.llf.cpu(), cpu.llf)
    torch.testing.assert_close(
        kalman_smoother(on_gpu, gpu).smoothed_state.cpu(),
        kalman_smoother(model, cpu).smoothed_state,
    )
