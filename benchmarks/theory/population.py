"""The linear-Gaussian latent-state model: population moments, best linear head and spectrum.

A reconstruction of Luo, Wang & Huang 2024 (arXiv 2410.00699): states are rows
``z[t+1] = z[t] A + e``, features ``x = z W + u``, and the head forecasts ``z[t+1]`` from ``x[t]``.
The features have the form of the latent-space model of Hastie et al. 2022, section 5.4.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.complexity.theory import Spectrum

MAX_DOUBLINGS = 64  # of the number of steps summed in a stationary covariance


@dataclass(frozen=True)
class LatentModel:
    """Autoregressive latent states, and noisy linear features of them.

    Attributes
    ----------
    transition
        A, with a spectral radius below 1; states are rows.
    readout
        W, the frozen weights.
    state_noise, feature_noise
        Variances of e and of u, equal in all directions.

    Examples
    --------
    >>> half = torch.full((1, 1), 0.5, dtype=torch.float64)
    >>> model = LatentModel(half, 2 * half, state_noise=0.75, feature_noise=1.0)
    >>> model.state_covariance.item(), model.head.item(), model.residual_variance.item()
    (1.0, 0.25, 0.875)
    """

    transition: Float[Tensor, "state state"]
    readout: Float[Tensor, "state feature"]
    state_noise: float
    feature_noise: float

    def with_features(self, size: int) -> "LatentModel":
        """The same states with the first features only."""
        readout = self.readout[:, :size]
        return LatentModel(self.transition, readout, self.state_noise, self.feature_noise)

    @cached_property
    def state_covariance(self) -> Float[Tensor, "state state"]:
        """Stationary covariance of the states."""
        noise = self.state_noise * torch.eye(len(self.transition)).to(self.transition)
        return stationary_covariance(self.transition, noise)

    @property
    def feature_covariance(self) -> Float[Tensor, "feature feature"]:
        """Covariance of the features."""
        signal = self.readout.T @ self.state_covariance @ self.readout
        return signal + self.feature_noise * torch.eye(len(signal)).to(signal)

    @cached_property
    def head(self) -> Float[Tensor, "feature state"]:
        """The best linear head: ``W' (S W W' + u I)^-1 S A``."""
        return self.readout.T @ self._inverse @ self.state_covariance @ self.transition

    @cached_property
    def _inverse(self) -> Float[Tensor, "state state"]:
        """``(S W W' + u I)^-1``, of the size of the states: there may be thousands of features.

        Without noise and with fewer features than states, any matrix whose product with ``W'`` is
        right.
        """
        states, features = self.readout.shape
        if self.feature_noise == 0 and features < states:
            inverse = torch.linalg.pinv(self.feature_covariance, hermitian=True)
            return torch.linalg.pinv(self.readout.T) @ inverse @ self.readout.T
        mixed = self.state_covariance @ self.readout @ self.readout.T
        return torch.linalg.inv(mixed + self.feature_noise * torch.eye(states).to(mixed))

    @cached_property
    def residual_variance(self) -> Float[Tensor, ""]:
        """Total residual variance of the best linear head: the irreducible error."""
        return self.null_risk - self.variance_of(self.head)

    @cached_property
    def null_risk(self) -> Float[Tensor, ""]:
        """Total variance of the states: the risk of forecasting zero."""
        return self.state_covariance.trace()

    @property
    def bayes_risk(self) -> float:
        """Total variance of the next state given the present one: a lower bound of any risk."""
        return self.state_noise * len(self.transition)

    def variance_of(self, head: Float[Tensor, "feature output"]) -> Float[Tensor, ""]:
        """Total variance of the predictions of a head."""
        coefficients = self.readout @ head
        return (coefficients * (self.state_covariance @ coefficients)).sum() + (
            self.feature_noise * head.square().sum()
        )

    def excess(self, head: Float[Tensor, "feature state"]) -> Float[Tensor, ""]:
        """Exact excess risk of a head over the best linear head on the same features."""
        return self.variance_of(head - self.head)

    def variance_inflation(self, n_rows: int) -> float:
        """Factor by which rows of one trajectory raise the variance of least squares.

        The residuals of the best head are autocorrelated if the features reflect only a part of the
        states. The factor is the ratio of the asymptotic ("sandwich") variances of serial and of
        i.i.d. rows, exact for Gaussian states::

            1 + 2 sum_k (1 - k / n_rows) sum_j E[x[t]' e_j[t] e_j[t + k] x[t + k]] : inv(E[x' x])
                / (features * E[e e'])

        Source: White & Domowitz 1984, "Nonlinear regression with dependent observations",
        Econometrica 52; fourth moments by Isserlis' theorem.

        Parameters
        ----------
        n_rows
            Length of the trajectory.

        Examples
        --------
        >>> slow = torch.full((1, 1), 0.9, dtype=torch.float64)
        >>> model = LatentModel(slow, slow, state_noise=0.19, feature_noise=9.0)
        >>> round(model.variance_inflation(200), 2)
        2.26
        """
        covariance, prediction = self.state_covariance, self.readout @ self.head
        projection = self.readout @ self.readout.T @ self._inverse
        unpredicted = self.transition - prediction
        total, autocovariance = covariance.new_zeros(()), covariance
        for lag in range(1, n_rows):
            following = autocovariance @ self.transition  # of states `lag` steps apart
            cross = autocovariance - prediction.T @ following
            separate = (projection @ following).trace() * (cross @ unpredicted).trace()
            crossed = (projection @ following @ unpredicted @ cross).trace()
            total = total + (1 - lag / n_rows) * (separate + crossed)
            autocovariance = following
            if float(following.abs().max()) < torch.finfo(covariance.dtype).tiny:
                break
        return 1 + 2 * float(total / (self.readout.shape[1] * self.residual_variance))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Spectrum of the features, from a matrix of as many rows as there are states."""
        root = _square_root(self.state_covariance) @ self.readout
        _, values, directions = torch.linalg.svd(root, full_matrices=False)
        size = self.readout.shape[1]
        eigenvalues = torch.full((size,), self.feature_noise).to(values)
        eigenvalues[: len(values)] += values.square()
        signal = torch.zeros_like(eigenvalues)
        signal[: len(values)] = (directions @ self.head).square().sum(dim=1)
        return Spectrum(eigenvalues, signal, self.residual_variance)


def stationary_covariance(
    transition: Float[Tensor, "state state"], noise: Float[Tensor, "state state"]
) -> Float[Tensor, "state state"]:
    """Solution of ``S = A' S A + noise``, by doubling the number of summed steps.

    Examples
    --------
    >>> stationary_covariance(torch.tensor([[0.5]]), torch.tensor([[3.0]]))
    tensor([[4.]])
    """
    radius = float(torch.linalg.eigvals(transition).abs().max())
    if not radius < 1:
        raise ValueError(
            f"transition must have a spectral radius below 1; got {radius:.4g}. Scale it down: "
            "there is no stationary distribution."
        )
    covariance, power = noise, transition
    for _ in range(MAX_DOUBLINGS):
        covariance = covariance + power.T @ covariance @ power
        power = power @ power
        if not bool(power.any()):
            break
    return covariance


def _square_root(covariance: Float[Tensor, "state state"]) -> Float[Tensor, "state state"]:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
