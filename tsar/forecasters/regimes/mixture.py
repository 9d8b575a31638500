"""Mixtures of normal distributions: mean, distribution function and quantiles."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

BISECTIONS = 80  # halve the bracket of a quantile down to the last bit of float64


class NormalMixture(NamedTuple):
    """Mixtures of normal distributions, one component per state.

    Attributes
    ----------
    weights
        Probabilities of the components, which sum to one.
    means, stds
        Mean and standard deviation of each component.

    Examples
    --------
    >>> even = torch.tensor([0.5, 0.5])
    >>> mixture = NormalMixture(even, torch.tensor([-3.0, 3.0]), torch.ones(2))
    >>> mixture.mean, mixture.cdf(torch.tensor([0.0]))
    (tensor(0.), tensor([0.5000]))
    >>> mixture.quantiles([0.25, 0.75])
    tensor([-3.,  3.])
    """

    weights: Float[Tensor, "*shape state"]
    means: Float[Tensor, "*shape state"]
    stds: Float[Tensor, "*shape state"]

    @property
    def mean(self) -> Float[Tensor, "*shape"]:
        """Mean of each mixture."""
        return (self.weights * self.means).sum(-1)

    def cdf(self, values: Float[Tensor, "*shape level"]) -> Float[Tensor, "*shape level"]:
        """Cumulative distribution function of each mixture at its values."""
        scores = (values[..., None] - self.means[..., None, :]) / self.stds[..., None, :]
        return (self.weights[..., None, :] * torch.special.ndtr(scores)).sum(-1)

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "*shape level"]:
        """Quantiles of each mixture at levels in (0, 1), by bisection of the cdf.

        A quantile lies between the smallest and the largest quantile of the components.
        """
        targets = torch.tensor(list(levels), dtype=self.means.dtype, device=self.means.device)
        scores = torch.special.ndtri(targets)[:, None]
        components = self.means[..., None, :] + self.stds[..., None, :] * scores
        # A component of weight zero must not widen the bracket.
        positive = (self.weights > 0)[..., None, :]
        low = components.masked_fill(~positive, torch.inf).amin(-1)
        high = components.masked_fill(~positive, -torch.inf).amax(-1)
        for _ in range(BISECTIONS):
            center = 0.5 * (low + high)
            below = self.cdf(center) < targets
            low, high = torch.where(below, center, low), torch.where(below, high, center)
        return 0.5 * (low + high)
