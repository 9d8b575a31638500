"""Predictive distributions: mean, quantiles and sample paths of the steps after a context."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.data.scaling import Scaling
from tsar.forecasters.regimes.increments import cumulative_quantiles
from tsar.forecasters.regimes.inference import sample_state_paths
from tsar.forecasters.regimes.mixture import NormalMixture
from tsar.hmm.discrete.inference import predict_states
from tsar.hmm.discrete.parameters import GaussianParameters
from tsar.hmm.em import select_models


@dataclass(frozen=True)
class PredictiveDistribution:
    """Distribution of the steps after each context, under its Markov-switching model.

    A step of a model of levels is a normal mixture, weighted by the predicted state probabilities
    (Hamilton 1989). A model of differences adds its steps to the newest value.

    Attributes
    ----------
    models
        One per window, in standardized units.
    has_state
        Which states each model has.
    filtered
        Probability of each state at the end of the context.
    seasonal
        Seasonal means of the steps, in standardized units.
    scaling
        Of the values, or of the differences.
    differenced
        Whether the model is one of differences.
    last_value
        Newest value of the context.
    """

    models: GaussianParameters
    has_state: Bool[Tensor, "window state"]
    filtered: Float[Tensor, "window state"]
    seasonal: Float[Tensor, "window horizon"]
    scaling: Scaling
    differenced: Bool[Tensor, " window"]
    last_value: Float[Tensor, " window"]

    def mean(self) -> Float[Tensor, "window horizon"]:
        """Mean of each step."""
        steps = self._mixture(slice(None), self.seasonal).mean
        return self._to_data_units(self._accumulate(steps)[:, :, None])[:, :, 0]

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "window horizon level"]:
        """Quantiles of each step."""
        seasonal = self._accumulate(self.seasonal)
        found = seasonal[:, :, None].repeat(1, 1, len(levels))
        rows, cumulative = (mask.nonzero()[:, 0] for mask in (~self.differenced, self.differenced))
        if levels and len(rows):
            mixture = self._mixture(rows, torch.zeros_like(seasonal[rows]))
            found[rows] += mixture.quantiles(levels)
        if levels and len(cumulative):
            found[cumulative] += cumulative_quantiles(
                select_models(self.models, cumulative),
                self.has_state[cumulative],
                self.filtered[cumulative],
                seasonal.shape[1],
                levels,
            )
        return self._to_data_units(found)

    def sample(
        self, uniform: Float[Tensor, "path horizon"], normal: Float[Tensor, "path horizon"]
    ) -> Float[Tensor, "window path horizon"]:
        """Sample paths: states from uniform random numbers, points from standard normal ones."""
        initial = predict_states(self.filtered, self.models.transmat, 1)[:, 0]
        states = sample_state_paths(initial, self.models.transmat, uniform)
        row = torch.arange(len(initial), device=initial.device)[:, None, None]
        means, variances = self.models.means[row, states, 0], self.models.covars[row, states, 0]
        steps = means + variances.sqrt() * normal + self.seasonal[:, None]
        return self._to_data_units(self._accumulate(steps.mT)).mT

    def _mixture(
        self, rows: Tensor | slice, seasonal: Float[Tensor, "row horizon"]
    ) -> NormalMixture:
        """Mixture of each step of some windows; of the differences where those are modelled."""
        models = self.models
        weights = predict_states(self.filtered[rows], models.transmat[rows], seasonal.shape[1])
        means = models.means[rows][:, None, :, 0] + seasonal[:, :, None]
        stds = models.covars[rows][:, None, :, 0].sqrt().expand_as(means)
        return NormalMixture(weights, means, stds)

    def _accumulate(self, steps: Float[Tensor, "window horizon *output"]) -> Tensor:
        """Steps; cumulative sums of them where differences are modelled."""
        differenced = self.differenced.view(-1, *[1] * (steps.ndim - 1))
        return torch.where(differenced, steps.cumsum(1), steps)

    def _to_data_units(
        self, values: Float[Tensor, "window horizon output"]
    ) -> Float[Tensor, "window horizon output"]:
        """Values on the CPU, from standardized units; of cumulative sums, the mean counts h times.

        `Scaling.invert` adds the mean once.
        """
        inverted = self.scaling.invert(values.cpu())
        differenced = self.differenced.cpu()[:, None, None]
        means = torch.arange(inverted.shape[1])[:, None] * self.scaling.mean[:, None, None]
        cumulative = inverted + means + self.last_value[:, None, None]
        return torch.where(differenced, cumulative, inverted)
