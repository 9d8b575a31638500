"""The sparsity penalty of AR-Net, minimized without stochastic gradients and to exact zeros."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.solve import factorize, refit
from tsar.autoregression.standardize import Standardized, standardize

# The penalty is infinitely steep at 0. A slope as at 1e-9 is enough to hold any coefficient there.
SMALLEST = 1e-9
# Iterations between two attempts at an exact solution, and attempts before giving up.
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
        Coefficients in the units of the data; exact zeros off the active terms.
    objective : Tensor
        The objective at the minimum, on standardized data, before any refit.
    converged : Tensor
        Whether the last weighted lasso meets its optimality conditions.
    """

    active: Bool[Tensor, "group term"]
    coef: Float[Tensor, "group term"]
    objective: Float[Tensor, " group"]
    converged: Bool[Tensor, " group"]


def sparsity(
    coef: Float[Tensor, "group term"], *, c1: float = 3.0, c2: float = 3.0
) -> Float[Tensor, " group"]:
    """Return R, the mean over terms of ``tanh(c1 * |coef| ** (1 / c2) / 2)``.

    This is the paper's ``2 / (1 + exp(-c1 |coef| ** (1 / c2))) - 1``, a smooth count of terms.

    Examples
    --------
    >>> import torch
    >>> sparsity(torch.tensor([[0.0, 1.0]]))
    tensor([0.4526])
    """
    return (c1 * coef.abs().pow(1 / c2) / 2).tanh().mean(1)


def penalize(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    target_power: Float[Tensor, " group"],
    count: Float[Tensor, " group"],
    *,
    density: float,
    c1: float = 3.0,
    c2: float = 3.0,
    outer_steps: int = 10,
    shrink: bool = False,
) -> PenalizedFit:
    """Minimize AR-Net's objective from the least squares solution.

    On data standardized to variance 1 the objective is ``L + lambda R``: L the mean squared
    residual, R the `sparsity`, ``lambda = sqrt(noise) / 100 * (1 / density - 1)`` with the variance
    of the residuals of least squares as noise. R is concave in the size of a coefficient, so its
    tangent at the last solution bounds it from above (local linear approximation): each outer step
    is a lasso with a weight a term and lowers the objective.

    Parameters
    ----------
    gram, cross, target_power, count : Tensor
        As for `select_lags`.
    density : float
        Expected share s of terms that are not zero, above 0 and up to 1. 1 is least squares.
    c1, c2 : float
        Constants of the penalty, positive; the paper's are 3 and 3.
    outer_steps : int
        Most lassos to solve, at least 1. Fewer if none of them moves the solution.
    shrink : bool
        Keep the shrinkage of the penalty, 2 to 4 % on AR-Net's own examples. By default the
        survivors are refitted by least squares.

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
    >>> penalize(gram, cross, thousand, thousand, density=0.1).coef
    tensor([[0.0000, 0.7000, 0.0000]], dtype=torch.float64)
    """
    _check(density, c1, c2, outer_steps)
    system = standardize(gram, cross, target_power)
    coef = factorize(system.correlation).solve(system.cross[:, :, None])[:, :, 0]
    strength = _strength(system, coef, count, density)
    converged = torch.ones_like(count, dtype=torch.bool)
    for _ in range(outer_steps):
        weights = strength[:, None] / coef.shape[1] * _slope(coef, c1, c2)
        last = coef
        coef, converged = weighted_lasso(system.correlation, system.cross, weights, start=last)
        if bool(((coef - last).abs() <= 1e-10).all()):  # the host waits here
            break
    objective = _loss(system, coef) + strength * sparsity(coef, c1=c1, c2=c2)
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

    The alternating direction method of multipliers finds the support and the signs. Given these,
    the minimum is the solution of a linear system; it is taken, exact zeros and all, once it meets
    the optimality conditions.

    Parameters
    ----------
    correlation, cross : Tensor
        R and c; R has a unit diagonal.
    weights : Tensor
        Not negative.
    start : Tensor
        Where to begin. If its signs are those of the minimum, no iteration is needed.

    Returns
    -------
    tuple of Tensor
        The minimum, and whether it met the conditions; if not, it is the last iterate.

    Examples
    --------
    >>> import torch
    >>> unit, cross = torch.eye(2)[None].double(), torch.tensor([[0.5, 0.1]]).double()
    >>> weights = torch.full_like(cross, 0.4)
    >>> weighted_lasso(unit, cross, weights, start=cross)[0]
    tensor([[0.3000, 0.0000]], dtype=torch.float64)
    """
    coef, done = _on_support(correlation, cross, weights, start.sign())
    split, dual = start, torch.zeros_like(start)
    step = torch.full_like(start[:, :1], 2.0)
    for _ in range(ADMM_ROUNDS):
        if bool(done.all()):  # the host waits here, once a round
            break
        split, dual, step = _admm(correlation, cross, weights, split, dual, step)
        candidate, good = _on_support(correlation, cross, weights, split.sign())
        coef = torch.where(done[:, None], coef, torch.where(good[:, None], candidate, split))
        done = done | good
    return coef, done


def _admm(
    correlation: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    weights: Float[Tensor, "group term"],
    split: Float[Tensor, "group term"],
    dual: Float[Tensor, "group term"],
    step: Float[Tensor, "group 1"],
) -> tuple[Float[Tensor, "group term"], Float[Tensor, "group term"], Float[Tensor, "group 1"]]:
    """Run some iterations with one factorization, then balance the two residuals by the step."""
    identity = torch.eye(cross.shape[1], dtype=cross.dtype, device=cross.device)
    factor = torch.linalg.cholesky_ex(2 * correlation + step[:, :, None] * identity).L
    for _ in range(ADMM_STEPS):
        right = 2 * cross + step * (split - dual)
        smooth = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        last, shifted = split, smooth + dual
        split = shifted.sign() * (shifted.abs() - weights / step).clamp(min=0)
        dual = shifted - split
    primal = (smooth - split).norm(dim=1, keepdim=True)
    moved = step * (split - last).norm(dim=1, keepdim=True)
    change = torch.where(primal > 5 * moved, 3.0, torch.where(moved > 5 * primal, 1 / 3, 1.0))
    return split, dual / change, step * change


def _on_support(
    correlation: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    weights: Float[Tensor, "group term"],
    signs: Float[Tensor, "group term"],
) -> tuple[Float[Tensor, "group term"], Bool[Tensor, " group"]]:
    """Solve for given signs, and say whether that is the minimum (Karush, Kuhn, Tucker)."""
    active = signs != 0
    coef = refit(correlation, cross - weights * signs / 2, active)
    gradient = 2 * (cross - (correlation @ coef[:, :, None])[:, :, 0])
    agrees = (coef * signs >= 0).all(1)
    optimal = (active | (gradient.abs() <= weights + 1e-10)).all(1)
    return coef, agrees & optimal


def _slope(coef: Float[Tensor, "group term"], c1: float, c2: float) -> Float[Tensor, "group term"]:
    """Return the derivative of ``tanh(c1 * size ** (1 / c2) / 2)`` by the size of a coefficient."""
    size = coef.abs().clamp(min=SMALLEST)
    steepness = (c1 * size.pow(1 / c2) / 2).cosh().pow(-2)
    return c1 / (2 * c2) * size.pow(1 / c2 - 1) * steepness


def _loss(system: Standardized, coef: Float[Tensor, "group term"]) -> Float[Tensor, " group"]:
    """Return the mean squared residual, of a target of variance 1."""
    fitted = (system.correlation @ coef[:, :, None])[:, :, 0]
    return (1 - (coef * (2 * system.cross - fitted)).sum(1)).clamp(min=0)


def _strength(
    system: Standardized,
    coef: Float[Tensor, "group term"],
    count: Float[Tensor, " group"],
    density: float,
) -> Float[Tensor, " group"]:
    """Return lambda, with the unbiased variance of the residuals of least squares as noise."""
    freedom = (count - (system.scale > 0).sum(1) - 1).clamp(min=1.0)
    noise = _loss(system, coef) * count / freedom
    return noise.sqrt() / 100 * (1 / density - 1)


def _check(density: float, c1: float, c2: float, outer_steps: int) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density must be above 0 and at most 1; got {density}. Use 1 for all.")
    for name, value in (("c1", c1), ("c2", c2)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite; got {value}. Use 3.0.")
    if outer_steps < 1:
        raise ValueError(f"outer_steps must be at least 1; got {outer_steps}. Use about 10.")
