"""The linear-Gaussian model of a representation: latent states, frozen features, and best heads.

Reconstruction of Luo, Wang & Huang 2024 (arXiv 2410.00699): rows of states
``z[t+1] = z[t] A + e``, features ``x = z W + u``, and the head forecasts ``z[t+1]`` from ``x[t]``.
The features have the form of the latent-space model of Hastie et al. 2022, section 5.4.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.complexity.theory import Spectrum

DOUBLINGS = 64  # of the steps that a stationary covariance looks back


@dataclass(frozen=True)
class LatentModel:
    """States that move linearly, and features that show them.

    Attributes
    ----------
    transition
        A, of a spectral radius below 1; states are rows.
    readout
        W, the frozen weights.
    state_noise, feature_noise
        Variances of e and of u, in every direction.

    Examples
    --------
    >>> half = torch.full((1, 1), 0.5, dtype=torch.float64)
    >>> model = LatentModel(half, 2 * half, state_noise=0.75, feature_noise=1.0)
    >>> model.state_covariance.item(), model.head.item(), model.noise.item()
    (1.0, 0.25, 0.875)
    """

    transition: Float[Tensor, "state state"]
    readout: Float[Tensor, "state feature"]
    state_noise: float
    feature_noise: float

    def with_features(self, size: int) -> "LatentModel":
        """The same states, seen by the first features only."""
        shown = self.readout[:, :size]
        return LatentModel(self.transition, shown, self.state_noise, self.feature_noise)

    @cached_property
    def state_covariance(self) -> Float[Tensor, "state state"]:
        """Stationary covariance of the states."""
        noise = self.state_noise * torch.eye(len(self.transition)).to(self.transition)
        return stationary_covariance(self.transition, noise)

    @property
    def feature_covariance(self) -> Float[Tensor, "feature feature"]:
        """Covariance of the features."""
        seen = self.readout.T @ self.state_covariance @ self.readout
        return seen + self.feature_noise * torch.eye(len(seen)).to(seen)

    @cached_property
    def head(self) -> Float[Tensor, "feature state"]:
        """The best linear head: ``W' (S W W' + u I)^-1 S A``."""
        return self.readout.T @ self._inverse @ self.state_covariance @ self.transition

    @cached_property
    def _inverse(self) -> Float[Tensor, "state state"]:
        """``(S W W' + u I)^-1``, among the states: of features there may be thousands.

        Without noise and with fewer features than states, what ``W'`` times it comes to.
        """
        states, features = self.readout.shape
        if self.feature_noise == 0 and features < states:
            seen = torch.linalg.pinv(self.feature_covariance, hermitian=True)
            return torch.linalg.pinv(self.readout.T) @ seen @ self.readout.T
        mixed = self.state_covariance @ self.readout @ self.readout.T
        return torch.linalg.inv(mixed + self.feature_noise * torch.eye(states).to(mixed))

    @cached_property
    def noise(self) -> Float[Tensor, ""]:
        """Summed variance of the next state that the best head leaves."""
        return self.null - self.norm(self.head)

    @cached_property
    def null(self) -> Float[Tensor, ""]:
        """Summed variance of the states: the risk of forecasting zero."""
        return self.state_covariance.trace()

    @property
    def floor(self) -> float:
        """Summed variance of the next state if the present one is known: no head is better."""
        return self.state_noise * len(self.transition)

    def norm(self, head: Float[Tensor, "feature output"]) -> Float[Tensor, ""]:
        """Summed variance of what a head says."""
        seen = self.readout @ head
        return (seen * (self.state_covariance @ seen)).sum() + (
            self.feature_noise * head.square().sum()
        )

    def excess(self, head: Float[Tensor, "feature state"]) -> Float[Tensor, ""]:
        """Exact excess risk of a head, beside the best one on the same features."""
        return self.norm(head - self.head)

    def dependence(self, rows: int) -> float:
        """How many times the variance of a least-squares head one trajectory makes it.

        What the best head leaves of one row tells of the next where the features show only a part
        of the states, so that the rows of one trajectory are worth fewer that are drawn apart. The
        ratio is that of the variances for many rows ("sandwich"), of Gaussian states exactly::

            1 + 2 sum_k (1 - k / rows) sum_j E[x[t]' e_j[t] e_j[t + k] x[t + k]] : inv(E[x' x])
                / (features * E[e e'])

        Source: White & Domowitz 1984, "Nonlinear regression with dependent observations",
        Econometrica 52; the moments are those of Isserlis.

        Parameters
        ----------
        rows
            Of the trajectory.

        Examples
        --------
        >>> slow = torch.full((1, 1), 0.9, dtype=torch.float64)
        >>> model = LatentModel(slow, slow, state_noise=0.19, feature_noise=9.0)
        >>> round(model.dependence(200), 2)
        2.26
        """
        now, shown = self.state_covariance, self.readout @ self.head
        known = self.readout @ self.readout.T @ self._inverse
        missed = self.transition - shown
        total, before = now.new_zeros(()), now
        for lag in range(1, rows):
            after = before @ self.transition  # of the states and those `lag` later
            left = before - shown.T @ after
            apart = (known @ after).trace() * (left @ missed).trace()
            crossed = (known @ after @ missed @ left).trace()
            total = total + (1 - lag / rows) * (apart + crossed)
            before = after
            if float(after.abs().max()) < torch.finfo(now.dtype).tiny:
                break
        return 1 + 2 * float(total / (self.readout.shape[1] * self.noise))

    @cached_property
    def spectrum(self) -> Spectrum:
        """What the theory needs; from a matrix of as many rows as there are states."""
        root = _square_root(self.state_covariance) @ self.readout
        _, values, directions = torch.linalg.svd(root, full_matrices=False)
        size = self.readout.shape[1]
        eigenvalues = torch.full((size,), self.feature_noise).to(values)
        eigenvalues[: len(values)] += values.square()
        signal = torch.zeros_like(eigenvalues)
        signal[: len(values)] = (directions @ self.head).square().sum(dim=1)
        return Spectrum(eigenvalues, signal, self.noise)


def stationary_covariance(
    transition: Float[Tensor, "state state"], noise: Float[Tensor, "state state"]
) -> Float[Tensor, "state state"]:
    """Solution of ``S = A' S A + noise``, by doubling the steps that it looks back.

    Examples
    --------
    >>> stationary_covariance(torch.tensor([[0.5]]), torch.tensor([[3.0]]))
    tensor([[4.]])
    """
    radius = torch.linalg.eigvals(transition).abs().max()
    if not float(radius) < 1:
        raise ValueError(
            "transition must have a spectral radius below 1; got "
            f"{float(radius):.4g}. Shrink it: there is no stationary state."
        )
    covariance, power = noise, transition
    for _ in range(DOUBLINGS):
        covariance = covariance + power.T @ covariance @ power
        power = power @ power
        if not bool(power.any()):
            break
    return covariance


def _square_root(covariance: Float[Tensor, "state state"]) -> Float[Tensor, "state state"]:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
