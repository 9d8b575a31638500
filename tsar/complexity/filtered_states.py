"""Filtered states of hidden Markov models as frozen features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tsar.complexity.representations import Features, FrozenFeatures, Representation
from tsar.data.panel import Panel


@dataclass(frozen=True)
class FilteredStates(Representation):
    """Filtered states of models with a growing number of states, by each point and earlier ones.

    Smoothed states would use later points.

    Parameters
    ----------
    make_model
        Returns an estimator for a number of states and a seed. It must have
        ``fit(X, lengths=...)``, and ``transform(X, lengths=...)`` that gives a causal row of
        features for each point: posterior state probabilities of a discrete model, or state means
        of a linear-Gaussian one.
    max_states
        The largest number of states.

    References
    ----------
    Wei, Xie & Ma 2021 (arXiv 2106.09226) and Luo, Wang & Huang 2024 (arXiv 2410.00699) tune heads
    on frozen hidden Markov models.
    """

    make_model: Callable[[int, int], Any]
    max_states: int = 12

    def max_size(self, training: Panel) -> int:
        """The largest number of states."""
        return self.max_states

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Fit a model of each size to the training points."""
        points, lengths = _points_and_lengths(training)
        models = (self.make_model(size, seed).fit(points, lengths=lengths) for size in sizes)
        return _FilteredStates(dict(zip(sizes, models, strict=True)))


@dataclass(frozen=True)
class _FilteredStates(FrozenFeatures):
    models: dict[int, Any]
    nested = False

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """All points: missing ones are marginalized."""
        return torch.ones_like(panel.values, dtype=torch.bool)

    def compute(self, panel: Panel, positions: Int[Tensor, " row"], size: int) -> Features:
        """Filtered states of the model of that size."""
        points, lengths = _points_and_lengths(panel)
        states = torch.as_tensor(self.models[size].transform(points, lengths=lengths))
        return Features(states.to(panel.values)[positions])


def _points_and_lengths(panel: Panel) -> tuple[Any, Any]:
    """Points as a column, and the lengths of the series, as hmmlearn takes them."""
    return panel.values[:, None].cpu().numpy(), panel.lengths.cpu().numpy()
