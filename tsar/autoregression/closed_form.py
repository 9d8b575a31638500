"""Autoregression in closed form: lags of the target and of covariates, for one step or many."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.autoregression.equation import How, Sparsity, fit_groups
from tsar.autoregression.estimates import Estimates
from tsar.autoregression.runs import Runs
from tsar.autoregression.solution import STEPWISE, ClosedForm, Terms

PIECE = 2**24  # elements of the Gram matrices that are held at once, 128 MB


def fit_closed_form(
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    terms: Terms,
    *,
    ridge: float = 0.0,
    sparsity: Sparsity = None,
    origin: Float[Tensor, "group channel"] | None = None,
    series: Float[Tensor, " group"] | None = None,
    corrected: bool = False,
) -> ClosedForm:
    """Fit every group and every step of the horizon by least squares, in float64.

    Parameters
    ----------
    channels
        The target, then past, then future covariates, series end to end.
    runs
        Complete runs of the channels, and the group that each belongs to.
    terms
        What to regress on.
    ridge
        See `least_squares`; must be 0 with a `sparsity`.
    sparsity
        None: all terms. ``"auto"``: those that an information criterion chooses
        (`select_lags`). A density in (0, 1]: AR-Net's penalty (`penalize`), survivors refitted.
    origin
        What zero was before the channels were shifted and scaled, for the standard errors of the
        constants; None: zero.
    series
        Series of each group, each with a mean of its own; None: one.
    corrected
        Whether the bias of one equation is corrected, and its recursion kept from running away
        (`correct_persistence`, `limit_growth`, `drift_share`), where the windows don't contradict.

    Returns
    -------
    ClosedForm
        Always finite; a group without a complete window has coefficients of zero.

    Raises
    ------
    ValueError
        Of several steps the bias was to be corrected.

    Examples
    --------
    >>> import torch
    >>> series = torch.arange(40, dtype=torch.float64).sin()[None]
    >>> runs = Runs(torch.tensor([0]), torch.tensor([40]), torch.tensor([0]), 1)
    >>> fit_closed_form(series, runs, Terms(lags=2, horizon=1)).coef.round(decimals=4)
    tensor([[[ 1.0806, -1.0000]]], dtype=torch.float64)
    """
    if corrected and terms.horizon > 1:
        raise ValueError(
            f"corrected must be False with several steps, whose bias is not known; got a horizon "
            f"of {terms.horizon}. Leave it out."
        )
    ones = torch.ones(runs.n_groups, dtype=torch.float64)
    zero = ones.new_zeros(runs.n_groups, len(channels)) if origin is None else origin
    series = ones if series is None else series
    how = How(terms, ridge, sparsity, terms.spread(zero).to(channels.device), series, corrected)
    size = (len(channels) * (terms.max_lag + 1)) ** 2
    pieces = [
        fit_groups(channels, runs.select(groups), how.select(groups))
        for groups in torch.arange(runs.n_groups).split(max(PIECE // size, 1))
    ]
    return pieces[0] if len(pieces) == 1 else _joined(pieces)


def _joined(pieces: list[ClosedForm]) -> ClosedForm:
    """Of all groups, in order."""
    names = (*STEPWISE, "count", "series")
    joined: dict[str, Any] = {
        name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names
    }
    estimates = [piece.estimates for piece in pieces if piece.estimates is not None]
    return ClosedForm(**joined, estimates=Estimates.joined(estimates) if estimates else None)
