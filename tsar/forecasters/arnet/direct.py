"""Direct forecasts by averaged ridge maps: contexts by length, validation, shared and own maps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression import (
    ARResults,
    Design,
    DirectMaps,
    Segments,
    WindowMoments,
    WindowSplit,
    concatenate,
    error_products,
    fill_missing,
    fit_direct_maps,
    observed_segments,
    stacking_errors,
    stacking_weight,
)
from tsar.data.panel import Panel
from tsar.forecasters.arnet.closed_form import Scales, fit_panel
from tsar.forecasters.arnet.combination.choice import seasons_of
from tsar.forecasters.arnet.options import MAX_ORDER, check_windows, choose_orders
from tsar.runtime.memory import MAX_ELEMENTS, rows_within

# Lengths of the two contexts: a share of the points of a series, at most so many lags.
CONTEXTS = ((1 / 24, 336), (1 / 12, 1440))
MIN_CONTEXT = 4
MIN_WINDOWS = 2  # windows before the validation block, without which none is held back
MIN_DF = 5  # smallest degrees of freedom of an interval: overlapping errors are few observations

Contexts = list[int]
Pair = tuple[DirectMaps, DirectMaps]  # fitted to the windows before validation, and to all
Counts = tuple[Tensor, Tensor]  # windows of each series in the validation block, and in all


def context_lengths(points: int, horizon: int, seasons: Sequence[int]) -> Contexts:
    """Lengths of the contexts of a series: longer ones need more points.

    The longer one has the longest season and one lag that a third of the points allow.

    Examples
    --------
    >>> context_lengths(8640, 96, [24, 168]), context_lengths(120, 12, [12])
    ([336, 720], [5, 13])
    """
    lengths = [int(min(share * points, largest)) for share, largest in CONTEXTS]
    complete = [season + 1 for season in seasons if season < min(points // 3, MAX_ORDER)]
    lengths[-1] = max(lengths[-1], *complete, MIN_CONTEXT)
    most = max(points - horizon - MIN_WINDOWS + 1, 1)
    return sorted({min(max(length, MIN_CONTEXT), most) for length in lengths})


def fit_averaged(
    model: Any, scaled: Panel, held: Int[Tensor, " series"]
) -> tuple[ARResults, list[Contexts]]:
    """Fit the maps of a direct `ARNet` to standardized series, and tell the lengths of contexts.

    Missing points are filled by their conditional mean, given an equation of one step.
    """
    frequency, horizon = scaled.labels.frequency, int(model.horizon)
    seasons = seasons_of(frequency, model.season_length)
    local, lengths = model.scope == "local", scaled.lengths
    points = lengths if local else lengths.median()[None]
    contexts = [context_lengths(n, horizon, seasons) for n in points.tolist()]
    orders = torch.tensor([own[-1] for own in contexts])
    design = Design(int(orders.max()), horizon)
    segments = observed_segments(scaled.values[None], scaled.offsets)
    bridged = segments.bridged()
    bridged = bridged if local else bridged.pooled()
    ids = list(scaled.labels.ids) if local else []
    check_windows(bridged, design, orders, ids, False, sparsity="auto", ridge=0.0)
    filled = scaled if len(segments.starts) <= len(scaled) else _fill_gaps(model, scaled, segments)
    return fit_direct(filled, horizon, held, contexts, local=local), contexts


def _fill_gaps(model: Any, scaled: Panel, segments: Segments) -> Panel:
    """Series without gaps between their first and their last observed point."""
    orders = choose_orders(None, scaled.labels.frequency, scaled.lengths - 1, "local")
    scales = Scales(model.scaling_, model.past_scaling_, model.future_scaling_)
    results = fit_panel(
        scaled,
        scales,
        Design(int(orders.max()), 1),
        orders,
        torch.device("cpu"),
        local=True,
        holds_back=False,
        bias_correction=False,
        sparsity="auto",
        ridge=0.0,
    )
    spans = segments.bridged()
    values = fill_missing(scaled.values, spans.starts, spans.lengths, results.take(spans.group))
    return replace(scaled, values=values)


def fit_direct(
    panel: Panel,
    horizon: int,
    held: Int[Tensor, " series"],
    contexts: list[Contexts],
    *,
    local: bool,
) -> ARResults:
    """Fit averaged ridge maps to each series; with `local` false also one map for all.

    Parameters
    ----------
    panel
        Standardized series without gaps.
    horizon
        Number of steps.
    held
        Newest points of each series that select the ridge and the weight of the shared map.
    contexts
        Lengths of the contexts of each series; with `local` false those of all.
    local
        Whether each series has maps of its own alone. Otherwise they are blended with maps of all
        series together, which are the last group.

    Returns
    -------
    ARResults
        Standard errors are NaN. The residuals are those of the validation block.
    """
    order = max(own[-1] for own in contexts)
    if not local:
        return _fit_shared(panel, horizon, held, contexts[0])
    rows, parts = [], []
    for lengths in sorted({tuple(own) for own in contexts}):
        inside = torch.tensor([k for k, own in enumerate(contexts) if tuple(own) == lengths])
        some, points = panel.select(inside.numpy()), held[inside]
        for split in _splits(some, points, horizon, horizon + lengths[-1]):
            maps = fit_direct_maps(split, horizon, lengths)
            variance = _measure(error_products, maps, maps, split)
            parts.append(_results(maps[1], variance, _counts(split), order))
        rows.append(inside)
    return concatenate(parts).take(torch.cat(rows).argsort())


def _splits(
    panel: Panel, held: Int[Tensor, " series"], horizon: int, size: int
) -> Iterator[WindowSplit]:
    """Moments of windows of `size` points, a few series at a time."""
    observed = panel.series[~panel.values.isnan()]
    lengths = torch.bincount(observed, minlength=len(panel))  # 0 if nothing is observed
    starts = panel.offsets[:-1]
    held = torch.where(lengths - held >= size + MIN_WINDOWS - 1, held, 0)
    reach = torch.where(held > 0, held + size - horizon, 0)
    for rows in torch.arange(len(panel)).split(rows_within(MAX_ELEMENTS, size**2)):
        first, count = starts[rows], lengths[rows]
        spans = (
            (first, count - held[rows]),
            (first + count - reach[rows], reach[rows]),
            (first, count),
        )
        yield WindowSplit(*(_moments(panel.values, *span, size) for span in spans))


def _moments(
    values: Float[Tensor, " total"],
    starts: Int[Tensor, " series"],
    lengths: Int[Tensor, " series"],
    size: int,
) -> WindowMoments:
    group = (lengths > 0).nonzero()[:, 0]
    segments = Segments(starts[group], lengths[group], group, len(lengths))
    return WindowMoments.of(values, segments, size)


def _fit_shared(
    panel: Panel, horizon: int, held: Int[Tensor, " series"], contexts: Contexts
) -> ARResults:
    """Maps of each series, blended with those of all series together, which are the last group."""
    order = contexts[-1]
    splits = partial(_splits, panel, held, horizon, horizon + order)
    pooled = reduce(add, (split.pooled() for split in splits()))
    shared = fit_direct_maps(pooled, horizon, contexts)
    own, errors, counts = [], [], []
    for split in splits():
        maps = fit_direct_maps(split, horizon, contexts)
        own.append(maps[1])
        errors.append(_measure(stacking_errors, maps, shared, split))
        counts.append(_counts(split))
    held = torch.cat([count[0] for count in counts])
    weight = stacking_weight((torch.cat(errors, dim=1).sum(dim=2) * held).sum(dim=1))
    mix = torch.tensor([(1 - weight) ** 2, 2 * weight * (1 - weight), weight**2])
    parts = []
    for full, products, count in zip(own, errors, counts, strict=True):
        variance = (mix.to(products)[:, None, None] * products).sum(dim=0)
        parts.append(_results(full.blend(shared[1], weight), variance, count, order))
    variance = _measure(error_products, shared, shared, pooled)
    return concatenate([*parts, _results(shared[1], variance, _counts(pooled), order)])


def _counts(split: WindowSplit) -> Counts:
    return split.validation.nobs, split.every.nobs


def _measure(
    products: Callable[[DirectMaps, DirectMaps, WindowMoments], Tensor],
    maps: Pair,
    others: Pair,
    split: WindowSplit,
) -> Float[Tensor, "*pair series step"]:
    """Products of errors in the validation block.

    Those of series without one are of all windows, raised as in the final prediction error.
    """
    outside = products(maps[0], others[0], split.validation)
    held, nobs = _counts(split)
    if bool((held > 0).all()):
        return outside
    n_lags = maps[1].coef.shape[2]
    raised = (nobs + n_lags) / (nobs - n_lags).clamp(min=1)
    inside = products(maps[1], others[1], split.every) * raised[:, None]
    return torch.where(held[:, None] > 0, outside, inside)


def _results(
    maps: DirectMaps, variance: Float[Tensor, "series step"], counts: Counts, order: int
) -> ARResults:
    """Results of maps of all windows, whose errors have the given variance."""
    horizon, n_lags = maps.coef.shape[1:]
    held, nobs = counts
    steps = torch.arange(1, horizon + 1, dtype=torch.float64)
    # Errors of a step are as many observations as there are targets without a common point.
    points = torch.where(held > 0, held, nobs)[:, None] + horizon - 1
    df_resid = (points / steps).clamp(min=MIN_DF)
    coef = torch.nn.functional.pad(maps.coef.flip(1), (0, order - n_lags))
    unknown = torch.full_like(coef, torch.nan)
    return ARResults(
        coef=coef,
        std_err=unknown,
        active=coef != 0,
        intercept=maps.intercept.flip(1),
        intercept_std_err=unknown[:, :, 0],
        rss=variance.clamp(min=0).flip(1) * df_resid,
        df_resid=df_resid,
        nobs=nobs,
        n_series=torch.ones_like(nobs),
    )
