"""Expectation-maximization of linear-Gaussian state-space models from several starts at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.em import EMResult, run_em, select_models
from tsar.hmm.linear_gaussian.initialization import initial_models
from tsar.hmm.linear_gaussian.kalman import StateSpaceModel, kalman_filter
from tsar.hmm.linear_gaussian.linalg import clip_eigenvalues, solve_positive, symmetric
from tsar.hmm.linear_gaussian.priors import Priors
from tsar.hmm.linear_gaussian.sufficient_statistics import (
    SufficientStatistics,
    elements_per_point,
    expect,
    model_chunks,
)
from tsar.hmm.observations import Observations


@dataclass(frozen=True)
class FittedModels:
    """Models of one number of states, fitted from every start.

    Attributes
    ----------
    em
        Result of expectation-maximization.
    log_likelihoods
        Final log likelihood of each start.
    objectives
        The same with the log density of the priors.
    """

    em: EMResult[StateSpaceModel]
    log_likelihoods: Float[Tensor, " start"]
    objectives: Float[Tensor, " start"]

    @property
    def best(self) -> int:
        """Start with the highest objective."""
        return int(self.objectives.nan_to_num(-torch.inf).argmax())

    @property
    def model(self) -> StateSpaceModel:
        """Model of the best start, as a batch of one."""
        return select_models(
            self.em.parameters, torch.tensor([self.best], device=self.objectives.device)
        )


def fit_restarts(
    observations: Observations,
    n_components: int,
    *,
    priors: Priors,
    n_init: int,
    seed: int,
    n_iter: int,
    tol: float,
    min_covar: float,
    verbose: bool = False,
) -> FittedModels:
    """Fit models by expectation-maximization (Shumway & Stoffer 1982), see `LinearGaussianHMM`.

    The objective is the log likelihood with the log density of the priors. It never decreases: a
    covariance below `min_covar` is replaced by the best one that is not.

    Parameters
    ----------
    observations
        Standardized observations.
    """
    generator = torch.Generator().manual_seed(seed)
    initial = initial_models(observations, n_components, n_init, generator)

    def step(
        model: StateSpaceModel, _: Int[Tensor, " active"]
    ) -> tuple[StateSpaceModel, Float[Tensor, " active"]]:
        statistics = expect(observations, model)
        updated = maximization_step(model, priors.add_to(statistics), min_covar)
        return updated, statistics.llf + priors.log_density(model)

    em = run_em(initial, step, n_iter=n_iter, tol=tol, progress=verbose)
    scores = log_likelihoods(observations, em.parameters)
    return FittedModels(em, scores, scores + priors.log_density(em.parameters))


def log_likelihoods(observations: Observations, model: StateSpaceModel) -> Float[Tensor, " model"]:
    """Log likelihood of all sequences by each model."""
    total = torch.zeros(len(model.transition), dtype=torch.float64, device=model.transition.device)
    for block in observations.blocks(elements_per_point(model)):
        for chunk in model_chunks(model, block):
            results = kalman_filter(select_models(model, chunk), block.values, block.lengths)
            total[chunk] += results.llf.sum(1)
    return total


def maximization_step(
    model: StateSpaceModel, statistics: SufficientStatistics, min_covar: float
) -> StateSpaceModel:
    """Parameters with the highest expected log likelihood.

    Without a transition the transition and the state covariance of `model` are kept.
    """
    transition, state_cov = model.transition, model.state_cov
    if bool((statistics.n_transitions > 0).all()):
        previous, product = statistics.previous_square, statistics.lag_product
        transition = solve_positive(previous, product.mT).mT
        cross = transition @ product.mT
        residual = statistics.current_square - cross - cross.mT
        residual = residual + transition @ previous @ transition.mT
        state_cov = clip_eigenvalues(residual / statistics.n_transitions[:, None, None], min_covar)
    gram, cross = statistics.design_gram, statistics.design_cross
    coef = solve_positive(gram, cross[..., None])[..., 0]
    fitted = (gram @ coef[..., None])[..., 0]
    rss = statistics.obs_square + (coef * (fitted - 2 * cross)).sum(-1)
    variance = (rss / statistics.nobs.clamp(min=1)).clamp(min=min_covar)
    variance = torch.where(statistics.nobs > 0, variance, 1)
    initial = statistics.initial / statistics.n_sequences[:, None]
    initial_square = statistics.initial_square / statistics.n_sequences[:, None, None]
    initial_cov = initial_square - initial[:, :, None] * initial[:, None]
    return StateSpaceModel(
        transition,
        state_cov,
        coef[..., :-1],
        coef[..., -1],
        torch.diag_embed(variance),
        initial,
        clip_eigenvalues(initial_cov, min_covar),
    )


def canonical_form(model: StateSpaceModel, statistics: SufficientStatistics) -> StateSpaceModel:
    """Equivalent model in unique state coordinates: x -> M x leaves the observations unchanged.

    In canonical form the states have mean square 1 over the training data and are uncorrelated
    there; their innovations are uncorrelated; the slowest state, that of the smallest innovation
    variance, comes first; the largest coefficient of each state in the design is positive.
    """
    square = statistics.initial_square + statistics.current_square
    n_points = statistics.n_sequences + statistics.n_transitions
    factor = torch.linalg.cholesky(symmetric(square / n_points[:, None, None]))
    half = torch.linalg.solve_triangular(factor, model.state_cov, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    eigenvectors = torch.linalg.eigh(symmetric(whitened))[1]
    design = model.design @ factor @ eigenvectors
    largest = design.abs().argmax(dim=1, keepdim=True)
    sign = torch.where(design.gather(1, largest) < 0, -1.0, 1.0).to(design)
    inverse = factor @ eigenvectors * sign
    forward = torch.linalg.inv(inverse)
    return StateSpaceModel(
        forward @ model.transition @ inverse,
        symmetric(forward @ model.state_cov @ forward.mT),
        model.design @ inverse,
        model.obs_intercept,
        model.obs_cov,
        (forward @ model.initial_state[..., None])[..., 0],
        symmetric(forward @ model.initial_state_cov @ forward.mT),
    )
