"""Least squares with the sparsity penalty of AR-Net, by reweighted lassos with exact zeros."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.least_squares import (
    StandardizedEquations,
    factorize,
    refit,
    standardize_equations,
)

# The slope of the penalty is infinite at 0; that at 1e-9 is enough to keep any coefficient at 0.
MIN_SIZE = 1e-9
# Iterations between two attempts at an exact solution, and the number of attempts.
ADMM_STEPS = 25
ADMM_ROUNDS = 40


@dataclass(frozen=True)
class PenalizedFit:
    """A local minimum of the penalized objective.

    Parameters
    ----------
    active : Tensor
        Terms with a coefficient other than zero.
    coef : Tensor
        Coefficients in the units of the data; exactly zero for inactive terms.
    objective : Tensor
        Objective at the minimum, on standardized data, before any refit.
    converged : Tensor
        Whether the last weighted lasso meets its optimality conditions.
    """

    active: Bool[Tensor, "group term"]
    coef: Float[Tensor, "group term"]
    objective: Float[Tensor, " group"]
    converged: Bool[Tensor, " group"]


def sparsity_penalty(
    coef: Float[Tensor, "group term"], *, c1: float = 3.0, c2: float = 3.0
) -> Float[Tensor, " group"]:
    """Compute the penalty R, the mean over terms of ``tanh(c1 * |coef| ** (1 / c2) / 2)``.

    This is the paper's ``2 / (1 + exp(-c1 |coef| ** (1 / c2))) - 1``, a smooth number of terms.

    Examples
    --------
    >>> import torch
    >>> sparsity_penalty(torch.tensor([[0.0, 1.0]]))
    tensor([0.4526])
    """
    return (c1 * coef.abs().pow(1 / c2) / 2).tanh().mean(1)


def fit_penalized(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    tss: Float[Tensor, " group"],
    nobs: Float[Tensor, " group"],
    *,
    density: float,
    c1: float = 3.0,
    c2: float = 3.0,
    outer_steps: int = 10,
    shrink: bool = False,
) -> PenalizedFit:
    """Minimize AR-Net's objective from the least squares solution.

    On data standardized to variance 1 the objective is ``L + lambda R``: L the mean squared
    residual, R the `sparsity_penalty`, ``lambda = sqrt(noise) / 100 * (1 / density - 1)``, where
    noise is the variance of the least squares residuals. R is concave in the size of a coefficient,
    so its tangent at the last solution bounds it from above (local linear approximation): each
    outer step is a lasso with a weight per term, and lowers the objective.

    Parameters
    ----------
    gram, cross, tss, nobs : Tensor
        As for `select_lags`.
    density : float
        Expected share s of nonzero terms, in (0, 1]. 1 is least squares.
    c1, c2 : float
        Constants of the penalty, positive; the paper's are 3 and 3.
    outer_steps : int
        Maximum number of lassos, at least 1; they stop once the solution no longer changes.
    shrink : bool
        Keep the shrinkage of the penalty, 2 to 4 % on AR-Net's own examples. By default the
        active terms are refitted by least squares.

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    O. Triebe, N. Laptev, R. Rajagopal, AR-Net: a simple auto-regressive neural network for time
    series, arXiv:1911.12436, section 3.3.1. H. Zou, R. Li, One-step sparse estimates in nonconcave
    penalized likelihood models, Annals of Statistics 36 (2008).

    Examples
    --------
    >>> import torch
    >>> gram = 1000 * torch.eye(3, dtype=torch.float64)[None]
    >>> cross = torch.tensor([[1.0, 700.0, 0.0]], dtype=torch.float64)
    >>> thousand = torch.tensor([1000.0], dtype=torch.float64)
    >>> fit_penalized(gram, cross, thousand, thousand, density=0.1).coef
    tensor([[0.0000, 0.7000, 0.0000]], dtype=torch.float64)
    """
    _check(density, c1, c2, outer_steps)
    system = standardize_equations(gram, cross, tss)
    coef = factorize(system.correlation).solve(system.cross[:, :, None])[:, :, 0]
    strength = _strength(system, coef, nobs, density)
    converged = torch.ones_like(nobs, dtype=torch.bool)
    for _ in range(outer_steps):
        weights = strength[:, None] / coef.shape[1] * _slope(coef, c1, c2)
        previous = coef
        coef, converged = weighted_lasso(system.correlation, system.cross, weights, start=previous)
        if bool(((coef - previous).abs() <= 1e-10).all()):  # device synchronization
            break
    objective = _loss(system, coef) + strength * sparsity_penalty(coef, c1=c1, c2=c2)
    active = coef != 0
    final = coef * system.scale if shrink else refit(gram, cross, active)
    return PenalizedFit(active, final, objective, converged)


def weighted_lasso(
    correlation: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    weights: Float[Tensor, "group term"],
    *,
    start: Float[Tensor, "group term"],
) -> tuple[Float[Tensor, "group term"], Bool[Tensor, " group"]]:
    """Minimize ``b' R b - 2 c' b + sum(weights * |b|)`` for every system.

    The alternating direction method of multipliers (ADMM) finds the support and the signs. Given
    these, the minimum is the solution of a linear system, with exact zeros elsewhere; it is
    accepted once it meets the optimality conditions.

    Parameters
    ----------
    correlation, cross : Tensor
        R and c; R has a unit diagonal.
    weights : Tensor
        Not negative.
    start : Tensor
        Initial coefficients. If they have the signs of the minimum, no iteration is needed.

    Returns
    -------
    tuple of Tensor
        The minimum, and whether it meets the optimality conditions; otherwise the last iterate.

    Examples
    --------
    >>> import torch
    >>> unit, cross = torch.eye(2)[None].double(), torch.tensor([[0.5, 0.1]]).double()
    >>> weights = torch.full_like(cross, 0.4)
    >>> weighted_lasso(unit, cross, weights, start=cross)[0]
    tensor([[0.3000, 0.0000]], dtype=torch.float64)
    """
    coef, converged = _solve_on_support(correlation, cross, weights, start.sign())
    split, dual = start, torch.zeros_like(start)
    step = torch.full_like(start[:, :1], 2.0)
    for _ in range(ADMM_ROUNDS):
        if bool(converged.all()):  # device synchronization, once per round
            break
        split, dual, step = _admm(correlation, cross, weights, split, dual, step)
        candidate, optimal = _solve_on_support(correlation, cross, weights, split.sign())
        update = torch.where(optimal[:, None], candidate, split)
        coef = torch.where(converged[:, None], coef, update)
        converged = converged | optimal
    return coef, converged


def _admm(
    correlation: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    weights: Float[Tensor, "group term"],
    split: Float[Tensor, "group term"],
    dual: Float[Tensor, "group term"],
    step: Float[Tensor, "group 1"],
) -> tuple[Float[Tensor, "group term"], Float[Tensor, "group term"], Float[Tensor, "group 1"]]:
    """Iterate with one factorization, then adapt the step to balance the two residuals."""
    identity = torch.eye(cross.shape[1], dtype=cross.dtype, device=cross.device)
    factor = torch.linalg.cholesky_ex(2 * correlation + step[:, :, None] * identity).L
    for _ in range(ADMM_STEPS):
        right = 2 * cross + step * (split - dual)
        smooth = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        previous, shifted = split, smooth + dual
        split = shifted.sign() * (shifted.abs() - weights / step).clamp(min=0)
        dual = shifted - split
    primal = (smooth - split).norm(dim=1, keepdim=True)
    dual_residual = step * (split - previous).norm(dim=1, keepdim=True)
    slower = torch.where(dual_residual > 5 * primal, 1 / 3, 1.0)
    change = torch.where(primal > 5 * dual_residual, 3.0, slower)
    return split, dual / change, step * change


def _solve_on_support(
    correlation: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    weights: Float[Tensor, "group term"],
    signs: Float[Tensor, "group term"],
) -> tuple[Float[Tensor, "group term"], Bool[Tensor, " group"]]:
    """Solution for given signs, and whether it is the minimum (Karush-Kuhn-Tucker conditions)."""
    active = signs != 0
    coef = refit(correlation, cross - weights * signs / 2, active)
    gradient = 2 * (cross - (correlation @ coef[:, :, None])[:, :, 0])
    same_signs = (coef * signs >= 0).all(1)
    stationary = (active | (gradient.abs() <= weights + 1e-10)).all(1)
    return coef, same_signs & stationary


def _slope(coef: Float[Tensor, "group term"], c1: float, c2: float) -> Float[Tensor, "group term"]:
    """Derivative of ``tanh(c1 * size ** (1 / c2) / 2)`` by the size of a coefficient."""
    size = coef.abs().clamp(min=MIN_SIZE)
    steepness = (c1 * size.pow(1 / c2) / 2).cosh().pow(-2)
    return c1 / (2 * c2) * size.pow(1 / c2 - 1) * steepness


def _loss(
    system: StandardizedEquations, coef: Float[Tensor, "group term"]
) -> Float[Tensor, " group"]:
    """Mean squared residual relative to the variance of the target."""
    fitted = (system.correlation @ coef[:, :, None])[:, :, 0]
    return (1 - (coef * (2 * system.cross - fitted)).sum(1)).clamp(min=0)


def _strength(
    system: StandardizedEquations,
    coef: Float[Tensor, "group term"],
    nobs: Float[Tensor, " group"],
    density: float,
) -> Float[Tensor, " group"]:
    """Strength lambda of the penalty, with the unbiased residual variance as noise."""
    df_resid = (nobs - (system.scale > 0).sum(1) - 1).clamp(min=1.0)
    noise = _loss(system, coef) * nobs / df_resid
    return noise.sqrt() / 100 * (1 / density - 1)


def _check(density: float, c1: float, c2: float, outer_steps: int) -> None:
    if not 0 < density <= 1:
        raise ValueError(
            f"density must be above 0 and at most 1; got {density}. Use 1 for least squares."
        )
    for name, value in (("c1", c1), ("c2", c2)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite; got {value}. Use 3.0.")
    if outer_steps < 1:
        raise ValueError(f"outer_steps must be at least 1; got {outer_steps}. Use about 10.")
