"""Fit a batch of discrete-state HMMs by EM: several starts for each group of sequences at once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission, log_dirichlet, maximize_probabilities
from tsar.hmm.discrete.inference import FilteredStates, filter_states, forward_backward
from tsar.hmm.discrete.initialization import initial_chains
from tsar.hmm.discrete.parameters import GaussianParameters, HMMParameters, P
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.em import EMResult, run_em, select_models


@dataclass(frozen=True)
class EMOptions:
    """Options of `run_em`, and the Dirichlet parameters of the priors (1 for none)."""

    n_iter: int
    tol: float
    startprob_prior: float = 1.0
    transmat_prior: float = 1.0
    progress: bool = False


@dataclass(frozen=True)
class FittedModels(Generic[P]):
    """Models with the same number of states: for each group, one for each start.

    The models of a group are consecutive, and as many in each.
    """

    result: EMResult[P]
    model_group: Int[Tensor, " model"]
    n_groups: int

    @property
    def objectives(self) -> Float[Tensor, "group start"]:
        """Penalized log-likelihood of each start."""
        return self.result.objective.view(self.n_groups, -1)

    @property
    def best(self) -> Int[Tensor, " group"]:
        """Index of the model with the highest objective in each group; NaN counts as lowest."""
        objectives = self.objectives.where(~self.objectives.isnan(), -torch.inf)
        first = torch.arange(self.n_groups, device=objectives.device) * objectives.shape[1]
        return first + objectives.argmax(1)

    @property
    def parameters(self) -> P:
        """Parameters of the best model of each group."""
        return select_models(self.result.parameters, self.best)


def fit_restarts(
    emission: Emission[P],
    data: SequenceGroups,
    n_components: int,
    n_init: int,
    options: EMOptions,
    seed: int,
) -> FittedModels[P]:
    """Fit models with `n_components` states to each group, from `n_init` starts."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(n_init, 1 + n_components**2, generator=generator, dtype=torch.float64)
    chains = HMMParameters(*initial_chains(uniform.to(data.observations.values), n_components))
    initial = emission.initialize(data, chains, generator)
    n_groups = data.n_groups
    model_group = torch.arange(n_groups, device=initial.startprob.device).repeat_interleave(n_init)
    return FittedModels(fit(emission, data, initial, model_group, options), model_group, n_groups)


def fit(
    emission: Emission[P],
    data: SequenceGroups,
    initial: P,
    model_group: Int[Tensor, " model"],
    options: EMOptions,
) -> EMResult[P]:
    """Expectation-maximization (Baum et al. 1970) of models, each on the sequences of its group."""

    def step(parameters: P, models: Int[Tensor, " active"]) -> tuple[P, Float[Tensor, " active"]]:
        expected = _expect(emission, data, parameters, model_group[models])
        objective = expected.log_likelihood + _log_prior(emission, parameters, options)
        return _maximize(emission, parameters, expected, options), objective

    return run_em(initial, step, n_iter=options.n_iter, tol=options.tol, progress=options.progress)


@dataclass(frozen=True)
class _SufficientStatistics:
    """Expected sufficient statistics of each model: the result of the E-step."""

    startprob: Float[Tensor, "model state"]
    transitions: Float[Tensor, "model state state"]
    emission: Float[Tensor, "model state statistic"]
    log_likelihood: Float[Tensor, " model"]


def _expect(
    emission: Emission[P], data: SequenceGroups, parameters: P, model_group: Int[Tensor, " model"]
) -> _SufficientStatistics:
    n_models, n_components = parameters.startprob.shape
    start = torch.zeros_like(parameters.startprob)
    transitions = torch.zeros_like(parameters.transmat)
    log_likelihood = torch.zeros(n_models, dtype=torch.float64, device=start.device)
    statistics: Tensor | None = None
    for block, rows, models in data.pairs(model_group, n_components):
        chosen, values = select_models(parameters, models), block.values[rows]
        density = emission.log_density(chosen, values)
        smoothed = forward_backward(chosen.startprob, chosen.transmat, density, block.lengths[rows])
        part = emission.statistics(chosen, values, smoothed.posteriors)
        if statistics is None:
            statistics = part.new_zeros(n_models, *part.shape[1:])
        statistics.index_add_(0, models, part)
        start.index_add_(0, models, smoothed.posteriors[:, 0])
        transitions.index_add_(0, models, smoothed.transitions)
        log_likelihood.index_add_(0, models, smoothed.log_likelihood)
    if statistics is None:
        raise ValueError("X must hold at least one sequence; got none. Check its source.")
    return _SufficientStatistics(start, transitions, statistics, log_likelihood)


def _maximize(
    emission: Emission[P], parameters: P, expected: _SufficientStatistics, options: EMOptions
) -> P:
    return replace(
        emission.maximize(expected.emission, parameters),
        startprob=maximize_probabilities(
            expected.startprob, options.startprob_prior, parameters.startprob
        ),
        transmat=maximize_probabilities(
            expected.transitions, options.transmat_prior, parameters.transmat
        ),
    )


def _log_prior(emission: Emission[P], parameters: P, options: EMOptions) -> Float[Tensor, " model"]:
    start = log_dirichlet(parameters.startprob, options.startprob_prior)
    transitions = log_dirichlet(parameters.transmat, options.transmat_prior).sum(1)
    return (start + transitions + emission.log_prior(parameters)).double()


def log_likelihoods(
    emission: Emission[P], data: SequenceGroups, parameters: P, model_group: Int[Tensor, " model"]
) -> Float[Tensor, " model"]:
    """Log-likelihood of the sequences of its group for each model."""
    total = torch.zeros(len(model_group), dtype=torch.float64, device=model_group.device)
    for block, rows, models in data.pairs(model_group, parameters.startprob.shape[1]):
        chosen = select_models(parameters, models)
        density = emission.log_density(chosen, block.values[rows])
        states = filter_states(chosen.startprob, chosen.transmat, density)
        total.index_add_(0, models, states.log_likelihood)
    return total


def predictive_log_density(
    emission: Emission[P], data: SequenceGroups, parameters: P
) -> Float[Tensor, " time"]:
    """Log density of each point given the points before it, by the model of its group."""
    return _filter_points(emission, data, parameters, lambda _, states: states.log_density)


def predicted_means(
    emission: Emission[GaussianParameters], data: SequenceGroups, parameters: GaussianParameters
) -> Float[Tensor, " time"]:
    """Mean (of the first feature) of the most probable state of each point, given those before it.

    By the model of the point's group. Unlike the predictive mean, it is not affected by outlier
    states of low probability.
    """

    def mean(chosen: GaussianParameters, states: FilteredStates) -> Float[Tensor, "row time"]:
        predicted = states.probability[:, :-1] @ chosen.transmat
        predicted = torch.cat([chosen.startprob[:, None], predicted], dim=1)
        return chosen.means[:, :, 0].gather(1, predicted.argmax(dim=2))

    return _filter_points(emission, data, parameters, mean)


def _filter_points(
    emission: Emission[P],
    data: SequenceGroups,
    parameters: P,
    function: Callable[[P, FilteredStates], Tensor],
) -> Float[Tensor, " time"]:
    """Function of the filtered states, for each point by the model of its group."""
    model_group = torch.arange(len(parameters.startprob), device=data.group.device)
    result = data.group.new_zeros(len(data.observations.values), dtype=torch.float64)
    for block, rows, models in data.pairs(model_group, parameters.startprob.shape[1]):
        chosen = select_models(parameters, models)
        density = emission.log_density(chosen, block.values[rows])
        states = filter_states(chosen.startprob, chosen.transmat, density)
        points, values = block.take(rows).unpad(function(chosen, states).double())
        result[points] = values
    return result
