"""Least squares fit of groups that have orders of their own."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from tsar.autoregression.closed_form import fit_closed_form
from tsar.autoregression.design import Design
from tsar.autoregression.results import ARResults, concatenate
from tsar.autoregression.segments import Segments

PER_REGRESSOR = ("coef", "std_err", "active")  # fields of `ARResults` with an axis of regressors


def fit_orders(
    channels: Float[Tensor, "channel total"],
    segments: Segments,
    design: Design,
    orders: Int[Tensor, " group"],
    *,
    origin: Float[Tensor, "group channel"],
    share: Float[Tensor, " group"] | None = None,
    selected: Bool[Tensor, "group lag"] | None = None,
    **options: Any,
) -> ARResults:
    """Fit each group with lags 1 to its own order; all groups of an order at once.

    Parameters
    ----------
    channels, segments, origin, share, options
        See `fit_closed_form`.
    selected
        Lags of each group, instead of those that a sparsity would choose; without covariates.
    design
        Regressors, with the largest order.
    orders
        Order of each group, at most that of `design`.

    Returns
    -------
    ARResults
        With the regressors of `design`; lags beyond the order of a group are not active.

    Examples
    --------
    >>> import torch
    >>> series = torch.arange(40, dtype=torch.float64).sin()
    >>> segments = Segments(torch.tensor([0, 40]), torch.tensor([40, 40]), torch.arange(2), 2)
    >>> design, origin = Design(order=3, horizon=1), torch.zeros(2, 1, dtype=torch.float64)
    >>> orders = torch.tensor([1, 2])
    >>> fit_orders(series.repeat(2)[None], segments, design, orders, origin=origin).coef[:, 0]
    tensor([[ 0.5476,  0.0000,  0.0000],
            [ 1.0806, -1.0000,  0.0000]], dtype=torch.float64)
    """
    distinct = orders.unique().tolist()
    if distinct == [design.order]:
        return fit_closed_form(
            channels, segments, design, origin=origin, share=share, selected=selected, **options
        )
    parts, rows = [], []
    for order in distinct:
        groups = (orders == order).nonzero()[:, 0]
        own = replace(design, order=order)
        chosen = segments.take(groups)
        results = fit_closed_form(
            channels,
            chosen,
            own,
            origin=origin[groups],
            share=None if share is None else share[groups],
            selected=None if selected is None else selected[groups, :order],
            **options,
        )
        parts.append(_widen(results, own, design))
        rows.append(groups)
    return concatenate(parts).take(torch.cat(rows).argsort())


def _widen(results: ARResults, own: Design, design: Design) -> ARResults:
    """Results with the regressors of a design of a larger order."""
    values: dict[str, Any] = {
        name: _widen_terms(getattr(results, name), own, design) for name in PER_REGRESSOR
    }
    uncertainty = results.uncertainty
    if uncertainty is not None:
        n_terms = results.coef.shape[2]
        position = _widen_terms(torch.arange(1, n_terms + 1).expand(1, 1, -1), own, design)
        index = position[0, 0].nonzero()[:, 0].to(uncertainty.terms)
        values["uncertainty"] = replace(uncertainty, terms=index[uncertainty.terms])
    return replace(results, **values)


def _widen_terms(
    values: Shaped[Tensor, "group step term"], own: Design, design: Design
) -> Shaped[Tensor, "group step wide"]:
    """Values of each regressor, with zeros for the lags beyond the own order."""
    width = (1 + own.n_past) * own.order
    lagged = values[:, :, :width].unflatten(2, (1 + own.n_past, own.order))
    lagged = torch.nn.functional.pad(lagged, (0, design.order - own.order))
    return torch.cat([lagged.flatten(2), values[:, :, width:]], dim=2)
