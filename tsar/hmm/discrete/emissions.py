"""How points are distributed in each state: densities, and what maximization needs of them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.parameters import Parameters

EMPTY = 1e-8  # expected points below which a state keeps the distribution that it had


class Emission(ABC):
    """Distribution of a point in each state, and its maximum-likelihood step."""

    @abstractmethod
    def log_density(
        self, parameters: Parameters, values: Float[Tensor, "row time feature"]
    ) -> Float[Tensor, "row time state"]:
        """Of each point in each state, a model a row; missing features are integrated out."""

    @abstractmethod
    def statistics(
        self,
        parameters: Parameters,
        values: Float[Tensor, "row time feature"],
        posterior: Float[Tensor, "row time state"],
    ) -> Float[Tensor, "row state statistic"]:
        """Expected sufficient statistics; sums over rows are statistics of all their points."""

    @abstractmethod
    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: Parameters
    ) -> tuple[Float[Tensor, "model state value"], Float[Tensor, "model state *shape"]]:
        """Center and spread that maximize the penalized likelihood."""

    @abstractmethod
    def log_prior(self, parameters: Parameters) -> Float[Tensor, " model"]:
        """What is added to the log likelihood, up to a constant."""

    @abstractmethod
    def order(self, parameters: Parameters) -> Int[Tensor, "model state"]:
        """States by their level, lowest first, so that a fit names them the same again."""

    @abstractmethod
    def free(self, parameters: Parameters) -> int:
        """Free parameters of the distributions of all states of a model."""


@dataclass(frozen=True)
class DiagonalGaussian(Emission):
    """Features that are independent in a state; the M-step is that of hmmlearn's GaussianHMM.

    Attributes
    ----------
    means_prior, means_weight
        Mean of a normal prior of the means, and how many points it counts as.
    covars_prior, covars_weight
        Scale and shape of an inverse Wishart prior of the variances.
    floor
        Least variance.
    """

    means_prior: float
    means_weight: float
    covars_prior: float
    covars_weight: float
    floor: float

    def log_density(
        self, parameters: Parameters, values: Float[Tensor, "row time feature"]
    ) -> Float[Tensor, "row time state"]:
        """Sum over features of normal log densities."""
        inverse = parameters.spread.rsqrt()
        level = (inverse.log() - 0.5 * math.log(2 * math.pi))[:, None]
        total = values.new_zeros(*values.shape[:2], parameters.center.shape[1])
        for feature, column in enumerate(values.unbind(-1)):  # features are few, points many
            score = column[:, :, None] - parameters.center[:, None, :, feature]
            score *= inverse[:, None, :, feature]
            score = torch.addcmul(level[..., feature], score, score, value=-0.5)
            total += score.masked_fill_(column.isnan()[:, :, None], 0.0)
        return total

    def statistics(
        self,
        parameters: Parameters,
        values: Float[Tensor, "row time feature"],
        posterior: Float[Tensor, "row time state"],
    ) -> Float[Tensor, "row state statistic"]:
        """Counts, sums and sums of squares of the observed features: one product of matrices."""
        seen = (~values.isnan()).to(values)
        present = values.nan_to_num(0.0)
        return posterior.transpose(1, 2) @ torch.cat([seen, present, present.square()], -1)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: Parameters
    ) -> tuple[Float[Tensor, "model state value"], Float[Tensor, "model state *shape"]]:
        """Means, and variances no lower than the floor."""
        count, total, square = statistics.chunk(3, -1)
        weight, prior = self.means_weight, self.means_prior
        mean = (weight * prior + total) / (weight + count).clamp(min=EMPTY)
        scatter = square - 2 * mean * total + mean.square() * count
        scatter = self.covars_prior + weight * (mean - prior).square() + scatter.clamp(min=0)
        # A state of less than one point would have the prior's variance a multiple of times.
        variance = scatter / (max(self.covars_weight - 1, 0) + count).clamp(min=1.0)
        empty = count < EMPTY
        return (
            mean.where(~empty, parameters.center),
            variance.where(~empty, parameters.spread).clamp(min=self.floor),
        )

    def log_prior(self, parameters: Parameters) -> Float[Tensor, " model"]:
        """Normal prior of the means, inverse gamma one of the variances."""
        variance, shape = parameters.spread, max(self.covars_weight - 1, 0)
        distance = self.means_weight * (parameters.center - self.means_prior).square()
        terms = (distance + self.covars_prior) / variance + shape * variance.log()
        return -0.5 * terms.sum((1, 2))

    def order(self, parameters: Parameters) -> Int[Tensor, "model state"]:
        """By the mean of the first feature."""
        return parameters.center[..., 0].argsort(dim=1)

    def free(self, parameters: Parameters) -> int:
        """Means and variances."""
        return 2 * parameters.center[0].numel()


@dataclass(frozen=True)
class FullGaussian(Emission):
    """Features that vary together in a state, with one covariance for each state or for all.

    Missing features are integrated out: Little & Rubin 2002, "Statistical Analysis with Missing
    Data", section 11.2. The M-step is that of hmmlearn's GaussianHMM.

    Attributes
    ----------
    tied
        One covariance for all states.
    means_prior, means_weight, covars_prior, covars_weight, floor
        See `DiagonalGaussian`; the floor is of the eigenvalues.
    """

    tied: bool
    means_prior: float
    means_weight: float
    covars_prior: float
    covars_weight: float
    floor: float

    def log_density(
        self, parameters: Parameters, values: Float[Tensor, "row time feature"]
    ) -> Float[Tensor, "row time state"]:
        """Multivariate normal log density of the observed features."""
        present = values.nan_to_num(0.0)
        result = values.new_zeros(*values.shape[:2], parameters.center.shape[1])
        for pattern, points in _patterns(values):
            if bool(pattern.any()):
                found = _density(parameters, present, pattern)
                result = torch.where(points[:, :, None], found, result)
        return result

    def statistics(
        self,
        parameters: Parameters,
        values: Float[Tensor, "row time feature"],
        posterior: Float[Tensor, "row time state"],
    ) -> Float[Tensor, "row state statistic"]:
        """Expected second moments of one and the features, the missing ones filled in."""
        rows, time, features = values.shape
        one = values.new_ones(rows, time, 1)
        extended = torch.cat([one, values.nan_to_num(0.0)], -1)
        square = (extended[..., :, None] * extended[..., None, :]).flatten(2)
        shape = (rows, posterior.shape[2], features + 1, features + 1)
        total = values.new_zeros(shape)
        for pattern, points in _patterns(values):
            if bool(pattern.any()):
                weight = (posterior * points[:, :, None]).transpose(1, 2)
                moments = (weight @ square).view(shape)
                total += _completed(parameters, moments, pattern)
        return total.flatten(2)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: Parameters
    ) -> tuple[Float[Tensor, "model state value"], Float[Tensor, "model state *shape"]]:
        """Means, and covariances whose eigenvalues are no lower than the floor."""
        features = parameters.center.shape[2]
        moments = statistics.unflatten(-1, (features + 1, features + 1))
        count, total, square = moments[..., 0, 0], moments[..., 0, 1:], moments[..., 1:, 1:]
        weight, prior = self.means_weight, self.means_prior
        mean = (weight * prior + total) / (weight + count).clamp(min=EMPTY)[..., None]
        mean = mean.where(count[..., None] >= EMPTY, parameters.center)
        cross = mean[..., :, None] * total[..., None, :]
        scatter = square - cross - cross.mT + count[..., None, None] * _outer(mean)
        scatter = scatter + weight * _outer(mean - prior)
        covariance = self._covariance(scatter, count, parameters)
        values, vectors = torch.linalg.eigh(covariance)
        return mean, vectors * values.clamp(min=self.floor)[..., None, :] @ vectors.mT

    def _covariance(
        self,
        scatter: Float[Tensor, "model state feature feature"],
        count: Float[Tensor, "model state"],
        parameters: Parameters,
    ) -> Float[Tensor, "model state feature feature"]:
        features = scatter.shape[-1]
        prior = self.covars_prior * torch.eye(features, dtype=scatter.dtype, device=scatter.device)
        if self.tied:
            points = count.sum(1) + max(self.covars_weight - features, 0)
            pooled = (prior + scatter.sum(1)) / points.clamp(min=1.0)[:, None, None]
            return pooled[:, None].expand_as(scatter)
        shape = max(self.covars_weight - features, 0)
        found = (prior + scatter) / (shape + count).clamp(min=1.0)[..., None, None]
        return found.where(count[..., None, None] >= EMPTY, parameters.spread)

    def log_prior(self, parameters: Parameters) -> Float[Tensor, " model"]:
        """Normal prior of the means, inverse Wishart one of the covariances."""
        covariance = parameters.spread
        features = covariance.shape[-1]
        distance = self.means_weight * _outer(parameters.center - self.means_prior)
        prior = self.covars_prior * torch.eye(features, dtype=covariance.dtype).to(covariance)
        inverse = torch.linalg.inv(covariance)
        log_determinant = torch.linalg.slogdet(covariance).logabsdet
        means = (inverse * distance).sum((1, 2, 3))
        shape = max(self.covars_weight - features, 0)
        if self.tied:
            spread = (inverse[:, 0] * prior).sum((1, 2))
            return -0.5 * (means + spread + shape * log_determinant[:, 0])
        spread = (inverse * prior).sum((1, 2, 3)) + shape * log_determinant.sum(1)
        return -0.5 * (means + spread)

    def order(self, parameters: Parameters) -> Int[Tensor, "model state"]:
        """By the mean of the first feature."""
        return parameters.center[..., 0].argsort(dim=1)

    def free(self, parameters: Parameters) -> int:
        """Means and triangles of covariances."""
        _, states, features = parameters.center.shape
        matrices = 1 if self.tied else states
        return states * features + matrices * features * (features + 1) // 2


@dataclass(frozen=True)
class Categorical(Emission):
    """Symbols, integers from 0.

    Attributes
    ----------
    prior
        Parameter of the Dirichlet prior of the probabilities; 1 for none.
    """

    prior: float

    def log_density(
        self, parameters: Parameters, values: Float[Tensor, "row time feature"]
    ) -> Float[Tensor, "row time state"]:
        """Logarithm of the symbol's probability; one that was never seen has none."""
        log = parameters.center.log().transpose(1, 2)
        symbol = values[:, :, 0]
        known = symbol.nan_to_num(0.0).long()
        row = torch.arange(len(values), device=values.device)[:, None]
        found = log[row, known.clamp(max=log.shape[1] - 1)]
        found = found.where((known < log.shape[1])[:, :, None], -torch.inf)
        return found.masked_fill(symbol.isnan()[:, :, None], 0.0)

    def statistics(
        self,
        parameters: Parameters,
        values: Float[Tensor, "row time feature"],
        posterior: Float[Tensor, "row time state"],
    ) -> Float[Tensor, "row state statistic"]:
        """Expected number of times that each state shows each symbol."""
        rows, _, states = posterior.shape
        symbols = parameters.center.shape[2]
        symbol = values[:, :, 0]
        weight = posterior.masked_fill(symbol.isnan()[:, :, None], 0.0)
        total = values.new_zeros(rows, symbols, states)
        index = symbol.nan_to_num(0.0).long()[:, :, None].expand_as(weight)
        return total.scatter_add_(1, index, weight).transpose(1, 2)

    def maximize(
        self, statistics: Float[Tensor, "model state statistic"], parameters: Parameters
    ) -> tuple[Float[Tensor, "model state value"], Float[Tensor, "model state *shape"]]:
        """Shares."""
        return normalized(statistics, self.prior, parameters.center), parameters.spread

    def log_prior(self, parameters: Parameters) -> Float[Tensor, " model"]:
        """Dirichlet prior."""
        return log_dirichlet(parameters.center, self.prior).sum(1)

    def order(self, parameters: Parameters) -> Int[Tensor, "model state"]:
        """By the mean symbol."""
        symbol = torch.arange(parameters.center.shape[2]).to(parameters.center)
        return (parameters.center @ symbol).argsort(dim=1)

    def free(self, parameters: Parameters) -> int:
        """Probabilities less one a state."""
        _, states, symbols = parameters.center.shape
        return states * (symbols - 1)


def normalized(
    count: Float[Tensor, "*shape state"],
    prior: float,
    before: Float[Tensor, "*shape state"],
) -> Float[Tensor, "*shape state"]:
    """Mode of the posterior of probabilities; as before where nothing was counted.

    What was zero stays so; what was not stays possible, so that nothing underflows.
    """
    raised = (count + (prior - 1.0)).clamp(min=0.0)
    total = raised.sum(-1, keepdim=True)
    found = torch.where(total > EMPTY, raised / total.clamp(min=EMPTY), before)
    least = 1e-100 if before.dtype == torch.float64 else 1e-12
    return found.clamp(min=least).where(before > 0, 0.0)


def log_dirichlet(
    probability: Float[Tensor, "model ... state"], prior: float
) -> Float[Tensor, "model ..."]:
    """Logarithm of a Dirichlet density up to a constant; what is impossible does not count."""
    if prior == 1.0:
        return torch.zeros_like(probability[..., 0])
    log = probability.log().where(probability > 0, 0.0)
    return (prior - 1.0) * log.sum(-1)


def _outer(values: Float[Tensor, "*shape feature"]) -> Float[Tensor, "*shape feature feature"]:
    return values[..., :, None] * values[..., None, :]


def _patterns(values: Float[Tensor, "row time feature"]) -> list[tuple[Tensor, Tensor]]:
    """Which features are observed together, and the points where they are."""
    seen = ~values.isnan()
    if bool(seen.all()):  # the host waits here
        return [(seen[0, 0], seen[:, :, 0])]
    kinds = seen.flatten(0, 1).unique(dim=0)
    return [(kind, (seen == kind).all(-1)) for kind in kinds]


def _density(
    parameters: Parameters,
    values: Float[Tensor, "row time feature"],
    pattern: Tensor,
) -> Float[Tensor, "row time state"]:
    """Log density of the features of a pattern."""
    chosen = pattern.nonzero()[:, 0]
    covariance = parameters.spread[:, :, chosen][..., chosen]
    factor = torch.linalg.cholesky(covariance)
    size = len(chosen)
    eye = torch.eye(size, dtype=factor.dtype, device=factor.device).expand_as(factor)
    whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
    rows, states = whiten.shape[:2]
    # One product for all states: (time, feature) by (feature, state * feature).
    score = values[..., chosen] @ whiten.permute(0, 3, 1, 2).reshape(rows, size, -1)
    center = (whiten @ parameters.center[..., chosen, None])[..., 0]
    score = score.view(rows, -1, states, size) - center[:, None]
    level = whiten.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * size * math.log(2 * math.pi)
    return level[:, None] - 0.5 * score.square().sum(-1)


def _completed(
    parameters: Parameters,
    moments: Float[Tensor, "row state extended extended"],
    pattern: Tensor,
) -> Float[Tensor, "row state extended extended"]:
    """Moments with the missing features as they are expected to be, given the observed ones."""
    if bool(pattern.all()):
        return moments
    seen, lost = pattern.nonzero()[:, 0], (~pattern).nonzero()[:, 0]
    mean, covariance = parameters.center, parameters.spread
    across = covariance[:, :, lost][..., seen]
    slope = torch.linalg.solve(covariance[:, :, seen][..., seen], across.mT).mT
    level = mean[..., lost] - (slope @ mean[..., seen, None])[..., 0]
    lift = torch.zeros_like(moments)
    lift[..., 0, 0] = 1.0
    lift[..., 1 + seen, 1 + seen] = 1.0
    lift[..., 1 + lost, 0] = level
    lift[..., (1 + lost)[:, None], 1 + seen] = slope
    filled = lift @ moments @ lift.mT
    rest = covariance[:, :, lost][..., lost] - slope @ across.mT
    index = (1 + lost)[:, None]
    filled[..., index, 1 + lost] += moments[..., 0, 0, None, None] * rest
    return filled
