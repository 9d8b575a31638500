"""Linear quantile regression by an interior point method, batched over systems."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.least_squares import factorize
from tsar.autoregression.robust.rows import Rows

MAX_STEPS = 60
TOLERANCE = 1e-8  # duality gap at convergence, as a share of the loss
NEGLIGIBLE = 1e-6  # loss of an observation, in mean deviations of the target, that counts as none
BACKOFF = 0.9995  # share of the largest step that keeps all variables positive
CENTRAL = 0.1  # distance of the start from the boundary, in mean absolute residuals

Values = Float[Tensor, "group row"]


class QuantileFit(NamedTuple):
    """Coefficients, and the intercept of centred regressors."""

    coef: Float[Tensor, "group term"]
    intercept: Float[Tensor, " group"]


class _Problem(NamedTuple):
    """Weighted regressors, ones among them, and targets; see `_Point`."""

    regressors: Float[Tensor, "group term row"]
    target: Values
    inside: Bool[Tensor, "group row"]
    penalty: Float[Tensor, "group term"]
    level: Float[Tensor, "group 1"]

    def dot(self, values: Values) -> Float[Tensor, "group term"]:
        """Products of the regressors with values of rows."""
        return (self.regressors * values[:, None]).sum(dim=2)

    def fit(self, coef: Float[Tensor, "group term"]) -> Values:
        """Fitted values."""
        return (self.regressors * coef[:, :, None]).sum(dim=1)

    def loss(self, coef: Float[Tensor, "group term"]) -> Float[Tensor, " group"]:
        """Sum of the quantile loss."""
        error = self.target - self.fit(coef)
        return torch.maximum(self.level * error, (self.level - 1) * error).sum(dim=1)


class _Point(NamedTuple):
    """Coefficients; dual variables, their distances to 1; residuals below and above zero.

    All but the coefficients are positive. At the solution ``dual * below`` and ``rest * above``
    are zero: the dual variable of a residual above zero is 1, of one below 0.
    """

    coef: Float[Tensor, "group term"]
    dual: Values
    rest: Values
    below: Values
    above: Values

    def gap(self) -> Float[Tensor, " group"]:
        """Sum of the products of complementary variables."""
        return (self.dual * self.below + self.rest * self.above).sum(dim=1)

    def moved(self, by: "_Point", share: Float[Tensor, " group"]) -> "_Point":
        """The point after a share of a step."""
        size = share[:, None]
        return _Point(*(here + size * change for here, change in zip(self, by, strict=True)))


def fit_quantiles(rows: Rows, level: Float[Tensor, " group"], ridge: float = 0.0) -> QuantileFit:
    """Minimize the quantile loss of each system.

    Parameters
    ----------
    rows
        Regressions.
    level
        Quantile level of each system, in (0, 1).
    ridge
        See `least_squares`; in units of the mean absolute deviation of the target.

    References
    ----------
    S. Portnoy, R. Koenker, The Gaussian hare and the Laplacian tortoise: computability of
    squared-error versus absolute-error estimators, Statistical Science 12 (1997), section 5.
    """
    nobs = rows.nobs.clamp(min=1)
    centre = (rows.target * rows.weight).sum(dim=1) / nobs
    deviation = (rows.target - centre[:, None]) * (rows.weight > 0)
    unit = (deviation.abs() * rows.weight).sum(dim=1) / nobs
    unit = torch.where(unit > 0, unit, 1.0)
    ones = torch.ones_like(rows.target)[:, None]
    weighted = torch.cat([rows.regressors, ones], dim=1) * rows.weight[:, None]
    squares = (rows.regressors.square() * rows.weight[:, None]).sum(dim=2)
    penalty = torch.nn.functional.pad(ridge * squares, (0, 1))
    target = deviation * rows.weight / unit[:, None]
    problem = _Problem(weighted, target, rows.weight > 0, penalty, level[:, None])
    coef = _solve(problem) * unit[:, None]
    return QuantileFit(coef[:, :-1], coef[:, -1] + centre)


def _solve(problem: _Problem) -> Float[Tensor, "group term"]:
    """Newton steps from least squares to a vanishing gap; a system stops by itself."""
    point = _start(problem)
    nobs = problem.inside.sum(dim=1)
    for _ in range(MAX_STEPS):
        allowed = TOLERANCE * (problem.loss(point.coef) + NEGLIGIBLE * nobs)
        moving = point.gap() > allowed
        if not bool(moving.any()):  # device synchronization
            break
        point = _step(problem, point, moving)
    return point.coef


def _start(problem: _Problem) -> _Point:
    """Least squares, with dual variables that satisfy the equations of the level."""
    gram = problem.regressors @ problem.regressors.mT
    coef = factorize(gram).solve(problem.dot(problem.target)[:, :, None])[:, :, 0]
    error = problem.target - problem.fit(coef)
    nobs = problem.inside.sum(dim=1).clamp(min=1)
    central = CENTRAL * error.abs().sum(dim=1) / nobs + NEGLIGIBLE
    below, above = ((sign * error).clamp(min=0) + central[:, None] for sign in (-1, 1))
    dual = (1 - problem.level).expand_as(error)
    outside = ~problem.inside  # at a vertex of their own, where they have no effect
    return _Point(
        coef,
        dual.masked_fill(outside, 0.5),
        (1 - dual).masked_fill(outside, 0.5),
        below.masked_fill(outside, 0.0),
        above.masked_fill(outside, 0.0),
    )


def _step(problem: _Problem, point: _Point, moving: Bool[Tensor, " group"]) -> _Point:
    """Mehrotra's predictor and corrector."""
    stiffness = point.below / point.dual + point.above / point.rest
    weight = torch.where(problem.inside, 1 / stiffness.clamp(min=1e-300), 0.0)
    gram = (problem.regressors * weight[:, None]) @ problem.regressors.mT
    factorization = factorize(gram + torch.diag_embed(problem.penalty))
    balanced = problem.dot(1 - problem.level - point.dual) + problem.penalty * point.coef

    def direction(below: Values, above: Values) -> _Point:
        """Step whose complementary parts change by `below` and `above` if duals stay."""
        right = problem.dot(weight * (below - above)) - balanced
        coef = factorization.solve(right[:, :, None])[:, :, 0]
        dual = weight * (below - above - problem.fit(coef))
        below = (below - point.below * dual / point.dual) * problem.inside
        above = (above + point.above * dual / point.rest) * problem.inside
        return _Point(coef, dual, -dual, below, above)

    affine = direction(-point.below, -point.above)
    gap = point.gap()
    predicted = point.moved(affine, _largest_step(point, affine)).gap()
    nobs = problem.inside.sum(dim=1).clamp(min=1)
    ratio = predicted / gap.clamp(min=torch.finfo(gap.dtype).tiny)
    centre = (gap * ratio**3 / (2 * nobs))[:, None]
    corrected = direction(
        (centre - affine.dual * affine.below) / point.dual - point.below,
        (centre - affine.rest * affine.above) / point.rest - point.above,
    )
    share = _largest_step(point, corrected)
    return point.moved(corrected, share * moving)


def _largest_step(point: _Point, by: _Point) -> Float[Tensor, " group"]:
    """Share of a step, at most 1, that keeps all variables positive."""
    largest = point.coef.new_full((len(point.coef),), torch.inf)
    for here, change in zip(point[1:], by[1:], strict=True):
        ratio = torch.where(change < 0, -here / change, torch.inf)
        largest = torch.minimum(largest, ratio.amin(dim=1))
    return (BACKOFF * largest).clamp(max=1.0)
