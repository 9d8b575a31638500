"""Least squares by Cholesky factorization of normal equations, batched over systems."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.segments import size_classes

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Factorization:
    """Cholesky factorization of a Gram matrix, reused for many right sides.

    Parameters
    ----------
    factor : Tensor
        Lower Cholesky factor of the Gram matrix scaled to a unit diagonal, plus the ridge; where
        not `regular`, the pseudo-inverse of that matrix.
    scale : Tensor
        Inverse square roots of the diagonal of the Gram matrix; 0 for a term without variance.
    regular : Tensor
        False where the terms are linearly dependent to working precision.
    rank : Tensor
        Number of linearly independent terms.
    tolerance : Tensor
        Smallest squared pivot: the smallest share of a term's variance that the terms before it do
        not explain. 1 for orthogonal terms, 0 for dependent ones.
    ridge : float
        Ridge that was added to the unit diagonal.
    """

    factor: Float[Tensor, "group term term"]
    scale: Float[Tensor, "group term"]
    regular: Bool[Tensor, " group"]
    rank: Int[Tensor, " group"]
    tolerance: Float[Tensor, " group"]
    ridge: float

    @cached_property
    def all_regular(self) -> bool:
        """Whether no system is singular; device synchronization, once."""
        return bool(self.regular.all())

    @property
    def ill_conditioned(self) -> Bool[Tensor, " group"]:
        """Whether the coefficients of a system may be wrong by more than 1e-10 of their norm."""
        return self.tolerance < 1e10 * EPS * self.factor.shape[1]

    def solve(
        self, cross: Float[Tensor, "group term target"]
    ) -> Float[Tensor, "group term target"]:
        """Solve for right sides; singular systems by least norm of standardized coefficients."""
        scaled = cross * self.scale[:, :, None]
        if self.all_regular:
            return _substitute(self.factor, scaled) * self.scale[:, :, None]
        solution = _substitute(self._regular_factor(), scaled)
        singular = (~self.regular).nonzero()[:, 0]
        solution[singular] = self.factor[singular] @ scaled[singular]
        return solution * self.scale[:, :, None]

    def inverse_root(self) -> Float[Tensor, "group term term"]:
        """R with R' R = inverse."""
        eye = _identity(self.factor).expand_as(self.factor)
        if self.all_regular:
            root = torch.linalg.solve_triangular(self.factor, eye, upper=False)
            return root.mul_(self.scale[:, None])
        root = torch.linalg.solve_triangular(self._regular_factor(), eye, upper=False)
        singular = (~self.regular).nonzero()[:, 0]
        values, vectors = torch.linalg.eigh(self.factor[singular])  # of a pseudo-inverse
        root[singular] = vectors.mT * values.clamp(min=0).sqrt()[:, :, None]
        return root * self.scale[:, None]

    def inverse(self) -> Float[Tensor, "group term term"]:
        """Inverse or pseudo-inverse; times the residual variance, the covariance of `coef`."""
        if self.all_regular:
            inverse = torch.cholesky_inverse(self.factor)
            return inverse.mul_(self.scale[:, :, None]).mul_(self.scale[:, None])
        inverse = torch.cholesky_inverse(self._regular_factor())
        singular = (~self.regular).nonzero()[:, 0]
        inverse[singular] = self.factor[singular]
        return inverse * self.scale[:, :, None] * self.scale[:, None]

    def _regular_factor(self) -> Float[Tensor, "group term term"]:
        """Cholesky factors, identity matrices for singular systems."""
        return torch.where(self.regular[:, None, None], self.factor, _identity(self.factor))


@dataclass(frozen=True)
class LeastSquares:
    """Least squares coefficients and the factorization that gave them."""

    coef: Float[Tensor, "group term target"]
    factorization: Factorization


def least_squares(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term target"],
    *,
    ridge: float = 0.0,
) -> LeastSquares:
    """Minimize the squared residuals of every system and target at once.

    Parameters
    ----------
    gram : Tensor
        Centred products of the regressors.
    cross : Tensor
        Centred products of the regressors with the targets.
    ridge : float
        At least 0. The mean squared residual plus ``ridge * sum(b**2)`` is minimized, where b are
        the coefficients of terms standardized to variance 1; so it depends neither on the length
        nor on the unit of the series.

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
    terms) get a pseudo-inverse by eigenvalues instead. One device synchronization, to find them.

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
    factor = _correlation(gram, scale, ridge).mT  # column-major for LAPACK: nothing to copy
    failure = torch.empty(len(gram), dtype=torch.int32, device=gram.device)
    torch.linalg.cholesky_ex(factor, out=(factor, failure))
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    tolerance = pivots.amin(1) if gram.shape[1] else pivots.new_ones(len(gram))
    regular = (failure == 0) & (tolerance > _singular_threshold(gram.shape[1]))
    rank = varies.sum(1)
    singular = (~regular).nonzero()[:, 0]
    if len(singular):
        correlation = _correlation(gram[singular], scale[singular], ridge)
        factor[singular], nullity = _pseudo_inverse(correlation)
        rank = rank.index_add(0, singular, -nullity)
    tolerance = torch.where(regular, tolerance, 0.0)
    return Factorization(factor, scale, regular, rank, tolerance, ridge)


def _substitute(
    factor: Float[Tensor, "group term term"], right: Float[Tensor, "group term target"]
) -> Float[Tensor, "group term target"]:
    """Solve with a lower Cholesky factor; `torch.cholesky_solve` would copy the factor."""
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
    """Least squares coefficients of the active terms; exact zeros elsewhere.

    Examples
    --------
    >>> import torch
    >>> gram = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]], dtype=torch.float64)
    >>> cross = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    >>> refit(gram, cross, torch.tensor([[True, False]]))
    tensor([[0.5000, 0.0000]], dtype=torch.float64)
    """
    result = torch.zeros_like(cross, dtype=torch.float64)
    for rows, size in size_classes(active.sum(1)):
        terms, block = active_block(gram[rows].double(), active[rows], size)
        active_cross = cross[rows].double().gather(1, terms) * active[rows].gather(1, terms)
        coef = factorize(block).solve(active_cross[:, :, None])[:, :, 0]
        result[rows] = result[rows].scatter(1, terms, coef)
    return result


def active_block(
    gram: Float[Tensor, "group term term"], active: Bool[Tensor, "group term"], size: int
) -> tuple[Int[Tensor, "group active"], Float[Tensor, "group active active"]]:
    """Indices of the active terms of each group, and the Gram matrix of these.

    Groups with fewer active terms than `size` are padded with other terms, if there are any, whose
    rows and columns are zero.
    """
    terms = (~active).long().argsort(dim=1, stable=True)[:, :size]
    mask = active.gather(1, terms).double()
    return terms, submatrix(gram, terms) * mask[:, :, None] * mask[:, None]


def submatrix(
    matrix: Float[Tensor, "group term term"], terms: Int[Tensor, "group chosen"]
) -> Float[Tensor, "group chosen chosen"]:
    """Rows and columns of different terms in each system."""
    group = torch.arange(len(terms), device=terms.device)[:, None, None]
    return matrix[group, terms[:, :, None], terms[:, None]]


def _pseudo_inverse(
    correlation: Float[Tensor, "group term term"],
) -> tuple[Float[Tensor, "group term term"], Int[Tensor, " group"]]:
    """Pseudo-inverses, and the number of zero eigenvalues of each."""
    values, vectors = torch.linalg.eigh(correlation)
    large = values > _singular_threshold(correlation.shape[1])
    weights = torch.where(large, values, 1.0).reciprocal() * large
    return (vectors * weights[:, None]) @ vectors.mT, (~large).sum(1)


def _singular_threshold(n_terms: int) -> float:
    # Rounding of a Gram matrix of unit diagonal shifts its eigenvalues by a few eps per term.
    return EPS * (16 + 4 * n_terms)


def _identity(factor: Float[Tensor, "group term term"]) -> Float[Tensor, "term term"]:
    return torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device)


@dataclass(frozen=True)
class StandardizedEquations:
    """Normal equations of terms and target of length 1: their correlations, 0 without variance.

    The scale, the length of the target over the length of each term, is the factor from
    coefficients of the standardized equations to those of the data; 0 for a term without variance.
    """

    correlation: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term"]
    scale: Float[Tensor, "group term"]


def standardize_equations(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    tss: Float[Tensor, " group"],
) -> StandardizedEquations:
    """Scale normal equations to terms and target of length 1, in float64.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1, 1)
    >>> system = standardize_equations(4 * one[None], 3 * one, 9 * one[0])
    >>> system.cross, system.scale
    (tensor([[0.5000]], dtype=torch.float64), tensor([[1.5000]], dtype=torch.float64))
    """
    inverse = _inverse_length(gram.diagonal(dim1=1, dim2=2))
    correlation = gram * inverse[:, :, None] * inverse[:, None]
    scale = inverse * tss.double().clamp(min=0).sqrt()[:, None]
    cross = cross * inverse * _inverse_length(tss)[:, None]
    return StandardizedEquations(correlation, cross, scale)


def _inverse_length(square: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    return torch.where(square > 0, square.double(), torch.inf).rsqrt()
