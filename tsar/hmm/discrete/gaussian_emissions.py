"""Gaussian emissions of discrete-state HMMs: diagonal, full or tied covariances, with priors."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import (
    MIN_COUNT,
    Emission,
    Points,
    PointStates,
    Statistics,
    repeat_chains,
)
from tsar.hmm.discrete.initialization import initial_gaussians
from tsar.hmm.discrete.parameters import GaussianParameters, HMMParameters
from tsar.hmm.discrete.sequence_groups import SequenceGroups


@dataclass(frozen=True)
class GaussianEmission(Emission[GaussianParameters]):
    """What the Gaussian emissions share: priors, initialization, order of the states.

    Attributes
    ----------
    means_prior, means_weight
        Mean of a normal prior of the means, and its weight in points.
    covars_prior, covars_weight
        Scale and shape of an inverse Wishart prior of the covariances (inverse gamma prior of the
        variances).
    min_covar
        Minimum variance, or eigenvalue of a covariance.
    """

    means_prior: float = 0.0
    means_weight: float = 0.0
    covars_prior: float = 0.0
    covars_weight: float = 1.0
    min_covar: float = 0.0
    full: ClassVar[bool]

    def state_order(self, parameters: GaussianParameters) -> Int[Tensor, "model state"]:
        """States by the mean of the first feature."""
        return parameters.means[..., 0].argsort(dim=1)

    def initialize(
        self, data: SequenceGroups, chains: HMMParameters, generator: torch.Generator
    ) -> GaussianParameters:
        """K-means means, and the covariance of the group's points in every state."""
        data = data.sorted_by_group()
        values, n_groups = data.observations.values, data.n_groups
        uniform = torch.rand(chains.startprob.shape, generator=generator, dtype=values.dtype)
        uniform, min_covar = uniform.to(values.device), max(self.min_covar, 1e-12)
        means, covars = initial_gaussians(
            values, data.group_offsets(), uniform, self.full, min_covar
        )
        return GaussianParameters(
            *repeat_chains(chains, n_groups), means.flatten(0, 1), covars.flatten(0, 1).contiguous()
        )


@dataclass(frozen=True)
class DiagonalGaussian(GaussianEmission):
    """Features that are independent given the state; M-step as in hmmlearn's GaussianHMM."""

    full = False

    def log_density(self, parameters: GaussianParameters, values: Points) -> PointStates:
        """Sum over features of normal log densities."""
        inverse_std = parameters.covars.rsqrt()
        log_norm = (inverse_std.log() - 0.5 * math.log(2 * math.pi))[:, None]
        total = values.new_zeros(*values.shape[:2], parameters.means.shape[1])
        for feature, column in enumerate(values.unbind(-1)):  # features are few, points many
            score = column[:, :, None] - parameters.means[:, None, :, feature]
            score *= inverse_std[:, None, :, feature]
            score = torch.addcmul(log_norm[..., feature], score, score, value=-0.5)
            total += score.masked_fill_(column.isnan()[:, :, None], 0.0)
        return total

    def statistics(
        self, parameters: GaussianParameters, values: Points, posteriors: PointStates
    ) -> Statistics:
        """Counts, sums and sums of squares of the observed features, by one matrix product."""
        observed = (~values.isnan()).to(values)
        filled = values.nan_to_num(0.0)
        return posteriors.transpose(1, 2) @ torch.cat([observed, filled, filled.square()], -1)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: GaussianParameters
    ) -> GaussianParameters:
        """Means, and variances of at least `min_covar`."""
        count, total, square = statistics.chunk(3, -1)
        weight, prior = self.means_weight, self.means_prior
        means = (weight * prior + total) / (weight + count).clamp(min=MIN_COUNT)
        scatter = square - 2 * means * total + means.square() * count
        scatter = self.covars_prior + weight * (means - prior).square() + scatter.clamp(min=0)
        # Without this minimum, a state of less than one point would have a large multiple of the
        # prior's variance.
        variances = scatter / (max(self.covars_weight - 1, 0) + count).clamp(min=1.0)
        empty = count < MIN_COUNT
        return replace(
            parameters,
            means=means.where(~empty, parameters.means),
            covars=variances.where(~empty, parameters.covars).clamp(min=self.min_covar),
        )

    def log_prior(self, parameters: GaussianParameters) -> Float[Tensor, " model"]:
        """Normal prior of the means, inverse gamma prior of the variances."""
        variances, shape = parameters.covars, max(self.covars_weight - 1, 0)
        distance = self.means_weight * (parameters.means - self.means_prior).square()
        terms = (distance + self.covars_prior) / variances + shape * variances.log()
        return -0.5 * terms.sum((1, 2))

    def n_parameters(self, parameters: GaussianParameters) -> int:
        """Means and variances."""
        return 2 * parameters.means[0].numel()


@dataclass(frozen=True)
class FullGaussian(GaussianEmission):
    """Correlated features, with a covariance for each state or one for all (`tied`).

    Missing features are integrated out: Little & Rubin 2002, "Statistical Analysis with Missing
    Data", section 11.2. The M-step is that of hmmlearn's GaussianHMM.
    """

    tied: bool = False
    full = True

    def log_density(self, parameters: GaussianParameters, values: Points) -> PointStates:
        """Multivariate normal log density of the observed features."""
        filled = values.nan_to_num(0.0)
        result = values.new_zeros(*values.shape[:2], parameters.means.shape[1])
        for pattern, points in _patterns(values):
            if bool(pattern.any()):
                density = _pattern_density(parameters, filled, pattern)
                result = torch.where(points[:, :, None], density, result)
        return result

    def statistics(
        self, parameters: GaussianParameters, values: Points, posteriors: PointStates
    ) -> Statistics:
        """Expected second moments of the vector (1, features), missing features included."""
        rows, time, features = values.shape
        extended = torch.cat([values.new_ones(rows, time, 1), values.nan_to_num(0.0)], -1)
        square = _outer(extended).flatten(2)
        shape = (rows, posteriors.shape[2], features + 1, features + 1)
        total = values.new_zeros(shape)
        for pattern, points in _patterns(values):
            if bool(pattern.any()):
                weight = (posteriors * points[:, :, None]).transpose(1, 2)
                total += _impute_moments(parameters, (weight @ square).view(shape), pattern)
        return total.flatten(2)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: GaussianParameters
    ) -> GaussianParameters:
        """Means, and covariances whose eigenvalues are at least `min_covar`."""
        features = parameters.means.shape[2]
        moments = statistics.unflatten(-1, (features + 1, features + 1))
        count, total, square = moments[..., 0, 0], moments[..., 0, 1:], moments[..., 1:, 1:]
        weight, prior = self.means_weight, self.means_prior
        means = (weight * prior + total) / (weight + count).clamp(min=MIN_COUNT)[..., None]
        means = means.where(count[..., None] >= MIN_COUNT, parameters.means)
        cross = means[..., :, None] * total[..., None, :]
        scatter = square - cross - cross.mT + count[..., None, None] * _outer(means)
        scatter = scatter + weight * _outer(means - prior)
        eigenvalues, vectors = torch.linalg.eigh(self._covariances(scatter, count, parameters))
        covars = vectors * eigenvalues.clamp(min=self.min_covar)[..., None, :] @ vectors.mT
        return replace(parameters, means=means, covars=covars)

    def _covariances(
        self,
        scatter: Float[Tensor, "model state feature feature"],
        count: Float[Tensor, "model state"],
        parameters: GaussianParameters,
    ) -> Float[Tensor, "model state feature feature"]:
        features = scatter.shape[-1]
        prior = self.covars_prior * torch.eye(features, dtype=scatter.dtype, device=scatter.device)
        shape = max(self.covars_weight - features, 0)
        if self.tied:
            nobs = (count.sum(1) + shape).clamp(min=1.0)[:, None, None]
            return ((prior + scatter.sum(1)) / nobs)[:, None].expand_as(scatter)
        covars = (prior + scatter) / (shape + count).clamp(min=1.0)[..., None, None]
        return covars.where(count[..., None, None] >= MIN_COUNT, parameters.covars)

    def log_prior(self, parameters: GaussianParameters) -> Float[Tensor, " model"]:
        """Normal prior of the means, inverse Wishart prior of the covariances."""
        covars = parameters.covars
        features = covars.shape[-1]
        distance = self.means_weight * _outer(parameters.means - self.means_prior)
        prior = self.covars_prior * torch.eye(features, dtype=covars.dtype).to(covars)
        inverse = torch.linalg.inv(covars)
        log_det = torch.linalg.slogdet(covars).logabsdet
        means = (inverse * distance).sum((1, 2, 3))
        shape = max(self.covars_weight - features, 0)
        matrices = slice(0, 1) if self.tied else slice(None)  # a tied covariance counts once
        scale = (inverse[:, matrices] * prior).sum((1, 2, 3))
        return -0.5 * (means + scale + shape * log_det[:, matrices].sum(1))

    def n_parameters(self, parameters: GaussianParameters) -> int:
        """Means, and the lower triangles of the covariances."""
        _, states, features = parameters.means.shape
        matrices = 1 if self.tied else states
        return states * features + matrices * features * (features + 1) // 2


def _outer(values: Float[Tensor, "*shape feature"]) -> Float[Tensor, "*shape feature feature"]:
    return values[..., :, None] * values[..., None, :]


def _patterns(values: Points) -> list[tuple[Bool[Tensor, " feature"], Bool[Tensor, "row time"]]]:
    """Patterns of observed features, and the points that have each pattern."""
    observed = ~values.isnan()
    if bool(observed.all()):  # device synchronization
        return [(observed[0, 0], observed[:, :, 0])]
    patterns = observed.flatten(0, 1).unique(dim=0)
    return [(pattern, (observed == pattern).all(-1)) for pattern in patterns]


def _pattern_density(
    parameters: GaussianParameters, values: Points, pattern: Bool[Tensor, " feature"]
) -> PointStates:
    """Log density of the features of a pattern."""
    chosen = pattern.nonzero()[:, 0]
    factor = torch.linalg.cholesky(parameters.covars[:, :, chosen][..., chosen])
    size = len(chosen)
    eye = torch.eye(size, dtype=factor.dtype, device=factor.device).expand_as(factor)
    whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
    rows, states = whiten.shape[:2]
    # One product for all states: (time, feature) by (feature, state * feature).
    score = values[..., chosen] @ whiten.permute(0, 3, 1, 2).reshape(rows, size, -1)
    center = (whiten @ parameters.means[..., chosen, None])[..., 0]
    score = score.view(rows, -1, states, size) - center[:, None]
    log_norm = whiten.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * size * math.log(2 * math.pi)
    return log_norm[:, None] - 0.5 * score.square().sum(-1)


def _impute_moments(
    parameters: GaussianParameters,
    moments: Float[Tensor, "row state extended extended"],
    pattern: Bool[Tensor, " feature"],
) -> Float[Tensor, "row state extended extended"]:
    """Second moments with the missing features imputed by regression on the observed ones.

    The residual covariance of the regression is added to the moments of the missing features.
    """
    if bool(pattern.all()):
        return moments
    observed, missing = pattern.nonzero()[:, 0], (~pattern).nonzero()[:, 0]
    means, covars = parameters.means, parameters.covars
    cross = covars[:, :, missing][..., observed]
    slope = torch.linalg.solve(covars[:, :, observed][..., observed], cross.mT).mT
    intercept = means[..., missing] - (slope @ means[..., observed, None])[..., 0]
    regression = torch.zeros_like(moments)
    regression[..., 0, 0] = 1.0
    regression[..., 1 + observed, 1 + observed] = 1.0
    regression[..., 1 + missing, 0] = intercept
    regression[..., (1 + missing)[:, None], 1 + observed] = slope
    imputed = regression @ moments @ regression.mT
    residual = covars[:, :, missing][..., missing] - slope @ cross.mT
    imputed[..., (1 + missing)[:, None], 1 + missing] += moments[..., 0, 0, None, None] * residual
    return imputed
