"""Restarts of expectation-maximization for groups of sequences, all in one batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.discrete.emissions import Categorical, DiagonalGaussian, Emission, FullGaussian
from tsar.hmm.discrete.fitting import Grouped, Rules, fit
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.selection import Fitted
from tsar.hmm.discrete.starts import categorical_start, chain_start, gaussian_start


class Family(ABC):
    """A kind of distribution, and where its fits begin."""

    @property
    @abstractmethod
    def emission(self) -> Emission:
        """Densities and their maximization."""

    @abstractmethod
    def start(
        self, data: Grouped, states: int, restarts: int, generator: torch.Generator
    ) -> tuple[
        Float[Tensor, "group restart state value"], Float[Tensor, "group restart state ..."]
    ]:
        """Center and spread of each group and restart."""


@dataclass(frozen=True)
class GaussianFamily(Family):
    """Gaussians, with the points of a group clustered by k-means."""

    emission_: DiagonalGaussian | FullGaussian

    @property
    def emission(self) -> Emission:
        """Gaussians."""
        return self.emission_

    def start(
        self, data: Grouped, states: int, restarts: int, generator: torch.Generator
    ) -> tuple[
        Float[Tensor, "group restart state value"], Float[Tensor, "group restart state ..."]
    ]:
        """Means of k-means; the floor under the spread."""
        values = data.observations.values
        uniform = torch.rand(restarts, states, generator=generator, dtype=values.dtype)
        full = isinstance(self.emission_, FullGaussian)
        joined = data.by_group()
        means, spread = gaussian_start(
            joined.observations.values, joined.borders(), uniform.to(values.device), full
        )
        floor = max(self.emission_.floor, 1e-12)
        if full:
            eye = torch.eye(means.shape[-1], dtype=means.dtype, device=means.device)
            return means, spread + floor * eye
        return means, spread.clamp(min=floor)


@dataclass(frozen=True)
class CategoricalFamily(Family):
    """Symbols."""

    emission_: Categorical
    symbols: int

    @property
    def emission(self) -> Emission:
        """Probabilities of symbols."""
        return self.emission_

    def start(
        self, data: Grouped, states: int, restarts: int, generator: torch.Generator
    ) -> tuple[
        Float[Tensor, "group restart state value"], Float[Tensor, "group restart state ..."]
    ]:
        """Shares of symbols, shaken."""
        values = data.observations.values
        uniform = torch.rand(restarts, states, self.symbols, generator=generator)
        return categorical_start(
            values, data.of_points, data.groups, self.symbols, uniform.to(values)
        )


def fit_restarts(
    family: Family, data: Grouped, states: int, restarts: int, rules: Rules, seed: int
) -> Fitted:
    """Fit models of a number of states to each group, from several starts.

    Every group starts from the same random numbers: none depends on which others there are.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(restarts, 1 + states**2, generator=generator, dtype=torch.float64)
    startprob, transmat = chain_start(drawn.to(data.observations.values), states)
    center, spread = family.start(data, states, restarts, generator)
    groups = data.groups
    start = Parameters(
        startprob.repeat(groups, 1),
        transmat.repeat(groups, 1, 1),
        center.flatten(0, 1),
        spread.flatten(0, 1).contiguous(),
    )
    owner = torch.arange(groups, device=center.device).repeat_interleave(restarts)
    return Fitted(fit(family.emission, data, start, owner, rules), owner, groups)
