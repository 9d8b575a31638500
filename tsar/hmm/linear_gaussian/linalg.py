"""Batched linear algebra of covariance matrices that may be singular to rounding."""

import torch
from jaxtyping import Float
from torch import Tensor


def symmetric(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Symmetric part."""
    return (matrix + matrix.mT) / 2


def solve_positive(
    matrix: Float[Tensor, "*batch n n"], right: Float[Tensor, "*batch n m"]
) -> Float[Tensor, "*batch n m"]:
    """Solve with a matrix that is positive definite, or singular to rounding.

    It is scaled to a unit diagonal; a ridge of the size of rounding affects only singular ones.
    """
    scale = matrix.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1)
    unit = matrix / (scale[..., :, None] * scale[..., None, :])
    eye = torch.eye(unit.shape[-1]).to(unit)
    ridge = 8 * len(eye) * torch.finfo(unit.dtype).eps
    factor = torch.linalg.cholesky_ex(unit + ridge * eye)[0]
    return torch.cholesky_solve(right / scale[..., None], factor) / scale[..., None]


def clip_eigenvalues(
    covariance: Float[Tensor, "model n n"], min_eigenvalue: float
) -> Float[Tensor, "model n n"]:
    """Most likely covariance among those without an eigenvalue below `min_eigenvalue`."""
    values, vectors = torch.linalg.eigh(symmetric(covariance))
    return symmetric(vectors * values.clamp(min=min_eigenvalue)[:, None] @ vectors.mT)


def square_root(covariance: Float[Tensor, "model n n"]) -> Float[Tensor, "model n n"]:
    """Matrix L with L L' = covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()[:, None]
