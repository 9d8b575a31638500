"""Kalman filter and smoother: against the dense joint Gaussian, a plain loop, and statsmodels."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother
from torch import Tensor

from tsar.hmm.em import select_models
from tsar.hmm.linear_gaussian.forecasting import draw, forecast_states
from tsar.hmm.linear_gaussian.kalman import LinearGaussian, filter_states, smooth_states
from tsar.hmm.linear_gaussian.scan import Kinds, Tree

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-10}


def random_model(
    states: int = 3, features: int = 2, models: int = 1, seed: int = 0, *, rank: int | None = None
) -> LinearGaussian:
    """Stable models whose noises are correlated; the state's of a lower rank, if it is given."""
    generator = np.random.default_rng(seed)

    def covariance(size: int, power: int | None = None) -> Any:
        half = generator.normal(size=(models, size, power or size + 1))
        return half @ half.transpose(0, 2, 1) / size

    turns = np.linalg.qr(generator.normal(size=(models, states, states)))[0]
    values = (
        turns * generator.uniform(0.3, 0.99, size=(models, states))[:, None],
        covariance(states, rank),
        generator.normal(size=(models, features, states)),
        generator.normal(size=(models, features)),
        covariance(features) + 0.1 * np.eye(features),
        generator.normal(size=(models, states)),
        covariance(states),
    )
    return LinearGaussian(*map(torch.from_numpy, values))


def observed(sequences: int, length: int, features: int, missing: float, seed: int = 1) -> Tensor:
    """Noise, of which single values and whole points are missing."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(sequences, length, features))
    values[generator.random(values.shape) < missing] = np.nan
    values[generator.random(values.shape[:2]) < missing] = np.nan
    return torch.from_numpy(values)


def statsmodels_of(model: LinearGaussian, values: Tensor) -> Any:
    features, states = model.observation.shape[1:]
    peer = KalmanSmoother(features, states, k_posdef=states, tolerance=0)
    peer["design"], peer["obs_intercept"] = model.observation[0].numpy(), model.offset[0].numpy()
    peer["obs_cov"], peer["selection"] = model.observation_covariance[0].numpy(), np.eye(states)
    peer["transition"] = model.transition[0].numpy()
    peer["state_cov"] = model.transition_covariance[0].numpy()
    peer.initialize_known(model.mean[0].numpy(), model.covariance[0].numpy())
    peer.bind(np.array(values.numpy()))
    return peer.smooth()


def joint(model: LinearGaussian, length: int) -> tuple[Any, Any, Any, Any]:
    """Mean and covariance of all states, built densely, and the map from them to observations."""
    a, q, c, offset, r, mean, start = (getattr(model, f.name)[0].numpy() for f in fields(model))
    means, rows = [mean], [[start]]
    for t in range(1, length):
        means.append(a @ means[-1])
        latest = a @ rows[t - 1][t - 1] @ a.T + q
        rows.append([a @ part for part in rows[t - 1]] + [latest])
    size = len(mean)
    covariance = np.zeros((length * size, length * size))
    for t, row in enumerate(rows):
        for s, part in enumerate(row):
            covariance[t * size : (t + 1) * size, s * size : (s + 1) * size] = part
            covariance[s * size : (s + 1) * size, t * size : (t + 1) * size] = part.T
    see, noise = np.kron(np.eye(length), c), np.kron(np.eye(length), r)
    level = see @ np.concatenate(means) + np.tile(offset, length)
    return np.concatenate(means), covariance, (see, level), noise


def condition(model: LinearGaussian, values: Any, until: int | None = None) -> tuple[Any, Any, Any]:
    """Mean and covariance of all states given what is observed before `until`; log density."""
    mean, covariance, (see, level), noise = joint(model, len(values))
    flat = values.reshape(-1)
    seen = ~np.isnan(flat)
    if until is not None:
        seen[until * values.shape[1] :] = False
    see, rest = see[seen], (flat - level)[seen]
    total = see @ covariance @ see.T + noise[np.ix_(seen, seen)]
    gain = np.linalg.solve(total, see @ covariance).T
    density = -(
        rest @ np.linalg.solve(total, rest)
        + np.linalg.slogdet(total)[1]
        + seen.sum() * np.log(2 * np.pi)
    )
    return mean + gain @ rest, covariance - gain @ see @ covariance, density / 2


@pytest.mark.parametrize("missing", (0.0, 0.3))
@pytest.mark.parametrize(("states", "features", "rank"), ((1, 1, None), (3, 2, None), (4, 3, 1)))
def test_it_is_the_joint_gaussian_conditioned(
    states: int, features: int, rank: int | None, missing: float
) -> None:
    model = random_model(states, features, rank=rank)
    length = 11
    values = observed(1, length, features, missing)
    found = filter_states(model, values)
    smoothed = smooth_states(model, found)
    mean, covariance, density = condition(model, values[0].numpy())
    blocks = covariance.reshape(length, states, length, states)
    np.testing.assert_allclose(found.log_likelihood[0, 0], density, **CLOSE)
    np.testing.assert_allclose(smoothed.means[0, 0], mean.reshape(length, states), **CLOSE)
    covariances = smoothed.covariances.expand()[0, 0]
    lagged = smoothed.lagged.expand()[0, 0]
    for t in range(length):
        np.testing.assert_allclose(covariances[t], blocks[t, :, t], **CLOSE)
        if t + 1 < length:
            np.testing.assert_allclose(lagged[t], blocks[t + 1, :, t], **CLOSE)
        known, spread, _ = condition(model, values[0].numpy(), until=t + 1)
        at = slice(t * states, (t + 1) * states)
        np.testing.assert_allclose(found.means[0, 0, t], known[at], **CLOSE)
        np.testing.assert_allclose(found.covariances.expand()[0, 0, t], spread[at, at], **CLOSE)
        known, spread, _ = condition(model, values[0].numpy(), until=t)
        np.testing.assert_allclose(found.predicted[0, 0, t], known[at], **CLOSE)
        before = found.predicted_covariances.expand()[0, 0, t]
        np.testing.assert_allclose(before, spread[at, at], **CLOSE)


@pytest.mark.parametrize("missing", (0.0, 0.05))
@pytest.mark.parametrize(("states", "features", "length"), ((1, 1, 1), (2, 1, 257), (5, 3, 1000)))
def test_statsmodels_finds_the_same(
    states: int, features: int, length: int, missing: float
) -> None:
    model = random_model(states, features, seed=states)
    values = observed(1, length, features, missing)
    peer = statsmodels_of(model, values[0])
    found = filter_states(model, values)
    smoothed = smooth_states(model, found)
    np.testing.assert_allclose(found.log_likelihood[0, 0], peer.llf, rtol=1e-11)
    np.testing.assert_allclose(found.means[0, 0].T, peer.filtered_state, **CLOSE)
    np.testing.assert_allclose(found.predicted[0, 0].T, peer.predicted_state, **CLOSE)
    np.testing.assert_allclose(smoothed.means[0, 0].T, peer.smoothed_state, **CLOSE)
    for ours, theirs in (
        (found.covariances, peer.filtered_state_cov),
        (found.predicted_covariances, peer.predicted_state_cov[:, :, :-1]),
        (smoothed.covariances, peer.smoothed_state_cov),
    ):
        np.testing.assert_allclose(ours.expand()[0, 0].permute(1, 2, 0), theirs, **CLOSE)
    lagged = smoothed.lagged.expand()[0, 0, :-1].permute(1, 2, 0)
    np.testing.assert_allclose(lagged, peer.smoothed_state_autocov[:, :, :-1], **CLOSE)
    np.testing.assert_allclose(found.next_mean[0, 0], peer.predicted_state[:, -1], **CLOSE)
    np.testing.assert_allclose(
        found.next_covariance[0, 0], peer.predicted_state_cov[:, :, -1], **CLOSE
    )


def test_a_start_that_knows_nothing_and_a_state_that_wanders() -> None:
    """A local linear trend with a variance of 1e6 at first, and no noise of the level."""
    model = LinearGaussian(
        torch.tensor([[[1.0, 1.0], [0.0, 1.0]]], dtype=torch.float64),
        torch.diag_embed(torch.tensor([[0.0, 0.01]], dtype=torch.float64)),
        torch.tensor([[[1.0, 0.0]]], dtype=torch.float64),
        torch.zeros(1, 1, dtype=torch.float64),
        torch.ones(1, 1, 1, dtype=torch.float64),
        torch.zeros(1, 2, dtype=torch.float64),
        1e6 * torch.eye(2, dtype=torch.float64)[None],
    )
    values = observed(1, 500, 1, 0.1).cumsum(1).nan_to_num(0.0)
    values[0, 40:60] = torch.nan
    peer = statsmodels_of(model, values[0])
    found = filter_states(model, values)
    smoothed = smooth_states(model, found)
    np.testing.assert_allclose(found.log_likelihood[0, 0], peer.llf, rtol=1e-10)
    close = {"rtol": 1e-7, "atol": 1e-7}
    np.testing.assert_allclose(smoothed.means[0, 0].T, peer.smoothed_state, **close)
    spread = smoothed.covariances.expand()[0, 0].permute(1, 2, 0)
    # At the second point statsmodels, which subtracts from 1e6, is off by 1e-4, and not symmetric.
    np.testing.assert_allclose(spread[:, :, 2:], peer.smoothed_state_cov[:, :, 2:], **close)
    few = values[:, :12]
    ours = smooth_states(model, filter_states(model, few)).covariances.expand()[0, 0]
    dense = condition(model, few[0].numpy())[1].reshape(12, 2, 12, 2)
    for t in range(12):
        np.testing.assert_allclose(ours[t], dense[t, :, t], rtol=1e-6, atol=1e-6)


def test_a_batch_is_its_rows_one_by_one() -> None:
    models = random_model(3, 2, models=3)
    values = observed(6, 70, 2, 0.2)
    values[4] = values[1]  # the same gaps, so they share what does not depend on the values
    values[5] = values[1] * 2
    lengths = torch.tensor([70, 33, 1, 64, 33, 20])
    found = filter_states(models, values, lengths)
    smoothed = smooth_states(models, found)
    for m in range(3):
        for s, length in enumerate(lengths.tolist()):
            model = select_models(models, torch.tensor([m]))
            one = filter_states(model, values[s : s + 1, :length])
            alone = smooth_states(model, one)
            at = (m, s, slice(length))
            pairs = (
                (found.log_likelihood[m, s], one.log_likelihood[0, 0]),
                (found.means[at], one.means[0, 0]),
                (found.covariances.expand()[at], one.covariances.expand()[0, 0]),
                (found.next_mean[m, s], one.next_mean[0, 0]),
                (found.next_covariance[m, s], one.next_covariance[0, 0]),
                (smoothed.means[at], alone.means[0, 0]),
                (smoothed.covariances.expand()[at], alone.covariances.expand()[0, 0]),
                (smoothed.lagged.expand()[at], alone.lagged.expand()[0, 0]),
            )
            for together, single in pairs:
                torch.testing.assert_close(together, single, rtol=1e-10, atol=1e-11)


def test_a_forecast_is_filtering_what_is_missing() -> None:
    models = random_model(3, 2, models=2)
    values = observed(2, 30, 2, 0.1)
    found = filter_states(models, values)
    ahead = forecast_states(models, found.next_mean, found.next_covariance, 9)
    longer = torch.cat([values, torch.full((2, 9, 2), torch.nan, dtype=torch.float64)], dim=1)
    later = filter_states(models, longer)
    torch.testing.assert_close(ahead.states, later.means[:, :, 30:])
    torch.testing.assert_close(ahead.state_covariances, later.covariances.expand()[:, :, 30:])
    seen = torch.einsum("mfs,mqhs->mqhf", models.observation, ahead.states)
    torch.testing.assert_close(ahead.means, seen + models.offset[:, None, None])
    torch.testing.assert_close(later.log_likelihood, found.log_likelihood)
    short = forecast_states(models, found.next_mean, found.next_covariance, 4)
    torch.testing.assert_close(short.covariances, ahead.covariances[:, :, :4])


def test_what_is_unseen_behind_the_end_does_not_overflow() -> None:
    model = random_model(2, 1)
    growing = replace(model, transition=torch.eye(2, dtype=torch.float64)[None] * 3)
    values = observed(2, 2000, 1, 0.0)
    found = filter_states(growing, values, torch.tensor([5, 2000]))
    alone = filter_states(growing, values[:1, :5])
    torch.testing.assert_close(found.log_likelihood[0, 0], alone.log_likelihood[0, 0])
    smoothed = smooth_states(growing, found)
    torch.testing.assert_close(smoothed.means[:, 0, :5], smooth_states(growing, alone).means[:, 0])


def test_what_comes_to_rest_is_computed_once() -> None:
    model = random_model(3, 2)
    found = filter_states(model, observed(4, 5000, 2, 0.0))
    assert found.covariances.distinct.shape[1] < 600
    assert smooth_states(model, found).covariances.distinct.shape[1] < 1200


def test_a_long_sequence_keeps_its_digits() -> None:
    """A slow state: a loop in float64 over 200,000 steps, and the smoother at the very start."""
    model = replace(
        random_model(1, 1),
        transition=torch.full((1, 1, 1), 0.99999, dtype=torch.float64),
        transition_covariance=torch.full((1, 1, 1), 1e-6, dtype=torch.float64),
    )
    values = observed(1, 200_000, 1, 0.0)
    values[0, 100_000:100_010] = torch.nan
    peer = statsmodels_of(model, values[0])
    found = filter_states(model, values)
    np.testing.assert_allclose(found.log_likelihood[0, 0], peer.llf, rtol=1e-12)
    np.testing.assert_allclose(found.means[0, 0, :, 0], peer.filtered_state[0], atol=1e-11)
    spread = found.covariances.expand()[0, 0, :, 0, 0]
    np.testing.assert_allclose(spread, peer.filtered_state_cov[0, 0], rtol=1e-11)
    smoothed = smooth_states(model, found)
    np.testing.assert_allclose(smoothed.means[0, 0, :, 0], peer.smoothed_state[0], atol=1e-11)


def test_single_precision_is_close() -> None:
    model = random_model(4, 2)
    half = LinearGaussian(*(getattr(model, field.name).float() for field in fields(model)))
    values = observed(2, 3000, 2, 0.02)
    exact, rough = filter_states(model, values), filter_states(half, values.float())
    torch.testing.assert_close(rough.means.double(), exact.means, rtol=0, atol=2e-5)
    torch.testing.assert_close(rough.log_likelihood, exact.log_likelihood, rtol=1e-5, atol=0)
    smoothed = smooth_states(half, rough).means
    assert smoothed.dtype == torch.float32
    torch.testing.assert_close(
        smoothed.double(), smooth_states(model, exact).means, rtol=0, atol=5e-5
    )


def test_nothing_observed_is_the_prior() -> None:
    model = random_model(2, 2)
    found = filter_states(model, torch.full((1, 3, 2), torch.nan, dtype=torch.float64))
    assert float(found.log_likelihood) == 0
    torch.testing.assert_close(found.means[:, :, 0], model.mean[:, None])
    smoothed = smooth_states(model, found)
    torch.testing.assert_close(smoothed.covariances.expand()[:, 0, 0], model.covariance)


def test_many_features_have_their_own_patterns() -> None:
    """More than fit into the bits of one number."""
    model = random_model(2, 40)
    values = observed(1, 12, 40, 0.2)
    _, _, density = condition(model, values[0].numpy())
    np.testing.assert_allclose(filter_states(model, values).log_likelihood[0, 0], density, **CLOSE)


def test_draws_have_the_moments_of_the_model() -> None:
    model = random_model(2, 2, rank=1)
    states, values = draw(model, 20_000, 4, torch.Generator().manual_seed(0))
    mean, covariance, (see, level), noise = joint(model, 4)
    flat = values[0].flatten(1).numpy()
    deviation = np.sqrt(np.diag(see @ covariance @ see.T + noise))
    assert (abs(flat.mean(0) - level) < 0.03 * deviation).all()
    error = np.cov(flat.T) - (see @ covariance @ see.T + noise)
    assert (abs(error) < 0.04 * deviation[:, None] * deviation).all()
    assert (abs(states[0].flatten(1).numpy().mean(0) - mean) < 0.05).all()


@pytest.mark.parametrize("length", (1, 2, 3, 7, 8, 33))
def test_a_tree_runs_as_a_loop_does(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    rows = torch.randint(4, (3, length), generator=generator)  # 3: a step that changes nothing
    matrices = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=generator) / 2
    vectors = torch.randn(2, 3, length, 2, dtype=torch.float64, generator=generator)
    vectors[:, rows == 3] = 0
    start = torch.randn(2, 3, 2, dtype=torch.float64, generator=generator)
    path = Tree.over(Kinds(rows, 3)).run(matrices, vectors, start)
    eye = torch.eye(2, dtype=torch.float64).expand(2, 1, 2, 2)
    every = torch.cat([matrices, eye], dim=1)
    state = start
    for t in range(length):
        torch.testing.assert_close(path[:, :, t], state)
        state = torch.einsum("msde,mse->msd", every[:, rows[:, t]], state) + vectors[:, :, t]
    torch.testing.assert_close(path[:, :, length], state)


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    model = random_model(3, 2, models=2)
    values = observed(3, 200, 2, 0.1)
    there = LinearGaussian(*(getattr(model, field.name).cuda() for field in fields(model)))
    found, twin = filter_states(model, values), filter_states(there, values.cuda())
    torch.testing.assert_close(twin.log_likelihood.cpu(), found.log_likelihood)
    torch.testing.assert_close(
        smooth_states(there, twin).means.cpu(), smooth_states(model, found).means
    )
