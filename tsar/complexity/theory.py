"""Expected bias and variance of ridgeless and ridge regression, from second moments alone.

A reconstruction of Luo, Wang & Huang 2024 (arXiv 2410.00699), of whose text only the abstract was
available; it agrees with that and with simulation. With fewer features than rows the variance is
exact for Gaussian features. With more it is the proportional limit of Hastie, Montanari, Rosset &
Tibshirani 2022 ("Surprises in High-Dimensional Ridgeless Least Squares Interpolation", arXiv
1903.08560), applied to each column of the response.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

BISECTION_STEPS = 200  # in the exponent: the last interval is far below the spacing of float64


class Risk(NamedTuple):
    """Excess risk by its two parts; infinite where the expectation does not exist."""

    bias: Float[Tensor, "*batch"]
    variance: Float[Tensor, "*batch"]

    @property
    def excess(self) -> Float[Tensor, "*batch"]:
        """Risk above that of the best linear head on the same features."""
        return self.bias + self.variance


@dataclass(frozen=True)
class Spectrum:
    """Second moments that determine the risk of a linear head.

    Eigenvalues of the covariance of the features; squared coefficients of the best linear head
    along each eigenvector, summed over outputs; and the trace of the head's residual covariance.
    """

    eigenvalues: Float[Tensor, " feature"]
    signal: Float[Tensor, " feature"]
    noise: Float[Tensor, ""]

    def nonzero(self) -> "Spectrum":
        """The spectrum without the directions in which the features do not vary."""
        varies = self.eigenvalues > 0
        return Spectrum(self.eigenvalues[varies], self.signal[varies], self.noise)

    def risk(self, n_rows: int, effective_penalty: Float[Tensor, "*batch 1"]) -> Risk:
        """Excess risk at effective penalties k, which shrink eigenvalue s by ``s / (s + k)``."""
        shrinkage = self.eigenvalues / (self.eigenvalues + effective_penalty)
        inflation = shrinkage.square().sum(dim=-1) / n_rows
        bias = ((1 - shrinkage).square() * self.eigenvalues * self.signal).sum(dim=-1)
        return Risk(bias / (1 - inflation), self.noise * inflation / (1 - inflation))


def ridgeless_risk(spectrum: Spectrum, n_rows: int) -> Risk:
    """Expected excess risk of minimum-norm least squares.

    With p features that vary and n rows: for p < n no bias, and a variance of
    ``noise * p / (n - p - 1)``, exact for Gaussian features. For p > n the proportional limit, its
    variance times ``(p - n) / (p - n - 1)``: this makes it exact for Gaussian features of unit
    covariance, and matters only near the interpolation threshold. At p = n - 1, n and n + 1 the
    variance is infinite.

    Source: a reconstruction of Luo et al. 2024; Hastie et al. 2022, the theorem for correlated
    features, whose ``1 / (c0 gamma)`` is the effective penalty here.

    Examples
    --------
    >>> ones = torch.ones(300, dtype=torch.float64)
    >>> spectrum = Spectrum(ones, ones / 300, ones[0])
    >>> [round(float(part), 3) for part in ridgeless_risk(spectrum, 200)]
    [0.333, 2.02]
    """
    spectrum = spectrum.nonzero()
    size = len(spectrum.eigenvalues)
    zero = spectrum.noise.new_zeros(())
    if size <= n_rows:
        df_resid = max(n_rows - size - 1, 0)
        return Risk(zero, spectrum.noise * size / df_resid if df_resid else zero + torch.inf)
    limit = spectrum.risk(n_rows, ridgeless_effective_penalty(spectrum.eigenvalues, n_rows)[None])
    if size == n_rows + 1:
        return Risk(limit.bias, zero + torch.inf)
    return Risk(limit.bias, limit.variance * (size - n_rows) / (size - n_rows - 1))


def ridge_risk(spectrum: Spectrum, n_rows: int, penalties: Float[Tensor, " penalty"]) -> Risk:
    """Expected excess risk of ridge regression, ``min |y - x b|^2 + penalty |b|^2``.

    A penalty of 0 is ridgeless regression, see `ridgeless_risk`.

    Source: Hastie et al. 2022, section 5 (deterministic equivalents).

    Examples
    --------
    >>> ones = torch.ones(200, dtype=torch.float64)
    >>> spectrum = Spectrum(ones, ones / 200, ones[0])
    >>> ridge_risk(spectrum, 200, torch.tensor([0.0, 200.0])).excess
    tensor([   inf, 0.6180], dtype=torch.float64)
    """
    nonzero = spectrum.nonzero()
    effective = _effective_penalties(nonzero.eigenvalues, n_rows, penalties)
    ridge = nonzero.risk(n_rows, effective[:, None])
    pairs = zip(ridge, ridgeless_risk(spectrum, n_rows), strict=True)
    return Risk(*(torch.where(penalties > 0, part, limit) for part, limit in pairs))


def ridgeless_effective_penalty(
    eigenvalues: Float[Tensor, " feature"], n_rows: int
) -> Float[Tensor, ""]:
    """Implicit regularization of minimum-norm least squares with more features than rows."""
    return _effective_penalties(eigenvalues, n_rows, eigenvalues.new_zeros(1))[0]


def _effective_penalties(
    eigenvalues: Float[Tensor, " feature"], n_rows: int, penalties: Float[Tensor, " penalty"]
) -> Float[Tensor, " penalty"]:
    """Root k of ``n_rows = sum(s / (s + k)) + penalty / k``, by bisection.

    The right side decreases in k from the number of features, or from infinity, to zero: there is
    one root where a penalty is positive or there are more features than rows.
    """
    penalties = penalties.to(eigenvalues)
    total = eigenvalues.sum() + penalties  # the right side is at most total / k
    high = (total / n_rows).clamp(min=1e-300).log()
    low = high - 700  # exp(-700) times that: float64 ends there
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        effective = middle.exp()[:, None]
        df = (eigenvalues / (eigenvalues + effective)).sum(dim=1) + penalties / effective[:, 0]
        low = torch.where(df > n_rows, middle, low)
        high = torch.where(df > n_rows, high, middle)
    return ((low + high) / 2).exp()
