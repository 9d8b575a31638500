"""Emission distributions of discrete-state HMMs: log densities, M-step, priors, initialization.

Here are the interface `Emission`, categorical emissions and the M-step of probabilities;
`gaussian_emissions` holds the Gaussian ones.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Generic

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.initialization import initial_emissionprob
from tsar.hmm.discrete.parameters import CategoricalParameters, HMMParameters, P
from tsar.hmm.discrete.sequence_groups import SequenceGroups

Points = Float[Tensor, "row time feature"]
PointStates = Float[Tensor, "row time state"]  # a number for each state at each point
Statistics = Float[Tensor, "row state statistic"]

MIN_COUNT = 1e-8  # expected points below which a state keeps its previous parameters


class Emission(ABC, Generic[P]):
    """Distribution of a point in each state. Missing features are integrated out."""

    @abstractmethod
    def log_density(self, parameters: P, values: Points) -> PointStates:
        """Log density of each point in each state; row k has model k."""

    @abstractmethod
    def statistics(self, parameters: P, values: Points, posteriors: PointStates) -> Statistics:
        """Expected sufficient statistics of each row; those of several rows add up."""

    @abstractmethod
    def maximize(self, statistics: Float[Tensor, "model state statistic"], parameters: P) -> P:
        """M-step: `parameters` with the emissions of the highest penalized likelihood."""

    @abstractmethod
    def log_prior(self, parameters: P) -> Float[Tensor, " model"]:
        """Log density of the priors, up to a constant."""

    @abstractmethod
    def state_order(self, parameters: P) -> Int[Tensor, "model state"]:
        """States by increasing mean, so that repeated fits number them in the same way."""

    @abstractmethod
    def n_parameters(self, parameters: P) -> int:
        """Free parameters of the emissions of all states of one model."""

    @abstractmethod
    def initialize(
        self, data: SequenceGroups, chains: HMMParameters, generator: torch.Generator
    ) -> P:
        """Initial parameters: a model for each group and start, the starts of a group in a row.

        `chains` holds the initial start and transition probabilities, a model for each start.
        """


def repeat_chains(chains: HMMParameters, n_groups: int) -> tuple[Tensor, Tensor]:
    """Start and transition probabilities, repeated for each group."""
    return chains.startprob.repeat(n_groups, 1), chains.transmat.repeat(n_groups, 1, 1)


@dataclass(frozen=True)
class Categorical(Emission[CategoricalParameters]):
    """Symbols, encoded as integers from 0; `prior` is the Dirichlet parameter, 1 for none."""

    n_symbols: int
    prior: float = 1.0

    def log_density(self, parameters: CategoricalParameters, values: Points) -> PointStates:
        """Log probability of the symbol; minus infinity from `n_symbols` on."""
        log = parameters.emissionprob.log().transpose(1, 2)
        symbol = values[:, :, 0]
        index = symbol.nan_to_num(0.0).long()
        row = torch.arange(len(values), device=values.device)[:, None]
        density = log[row, index.clamp(max=log.shape[1] - 1)]
        density = density.where((index < log.shape[1])[:, :, None], -torch.inf)
        return density.masked_fill(symbol.isnan()[:, :, None], 0.0)

    def statistics(
        self, parameters: CategoricalParameters, values: Points, posteriors: PointStates
    ) -> Statistics:
        """Expected count of each symbol in each state."""
        rows, _, states = posteriors.shape
        symbol = values[:, :, 0]
        weight = posteriors.masked_fill(symbol.isnan()[:, :, None], 0.0)
        total = values.new_zeros(rows, parameters.emissionprob.shape[2], states)
        index = symbol.nan_to_num(0.0).long()[:, :, None].expand_as(weight)
        return total.scatter_add_(1, index, weight).transpose(1, 2)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: CategoricalParameters
    ) -> CategoricalParameters:
        """Relative frequencies of the symbols, with the prior's pseudocounts."""
        emissionprob = maximize_probabilities(statistics, self.prior, parameters.emissionprob)
        return replace(parameters, emissionprob=emissionprob)

    def log_prior(self, parameters: CategoricalParameters) -> Float[Tensor, " model"]:
        """Dirichlet prior."""
        return log_dirichlet(parameters.emissionprob, self.prior).sum(1)

    def state_order(self, parameters: CategoricalParameters) -> Int[Tensor, "model state"]:
        """States by their mean symbol."""
        symbol = torch.arange(parameters.emissionprob.shape[2]).to(parameters.emissionprob)
        return (parameters.emissionprob @ symbol).argsort(dim=1)

    def n_parameters(self, parameters: CategoricalParameters) -> int:
        """Probabilities, less one for each state."""
        _, states, symbols = parameters.emissionprob.shape
        return states * (symbols - 1)

    def initialize(
        self, data: SequenceGroups, chains: HMMParameters, generator: torch.Generator
    ) -> CategoricalParameters:
        """Randomized relative frequencies of the symbols in each group."""
        values, n_groups = data.observations.values, data.n_groups
        n_init, n_components = chains.startprob.shape
        uniform = torch.rand(n_init, n_components, self.n_symbols, generator=generator)
        emissionprob = initial_emissionprob(values, data.point_group, n_groups, uniform.to(values))
        return CategoricalParameters(*repeat_chains(chains, n_groups), emissionprob.flatten(0, 1))


def maximize_probabilities(
    count: Float[Tensor, "*shape state"], prior: float, previous: Float[Tensor, "*shape state"]
) -> Float[Tensor, "*shape state"]:
    """M-step of probabilities: mode of the Dirichlet posterior; `previous` where counts are zero.

    Zero probabilities stay zero. All others stay positive, so that later products do not underflow.
    """
    raised = (count + (prior - 1.0)).clamp(min=0.0)
    total = raised.sum(-1, keepdim=True)
    mode = torch.where(total > MIN_COUNT, raised / total.clamp(min=MIN_COUNT), previous)
    minimum = 1e-100 if previous.dtype == torch.float64 else 1e-12
    return mode.clamp(min=minimum).where(previous > 0, 0.0)


def log_dirichlet(
    probability: Float[Tensor, "model ... state"], prior: float
) -> Float[Tensor, "model ..."]:
    """Log density of a symmetric Dirichlet prior, up to a constant; zeros do not count."""
    if prior == 1.0:
        return torch.zeros_like(probability[..., 0])
    return (prior - 1.0) * probability.log().where(probability > 0, 0.0).sum(-1)
