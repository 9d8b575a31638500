"""Linear heads on frozen features: one decomposition gives every penalty, output and left-out row.

With centred features ``X = U s V'`` a head of penalty k is ``V s / (s^2 + k) U' Y``. Nothing is
fitted twice: training errors, leave-one-out errors and the errors of left-out blocks are diagonals
and blocks of ``I - H``, H the hat matrix (Cook 1977; Golub, Heath & Wahba 1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

PENALTIES = 34  # three a power of ten
LIGHTEST, HEAVIEST = 1e-8, 1e3  # penalties as shares of the largest squared singular value


@dataclass(frozen=True)
class Decomposition:
    """Features of the training rows around their mean, as ``left * values @ right.T``.

    A penalty of 0 stands for the least-squares head of least norm.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    >>> parts = Decomposition.of(features)
    >>> response = 3 * features + 1
    >>> free = torch.zeros(1, dtype=torch.float64)
    >>> parts.predict(features + 1, response, free)[0, :, 0].round().tolist()
    [4.0, 7.0, 10.0]
    """

    centre: Float[Tensor, " feature"]
    left: Float[Tensor, "row rank"]
    values: Float[Tensor, " rank"]
    right: Float[Tensor, "feature rank"]
    intercept: bool

    @classmethod
    def of(
        cls, features: Float[Tensor, "row feature"], *, intercept: bool = True
    ) -> "Decomposition":
        """Decompose features; without an intercept they are taken as they are."""
        mean = features.mean(dim=0)
        centre = mean if intercept else torch.zeros_like(mean)
        left, values, right = torch.linalg.svd(features - centre, full_matrices=False)
        # The mean that was taken off leaves rounding along the direction that it closed.
        largest = torch.maximum(values.max(), centre.norm() * len(features) ** 0.5)
        kept = values > torch.finfo(values.dtype).eps * max(features.shape) * largest
        return cls(centre, left[:, kept], values[kept], right[kept].T, intercept)

    @property
    def interpolates(self) -> bool:
        """Whether the head without a penalty meets every training row."""
        return len(self.values) >= len(self.left) - self.intercept

    def penalties(self, count: int = PENALTIES) -> Float[Tensor, " penalty"]:
        """A grid of penalties from next to none to all but the mean."""
        top = float(self.values.max().square()) if len(self.values) else 1.0
        first, last = np.log10(LIGHTEST * top), np.log10(HEAVIEST * top)
        return torch.logspace(first, last, count).to(self.left)

    def coefficients(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty feature output"]:
        """Coefficients of each penalty's head."""
        found: Tensor = self.right @ self._along(response, penalties)
        return found

    def scores(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row rank"]:
        """New rows along the directions of the training rows: what all heads see of them."""
        return (features - self.centre) @ self.right

    def say(
        self,
        scores: Float[Tensor, "seen rank"],
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
    ) -> Float[Tensor, "penalty seen output"]:
        """What heads of a training response say of new rows, given as `scores`."""
        said: Tensor = scores @ self._along(response, penalties) + self._mean(response)
        return said

    def predict(
        self,
        features: Float[Tensor, "seen feature"],
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
    ) -> Float[Tensor, "penalty seen output"]:
        """What heads of a training response say of new rows."""
        return self.say(self.scores(features), response, penalties)

    def fitted(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty row output"]:
        """What heads say of the training rows."""
        return self.say(self.left * self.values, response, penalties)

    def leave_one_out(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty row output"]:
        """Errors of each row, had it been left out.

        Where the head interpolates, the limit of small penalties: errors and diagonal of
        ``I - H`` vanish together.
        """
        residual, diagonal = self._unexplained(response, penalties)
        return residual / diagonal[:, :, None]

    def generalized(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, " penalty"]:
        """Generalized cross-validation: mean squared error over the squared mean of ``I - H``.

        Source: Golub, Heath & Wahba 1979, equation 1.4; summed over outputs.
        """
        residual, diagonal = self._unexplained(response, penalties)
        return residual.square().sum(dim=2).mean(dim=1) / diagonal.mean(dim=1).square()

    def leave_blocks_out(
        self,
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
        blocks: Sequence[slice],
        margin: int = 0,
    ) -> Float[Tensor, "penalty row output"]:
        """Errors of each block of rows, had it and `margin` rows on each side been left out.

        Rows next to each other in time know of each other; a margin keeps what is scored apart
        from what was fitted. Penalties must be positive. Rows in no block are NaN.

        Source: Burman, Chow & Nolan 1994, "A cross-validatory method for dependent data".
        """
        residual, _ = self._unexplained(response, penalties)
        left_out = torch.full_like(residual, torch.nan)
        shrunk, _ = self._gaps(penalties)
        for block in blocks:
            first, last = max(block.start - margin, 0), min(block.stop + margin, len(response))
            found = self._deleted(first, last, residual[:, first:last], shrunk)
            left_out[:, block] = found[:, block.start - first : block.stop - first]
        return left_out

    def _along(self, response: Tensor, penalties: Tensor) -> Tensor:
        """Each head's weight of each direction."""
        # A penalty given in float32 must not shrink what is computed in float64.
        weights = self.values / (self.values.square() + penalties[:, None].to(self.values))
        return weights[:, :, None] * (self.left.T @ (response - self._mean(response)))

    def _mean(self, response: Tensor) -> Tensor:
        mean = response.mean(dim=0)
        return mean if self.intercept else torch.zeros_like(mean)

    def _gaps(self, penalties: Tensor) -> tuple[Tensor, float]:
        """What ``I - H`` keeps of each direction, and of those beside them.

        Without a penalty it keeps nothing of a head that interpolates; divided by the penalty, it
        goes to ``1 / s^2``, which serves as well where only ratios matter.
        """
        square = self.values.square()
        kept = penalties[:, None].to(square) / (square + penalties[:, None].to(square))
        if not self.interpolates:
            return kept, 1.0
        limit = square.min() / square
        return torch.where(penalties[:, None] > 0, kept, limit), 0.0

    def _unexplained(self, response: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
        """``I - H`` times the response, and its diagonal, up to a common factor."""
        kept, closed = self._gaps(penalties)
        centred = response - self._mean(response)
        along = self.left.T @ centred
        residual = self.left @ (kept[:, :, None] * along)
        diagonal = kept @ self.left.square().T
        if closed:
            residual = residual + (centred - self.left @ along)
            share = 1 / len(centred) if self.intercept else 0.0
            diagonal = diagonal + (1 - share - self.left.square().sum(dim=1))
        return residual, diagonal

    def _deleted(
        self,
        first: int,
        last: int,
        residual: Float[Tensor, "penalty block output"],
        kept: Float[Tensor, "penalty rank"],
    ) -> Float[Tensor, "penalty block output"]:
        """Errors of consecutive rows, had they been left out: by the smaller of two systems.

        The block of ``I - H`` is ``I - W W'``, with a column of W for each direction and the mean.
        """
        rows = self.left[first:last]
        columns = rows * (1 - kept).sqrt()[:, None, :]
        if self.intercept:
            share = columns.new_full((*columns.shape[:2], 1), len(self.left) ** -0.5)
            columns = torch.cat([columns, share], dim=2)
        if columns.shape[1] <= columns.shape[2]:
            inside = torch.eye(len(rows)).to(rows) - columns @ columns.mT
            return torch.linalg.solve(inside, residual)
        inside = torch.eye(columns.shape[2]).to(rows) - columns.mT @ columns
        return residual + columns @ torch.linalg.solve(inside, columns.mT @ residual)


@dataclass(frozen=True)
class Products:
    """Products of features and responses around their means: all that ridge heads need to know.

    For rows that are many: a penalty then takes a factor, and no decomposition of the rows.
    """

    rows: int
    centre: Float[Tensor, " feature"]
    mean: Float[Tensor, " output"]
    square: Float[Tensor, "feature feature"]
    cross: Float[Tensor, "feature output"]

    @classmethod
    def of(
        cls, features: Float[Tensor, "row feature"], response: Float[Tensor, "row output"]
    ) -> "Products":
        """Products of rows."""
        centre, mean = features.mean(dim=0), response.mean(dim=0)
        around = features - centre
        return cls(len(features), centre, mean, around.T @ around, around.T @ (response - mean))

    def plus(self, other: "Products") -> "Products":
        """Products of the rows of both, around their common means (Chan, Golub & LeVeque 1979)."""
        rows, centre, mean = other.rows, other.centre - self.centre, other.mean - self.mean
        total = self.rows + rows
        weight = self.rows * rows / total
        return Products(
            total,
            self.centre + centre * (rows / total),
            self.mean + mean * (rows / total),
            self.square + other.square + weight * torch.outer(centre, centre),
            self.cross + other.cross + weight * torch.outer(centre, mean),
        )

    def head(self, penalty: Float[Tensor, ""]) -> "Head":
        """The head of a penalty above 0."""
        square = self.square.clone()
        square.diagonal().add_(penalty)
        factor = torch.linalg.cholesky(square)
        return Head(self, factor, torch.cholesky_solve(self.cross, factor))


@dataclass(frozen=True)
class Head:
    """A ridge head, and the factor that it came from.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64)
    >>> head = Products.of(features, 3 * features + 1).head(torch.tensor(1e-9))
    >>> head.say(features[:2])
    tensor([[1.0000],
            [4.0000]], dtype=torch.float64)
    """

    products: Products
    factor: Float[Tensor, "feature feature"]
    coefficients: Float[Tensor, "feature output"]

    def say(self, features: Float[Tensor, "seen feature"]) -> Float[Tensor, "seen output"]:
        """What it says of new rows."""
        return (features - self.products.centre) @ self.coefficients + self.products.mean

    def left_out(
        self, features: Float[Tensor, "own feature"], response: Float[Tensor, "own output"]
    ) -> Float[Tensor, "own output"]:
        """Errors of some of the rows that it was fitted to, had each been left out."""
        around = (features - self.products.centre).T
        shares = torch.linalg.solve_triangular(self.factor, around, upper=False).square().sum(dim=0)
        kept = 1 - 1 / self.products.rows - shares
        return (response - self.say(features)) / kept[:, None]


def fit_logistic(features: NDArray[Any], labels: NDArray[Any], strength: float) -> Pipeline:
    """A logistic head of scikit-learn on standardized features.

    Parameters
    ----------
    strength
        C, the inverse of the penalty.

    Examples
    --------
    >>> values = np.arange(8.0)[:, None]
    >>> fit_logistic(values, np.arange(8) > 3, 1.0).predict([[0.0], [7.0]])
    array([False,  True])
    """
    head = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    fitted: Pipeline = head.fit(features, labels)
    return fitted
