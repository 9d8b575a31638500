"""Conjugate priors of linear-Gaussian models, expressed as additional observations."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.kalman import StateSpaceModel
from tsar.hmm.linear_gaussian.sufficient_statistics import SufficientStatistics


@dataclass(frozen=True)
class Priors:
    """Priors with the sufficient statistics of additional transitions and residuals.

    The prior of the transition and the state covariance is matrix-normal inverse-Wishart, that of
    the variance of each feature's noise inverse-gamma. Their log densities leave out the constants.
    The first also determines the scale of the states, which the likelihood leaves open.

    Attributes
    ----------
    transition, transition_weight
        The additional transitions go from states of variance 1 to `transition` times the state,
        with an innovation of variance 1; and their number.
    obs_cov, obs_cov_weight
        Variance of the additional residuals of each feature, and their number.
    """

    transition: float
    transition_weight: float
    obs_cov: float
    obs_cov_weight: float

    def add_to(self, statistics: SufficientStatistics) -> SufficientStatistics:
        """Sufficient statistics together with those of the additional observations."""
        weight = self.transition_weight
        previous = statistics.previous_square
        eye = weight * torch.eye(previous.shape[-1]).to(previous)
        return replace(
            statistics,
            previous_square=previous + eye,
            lag_product=statistics.lag_product + self.transition * eye,
            current_square=statistics.current_square + (self.transition**2 + 1) * eye,
            n_transitions=statistics.n_transitions + weight,
            obs_square=statistics.obs_square + self.obs_cov_weight * self.obs_cov,
            nobs=statistics.nobs + self.obs_cov_weight,
        )

    def log_density(self, model: StateSpaceModel) -> Float[Tensor, " model"]:
        """Log likelihood of the additional observations, up to a constant."""
        variance = model.obs_cov.diagonal(dim1=-2, dim2=-1)
        noise = (variance.log() + self.obs_cov / variance).sum(-1)
        eye = torch.eye(model.transition.shape[-1]).to(model.transition)
        factor = torch.linalg.cholesky(model.state_cov)
        difference = model.transition - self.transition * eye
        errors = torch.cat([eye.expand_as(factor), difference], dim=-1)
        whitened = torch.linalg.solve_triangular(factor, errors, upper=False)
        logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        transitions = logdet + whitened.square().sum((-2, -1))
        return -(self.obs_cov_weight * noise + self.transition_weight * transitions) / 2
