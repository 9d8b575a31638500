"""What a linear head on frozen features is expected to cost, from second moments alone.

Reconstruction: the text of Luo, Wang & Huang 2024 (arXiv 2410.00699) was not at hand beyond its
abstract; what follows agrees with all that is known of it and with simulation. Below the rows, the
variance is exact for Gaussian features; above, it is that of Hastie, Montanari, Rosset & Tibshirani
2022 ("Surprises in High-Dimensional Ridgeless Least Squares Interpolation", arXiv 1903.08560),
column by column of the response.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

STEPS = 200  # halvings of an interval in the exponent: far below the spacing of float64
LOWEST = 1e-12  # level that a search of penalties starts from, beside the largest eigenvalue
CANDIDATES, ROUNDS = 400, 3  # penalties that a search looks at, each time closer


class Risk(NamedTuple):
    """Excess risk in its two parts; infinite where its expectation is."""

    bias: Float[Tensor, "*batch"]
    variance: Float[Tensor, "*batch"]

    @property
    def excess(self) -> Float[Tensor, "*batch"]:
        """What is lost beside the best head on the same features."""
        return self.bias + self.variance


@dataclass(frozen=True)
class Spectrum:
    """All that the risk of a linear head depends on.

    Attributes
    ----------
    eigenvalues
        Of the covariance of the features.
    signal
        Squared length of the best head along each eigenvector, summed over the outputs.
    noise
        Trace of the covariance of what the best head leaves.
    """

    eigenvalues: Float[Tensor, " feature"]
    signal: Float[Tensor, " feature"]
    noise: Float[Tensor, ""]

    @classmethod
    def of(
        cls,
        covariance: Float[Tensor, "feature feature"],
        head: Float[Tensor, "feature output"],
        noise: Float[Tensor, ""],
    ) -> "Spectrum":
        """Spectrum of features, from their covariance and the best head on them."""
        eigenvalues, vectors = torch.linalg.eigh(covariance)
        rounding = torch.finfo(eigenvalues.dtype).eps * len(eigenvalues)
        varies = eigenvalues > rounding * eigenvalues.max()
        eigenvalues = torch.where(varies, eigenvalues, 0.0)
        return cls(eigenvalues, (vectors.T @ head).square().sum(dim=1), noise)

    def usable(self) -> "Spectrum":
        """The same without directions in which the features do not vary."""
        kept = self.eigenvalues > 0
        return Spectrum(self.eigenvalues[kept], self.signal[kept], self.noise)

    @property
    def null(self) -> Float[Tensor, ""]:
        """Total risk of forecasting the mean, the head of size zero."""
        return self.noise + self.eigenvalues @ self.signal


def ridgeless_risk(spectrum: Spectrum, rows: int) -> Risk:
    """Expected excess risk of the least-squares head of least norm.

    With p features that vary and n rows: for p < n no bias, and a variance of
    ``noise * p / (n - p - 1)``, exact for Gaussian features; for p > n the proportional limit, its
    variance times ``(p - n) / (p - n - 1)``, which makes it exact for Gaussian features of unit
    covariance and matters next to the peak alone. At p = n - 1, n and n + 1 it is infinite.

    Source: a reconstruction of Luo et al. 2024; Hastie et al. 2022, theorem 1 for correlated
    features, where ``1 / (c0 gamma)`` is what is called `level` here.

    Examples
    --------
    >>> one = torch.ones(300, dtype=torch.float64)
    >>> spectrum = Spectrum(one, one / 300, one[0])
    >>> [round(float(part), 3) for part in ridgeless_risk(spectrum, 200)]
    [0.333, 2.02]
    """
    known = spectrum.usable()
    size = len(known.eigenvalues)
    zero = spectrum.noise.new_zeros(())
    if abs(size - rows) <= 1:
        return Risk(_bias_at_peak(known, rows), zero + torch.inf)
    if size < rows:
        return Risk(zero, known.noise * size / (rows - size - 1))
    limit = _risk_at(known, rows, ridgeless_level(known.eigenvalues, rows))
    return Risk(limit.bias, limit.variance * (size - rows) / (size - rows - 1))


def ridge_risk(spectrum: Spectrum, rows: int, penalties: Float[Tensor, " penalty"]) -> Risk:
    """Expected excess risk of ridge heads that minimize ``|y - x b|^2 + penalty |b|^2``.

    Source: Hastie et al. 2022, section 5 (deterministic equivalents). With a penalty of 0:
    see `ridgeless_risk`.

    Examples
    --------
    >>> one = torch.ones(200, dtype=torch.float64)
    >>> spectrum = Spectrum(one, one / 200, one[0])
    >>> ridge_risk(spectrum, 200, torch.tensor([0.0, 200.0])).excess
    tensor([   inf, 0.6180], dtype=torch.float64)
    """
    known = spectrum.usable()
    found = _risk_at(known, rows, _levels(known.eigenvalues, rows, penalties)[:, None])
    bare = ridgeless_risk(spectrum, rows)
    return Risk(
        *(torch.where(penalties > 0, part, other) for part, other in zip(found, bare, strict=True))
    )


def best_ridge(spectrum: Spectrum, rows: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The penalty of least expected excess risk, and that risk.

    Examples
    --------
    >>> one = torch.ones(200, dtype=torch.float64)
    >>> penalty, risk = best_ridge(Spectrum(one, one / 200, one[0]), 200)
    >>> round(float(penalty)), round(float(risk), 3)
    (200, 0.618)
    """
    known = spectrum.usable()
    eigenvalues = known.eigenvalues
    size = len(eigenvalues)
    low = ridgeless_level(eigenvalues, rows) if size > rows else eigenvalues.min() * 1e-8
    low, high = low.clamp(min=LOWEST * eigenvalues.max()).log(), (eigenvalues.max() * 1e8).log()
    share = torch.linspace(0, 1, CANDIDATES, dtype=eigenvalues.dtype, device=eigenvalues.device)
    for _ in range(ROUNDS):
        levels = torch.lerp(low, high, share).exp()
        freedom = (eigenvalues / (eigenvalues + levels[:, None])).sum(dim=1)
        penalties = levels * (rows - freedom)
        excess = _risk_at(known, rows, levels[:, None]).excess
        best = int(torch.where(penalties > 0, excess, torch.inf).argmin())
        step = (high - low) / (CANDIDATES - 1)
        low, high = levels[best].log() - step, levels[best].log() + step
    return penalties[best], excess[best]


def isotropic_risk(ratio: Float[Tensor, "*batch"], signal: float, noise: float) -> Risk:
    """Expected excess risk of the ridgeless head on features of unit covariance, at `ratio` p / n.

    Source: Hastie et al. 2022, theorem 1.

    Parameters
    ----------
    ratio
        Features a row.
    signal, noise
        Squared length of the best head, and the variance that it leaves.

    Examples
    --------
    >>> isotropic_risk(torch.tensor([0.5, 1.0, 2.0]), 1.0, 1.0).excess
    tensor([1.0000,    inf, 1.5000])
    """
    below = ratio < 1
    variance = torch.where(below, ratio / (1 - ratio), 1 / (ratio - 1))
    variance = torch.where(ratio == 1, torch.inf, variance)
    bias = torch.where(below, 0.0, 1 - 1 / ratio)
    return Risk(signal * bias, noise * variance)


def isotropic_penalty(features: int, signal: float, noise: float) -> float:
    """Penalty of least risk on features of unit covariance: ``noise * features / signal``.

    Source: Hastie et al. 2022, theorem 5, where it is divided by the rows. The same at any number
    of rows; the peak at p = n is gone.

    Examples
    --------
    >>> isotropic_penalty(200, 1.0, 0.5)
    100.0
    """
    return noise * features / signal


def aligned_spectrum(states: int, features: int, persistence: float) -> Spectrum:
    """Spectrum of the aligned case, for one output.

    States of unit variance that turn and shrink by `persistence` a step, spread over
    ``features >= states`` so that ``W W' = (features / states) I``, with noise of variance 1 in
    each feature. With psi = states / features, the covariance has ``1 + 1 / psi`` `states` times
    and 1 otherwise; the best head leaves ``1 - persistence^2 / (1 + psi)``.

    Source: a reconstruction of Luo et al. 2024.

    Examples
    --------
    >>> spectrum = aligned_spectrum(20, 500, 0.9)
    >>> [round(float(part), 3) for part in ridgeless_risk(spectrum, 200)]
    [0.005, 0.168]
    """
    if not 1 <= states <= features:
        raise ValueError(
            f"states must be from 1 to the {features} features; got {states}. Give more features."
        )
    psi = states / features
    eigenvalues = torch.ones(features, dtype=torch.float64)
    eigenvalues[:states] = 1 + 1 / psi
    signal = torch.zeros_like(eigenvalues)
    # Any unit vector among the states' directions; all of them have the same eigenvalue.
    signal[0] = persistence**2 * psi / (1 + psi) ** 2
    return Spectrum(eigenvalues, signal, torch.tensor(1 - persistence**2 / (1 + psi)).double())


def _risk_at(spectrum: Spectrum, rows: int, level: Tensor) -> Risk:
    """Risk where each direction is shrunk by ``eigenvalue / (eigenvalue + level)``."""
    eigenvalues = spectrum.eigenvalues
    kept = eigenvalues / (eigenvalues + level)
    crowding = kept.square().sum(dim=-1) / rows
    missed = ((1 - kept).square() * eigenvalues * spectrum.signal).sum(dim=-1)
    return Risk(missed / (1 - crowding), spectrum.noise * crowding / (1 - crowding))


def _bias_at_peak(spectrum: Spectrum, rows: int) -> Float[Tensor, ""]:
    """Bias next to p = n: none at p <= n, of the limit above it."""
    if len(spectrum.eigenvalues) <= rows:
        return spectrum.noise.new_zeros(())
    return _risk_at(spectrum, rows, ridgeless_level(spectrum.eigenvalues, rows)).bias


def ridgeless_level(eigenvalues: Float[Tensor, " feature"], rows: int) -> Float[Tensor, ""]:
    """The level without a penalty, where there are more features than rows; see `_levels`."""
    return _levels(eigenvalues, rows, eigenvalues.new_zeros(1))[0]


def _levels(
    eigenvalues: Float[Tensor, " feature"], rows: int, penalties: Float[Tensor, " penalty"]
) -> Float[Tensor, " penalty"]:
    """Root of ``rows = sum(s / (s + level)) + penalty / level``, by bisection.

    Its right side falls from the number of features, or from infinity, to zero: there is one root
    where a penalty is positive or there are more features than rows.
    """
    penalties = penalties.to(eigenvalues)
    total = eigenvalues.sum() + penalties  # above the root: the right side is at most total / level
    high = (total / rows).clamp(min=1e-300).log()
    low = high - 700  # exp(-700) of it: float64 ends there
    for _ in range(STEPS):
        middle = (low + high) / 2
        level = middle.exp()[:, None]
        filled = (eigenvalues / (eigenvalues + level)).sum(dim=1) + penalties / level[:, 0]
        low, high = (
            torch.where(filled > rows, middle, low),
            torch.where(filled > rows, high, middle),
        )
    return ((low + high) / 2).exp()
