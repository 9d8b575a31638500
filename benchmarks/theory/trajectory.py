"""What a head costs if its rows are of one trajectory, and so tell of each other.

A deterministic equivalent of ours: the resolvent of a Gaussian matrix whose entries depend on each
other along both sides, by its two coupled equations (Helton, Rashidi Far & Speicher 2007,
"Operator-valued Semicircular Elements", arXiv math/0703510). Where rows are apart, it is that of
Hastie et al. 2022 in `tsar.complexity.theory`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from theory.population import LatentModel
from tsar.complexity.theory import Risk, ridgeless_level, ridgeless_risk

CLOSE = 1e-11  # relative change at which an iteration ends
NEAR = 1.05  # features a row up to which rows count as apart
MOST = 20_000  # steps of an iteration; at `NEAR` it takes a thousand
UNSOLVED = f"the limit must be reached in {MOST} steps; got none. Take more features a row."


def trajectory_risk(model: LatentModel, rows: int) -> Risk:
    """Expected excess risk of the least-squares head of least norm, from one trajectory.

    With fewer features than rows, `ridgeless_risk` with the variance times
    `LatentModel.dependence`. With more, the limit of many rows that depend on each other, its
    variance times ``(p - n) / (p - n - 1)`` as there; up to a twentieth more, where it differs by
    a thousandth, that of rows apart. In that limit the noise of a row is as if it did not move the
    features of the next. Of short trajectories the excess is more: of 60 rows of 4 aligned states
    3 %, where they keep 0.9 of themselves a step, 18 % at 0.97, 41 % at 0.99.

    Parameters
    ----------
    model
        The states and the features.
    rows
        Of the trajectory.

    Examples
    --------
    >>> from theory.simulation import draw_model
    >>> from tsar.complexity.theory import ridgeless_risk
    >>> seeded = torch.Generator().manual_seed(0)
    >>> model = draw_model(4, 400, scheme="aligned", generator=seeded)
    >>> round(float(trajectory_risk(model, 40).excess), 2)
    0.21
    >>> round(float(ridgeless_risk(model.spectrum, 40).excess), 2)
    0.19
    """
    apart = ridgeless_risk(model.spectrum, rows)
    known = model.spectrum.usable().eigenvalues
    size = len(known)
    if size < rows - 1:
        return apart._replace(variance=apart.variance * model.dependence(rows))
    if size < NEAR * rows:
        return apart
    features = _Features.of(model, rows)
    solved = features.solve(ridgeless_level(known, rows))
    away, spent = features.tangents(solved)
    variance = model.noise * features.trace(spent) * (size - rows) / (size - rows - 1)
    bias = -(features.head * (away.signal @ features.head)).sum()
    return Risk(bias, variance)


class Missed(NamedTuple):
    """What a head of least norm misses of each direction, or how that changes.

    `signal` is a matrix among the directions that show the states, `other` a number for each of
    those that are noise alone.
    """

    signal: Float[Tensor, "direction direction"]
    other: Float[Tensor, ""]


@dataclass(frozen=True)
class _Features:
    """Features in the directions that show the states, and the others.

    Attributes
    ----------
    products
        Symmetric part of ``E[x[t]' x[t + k]]`` for each lag k, of the states' share alone.
    noise
        Variance of the noise in each direction.
    others
        Directions that are noise alone.
    head
        The best head.
    lags
        ``|t - s|`` of any two rows.
    """

    products: Float[Tensor, "lag direction direction"]
    noise: float
    others: int
    head: Float[Tensor, "direction output"]
    lags: Int[Tensor, "row row"]

    @classmethod
    def of(cls, model: LatentModel, rows: int) -> "_Features":
        left, sizes, right = torch.linalg.svd(model.readout, full_matrices=False)
        shown = left * sizes
        ahead, products = model.state_covariance, []
        for _ in range(rows):
            product = shown.T @ ahead @ shown
            products.append((product + product.T) / 2)
            ahead = ahead @ model.transition
        steps = torch.arange(rows, device=shown.device)
        return cls(
            torch.stack(products),
            model.feature_noise,
            model.readout.shape[1] - len(sizes),
            right @ model.head,
            (steps[:, None] - steps).abs(),
        )

    @property
    def covariance(self) -> Float[Tensor, "direction direction"]:
        """Of the features in the directions that show the states."""
        return self.products[0] + self.noise * torch.eye(len(self.head)).to(self.products)

    def trace(self, part: Missed) -> Float[Tensor, ""]:
        """Of a matrix times the covariance of the features."""
        signal = (part.signal * self.covariance).sum()
        return signal + self.others * self.noise * part.other

    def between_rows(self, part: Missed) -> Float[Tensor, "row row"]:
        """Expected products of rows, weighted by a matrix among the features."""
        by_lag = torch.einsum("kab,ab->k", self.products, part.signal)
        matrix = by_lag[self.lags]
        alone = self.noise * (part.signal.trace() + self.others * part.other)
        matrix.diagonal().add_(alone)
        return matrix

    def between_features(self, weights: Float[Tensor, "row row"]) -> Missed:
        """Expected products of features, weighted by a matrix among the rows."""
        by_lag = weights.new_zeros(len(weights))
        by_lag.index_add_(0, self.lags.flatten(), weights.flatten())
        signal = torch.einsum("kab,k->ab", self.products, by_lag)
        alone = self.noise * weights.trace()
        signal.diagonal().add_(alone)
        return Missed(signal, alone)

    def solve(self, level: Float[Tensor, ""]) -> Missed:
        """What is missed without a penalty, beginning with what is where rows are apart.

        The root of ``D = (I + features(Q))^-1``, ``Q = rows(D)^-1``.
        """
        one = torch.eye(len(self.head)).to(self.products)
        missed = Missed(
            torch.linalg.inv(one + self.covariance / level), 1 / (1 + self.noise / level)
        )
        for _ in range(MOST):
            crowd = self.between_features(torch.linalg.inv(self.between_rows(missed)))
            found = Missed(torch.linalg.inv(one + crowd.signal), 1 / (1 + crowd.other))
            if _close(found, missed):
                return found
            missed = found
        raise RuntimeError(UNSOLVED)

    def tangents(self, missed: Missed) -> tuple[Missed, Missed]:
        """How it changes with a share of the covariance beside ``I``, and with a penalty."""
        inverse = torch.linalg.inv(self.between_rows(missed))
        zero = Missed(torch.zeros_like(missed.signal), torch.zeros_like(missed.other))
        weight = Missed(self.covariance, inverse.new_tensor(self.noise))

        def ends(start: Missed, penalty: float) -> Missed:
            change = zero
            for _ in range(MOST):
                moved = self.between_rows(change)
                moved.diagonal().add_(penalty)
                crowd = self.between_features(-inverse @ moved @ inverse)
                found = Missed(
                    -missed.signal @ (start.signal + crowd.signal) @ missed.signal,
                    -missed.other.square() * (start.other + crowd.other),
                )
                if _close(found, change):
                    return found
                change = found
            raise RuntimeError(UNSOLVED)

        return ends(weight, 0.0), ends(zero, 1.0)


def _close(found: Missed, before: Missed) -> bool:
    """Whether a step changed next to nothing."""
    return all(
        float((new - old).abs().max()) <= CLOSE * float(new.abs().max())
        for new, old in zip(found, before, strict=True)
    )
