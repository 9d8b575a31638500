"""Priors of linear-Gaussian models: equivalent to additional observations."""

from dataclasses import replace
from math import log, pi

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from tsar.hmm import LinearGaussianHMM
from tsar.hmm.linear_gaussian.em import maximization_step
from tsar.hmm.linear_gaussian.kalman import StateSpaceModel
from tsar.hmm.linear_gaussian.priors import Priors
from tsar.hmm.linear_gaussian.sufficient_statistics import SufficientStatistics, expect
from tsar.hmm.observations import Observations

NO_PRIOR = Priors(0.0, 0.0, 1.0, 0.0)


def random_model(models: int = 2, states: int = 2, features: int = 3) -> StateSpaceModel:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(models, *shape, generator=generator, dtype=torch.float64)

    root = normal(states, states)
    eye = torch.eye(states, dtype=torch.float64)
    return StateSpaceModel(
        0.4 * normal(states, states),
        root @ root.mT + 0.3 * eye,
        normal(features, states),
        normal(features),
        torch.diag_embed(0.5 + torch.rand(models, features, generator=generator).double()),
        normal(states),
        eye.expand(models, -1, -1).clone(),
    )


def expected_statistics(model: StateSpaceModel) -> SufficientStatistics:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(60, 3, generator=generator, dtype=torch.float64)
    return expect(Observations(values, torch.tensor([0, 20, 60])), model)


def test_log_density_equals_the_likelihood_of_additional_observations() -> None:
    """Observations with the prior's statistics: states +-e_i, innovations +-sqrt(n) e_j."""
    model, states = random_model(), 2
    weight, prior_transition, prior_variance, obs_weight = 8.0, 0.6, 0.3, 5.0
    priors = Priors(prior_transition, weight, prior_variance, obs_weight)
    log_density = priors.log_density(model)
    vectors = np.vstack([np.eye(states), -np.eye(states)]) * states**0.5
    for index in range(2):
        transition = model.transition[index].numpy()
        density = multivariate_normal(np.zeros(states), model.state_cov[index].numpy())
        errors = [
            prior_transition * previous + innovation - transition @ previous
            for previous in vectors
            for innovation in vectors
        ]
        transitions = weight * np.mean([density.logpdf(error) for error in errors])
        variances = model.obs_cov[index].diagonal().tolist()
        residuals = sum(
            -obs_weight / 2 * (log(2 * pi) + log(variance) + prior_variance / variance)
            for variance in variances
        )
        constant = -log(2 * pi) / 2 * (weight * states + obs_weight * len(variances))
        expected = transitions + residuals - constant
        assert float(log_density[index]) == pytest.approx(expected, rel=1e-12)


def test_weights_of_zero_are_no_prior() -> None:
    model = random_model()
    statistics = expected_statistics(model)
    assert torch.equal(NO_PRIOR.log_density(model), torch.zeros(2, dtype=torch.float64))
    plain = maximization_step(model, statistics, 1e-6)
    same = maximization_step(model, NO_PRIOR.add_to(statistics), 1e-6)
    assert torch.equal(plain.transition, same.transition)
    assert torch.equal(plain.obs_cov, same.obs_cov)


def test_the_maximization_step_maximizes_the_objective() -> None:
    """No small change of the transition, the design or their covariances does better."""
    model = random_model()
    statistics, priors = expected_statistics(model), Priors(0.5, 12.0, 0.2, 9.0)
    best = maximization_step(model, priors.add_to(statistics), 1e-9)

    def objective(changed: StateSpaceModel) -> torch.Tensor:
        inverse = torch.linalg.inv(changed.state_cov)
        transition = changed.transition
        cross = transition @ statistics.lag_product.mT
        residual = statistics.current_square - cross - cross.mT
        residual = residual + transition @ statistics.previous_square @ transition.mT
        logdet = changed.state_cov.logdet() * statistics.n_transitions
        transitions = -(logdet + (inverse @ residual).diagonal(dim1=1, dim2=2).sum(1)) / 2
        coef = torch.cat([changed.design, changed.obs_intercept[..., None]], dim=-1)
        fitted = (statistics.design_gram @ coef[..., None])[..., 0]
        rss = statistics.obs_square + (coef * (fitted - 2 * statistics.design_cross)).sum(-1)
        variance = changed.obs_cov.diagonal(dim1=1, dim2=2)
        observations = -(statistics.nobs * variance.log() + rss / variance).sum(1) / 2
        return transitions + observations + priors.log_density(changed)

    highest = objective(best)
    generator = torch.Generator().manual_seed(2)
    for name in ("transition", "state_cov", "design", "obs_cov"):
        value = getattr(best, name)
        for _ in range(20):
            change = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if "cov" in name:
                change = torch.diag_embed(change.diagonal(dim1=1, dim2=2))
            changed = replace(best, **{name: value + 1e-3 * change})
            assert bool((objective(changed) < highest).all()), name


@pytest.mark.parametrize("missing", (0.0, 0.3))
def test_the_objective_never_decreases(missing: float) -> None:
    generator = np.random.default_rng(0)
    values = np.cumsum(generator.normal(size=(80, 2)), axis=0)
    values = np.where(generator.random(values.shape) < missing, np.nan, values)
    model = LinearGaussianHMM(
        2,
        n_iter=80,
        tol=0.0,
        transition_prior=1.0,
        transition_weight=20.0,
        obs_cov_weight=5.0,
        obs_cov_prior=0.1,
    )
    history = model.set_params(random_state=0).fit(values).history_["log_likelihood"]
    assert history.diff().min() > -1e-8 * history.abs().max()
    assert model.log_likelihood_ == pytest.approx(model.score(values), rel=1e-9)


def test_a_large_weight_gives_the_prior() -> None:
    values = np.random.default_rng(0).normal(size=(100, 2))
    model = LinearGaussianHMM(
        1, transition_prior=0.7, transition_weight=1e7, obs_cov_prior=0.25, obs_cov_weight=1e7
    )
    model.set_params(random_state=0).fit(values)
    assert model.transition_ == pytest.approx(np.array([[0.7]]), abs=1e-3)
    noise = np.diagonal(model.obs_cov_) / values.var(axis=0)
    assert noise == pytest.approx([0.25, 0.25], abs=1e-3)


def test_a_prior_improves_forecasts_of_short_series() -> None:
    """A random walk observed with noise: 15 points determine neither variance well."""
    generator = np.random.default_rng(0)
    plain, informed = [], []
    for _ in range(10):
        level = np.cumsum(0.3 * generator.normal(size=115))
        values = (level + generator.normal(size=115))[:, None]
        short = values[:15]
        prior = {"transition_prior": 1.0, "transition_weight": 10.0, "obs_cov_weight": 3.0}
        for scores, options in ((plain, {}), (informed, prior)):
            model = LinearGaussianHMM(1, n_init=1, n_iter=30, random_state=0, **options).fit(short)
            scores.append(model.score(values) - model.score(short))
    assert np.mean(informed) > np.mean(plain) + 5
    assert np.mean(np.array(informed) > np.array(plain)) > 0.6


def test_priors_are_relative_to_the_scale_of_the_data() -> None:
    values = np.random.default_rng(0).normal(size=(60, 2)).cumsum(axis=0)
    options = {"transition_prior": 1.0, "transition_weight": 5.0, "obs_cov_weight": 4.0}
    model, scaled = (
        LinearGaussianHMM(2, random_state=0, **options).fit(x) for x in (values, 7 + 1e3 * values)
    )
    assert scaled.transition_ == pytest.approx(model.transition_, rel=1e-6, abs=1e-8)
    assert scaled.design_ == pytest.approx(1e3 * model.design_, rel=1e-6)
