"""Sparse lags chosen on the Gram matrix, batched over systems."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.solve import EPS, factorize

Criterion = Literal["ebic", "bic", "aic"]

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
    criterion: Criterion
    max_terms: int

    def price(
        self, residual: Float[Tensor, "group size"], sizes: Int[Tensor, " size"], *, nested: bool
    ) -> Float[Tensor, "group size"]:
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

    def _log_rivals(self, sizes: Float[Tensor, " size"], nested: bool) -> Float[Tensor, " size"]:
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
    criterion: Criterion = "ebic",
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
    problem = _standardize(gram, cross, target_power, count, max_terms, criterion)
    forward, best = _forward(problem)
    chosen = _best(problem, forward, best)
    ...


def _check(max_terms: int | None, criterion: str) -> None:
    if max_terms is not None and max_terms < 1:
        raise ValueError(f"max_terms must be at least 1; got {max_terms}. Leave it out for all.")
    if criterion not in ("ebic", "bic", "aic"):
        raise ValueError(
            f"criterion must be 'ebic', 'bic' or 'aic'; got {criterion!r}. Use 'ebic' for few lags."
        )
