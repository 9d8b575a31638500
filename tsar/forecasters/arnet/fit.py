"""Fit of ARNet's equations: least squares, then Huber's loss or quantiles from there."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression import (
    ARResults,
    Design,
    QuantileEquations,
    RowSource,
    Segments,
    draw_missing,
    huber_equations,
    observed_segments,
    quantile_equations,
)
from tsar.data.panel import Panel
from tsar.forecasters.arnet.closed_form import fit_panel, stack_channels
from tsar.forecasters.arnet.direct import fit_averaged
from tsar.forecasters.arnet.options import averages_maps, choose_orders, corrects_bias
from tsar.runtime.devices import resolve_device

COPIES = 4  # completed copies of a series with missing points


def fit_equations(
    model: Any, scaled: Panel, held: Int[Tensor, " series"]
) -> tuple[ARResults, QuantileEquations | None]:
    """Fit the equations of an `ARNet` to standardized series without outliers.

    Sets the order. The second result holds the equations of the quantile levels, if it has any.
    """
    device = resolve_device(model.device)
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
    results = fit_panel(
        scaled,
        scales,
        design,
        orders,
        device,
        local=model.scope == "local",
        holds_back=model.trains,
        bias_correction=corrects_bias(model),
        sparsity=None if model.sparsity == 1 else model.sparsity,
        ridge=model.ridge,
    )
    if model.loss == "mse":
        return results, None
    channels = stack_channels(scaled, scales.past, scales.future)
    source = _row_source(channels, scaled, design, results, local=model.scope == "local")
    if model.loss == "huber":
        return huber_equations(source, results, model.ridge), None
    return results, quantile_equations(source, results, model.quantile_levels, model.ridge)


def _row_source(
    channels: Float[Tensor, "channel total"],
    scaled: Panel,
    design: Design,
    results: ARResults,
    *,
    local: bool,
) -> RowSource:
    """Rows of all series; missing regressors of local equations are drawn, given the others.

    A row counts where its target is observed. With draws from their joint distribution the mean
    equation of a row holds at the true coefficients.
    """
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
