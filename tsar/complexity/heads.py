"""Linear heads on frozen features: ridge regressions by one decomposition, and logistic regression.

With centred features ``X = U s V'`` the ridge coefficients of penalty k are
``V s / (s^2 + k) U' Y``. Nothing is fitted twice: training errors, leave-one-out errors and the
errors of left-out blocks are diagonals and blocks of ``I - H``, H the hat matrix (Cook 1977; Golub,
Heath & Wahba 1979).
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

N_PENALTIES = 34  # three per power of ten
MIN_PENALTY, MAX_PENALTY = 1e-8, 1e3  # as shares of the largest squared singular value


@dataclass(frozen=True)
class RidgeSVD:
    """Singular value decomposition of centred training features, for ridge heads of any penalty.

    The centred features are ``left * singular_values @ right.T``. A penalty of 0 stands for
    minimum-norm least squares (ridgeless regression).

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    >>> svd = RidgeSVD.of(features)
    >>> no_penalty = torch.zeros(1, dtype=torch.float64)
    >>> svd.predict(features + 1, 3 * features + 1, no_penalty)[0, :, 0].round().tolist()
    [4.0, 7.0, 10.0]
    """

    feature_mean: Float[Tensor, " feature"]
    left: Float[Tensor, "row rank"]
    singular_values: Float[Tensor, " rank"]
    right: Float[Tensor, "feature rank"]
    fit_intercept: bool

    @classmethod
    def of(
        cls, features: Float[Tensor, "row feature"], *, fit_intercept: bool = True
    ) -> "RidgeSVD":
        """Decompose features; without an intercept they are not centred."""
        mean = features.mean(dim=0)
        centre = mean if fit_intercept else torch.zeros_like(mean)
        left, values, right = torch.linalg.svd(features - centre, full_matrices=False)
        # Subtracting the mean leaves rounding errors along the direction that it removes.
        largest = torch.maximum(values.max(), centre.norm() * len(features) ** 0.5)
        nonzero = values > torch.finfo(values.dtype).eps * max(features.shape) * largest
        return cls(centre, left[:, nonzero], values[nonzero], right[nonzero].T, fit_intercept)

    @property
    def interpolates(self) -> bool:
        """Whether the ridgeless head fits every training row exactly."""
        return len(self.singular_values) >= len(self.left) - self.fit_intercept

    def penalty_grid(self, count: int = N_PENALTIES) -> Float[Tensor, " penalty"]:
        """Penalties from nearly none to nearly the mean alone, in equal ratios."""
        values = self.singular_values
        largest = float(values.max().square()) if len(values) else 1.0
        first, last = np.log10(MIN_PENALTY * largest), np.log10(MAX_PENALTY * largest)
        return torch.logspace(first, last, count).to(self.left)

    def coefficients(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty feature output"]:
        """Coefficients of the head of each penalty."""
        coefficients: Tensor = self.right @ self._score_coefficients(response, penalties)
        return coefficients

    def scores(self, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row rank"]:
        """Principal component scores of new rows, for `predict_from_scores`."""
        return (features - self.feature_mean) @ self.right

    def predict_from_scores(
        self,
        scores: Float[Tensor, "new_row rank"],
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
    ) -> Float[Tensor, "penalty new_row output"]:
        """Predictions for new rows, given as `scores`, by heads fitted to a training response."""
        coefficients = self._score_coefficients(response, penalties)
        predictions: Tensor = scores @ coefficients + self._mean(response)
        return predictions

    def predict(
        self,
        features: Float[Tensor, "new_row feature"],
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
    ) -> Float[Tensor, "penalty new_row output"]:
        """Predictions for new rows by heads fitted to a training response."""
        return self.predict_from_scores(self.scores(features), response, penalties)

    def fitted_values(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty row output"]:
        """Predictions for the training rows."""
        return self.predict_from_scores(self.left * self.singular_values, response, penalties)

    def leave_one_out_errors(
        self, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
    ) -> Float[Tensor, "penalty row output"]:
        """Error of each training row under the head fitted to the others.

        Where the head interpolates, the limit of small penalties: residuals and diagonal of
        ``I - H`` vanish together.
        """
        residuals, diagonal = self._residuals(response, penalties)
        return residuals / diagonal[:, :, None]

    def leave_blocks_out_errors(
        self,
        response: Float[Tensor, "row output"],
        penalties: Float[Tensor, " penalty"],
        blocks: Sequence[slice],
        margin: int = 0,
    ) -> Float[Tensor, "penalty row output"]:
        """Errors of each block of rows under the head fitted without it and its margins.

        The margin of `margin` rows on each side keeps rows that are scored apart from rows that
        are fitted, as neighbours in time are dependent. Penalties must be positive. Rows in no
        block are NaN.

        Source: Burman, Chow & Nolan 1994, "A cross-validatory method for dependent data".
        """
        residuals, _ = self._residuals(response, penalties)
        shrinkage, _ = self._residual_shrinkage(penalties)
        errors = torch.full_like(residuals, torch.nan)
        for block in blocks:
            first, last = max(block.start - margin, 0), min(block.stop + margin, len(response))
            deleted = self._deleted_residuals(first, last, residuals[:, first:last], shrinkage)
            errors[:, block] = deleted[:, block.start - first : block.stop - first]
        return errors

    def _score_coefficients(self, response: Tensor, penalties: Tensor) -> Tensor:
        """Coefficients of the principal component scores: (penalty, rank, output)."""
        # A float32 penalty must not round what is computed in float64.
        values, penalties = self.singular_values, penalties.to(self.singular_values)
        weights = values / (values.square() + penalties[:, None])
        return weights[:, :, None] * (self.left.T @ (response - self._mean(response)))

    def _mean(self, response: Tensor) -> Tensor:
        mean = response.mean(dim=0)
        return mean if self.fit_intercept else torch.zeros_like(mean)

    def _residual_shrinkage(self, penalties: Tensor) -> tuple[Tensor, float]:
        """Eigenvalues of ``I - H``: ``k / (s^2 + k)`` of each direction, and of the others.

        Those of the ridgeless head are 0 where it interpolates; divided by the penalty they tend to
        ``1 / s^2``, which is used instead, as only ratios matter.
        """
        square, penalties = self.singular_values.square(), penalties.to(self.singular_values)
        shrinkage = penalties[:, None] / (square + penalties[:, None])
        if not self.interpolates:
            return shrinkage, 1.0
        limit = square.min() / square
        return torch.where(penalties[:, None] > 0, shrinkage, limit), 0.0

    def _residuals(self, response: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
        """``I - H`` times the response, and its diagonal, up to a common factor."""
        shrinkage, complement = self._residual_shrinkage(penalties)
        centred = response - self._mean(response)
        projected = self.left.T @ centred
        residuals = self.left @ (shrinkage[:, :, None] * projected)
        diagonal = shrinkage @ self.left.square().T
        if complement:
            residuals = residuals + (centred - self.left @ projected)
            mean_leverage = 1 / len(centred) if self.fit_intercept else 0.0
            diagonal = diagonal + (1 - mean_leverage - self.left.square().sum(dim=1))
        return residuals, diagonal

    def _deleted_residuals(
        self,
        first: int,
        last: int,
        residuals: Float[Tensor, "penalty block output"],
        shrinkage: Float[Tensor, "penalty rank"],
    ) -> Float[Tensor, "penalty block output"]:
        """Errors of consecutive rows under the head fitted without them.

        Solves with the block of ``I - H``, which is ``I - W W'`` with a column of W for each
        direction and for the mean; or, where smaller, with ``I - W' W`` (Woodbury identity).
        """
        rows = self.left[first:last]
        columns = rows * (1 - shrinkage).sqrt()[:, None, :]
        if self.fit_intercept:
            mean = columns.new_full((*columns.shape[:2], 1), len(self.left) ** -0.5)
            columns = torch.cat([columns, mean], dim=2)
        if columns.shape[1] <= columns.shape[2]:
            block = torch.eye(len(rows)).to(rows) - columns @ columns.mT
            return torch.linalg.solve(block, residuals)
        inner = torch.eye(columns.shape[2]).to(rows) - columns.mT @ columns
        return residuals + columns @ torch.linalg.solve(inner, columns.mT @ residuals)


@dataclass(frozen=True)
class CrossProducts:
    """Sufficient statistics of ridge regression: cross products of centred features and responses.

    For many rows: a penalty then takes a Cholesky factorization and no decomposition of the rows.
    """

    n_rows: int
    feature_mean: Float[Tensor, " feature"]
    response_mean: Float[Tensor, " output"]
    gram: Float[Tensor, "feature feature"]
    cross: Float[Tensor, "feature output"]

    @classmethod
    def of(
        cls, features: Float[Tensor, "row feature"], response: Float[Tensor, "row output"]
    ) -> "CrossProducts":
        """Cross products of some rows."""
        mean, response_mean = features.mean(dim=0), response.mean(dim=0)
        centred = features - mean
        cross = centred.T @ (response - response_mean)
        return cls(len(features), mean, response_mean, centred.T @ centred, cross)

    def merge(self, other: "CrossProducts") -> "CrossProducts":
        """Cross products of the rows of both (Chan, Golub & LeVeque 1979)."""
        n_rows = self.n_rows + other.n_rows
        share, weight = other.n_rows / n_rows, self.n_rows * other.n_rows / n_rows
        feature_shift = other.feature_mean - self.feature_mean
        response_shift = other.response_mean - self.response_mean
        return CrossProducts(
            n_rows,
            self.feature_mean + feature_shift * share,
            self.response_mean + response_shift * share,
            self.gram + other.gram + weight * torch.outer(feature_shift, feature_shift),
            self.cross + other.cross + weight * torch.outer(feature_shift, response_shift),
        )

    def ridge_head(self, penalty: Float[Tensor, ""]) -> "RidgeHead":
        """Fit the ridge head of a positive penalty."""
        penalized = self.gram.clone()
        penalized.diagonal().add_(penalty)
        factor = torch.linalg.cholesky(penalized)
        return RidgeHead(self, factor, torch.cholesky_solve(self.cross, factor))


@dataclass(frozen=True)
class RidgeHead:
    """A ridge head with the Cholesky factor of its penalized Gram matrix.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [1.0], [2.0], [5.0]], dtype=torch.float64)
    >>> head = CrossProducts.of(features, 3 * features + 1).ridge_head(torch.tensor(1e-9))
    >>> head.predict(features[:2])
    tensor([[1.0000],
            [4.0000]], dtype=torch.float64)
    """

    products: CrossProducts
    factor: Float[Tensor, "feature feature"]
    coefficients: Float[Tensor, "feature output"]

    def predict(
        self, features: Float[Tensor, "new_row feature"]
    ) -> Float[Tensor, "new_row output"]:
        """Predictions for new rows."""
        return (features - self.products.feature_mean) @ self.coefficients + (
            self.products.response_mean
        )

    def leave_one_out_errors(
        self, features: Float[Tensor, "row feature"], response: Float[Tensor, "row output"]
    ) -> Float[Tensor, "row output"]:
        """Error of each of some training rows under the head fitted to the others."""
        centred = (features - self.products.feature_mean).T
        solved = torch.linalg.solve_triangular(self.factor, centred, upper=False)
        leverage = 1 / self.products.n_rows + solved.square().sum(dim=0)
        return (response - self.predict(features)) / (1 - leverage)[:, None]


def fit_logistic(features: NDArray[Any], labels: NDArray[Any], inverse_penalty: float) -> Pipeline:
    """Fit scikit-learn's logistic regression, ``C=inverse_penalty``, to standardized features.

    Examples
    --------
    >>> values = np.arange(8.0)[:, None]
    >>> fit_logistic(values, np.arange(8) > 3, 1.0).predict([[0.0], [7.0]])
    array([False,  True])
    """
    logistic = LogisticRegression(C=inverse_penalty, max_iter=2000)
    fitted: Pipeline = make_pipeline(StandardScaler(), logistic).fit(features, labels)
    return fitted
