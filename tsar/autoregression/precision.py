"""What the inverse of a Gram matrix says of coefficients, without the inverse where that can be."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.autoregression.gram import Moments, Regression, Steps
from tsar.autoregression.solve import Factorization, LeastSquares

FEWEST = 64  # terms from which on the recursion is faster than the inverse
AGREEMENT = 1e-9  # relative, of the last number of the recursion with what it must be


@dataclass(frozen=True)
class Precision:
    """Diagonal of the inverse Gram matrix G, `level` = mean' inverse(G) mean, and parameters used.

    `rank` counts the independent terms, but for what a ridge takes from them. `root` is R with
    inverse(G) = R' R, where it was made.
    """

    diagonal: Float[Tensor, "group term"]
    level: Float[Tensor, " group"]
    rank: Float[Tensor, " group"]
    root: Float[Tensor, "group term term"] | None = None


def precision(
    factorization: Factorization,
    gram: Float[Tensor, "group term term"],
    mean: Float[Tensor, "group term"],
) -> Precision:
    """By the inverse, or by a root of it: of any Gram matrix, O(k^3) for k terms.

    With a ridge and H the matrix from targets to fits, the rank is the trace of 2 H - H H (Hastie,
    Tibshirani & Friedman, The Elements of Statistical Learning, 2009, section 7.6).
    """
    rank = factorization.rank.double()
    if not factorization.ridge:
        root = factorization.inverse_root()
        level = (root @ mean[:, :, None]).square().sum(dim=(1, 2))
        return Precision(root.square().sum(dim=1), level, rank, root)
    inverse = factorization.inverse()
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    taken = factorization.ridge * inverse * scale[:, :, None] * scale[:, None]
    rank = rank - taken.square().sum(dim=(1, 2))
    level = torch.einsum("gi,gij,gj->g", mean, inverse, mean).clamp(min=0)
    return Precision(inverse.diagonal(dim1=1, dim2=2), level, rank)


def lag_precision(
    moments: Moments,
    regression: Regression,
    solution: LeastSquares,
    mean: Float[Tensor, "group term"],
) -> Precision:
    """Of the Gram matrix of consecutive lags, for whose first step the solution is: O(k^2).

    Let F be the Gram matrix of these lags and of the one before them. Its inverse by blocks, once
    with the newest lag apart and once with the oldest, is made of the inverse of G and the errors
    of predicting that lag from those behind it; or of the inverse of the same matrix a lag earlier
    and the errors of predicting the oldest lag from those before it. The matrix a lag earlier is
    G less a few outer products, `Moments.steps`. The difference of both is a recursion along the
    diagonal of inverse(F): that of Trench (1964) for Toeplitz matrices, but for these products.
    Its end is known, too; where rounding has moved it, the inverse is computed after all.
    """
    factorization = solution.factorization
    gram = regression.gram
    steps = moments.steps if gram.shape[1] >= FEWEST and factorization.ridge == 0 else None
    if steps is None or bool(factorization.ill_conditioned.any()):  # the host waits here
        return precision(factorization, gram, mean)
    found = _recursion(steps, moments, regression, solution, mean)
    return precision(factorization, gram, mean) if found is None else found


def _recursion(
    steps: Steps,
    moments: Moments,
    regression: Regression,
    solution: LeastSquares,
    mean: Float[Tensor, "group term"],
) -> Precision | None:
    factorization = solution.factorization
    first, last = int(regression.regressors[0]), int(regression.regressors[-1])
    points = steps.points[:, :, first : last + 1].mT  # (group, term, edge)
    earlier = moments.gram[:, first - 1 : last, last]  # of the oldest lag with those before it
    solved = factorization.solve(torch.cat([earlier[:, :, None], mean[:, :, None], points], dim=2))
    backward, inverse_mean, inner = solved[:, :, :1], solved[:, :, 1], solved[:, :, 2:]
    # Woodbury: inverse(G - U S U') = inverse(G) + K inverse(1 - S U' K) S K', K = inverse(G) U
    factor = steps.factor[:, :, None]  # some are zero, so that S has no inverse
    small = torch.eye(factor.shape[1]).to(points) - factor * (points.mT @ inner)
    outer = torch.linalg.solve_ex(small, factor * inner.mT).result  # (group, edge, term)
    backward = (backward + outer.mT @ (inner.mT @ earlier[:, :, None]))[:, :, 0]
    forward = solution.coef[:, :, 0]
    newest, oldest = moments.gram[:, first - 1, first - 1], moments.gram[:, last, last]
    ahead = newest - (forward * regression.cross[:, :, 0]).sum(1)
    behind = oldest - (backward * earlier).sum(1)
    gain, loss = (x.square() / e[:, None] for x, e in ((forward, ahead), (backward, behind)))
    begin = (1 / ahead)[:, None]
    along = begin + (gain - loss - (inner.mT * outer).sum(1)).cumsum(1)
    miss = (along[:, -1] * behind - 1).abs()
    if not bool((miss < AGREEMENT).all()):  # the host waits here; also where a number is not finite
        return None
    level = (mean * inverse_mean).sum(1).clamp(min=0)
    return Precision(along - gain, level, factorization.rank.double())
