"""Fit of ARNet's equations: least squares, then Huber's loss or quantiles from there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.autoregression import (
    ARResults,
    Design,
    QuantileEquations,
    RowSource,
    Segments,
    concatenate,
    draw_missing,
    find_additive_outliers,
    huber_equations,
    observed_segments,
    quantile_equations,
)
from tsar.data.panel import Panel
from tsar.forecasters.arnet.closed_form import Scales, fit_panel, stack_channels
from tsar.forecasters.arnet.direct import fit_averaged
from tsar.forecasters.arnet.options import averages_maps, choose_orders, corrects_bias
from tsar.runtime.devices import resolve_device

ROUNDS = 3  # searches for outliers given the equation
COPIES = 4  # completed copies of a series with missing points


def fit_equations(
    model: Any, scaled: Panel, held: Int[Tensor, " series"]
) -> tuple[ARResults, QuantileEquations | None]:
    """Fit the equations of an `ARNet` to standardized series without outliers.

    Sets the order. The second result holds the equations of the quantile levels, if it has any.
    """
    resolve_device(model.device)  # an error before any work
    model.contexts_ = None
    if averages_maps(model, scaled.labels.columns.covariates):
        results, contexts = fit_averaged(model, scaled, held)
        model.contexts_, model.order_ = contexts, max(own[-1] for own in contexts)
        return results, None
    scales, steps = model._scales(), model._steps
    orders = choose_orders(
        model.order, scaled.labels.frequency, scaled.lengths - steps, model.scope
    )
    model.order_ = int(orders.max())
    design = Design(model.order_, steps, *(len(scale.mean) for scale in scales[1:]))
    if model.loss == "mse":
        return _least_squares(model, scaled, scales, design, orders), None
    fit = _fit_robust(model, scaled, scales, design, orders, model.seasons_)
    further = fit.scaled.values.isnan() & ~scaled.values.isnan()
    model.n_outliers_ += torch.bincount(scaled.series[further], minlength=len(scaled)).numpy()
    if model.loss == "huber":
        return fit.huber, None
    source = _row_source(fit.scaled, scales, design, fit.squares, local=model.scope == "local")
    quantiles = quantile_equations(source, fit.squares, model.quantile_levels, model.ridge)
    return fit.squares, quantiles


def _least_squares(
    model: Any, scaled: Panel, scales: Scales, design: Design, orders: Int[Tensor, " group"]
) -> ARResults:
    return fit_panel(
        scaled,
        scales,
        design,
        orders,
        resolve_device(model.device),
        local=model.scope == "local",
        holds_back=model.trains,
        bias_correction=corrects_bias(model),
        sparsity=None if model.sparsity == 1 else model.sparsity,
        ridge=model.ridge,
    )


class _RobustFit(NamedTuple):
    """Equations by least squares and by Huber's loss, and the series that they were fitted to."""

    squares: ARResults
    huber: ARResults
    scaled: Panel


def _fit_robust(
    model: Any,
    scaled: Panel,
    scales: Scales,
    design: Design,
    orders: Int[Tensor, " group"],
    seasons: Sequence[Sequence[int]],
    rounds: int = ROUNDS,
) -> _RobustFit:
    """Fit, read what is an outlier given the equation as missing too, and fit these series again.

    The last step needs equations of the series themselves, without covariates.
    """
    local = model.scope == "local"
    squares = _least_squares(model, scaled, scales, design, orders)
    source = _row_source(scaled, scales, design, squares, local=local)
    huber = huber_equations(source, squares, model.ridge)
    fit = _RobustFit(squares, huber, scaled)
    if not (local and rounds) or design.n_past + design.n_future:
        return fit
    spans = observed_segments(scaled.values[None], scaled.offsets).bridged()
    found = find_additive_outliers(scaled.values, spans, huber, seasons)
    changed = torch.bincount(scaled.series[found], minlength=len(scaled)) > 0
    rows = changed.nonzero()[:, 0]
    if not len(rows):
        return fit
    scaled = replace(scaled, values=scaled.values.masked_fill(found, torch.nan))
    again = _fit_robust(
        model,
        scaled.select(rows.numpy()),
        scales._replace(series=scales.series.select(rows)),
        design,
        orders[rows],
        [seasons[row] for row in rows.tolist()],
        rounds - 1,
    )
    others = (~changed).nonzero()[:, 0]
    order = torch.cat([others, rows]).argsort()
    squares, huber = (
        concatenate([all_series.take(others), some]).take(order)
        for all_series, some in ((squares, again.squares), (huber, again.huber))
    )
    values = scaled.values.masked_scatter(changed[scaled.series], again.scaled.values)
    return _RobustFit(squares, huber, replace(scaled, values=values))


def _row_source(
    scaled: Panel,
    scales: Scales,
    design: Design,
    results: ARResults,
    *,
    local: bool,
) -> RowSource:
    """Rows of all series; missing regressors of local equations are drawn, given the others.

    A row counts where its target is observed. With draws from their joint distribution the mean
    equation of a row holds at the true coefficients.
    """
    channels = stack_channels(scaled, scales.past, scales.future)
    segments = observed_segments(scaled.values[None], scaled.offsets)
    spans = segments.bridged()
    one = torch.ones(len(results.coef), dtype=torch.float64)
    if not local or len(channels) > 1 or len(segments.starts) == len(spans.starts):
        return RowSource(channels, scaled.values, spans if local else spans.pooled(), one, design)
    parts = torch.bincount(segments.group, minlength=segments.n_groups)
    repeats = torch.where(parts > 1, COPIES, 1)[spans.group]
    own = results.take(spans.group)
    copies = draw_missing(scaled.values, spans.starts, spans.lengths, own, COPIES // 2)
    number = torch.cat([torch.arange(count) for count in repeats.tolist()])
    starts = spans.starts.repeat_interleave(repeats) + number * len(scaled.values)
    lengths, group = (x.repeat_interleave(repeats) for x in (spans.lengths, spans.group))
    share = torch.where(parts > 1, 1 / COPIES, one)
    spans = Segments(starts, lengths, group, spans.n_groups)
    return RowSource(copies.reshape(1, -1), scaled.values, spans, share, design)
