"""Priors of linear-Gaussian models: as much as further points would say."""

from dataclasses import replace
from math import log, pi

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from tsar.hmm import LinearGaussianHMM
from tsar.hmm.linear_gaussian.em import improve
from tsar.hmm.linear_gaussian.expected import Expected, expect
from tsar.hmm.linear_gaussian.kalman import LinearGaussian
from tsar.hmm.linear_gaussian.priors import LinearPriors
from tsar.hmm.observations import Observations

NONE = LinearPriors(0.0, 0.0, 1.0, 0.0)


def some_model(models: int = 2, states: int = 2, features: int = 3) -> LinearGaussian:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(models, *shape, generator=generator, dtype=torch.float64)

    root = normal(states, states)
    eye = torch.eye(states, dtype=torch.float64)
    return LinearGaussian(
        0.4 * normal(states, states),
        root @ root.mT + 0.3 * eye,
        normal(features, states),
        normal(features),
        torch.diag_embed(0.5 + torch.rand(models, features, generator=generator).double()),
        normal(states),
        eye.expand(models, -1, -1).clone(),
    )


def expected_of(model: LinearGaussian) -> Expected:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    return expect(Observations(values, torch.tensor([0, 20, 60])), model)


def test_the_log_density_is_the_likelihood_of_further_points() -> None:
    """Points whose sums are those that the prior says: states +-e_i, innovations +-sqrt(n) e_j."""
    model, states = some_model(), 2
    weight, share, noise, count = 8.0, 0.6, 0.3, 5.0
    found = LinearPriors(share, weight, noise, count).log_density(model)
    befores = np.vstack([np.eye(states), -np.eye(states)]) * states**0.5
    for index in range(2):
        transition = model.transition[index].numpy()
        covariance = model.transition_covariance[index].numpy()
        density = multivariate_normal(np.zeros(states), covariance)
        surprises = [
            share * before + innovation - transition @ before
            for before in befores
            for innovation in befores
        ]
        transitions = weight * np.mean([density.logpdf(surprise) for surprise in surprises])
        variances = model.observation_covariance[index].diagonal().tolist()
        residuals = sum(
            -count / 2 * (log(2 * pi) + log(variance) + noise / variance) for variance in variances
        )
        constant = -log(2 * pi) / 2 * (weight * states + count * len(variances))
        assert float(found[index]) == pytest.approx(transitions + residuals - constant, rel=1e-12)


def test_no_weight_is_no_prior() -> None:
    model = some_model()
    expected = expected_of(model)
    assert torch.equal(NONE.log_density(model), torch.zeros(2, dtype=torch.float64))
    plain, same = improve(model, expected, 1e-6), improve(model, NONE.added(expected), 1e-6)
    assert torch.equal(plain.transition, same.transition)
    assert torch.equal(plain.observation_covariance, same.observation_covariance)


def test_a_step_takes_the_parameters_of_the_highest_objective() -> None:
    """No small change of the transition, its covariance or the noise does better."""
    model = some_model()
    expected, priors = expected_of(model), LinearPriors(0.5, 12.0, 0.2, 9.0)
    best = improve(model, priors.added(expected), 1e-9)

    def objective(changed: LinearGaussian) -> torch.Tensor:
        inverse = torch.linalg.inv(changed.transition_covariance)
        move = changed.transition
        cross = move @ expected.lagged.mT
        rest = expected.after - cross - cross.mT + move @ expected.before @ move.mT
        volume = changed.transition_covariance.logdet() * expected.transitions
        moved = -(volume + (inverse @ rest).diagonal(dim1=1, dim2=2).sum(1)) / 2
        loading = torch.cat([changed.observation, changed.offset[..., None]], dim=-1)
        fitted = (expected.gram @ loading[..., None])[..., 0]
        residual = expected.power + (loading * (fitted - 2 * expected.cross)).sum(-1)
        variance = changed.observation_covariance.diagonal(dim1=1, dim2=2)
        seen = -(expected.counts * variance.log() + residual / variance).sum(1) / 2
        return moved + seen + priors.log_density(changed)

    highest = objective(best)
    generator = torch.Generator().manual_seed(2)
    for name in ("transition", "transition_covariance", "observation", "observation_covariance"):
        value = getattr(best, name)
        for _ in range(20):
            change = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if "covariance" in name:
                change = torch.diag_embed(change.diagonal(dim1=1, dim2=2))
            moved = replace(best, **{name: value + 1e-3 * change})
            assert bool((objective(moved) < highest).all()), name


@pytest.mark.parametrize("missing", (0.0, 0.3))
def test_the_objective_never_falls(missing: float) -> None:
    generator = np.random.default_rng(0)
    values = np.cumsum(generator.normal(size=(80, 2)), axis=0)
    values = np.where(generator.random(values.shape) < missing, np.nan, values)
    model = LinearGaussianHMM(
        2,
        n_iter=80,
        tol=0.0,
        transition_prior=1.0,
        transition_weight=20.0,
        noise_weight=5.0,
        noise_prior=0.1,
    )
    history = model.set_params(random_state=0).fit(values).history_["log_likelihood"]
    assert history.diff().min() > -1e-8 * history.abs().max()
    assert model.log_likelihood_ == pytest.approx(model.score(values), rel=1e-9)


def test_much_weight_is_the_prior_itself() -> None:
    values = np.random.default_rng(0).normal(size=(100, 2))
    heavy = LinearGaussianHMM(
        1, transition_prior=0.7, transition_weight=1e7, noise_prior=0.25, noise_weight=1e7
    )
    heavy.set_params(random_state=0).fit(values)
    assert heavy.transition_matrix_ == pytest.approx(np.array([[0.7]]), abs=1e-3)
    noise = np.diagonal(heavy.observation_covariance_) / values.var(axis=0)
    assert noise == pytest.approx([0.25, 0.25], abs=1e-3)


def test_a_prior_helps_where_points_are_few() -> None:
    """A level that lasts, seen through noise: 15 points a series tell little about both."""
    generator = np.random.default_rng(0)
    plain, informed = [], []
    for _ in range(10):
        level = np.cumsum(0.3 * generator.normal(size=115))
        values = (level + generator.normal(size=115))[:, None]
        few, later = values[:15], values
        prior = {"transition_prior": 1.0, "transition_weight": 10.0, "noise_weight": 3.0}
        for found, options in ((plain, {}), (informed, prior)):
            model = LinearGaussianHMM(1, n_init=1, n_iter=30, random_state=0, **options).fit(few)
            found.append(model.score(later) - model.score(few))
    assert np.mean(informed) > np.mean(plain) + 5
    assert np.mean(np.array(informed) > np.array(plain)) > 0.6


def test_the_units_do_not_matter() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
    options = {"transition_prior": 1.0, "transition_weight": 5.0, "noise_weight": 4.0}
    model, scaled = (
        LinearGaussianHMM(2, random_state=0, **options).fit(x) for x in (values, 7 + 1e3 * values)
    )
    assert scaled.transition_matrix_ == pytest.approx(model.transition_matrix_, rel=1e-6, abs=1e-8)
    assert scaled.observation_matrix_ == pytest.approx(1e3 * model.observation_matrix_, rel=1e-6)
