"""Frozen features by hidden Markov models: what is known of the state at each point."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tsar.complexity.representations import Frozen, Representation, Told
from tsar.data.panel import Panel
from tsar.hmm.discrete.emissions import DiagonalGaussian
from tsar.hmm.discrete.fitting import Grouped, Rules
from tsar.hmm.discrete.restarts import GaussianFamily, fit_restarts
from tsar.hmm.discrete.selection import Fitted, select
from tsar.hmm.observations import Observations

MOST_STATES = 12
MOST_SERIES = 100  # whose number of states is chosen: a third of a second each
CANDIDATES = range(1, 9)
STARTS, RULES = 5, Rules(100, 1e-2, 1.0, 1.0)
FAMILY = GaussianFamily(DiagonalGaussian(0.0, 0.0, 1e-5, 1.0, 1e-8))


@dataclass(frozen=True)
class StateFeatures(Representation):
    """Filtered states of models of growing size: causal, as a smoothed one would not be.

    Parameters
    ----------
    make
        An estimator for a number of states and a seed, with ``fit(X, lengths=...)`` and
        ``transform(X, lengths=...)`` that gives a row for each point, by what is known there:
        posterior probabilities of a discrete model, state means of a linear-Gaussian one.
    most
        The most states.

    References
    ----------
    Wei, Xie & Ma 2021 (arXiv 2106.09226) and Luo, Wang & Huang 2024 (arXiv 2410.00699), where heads
    are tuned on frozen hidden Markov models.
    """

    make: Callable[[int, int], Any]
    most: int = MOST_STATES

    def limit(self, known: Panel) -> int:
        """The most states."""
        return self.most

    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Fit a model of each size to the training points."""
        values, lengths = _table(known)
        return _States({size: self.make(size, seed).fit(values, lengths=lengths) for size in sizes})


@dataclass(frozen=True)
class _States(Frozen):
    models: dict[int, Any]
    nested = False

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """All points: a missing one is marginalized."""
        return torch.ones_like(panel.values, dtype=torch.bool)

    def tell(self, panel: Panel, places: Int[Tensor, " row"], size: int) -> Told:
        """Filtered states of the model of a size."""
        values, lengths = _table(panel)
        found = torch.as_tensor(self.models[size].transform(values, lengths=lengths))
        return Told(found.to(panel.values)[places])


def _table(panel: Panel) -> tuple[Any, Any]:
    """Points as a column, and the lengths of the series."""
    return panel.values[:, None].cpu().numpy(), panel.lengths.cpu().numpy()


def states_of_series(panel: Panel, seed: int) -> list[int]:
    """States that the held-out score chooses for each of the first series, all in one batch.

    Parameters
    ----------
    panel
        Standardized series.
    """
    first = panel.select(np.arange(min(len(panel), MOST_SERIES)))
    observations = Observations(first.values[:, None], first.offsets)
    data, _ = Grouped(observations, torch.arange(len(first))).robust_standardize()

    def fitted(part: Grouped, states: int) -> Fitted:
        return fit_restarts(FAMILY, part, states, STARTS, RULES, seed)

    return select(FAMILY.emission, data, CANDIDATES, "heldout", fitted)[0].tolist()
