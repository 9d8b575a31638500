"""Priors of linear-Gaussian models: what further points, that were never seen, would say."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.expected import Expected
from tsar.hmm.linear_gaussian.kalman import LinearGaussian


@dataclass(frozen=True)
class LinearPriors:
    """Conjugate priors, told by the data that would leave the same mark on a likelihood.

    Those of the transition are matrix-normal and inverse Wishart, those of the noise of the
    features inverse gamma; their logarithms are counted without what no parameter changes. The
    first also fixes the units of the states, which the likelihood leaves open.

    Attributes
    ----------
    transition, transition_weight
        Further transitions, from states of variance 1 to `transition` times the state and an
        innovation of variance 1; and how many.
    noise, noise_weight
        Variance of further residuals of each feature, and how many.
    """

    transition: float
    transition_weight: float
    noise: float
    noise_weight: float

    def added(self, expected: Expected) -> Expected:
        """Expected sums, with those of the further points."""
        weight = self.transition_weight
        eye = weight * torch.eye(expected.before.shape[-1]).to(expected.before)
        return replace(
            expected,
            before=expected.before + eye,
            lagged=expected.lagged + self.transition * eye,
            after=expected.after + (self.transition**2 + 1) * eye,
            transitions=expected.transitions + weight,
            power=expected.power + self.noise_weight * self.noise,
            counts=expected.counts + self.noise_weight,
        )

    def log_density(self, model: LinearGaussian) -> Float[Tensor, " model"]:
        """Log likelihood of the further points, up to a constant."""
        variance = model.observation_covariance.diagonal(dim1=-2, dim2=-1)
        noise = (variance.log() + self.noise / variance).sum(-1)
        eye = torch.eye(model.transition.shape[-1]).to(model.transition)
        factor = torch.linalg.cholesky(model.transition_covariance)
        away = torch.cat([eye.expand_as(factor), model.transition - self.transition * eye], dim=-1)
        white = torch.linalg.solve_triangular(factor, away, upper=False)
        volume = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        moved = volume + white.square().sum((-2, -1))
        return -(self.noise_weight * noise + self.transition_weight * moved) / 2
