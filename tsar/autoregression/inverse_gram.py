"""Diagonal of an inverse Gram matrix; of consecutive lags by a recursion in O(k^2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.autoregression.gram import LagShift, Moments, NormalEquations
from tsar.autoregression.least_squares import Factorization, LeastSquares

MIN_LAGS = 64  # lags from which on the recursion is faster than the inverse
TOLERANCE = 1e-9  # relative difference between the last number of the recursion and its true value


@dataclass(frozen=True)
class InverseGram:
    """What standard errors need of the inverse of a Gram matrix G.

    Its diagonal, the quadratic form mean' inverse(G) mean, the effective number of coefficients
    (the independent terms, less the effect of a ridge), and R with R' R = inverse(G), if computed.
    """

    diagonal: Float[Tensor, "group term"]
    mean_form: Float[Tensor, " group"]
    rank: Float[Tensor, " group"]
    root: Float[Tensor, "group term term"] | None = None


def inverse_gram(
    factorization: Factorization,
    gram: Float[Tensor, "group term term"],
    mean: Float[Tensor, "group term"],
) -> InverseGram:
    """Invert any Gram matrix, by a root unless there is a ridge: O(k^3) for k terms.

    With a ridge and the hat matrix H, the rank is the trace of 2 H - H H (Hastie, Tibshirani &
    Friedman, The Elements of Statistical Learning, 2009, section 7.6).
    """
    rank = factorization.rank.double()
    if not factorization.ridge:
        root = factorization.inverse_root()
        mean_form = (root @ mean[:, :, None]).square().sum(dim=(1, 2))
        return InverseGram(root.square().sum(dim=1), mean_form, rank, root)
    inverse = factorization.inverse()
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    residual = factorization.ridge * inverse * scale[:, :, None] * scale[:, None]  # 1 - H
    rank = rank - residual.square().sum(dim=(1, 2))
    mean_form = torch.einsum("gi,gij,gj->g", mean, inverse, mean).clamp(min=0)
    return InverseGram(inverse.diagonal(dim1=1, dim2=2), mean_form, rank)


def lag_inverse_gram(
    moments: Moments,
    equations: NormalEquations,
    solution: LeastSquares,
    mean: Float[Tensor, "group term"],
) -> InverseGram:
    """Invert the Gram matrix of consecutive lags, given the solution for the first step: O(k^2).

    Let F be the Gram matrix of these lags and the lag before them. The block inverse of F with the
    newest lag apart consists of inverse(G) and the errors of predicting that lag from the older
    ones. With the oldest lag apart it consists of the inverse of the matrix one lag earlier and the
    errors of predicting the oldest lag from the newer ones. The matrix one lag earlier is G less a
    few outer products, `Moments.lag_shift`. The difference of the two inverses is a recursion along
    the diagonal of inverse(F): that of Trench (1964) for Toeplitz matrices, generalized to these
    products. Its last value is also known directly; where rounding has moved it, the inverse is
    computed instead.
    """
    factorization, gram = solution.factorization, equations.gram
    recursive = gram.shape[1] >= MIN_LAGS and factorization.ridge == 0
    shift = moments.lag_shift if recursive else None
    if shift is None or bool(factorization.ill_conditioned.any()):  # device synchronization
        return inverse_gram(factorization, gram, mean)
    result = _recursion(shift, moments, equations, solution, mean)
    return inverse_gram(factorization, gram, mean) if result is None else result


def _recursion(
    shift: LagShift,
    moments: Moments,
    equations: NormalEquations,
    solution: LeastSquares,
    mean: Float[Tensor, "group term"],
) -> InverseGram | None:
    """Diagonal of the inverse; None where rounding errors are too large."""
    factorization = solution.factorization
    first, last = int(equations.regressors[0]), int(equations.regressors[-1])
    points = shift.points[:, :, first : last + 1].mT  # (group, term, edge)
    earlier = moments.gram[:, first - 1 : last, last]  # of the oldest lag with the newer ones
    solved = factorization.solve(torch.cat([earlier[:, :, None], mean[:, :, None], points], dim=2))
    backward, inverse_mean, inner = solved[:, :, :1], solved[:, :, 1], solved[:, :, 2:]
    # Woodbury: inverse(G - U S U') = inverse(G) + K inverse(1 - S U' K) S K', K = inverse(G) U
    factor = shift.factor[:, :, None]  # some are zero, so that S has no inverse
    small = torch.eye(factor.shape[1]).to(points) - factor * (points.mT @ inner)
    outer = torch.linalg.solve_ex(small, factor * inner.mT).result  # (group, edge, term)
    backward = (backward + outer.mT @ (inner.mT @ earlier[:, :, None]))[:, :, 0]
    forward = solution.coef[:, :, 0]
    newest, oldest = moments.gram[:, first - 1, first - 1], moments.gram[:, last, last]
    forward_error = newest - (forward * equations.cross[:, :, 0]).sum(1)
    backward_error = oldest - (backward * earlier).sum(1)
    gain = forward.square() / forward_error[:, None]
    loss = backward.square() / backward_error[:, None]
    change = gain - loss - (inner.mT * outer).sum(1)
    diagonal = (1 / forward_error)[:, None] + change.cumsum(1)
    error = (diagonal[:, -1] * backward_error - 1).abs()
    if not bool((error < TOLERANCE).all()):  # device synchronization; False for NaN, too
        return None
    mean_form = (mean * inverse_mean).sum(1).clamp(min=0)
    return InverseGram(diagonal - gain, mean_form, factorization.rank.double())
