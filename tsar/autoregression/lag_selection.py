"""Lag selection by information criteria on the Gram matrix, batched over systems."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.gram import matrix_product
from tsar.autoregression.least_squares import (
    EPS,
    factorize,
    refit,
    standardize_equations,
    submatrix,
)

# Forward steps without a better model in any system before the search ends. Correlated lags may
# need a few steps together before the criterion falls; the backward pass removes superfluous ones.
PATIENCE = 10


@dataclass(frozen=True)
class Selection:
    """Selected terms, their least squares coefficients, and the value of the criterion."""

    active: Bool[Tensor, "group term"]
    coef: Float[Tensor, "group term"]
    criterion: Float[Tensor, " group"]


@dataclass(frozen=True)
class _Problem:
    """Standardized systems (terms and target of variance 1), and the criterion."""

    correlation: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term"]
    tss: Float[Tensor, " group"]
    nobs: Float[Tensor, " group"]
    criterion: str
    max_terms: int

    def take(self, rows: Int[Tensor, " row"]) -> "_Problem":
        """Some of the systems."""
        return _Problem(
            self.correlation[rows],
            self.cross[rows],
            self.tss[rows],
            self.nobs[rows],
            self.criterion,
            self.max_terms,
        )

    def evaluate(
        self,
        unexplained: Float[Tensor, "group path"],
        sizes: Int[Tensor, "group path"],
        *,
        nested: bool,
    ) -> Float[Tensor, "group path"]:
        """Criterion of models of given sizes and unexplained shares of the variance.

        n log(rss / n) + size * (2 or log n), and for "ebic" twice the logarithm of the number of
        candidate models of that size: all subsets, or all orders if the lags are nested.
        """
        n = self.nobs[:, None].clamp(min=1.0)
        # Rounding of the Gram matrix hides residuals below a few eps of the target.
        rss = unexplained.clamp(min=16 * EPS) * self.tss[:, None].clamp(min=1e-300)
        penalty = 2.0 if self.criterion == "aic" else n.log()
        value = n * (rss / n).log() + sizes * penalty
        if self.criterion == "ebic":
            value = value + 2 * self._log_candidates(sizes.double(), nested)
        # A model needs two observations per coefficient; at most `max_terms`.
        allowed = (2 * (sizes + 1) <= n) & (sizes <= self.max_terms) | (sizes == 0)
        return torch.where(allowed, value, torch.inf)

    def _log_candidates(
        self, sizes: Float[Tensor, "group path"], nested: bool
    ) -> Float[Tensor, "group path"]:
        terms = torch.tensor(float(self.cross.shape[1]), dtype=torch.float64, device=sizes.device)
        if nested:
            return terms.log().expand_as(sizes)
        log_count = torch.lgamma(terms + 1) - torch.lgamma(sizes + 1)
        return log_count - torch.lgamma(terms - sizes + 1)


def select_lags(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    tss: Float[Tensor, " group"],
    nobs: Float[Tensor, " group"],
    *,
    max_terms: int | None = None,
    criterion: str = "ebic",
) -> Selection:
    """Select the terms of every system by an information criterion.

    Three searches compete, and the lowest criterion wins in each system: forward steps by
    orthogonal least squares (each adds the term that leaves the smallest residual), backward
    elimination from the end of the forward steps, and the nested orders 1, 2, ... of a classical
    autoregression. A forward step costs O(steps * terms), after one Gram matrix.

    Parameters
    ----------
    gram : Tensor
        Centred products of the terms, lag 1 first; as in `NormalEquations.gram`.
    cross : Tensor
        Centred products of the terms with the target.
    tss : Tensor
        Centred sums of squares of the target.
    nobs : Tensor
        Numbers of observations. A model of m terms needs 2 (m + 1).
    max_terms : int, optional
        Maximum number of terms, at least 1; None: no limit.
    criterion : {"ebic", "bic", "aic"}
        "ebic" adds a penalty for the number of candidate models, and so finds a few lags among
        many. "bic" and "aic" do not.

    Returns
    -------
    Selection
        Coefficients are exactly zero for other terms. There may be no selected term. Device
        synchronization, once per `PATIENCE` forward steps.

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
    system = standardize_equations(gram, cross, tss)
    limit = min(max_terms or gram.shape[1], gram.shape[1])
    tss, nobs = tss.double(), nobs.double()
    problem = _Problem(system.correlation, system.cross, tss, nobs, criterion, limit)
    path = _forward(problem)
    candidates = [path.best(problem), _backward_by_length(problem, path), _nested(problem)]
    values = torch.stack([candidate.criterion for candidate in candidates], dim=1)
    best = values.argmin(1)[:, None]
    masks = torch.stack([candidate.active for candidate in candidates], dim=1)
    active = masks.gather(1, best[:, :, None].expand(-1, 1, masks.shape[2]))[:, 0]
    return Selection(active, refit(gram, cross, active), values.gather(1, best)[:, 0])


@dataclass(frozen=True)
class _Candidate:
    active: Bool[Tensor, "group term"]
    criterion: Float[Tensor, " group"]


@dataclass(frozen=True)
class _Path:
    """Terms in the order of their selection, and unexplained shares of the variance.

    A step is `valid` as long as an independent term is left, up to the `length` of the system.
    """

    order: Int[Tensor, "group step"]
    valid: Bool[Tensor, "group step"]
    unexplained: Float[Tensor, "group path"]
    length: Int[Tensor, " group"]

    def take(self, rows: Int[Tensor, " row"], length: int) -> "_Path":
        """Paths of some systems, up to a length."""
        order, valid = self.order[rows, :length], self.valid[rows, :length]
        return _Path(order, valid, self.unexplained[rows, : length + 1], self.length[rows])

    def best(self, problem: _Problem) -> _Candidate:
        steps = torch.arange(self.unexplained.shape[1], device=self.order.device)
        sizes = steps.expand_as(self.unexplained)
        value, size = problem.evaluate(self.unexplained, sizes, nested=False).min(1)
        selected = (steps[:-1] < size[:, None]) & self.valid
        return _Candidate(self.mask(problem, selected), value)

    def mask(
        self, problem: _Problem, selected: Bool[Tensor, "group step"]
    ) -> Bool[Tensor, "group term"]:
        """Mark the terms of the selected steps; a term may occur again at an invalid step."""
        count = torch.zeros_like(problem.cross, dtype=torch.long)
        return count.scatter_add(1, self.order, selected.long()) > 0


def _forward(problem: _Problem) -> _Path:
    """Add the best term at each step: a Cholesky factorization pivoted by gain.

    Each system has its own end, so that none depends on others.
    """
    groups, terms = problem.cross.shape
    limit = min(problem.max_terms + PATIENCE, terms)
    rows = problem.cross.new_zeros(groups, limit, terms)
    # Of each term, given the terms so far: covariance with the target, and variance.
    covariance = problem.cross.clone()
    variance = problem.correlation.diagonal(dim1=1, dim2=2).clone()
    unexplained, order, valid = [problem.cross.new_ones(groups)], [], []
    group = torch.arange(groups, device=covariance.device)
    length = torch.full_like(group, limit)
    for step in range(limit):
        independent = (variance > _dependence_threshold(terms)) & (step < length)[:, None]
        gains = torch.where(independent, covariance.square() / variance.clamp(min=EPS), -1.0)
        gain, term = gains.max(1)
        scale = variance[group, term].clamp(min=EPS).rsqrt() * (gain >= 0)
        projection = torch.einsum("gs,gsk->gk", rows[group, :step, term], rows[:, :step])
        row = (problem.correlation[group, term] - projection) * scale[:, None]
        covariance = covariance - (covariance[group, term] * scale)[:, None] * row
        variance = (variance - row.square()).scatter(1, term[:, None], 0.0)
        rows[:, step] = row
        unexplained.append(unexplained[-1] - gain.clamp(min=0))
        order.append(term)
        valid.append(gain >= 0)
        if step % PATIENCE == PATIENCE - 1:
            stalled = _stalled(problem, unexplained)
            length = torch.where(stalled, length.clamp(max=step + 1), length)
            if bool(stalled.all()):  # device synchronization
                break
    steps = (torch.stack(order, 1), torch.stack(valid, 1), torch.stack(unexplained, 1))
    return _Path(*steps, length.clamp(max=len(order)))


def _stalled(
    problem: _Problem, unexplained: list[Float[Tensor, " group"]]
) -> Bool[Tensor, " group"]:
    """Whether a system did not improve in the last steps."""
    path = torch.stack(unexplained, 1)
    sizes = torch.arange(path.shape[1], device=path.device).expand_as(path)
    best = problem.evaluate(path, sizes, nested=False).argmin(1)
    return path.shape[1] - 1 - best >= PATIENCE


def _backward_by_length(problem: _Problem, path: _Path) -> _Candidate:
    """Backward elimination of paths of equal lengths together: their sizes decide the rounding."""
    rows, parts = [], []
    for length in path.length.unique().tolist():
        row = (path.length == length).nonzero()[:, 0]
        rows.append(row)
        parts.append(_backward(problem.take(row), path.take(row, length)))
    order = torch.cat(rows).argsort()
    active = torch.cat([part.active for part in parts])[order]
    return _Candidate(active, torch.cat([part.criterion for part in parts])[order])


def _backward(problem: _Problem, path: _Path) -> _Candidate:
    """Drop the term that costs least at each step, from the end of a forward path."""
    inverse = _inverse_of(problem, path)
    coef = matrix_product(inverse, problem.cross.gather(1, path.order)[:, :, None])[:, :, 0]
    active = path.valid
    unexplained, masks = [path.unexplained[:, -1]], [active]
    group = torch.arange(len(active), device=active.device)
    for _ in range(active.shape[1]):
        variance = inverse.diagonal(dim1=1, dim2=2).clamp(min=1.0)
        loss, term = torch.where(active, coef.square() / variance, torch.inf).min(1)
        column = inverse[group, :, term]
        pivot = variance[group, term]
        coef = coef - column * (coef[group, term] / pivot)[:, None]
        # Not by addcmul, whose rounding depends on the number of systems.
        inverse = inverse - column[:, :, None] * (column / pivot[:, None])[:, None]
        active = active.scatter(1, term[:, None], False)
        unexplained.append(unexplained[-1] + loss.nan_to_num(posinf=0.0))
        masks.append(active)
    sets = torch.stack(masks, 1)
    values = problem.evaluate(torch.stack(unexplained, 1), sets.sum(2), nested=False)
    value, step = values.min(1)
    return _Candidate(path.mask(problem, sets[group, step]), value)


def _inverse_of(problem: _Problem, path: _Path) -> Float[Tensor, "group step step"]:
    """Inverse correlations of the terms of a path; zero at invalid steps."""
    both = path.valid[:, :, None] & path.valid[:, None]
    matrix = torch.where(both, submatrix(problem.correlation, path.order), 0.0)
    matrix.diagonal(dim1=1, dim2=2).fill_(1.0)
    return torch.where(both, factorize(matrix).inverse(), 0.0)


def _nested(problem: _Problem) -> _Candidate:
    """Best nested order: one Cholesky factorization gives the residuals of all orders."""
    groups, terms = problem.cross.shape
    matrix = problem.correlation.clone()
    # Dependent lags would stop the factorization; so small a diagonal does not affect the result.
    matrix.diagonal(dim1=1, dim2=2).fill_(1.0 + _dependence_threshold(terms))
    factor, failure = torch.linalg.cholesky_ex(matrix)
    steps = torch.linalg.solve_triangular(factor, problem.cross[:, :, None], upper=False)[:, :, 0]
    unexplained = 1 - torch.nn.functional.pad(steps.square().cumsum(1), (1, 0))
    orders = torch.arange(terms + 1, device=failure.device)
    value = problem.evaluate(unexplained, orders.expand(groups, -1), nested=True)
    usable = (failure[:, None] == 0) | (orders == 0)
    value, order = torch.where(usable, value, torch.inf).min(1)
    return _Candidate(orders[:-1] < order[:, None], value)


def _dependence_threshold(terms: int) -> float:
    return EPS * (64 + 16 * terms)


def _check(max_terms: int | None, criterion: str) -> None:
    if max_terms is not None and max_terms < 1:
        raise ValueError(f"max_terms must be at least 1; got {max_terms}. Use None for no limit.")
    if criterion not in ("ebic", "bic", "aic"):
        raise ValueError(
            f"criterion must be 'ebic', 'bic' or 'aic'; got {criterion!r}. Use 'ebic' for few lags."
        )
