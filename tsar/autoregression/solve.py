"""Least squares from normal equations, batched over systems."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Factorization:
    """A Gram matrix factorized once, to solve for many right sides.

    Parameters
    ----------
    factor : Tensor
        Where `regular`, the lower Cholesky factor of the Gram matrix scaled to a unit diagonal,
        plus the ridge; elsewhere the pseudo-inverse of that matrix.
    scale : Tensor
        Inverse square roots of the diagonal of the Gram matrix; 0 for a term without variance.
    regular : Tensor
        False where the terms are linearly dependent to working precision.
    rank : Tensor
        Number of linearly independent terms.
    tolerance : Tensor
        Smallest squared pivot: the part of its variance that the worst term does not share with
        those before it. 1 for orthogonal terms, 0 for dependent ones.
    ridge : float
        What was added to the unit diagonal.
    """

    factor: Float[Tensor, "group term term"]
    scale: Float[Tensor, "group term"]
    regular: Bool[Tensor, " group"]
    rank: Int[Tensor, " group"]
    tolerance: Float[Tensor, " group"]
    ridge: float

    @cached_property
    def all_regular(self) -> bool:
        """Whether no system is singular; the host waits for it once."""
        return bool(self.regular.all())

    @property
    def ill_conditioned(self) -> Bool[Tensor, " group"]:
        """Mark the systems whose coefficients may be wrong by more than 1e-10 of their norm."""
        return self.tolerance < 1e10 * EPS * self.factor.shape[1]

    def solve(
        self, cross: Float[Tensor, "group term target"]
    ) -> Float[Tensor, "group term target"]:
        """Solve for right sides; of many solutions, the one of least norm in standardized terms."""
        scaled = cross * self.scale[:, :, None]
        if self.all_regular:
            return _substitute(self.factor, scaled) * self.scale[:, :, None]
        safe = torch.where(self.regular[:, None, None], self.factor, _unit(self.factor))
        solution = _substitute(safe, scaled)
        singular = (~self.regular).nonzero()[:, 0]
        solution[singular] = self.factor[singular] @ scaled[singular]
        return solution * self.scale[:, :, None]

    def inverse_root(self) -> Float[Tensor, "group term term"]:
        """Return R with inverse = R' R."""
        eye = _unit(self.factor).expand_as(self.factor)
        if self.all_regular:
            root = torch.linalg.solve_triangular(self.factor, eye, upper=False)
            return root.mul_(self.scale[:, None])
        safe = torch.where(self.regular[:, None, None], self.factor, eye)
        root = torch.linalg.solve_triangular(safe, eye, upper=False)
        singular = (~self.regular).nonzero()[:, 0]
        values, vectors = torch.linalg.eigh(self.factor[singular])  # of a pseudo-inverse
        root[singular] = vectors.mT * values.clamp(min=0).sqrt()[:, :, None]
        return root * self.scale[:, None]

    def inverse(self) -> Float[Tensor, "group term term"]:
        """Return the inverse or pseudo-inverse: times the residual variance, the covariance."""
        if self.all_regular:
            inverse = torch.cholesky_inverse(self.factor)
            return inverse.mul_(self.scale[:, :, None]).mul_(self.scale[:, None])
        safe = torch.where(self.regular[:, None, None], self.factor, _unit(self.factor))
        inverse = torch.cholesky_inverse(safe)
        singular = (~self.regular).nonzero()[:, 0]
        inverse[singular] = self.factor[singular]
        return inverse * self.scale[:, :, None] * self.scale[:, None]


@dataclass(frozen=True)
class LeastSquares:
    """Coefficients, and the factorization that they were solved with."""

    coef: Float[Tensor, "group term target"]
    factorization: Factorization


def least_squares(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term target"],
    *,
    ridge: float = 0.0,
) -> LeastSquares:
    """Minimize the squared residuals of every system, and of every target in it, at once.

    Parameters
    ----------
    gram : Tensor
        Centred products of the regressors.
    cross : Tensor
        Centred products of the regressors with the targets.
    ridge : float
        At least 0. With terms z standardized to variance 1 and coefficients b of these, the mean
        squared residual plus ``ridge * sum(b**2)`` is minimized; so it depends neither on the
        length nor on the unit of the series.

    Returns
    -------
    LeastSquares
        Always finite: a term without variance has coefficient 0, and dependent terms share their
        effect (least norm of the standardized coefficients).

    Raises
    ------
    ValueError
        If `ridge` is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> gram = torch.tensor([[[4.0, 4.0], [4.0, 4.0]]], dtype=torch.float64)
    >>> solution = least_squares(gram, gram[:, :, :1])
    >>> solution.coef[0, :, 0], solution.factorization.rank
    (tensor([0.5000, 0.5000], dtype=torch.float64), tensor([1]))
    """
    factorization = factorize(gram, ridge=ridge)
    return LeastSquares(factorization.solve(cross.double()), factorization)


def factorize(gram: Float[Tensor, "group term term"], *, ridge: float = 0.0) -> Factorization:
    """Factorize Gram matrices after scaling them to a unit diagonal.

    Systems whose pivots are within rounding of zero (`tolerance` below ``eps * (16 + 4 k)`` for k
    terms) get a pseudo-inverse by eigenvalues instead. The host waits here once, to see if any did.

    Parameters
    ----------
    gram : Tensor
        Symmetric and positive semidefinite.
    ridge : float
        At least 0; see `least_squares`.

    Raises
    ------
    ValueError
        If `ridge` is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> factorize(2 * torch.eye(3, dtype=torch.float64)[None]).inverse()[0].diagonal()
    tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    if not 0 <= ridge < float("inf"):
        raise ValueError(f"ridge must be finite and at least 0; got {ridge}. Use 0 for none.")
    diagonal = gram.diagonal(dim1=1, dim2=2).double()
    varies = diagonal > 0
    scale = torch.where(varies, diagonal, 1.0).rsqrt() * varies
    factor = _correlation(gram, scale, ridge).mT  # by columns, as LAPACK has it: nothing to copy
    failure = torch.empty(len(gram), dtype=torch.int32, device=gram.device)
    torch.linalg.cholesky_ex(factor, out=(factor, failure))
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    tolerance = pivots.amin(1) if gram.shape[1] else pivots.new_ones(len(gram))
    regular = (failure == 0) & (tolerance > _singular_below(gram.shape[1]))
    rank = varies.sum(1)
    singular = (~regular).nonzero()[:, 0]
    if len(singular):
        correlation = _correlation(gram[singular], scale[singular], ridge)
        factor[singular], lost = _pseudo_inverse(correlation)
        rank = rank.index_add(0, singular, -lost)
    tolerance = torch.where(regular, tolerance, 0.0)
    return Factorization(factor, scale, regular, rank, tolerance, ridge)


def _substitute(
    factor: Float[Tensor, "group term term"], right: Float[Tensor, "group term target"]
) -> Float[Tensor, "group term target"]:
    """Solve by a lower Cholesky factor; `torch.cholesky_solve` copies the factor first."""
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _correlation(
    gram: Float[Tensor, "group term term"], scale: Float[Tensor, "group term"], ridge: float
) -> Float[Tensor, "group term term"]:
    """Gram matrices with a unit diagonal, plus the ridge."""
    correlation = (gram * scale[:, :, None]).mul_(scale[:, None])
    correlation.diagonal(dim1=1, dim2=2).fill_(1.0 + ridge)
    return correlation


def refit(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    active: Bool[Tensor, "group term"],
) -> Float[Tensor, "group term"]:
    """Return the least squares coefficients on the active terms, and exact zeros elsewhere.

    Examples
    --------
    >>> import torch
    >>> gram = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]], dtype=torch.float64)
    >>> cross = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    >>> refit(gram, cross, torch.tensor([[True, False]]))
    tensor([[0.5000, 0.0000]], dtype=torch.float64)
    """
    # The host waits for the largest number of terms: the size of the systems to solve.
    size = int(active.sum(1).max()) if active.numel() else 0
    terms = (~active).long().argsort(dim=1, stable=True)[:, :size]
    kept = active.gather(1, terms).double()
    small = submatrix(gram.double(), terms) * kept[:, :, None] * kept[:, None]
    coef = factorize(small).solve((cross.double().gather(1, terms) * kept)[:, :, None])[:, :, 0]
    return torch.zeros_like(cross, dtype=torch.float64).scatter(1, terms, coef)


def submatrix(
    matrix: Float[Tensor, "group term term"], terms: Int[Tensor, "group chosen"]
) -> Float[Tensor, "group chosen chosen"]:
    """Gather the rows and columns of other terms in each system."""
    each = torch.arange(len(terms), device=terms.device)[:, None, None]
    return matrix[each, terms[:, :, None], terms[:, None]]


def _pseudo_inverse(
    correlation: Float[Tensor, "group term term"],
) -> tuple[Float[Tensor, "group term term"], Int[Tensor, " group"]]:
    """Return the pseudo-inverses, and how many eigenvalues of each count as zero."""
    values, vectors = torch.linalg.eigh(correlation)
    large = values > _singular_below(correlation.shape[1])
    weights = torch.where(large, values, 1.0).reciprocal() * large
    return (vectors * weights[:, None]) @ vectors.mT, (~large).sum(1)


def _singular_below(n_terms: int) -> float:
    # Rounding of a Gram matrix of unit diagonal shifts its eigenvalues by a few eps a term.
    return EPS * (16 + 4 * n_terms)


def _unit(factor: Float[Tensor, "group term term"]) -> Float[Tensor, "term term"]:
    return torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device)
