"""Sparse lags chosen on the Gram matrix, batched over systems."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.solve import EPS, factorize, refit, submatrix
from tsar.autoregression.standardize import standardize

# Forward steps without a better model in any system before the search ends. Correlated lags may
# need a few steps together before the criterion falls; the backward pass removes what was in vain.
PATIENCE = 10


@dataclass(frozen=True)
class Selection:
    """Chosen terms, coefficients refitted on them without shrinkage, and the criterion reached."""

    active: Bool[Tensor, "group term"]
    coef: Float[Tensor, "group term"]
    criterion: Float[Tensor, " group"]


@dataclass(frozen=True)
class _Problem:
    """Standardized systems: terms and target of variance 1."""

    correlation: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term"]
    power: Float[Tensor, " group"]
    count: Float[Tensor, " group"]
    criterion: str
    max_terms: int

    def price(
        self,
        residual: Float[Tensor, "group path"],
        sizes: Int[Tensor, "group path"],
        *,
        nested: bool,
    ) -> Float[Tensor, "group path"]:
        """Return the criterion of models of given sizes and shares of variance left unexplained.

        n log(rss / n) + size * (2 or log n), and for "ebic" twice the logarithm of the number of
        models that compete at that size: all subsets, or all orders if the lags are nested.
        """
        n = self.count[:, None].clamp(min=1.0)
        # Rounding of the Gram matrix hides residuals below a few eps of the target.
        rss = residual.clamp(min=16 * EPS) * self.power[:, None].clamp(min=1e-300)
        cost = 2.0 if self.criterion == "aic" else n.log()
        value = n * (rss / n).log() + sizes * cost
        if self.criterion == "ebic":
            value = value + 2 * self._log_rivals(sizes.double(), nested)
        # A model needs two observations a coefficient; at most `max_terms`.
        allowed = (2 * (sizes + 1) <= n) & (sizes <= self.max_terms) | (sizes == 0)
        return torch.where(allowed, value, torch.inf)

    def _log_rivals(
        self, sizes: Float[Tensor, "group path"], nested: bool
    ) -> Float[Tensor, "group path"]:
        terms = torch.tensor(float(self.cross.shape[1]), dtype=torch.float64, device=sizes.device)
        if nested:
            return terms.log().expand_as(sizes)
        choices = torch.lgamma(terms + 1) - torch.lgamma(sizes + 1)
        return choices - torch.lgamma(terms - sizes + 1)


def select_lags(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    target_power: Float[Tensor, " group"],
    count: Float[Tensor, " group"],
    *,
    max_terms: int | None = None,
    criterion: str = "ebic",
) -> Selection:
    """Choose the terms of every system by an information criterion.

    Three searches compete, and the lowest criterion wins in each system: forward steps by
    orthogonal least squares (each adds the term that leaves the smallest residual), a backward
    elimination from where those ended, and the nested orders 1, 2, ... of a classical
    autoregression. A forward step costs O(steps * terms), after one Gram matrix.

    Parameters
    ----------
    gram : Tensor
        Centred products of the terms, lag 1 first; as in `Regression.gram`.
    cross : Tensor
        Centred products of the terms with the target.
    target_power : Tensor
        Centred sum of squares of the target.
    count : Tensor
        Observations. A model of m terms needs 2 (m + 1).
    max_terms : int, optional
        Most terms to choose, at least 1; all if absent.
    criterion : {"ebic", "bic", "aic"}
        "ebic" also charges for the number of models that were in competition, and so finds a few
        lags among many. "bic" and "aic" do not.

    Returns
    -------
    Selection
        Coefficients are exactly zero off the chosen terms. None may be chosen. The host waits once
        a step.

    Raises
    ------
    ValueError
        If `max_terms` is less than 1 or `criterion` is unknown.

    References
    ----------
    S. Chen, S. A. Billings, W. Luo, Orthogonal least squares methods and their application to
    non-linear system identification, Int. J. Control 50 (1989). J. Chen, Z. Chen, Extended Bayesian
    information criteria for model selection with large model spaces, Biometrika 95 (2008), eq. 1.

    Examples
    --------
    >>> import torch
    >>> gram = 100 * torch.eye(4, dtype=torch.float64)[None]
    >>> cross = torch.tensor([[1.0, 70.0, 0.0, 2.0]], dtype=torch.float64)
    >>> hundred = torch.tensor([100.0], dtype=torch.float64)
    >>> select_lags(gram, cross, hundred, hundred).coef
    tensor([[0.0000, 0.7000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    _check(max_terms, criterion)
    system = standardize(gram, cross, target_power)
    most = min(max_terms or gram.shape[1], gram.shape[1])
    problem = _Problem(
        system.correlation, system.cross, target_power.double(), count.double(), criterion, most
    )
    path = _forward(problem)
    rivals = [path.best(problem), _backward(problem, path), _nested(problem)]
    values = torch.stack([rival.criterion for rival in rivals], dim=1)
    winner = values.argmin(1)[:, None]
    masks = torch.stack([rival.active for rival in rivals], dim=1)
    active = masks.gather(1, winner[:, :, None].expand(-1, 1, masks.shape[2]))[:, 0]
    return Selection(active, refit(gram, cross, active), values.gather(1, winner)[:, 0])


@dataclass(frozen=True)
class _Choice:
    active: Bool[Tensor, "group term"]
    criterion: Float[Tensor, " group"]


@dataclass(frozen=True)
class _Path:
    """Terms in the order of their choice; a step is not `real` once no independent term is left."""

    order: Int[Tensor, "group step"]
    real: Bool[Tensor, "group step"]
    residual: Float[Tensor, "group path"]

    def best(self, problem: _Problem) -> _Choice:
        steps = torch.arange(self.residual.shape[1], device=self.order.device)
        sizes = steps.expand_as(self.residual)
        value, size = problem.price(self.residual, sizes, nested=False).min(1)
        taken = (steps[:-1] < size[:, None]) & self.real
        return _Choice(self.mask(problem, taken), value)

    def mask(
        self, problem: _Problem, taken: Bool[Tensor, "group step"]
    ) -> Bool[Tensor, "group term"]:
        """Mark the terms of the taken steps; a term may occur again at a step that is not real."""
        times = torch.zeros_like(problem.cross, dtype=torch.long)
        return times.scatter_add(1, self.order, taken.long()) > 0


def _forward(problem: _Problem) -> _Path:
    """Add the best term, a step at a time: a Cholesky factorization pivoted by gain."""
    groups, terms = problem.cross.shape
    limit = min(problem.max_terms + PATIENCE, terms)
    rows = problem.cross.new_zeros(groups, limit, terms)
    link, free = problem.cross.clone(), problem.correlation.diagonal(dim1=1, dim2=2).clone()
    residual, order, real = [problem.cross.new_ones(groups)], [], []
    each = torch.arange(groups, device=link.device)
    for step in range(limit):
        open_ = free > _dependent_below(terms)
        gain = torch.where(open_, link.square() / free.clamp(min=EPS), -1.0)
        value, term = gain.max(1)
        norm = free[each, term].clamp(min=EPS).rsqrt() * (value >= 0)
        known = torch.einsum("gs,gsk->gk", rows[each, :step, term], rows[:, :step])
        row = (problem.correlation[each, term] - known) * norm[:, None]
        link = link - (link[each, term] * norm)[:, None] * row
        free = (free - row.square()).scatter(1, term[:, None], 0.0)
        rows[:, step] = row
        residual.append(residual[-1] - value.clamp(min=0))
        order.append(term)
        real.append(value >= 0)
        if step % PATIENCE == PATIENCE - 1 and _stalled(problem, residual):
            break
    return _Path(torch.stack(order, 1), torch.stack(real, 1), torch.stack(residual, 1))


def _stalled(problem: _Problem, residual: list[Float[Tensor, " group"]]) -> bool:
    """Say whether no system improved in the last steps; the host waits here."""
    path = torch.stack(residual, 1)
    sizes = torch.arange(path.shape[1], device=path.device).expand_as(path)
    best = problem.price(path, sizes, nested=False).argmin(1)
    return path.shape[1] - 1 - int(best.max()) >= PATIENCE


def _backward(problem: _Problem, path: _Path) -> _Choice:
    """Drop the term that costs least, a step at a time, from the end of a forward path."""
    inverse = _inverse_of(problem, path)
    coef = (inverse @ problem.cross.gather(1, path.order)[:, :, None])[:, :, 0]
    kept = path.real
    residual, masks = [path.residual[:, -1]], [kept]
    each = torch.arange(len(kept), device=kept.device)
    for _ in range(kept.shape[1]):
        spread = inverse.diagonal(dim1=1, dim2=2).clamp(min=1.0)
        cost, term = torch.where(kept, coef.square() / spread, torch.inf).min(1)
        column = inverse[each, :, term]
        pivot = spread[each, term]
        coef = coef - column * (coef[each, term] / pivot)[:, None]
        inverse = inverse.addcmul_(column[:, :, None], (column / pivot[:, None])[:, None], value=-1)
        kept = kept.scatter(1, term[:, None], False)
        residual.append(residual[-1] + cost.nan_to_num(posinf=0.0))
        masks.append(kept)
    sets = torch.stack(masks, 1)
    value, step = problem.price(torch.stack(residual, 1), sets.sum(2), nested=False).min(1)
    return _Choice(path.mask(problem, sets[each, step]), value)


def _inverse_of(problem: _Problem, path: _Path) -> Float[Tensor, "group step step"]:
    """Invert the correlations of the terms on a path; those that are not real count for nothing."""
    both = path.real[:, :, None] & path.real[:, None]
    matrix = torch.where(both, submatrix(problem.correlation, path.order), 0.0)
    matrix.diagonal(dim1=1, dim2=2).fill_(1.0)
    inverse = factorize(matrix).inverse()
    return torch.where(both, inverse, 0.0)


def _nested(problem: _Problem) -> _Choice:
    """Take the first lags: the residuals of all orders come from one Cholesky factorization."""
    groups, terms = problem.cross.shape
    matrix = problem.correlation.clone()
    # Dependent lags would stop the factorization; this much on the diagonal moves no result.
    matrix.diagonal(dim1=1, dim2=2).fill_(1.0 + _dependent_below(terms))
    factor, failure = torch.linalg.cholesky_ex(matrix)
    steps = torch.linalg.solve_triangular(factor, problem.cross[:, :, None], upper=False)[:, :, 0]
    residual = 1 - torch.nn.functional.pad(steps.square().cumsum(1), (1, 0))
    orders = torch.arange(terms + 1, device=failure.device)
    value = problem.price(residual, orders.expand(groups, -1), nested=True)
    usable = (failure[:, None] == 0) | (orders == 0)
    value, order = torch.where(usable, value, torch.inf).min(1)
    return _Choice(orders[:-1] < order[:, None], value)


def _dependent_below(terms: int) -> float:
    return EPS * (64 + 16 * terms)


def _check(max_terms: int | None, criterion: str) -> None:
    if max_terms is not None and max_terms < 1:
        raise ValueError(f"max_terms must be at least 1; got {max_terms}. Leave it out for all.")
    if criterion not in ("ebic", "bic", "aic"):
        raise ValueError(
            f"criterion must be 'ebic', 'bic' or 'aic'; got {criterion!r}. Use 'ebic' for few lags."
        )
