"""Direct forecasts by averaged ridge maps: contexts by length, validation, shared and own maps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Int
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
CACHED_ELEMENTS = 16 * MAX_ELEMENTS  # moments that are kept from the shared to the own maps

Contexts = list[int]


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
        return _fit_shared(_Splits(panel, horizon, held, contexts[0]), order)
    rows, parts = [], []
    for lengths in sorted({tuple(own) for own in contexts}):
        inside = torch.tensor([k for k, own in enumerate(contexts) if tuple(own) == lengths])
        splits = _Splits(panel.select(inside.numpy()), horizon, held[inside], list(lengths))
        parts += [
            _results(*fit_direct_maps(split, horizon, lengths), split, order) for split in splits
        ]
        rows.append(inside)
    return concatenate(parts).take(torch.cat(rows).argsort())


class _Splits:
    """Moments of series with the same contexts, a few series at a time."""

    def __init__(
        self, panel: Panel, horizon: int, held: Int[Tensor, " series"], contexts: Contexts
    ) -> None:
        self.panel, self.horizon, self.held, self.contexts = panel, horizon, held, contexts
        self.size = horizon + contexts[-1]
        self.rows = rows_within(MAX_ELEMENTS, self.size**2)
        self.cached: list[WindowSplit] | None = None
        if len(panel) * 3 * self.size**2 <= CACHED_ELEMENTS:
            self.cached = list(self._compute())

    def __iter__(self) -> Iterator[WindowSplit]:
        return iter(self._compute() if self.cached is None else self.cached)

    def _compute(self) -> Iterator[WindowSplit]:
        observed = self.panel.series[~self.panel.values.isnan()]
        lengths = torch.bincount(observed, minlength=len(self.panel))  # 0 if nothing is observed
        starts = self.panel.offsets[:-1]
        before = lengths - self.held
        held = torch.where(before >= self.size + MIN_WINDOWS - 1, self.held, 0)
        before, reach = lengths - held, torch.where(held > 0, held + self.contexts[-1], 0)
        values = self.panel.values
        for rows in torch.arange(len(lengths)).split(self.rows):
            spans = (
                (starts[rows], before[rows]),
                (starts[rows] + lengths[rows] - reach[rows], reach[rows]),
                (starts[rows], lengths[rows]),
            )
            yield WindowSplit(*(self._moments(values, *span) for span in spans))

    def _moments(
        self, values: Tensor, starts: Int[Tensor, " series"], lengths: Int[Tensor, " series"]
    ) -> WindowMoments:
        group = (lengths > 0).nonzero()[:, 0]
        segments = Segments(starts[group], lengths[group], group, len(lengths))
        return WindowMoments.of(values, segments, self.size)


def _fit_shared(splits: _Splits, order: int) -> ARResults:
    """Maps of each series, blended with those of all series together, which are the last group."""
    horizon, contexts = splits.horizon, splits.contexts
    pooled = reduce(add, (split.pooled() for split in splits))
    shared = fit_direct_maps(pooled, horizon, contexts)
    own = [fit_direct_maps(split, horizon, contexts) for split in splits]
    errors = [
        stacking_errors(maps, shared[0], split.validation)
        for (maps, _), split in zip(own, splits, strict=True)
    ]
    weight = stacking_weight(torch.stack(errors).sum(dim=0))
    parts = []
    for (past, full), split in zip(own, splits, strict=True):
        blended = past.blend(shared[0], weight), full.blend(shared[1], weight)
        parts.append(_results(*blended, split, order))
    return concatenate([*parts, _results(*shared, pooled, order)])


def _results(past: DirectMaps, full: DirectMaps, split: WindowSplit, order: int) -> ARResults:
    """Results of maps of all windows, with the errors of those of the windows before validation."""
    horizon, n_lags = full.coef.shape[1:]
    held = split.validation.nobs[:, None]
    steps = torch.arange(1, horizon + 1, dtype=torch.float64)
    nobs = split.every.nobs[:, None]
    inside = error_products(full, full, split.every).flip(1)
    inside = inside * (nobs + n_lags) / (nobs - n_lags).clamp(min=1)  # final prediction error
    outside = error_products(past, past, split.validation).flip(1)
    variance = torch.where(held > 0, outside, inside).clamp(min=0)
    # Errors of a step are as many observations as there are targets without a common point.
    points = torch.where(held > 0, held, nobs) + horizon - 1
    df_resid = (points / steps).clamp(min=MIN_DF)
    coef = torch.nn.functional.pad(full.coef.flip(1), (0, order - n_lags))
    unknown = torch.full_like(coef, torch.nan)
    return ARResults(
        coef=coef,
        std_err=unknown,
        active=coef != 0,
        intercept=full.intercept.flip(1),
        intercept_std_err=unknown[:, :, 0],
        rss=variance * df_resid,
        df_resid=df_resid,
        nobs=split.every.nobs,
        n_series=torch.ones_like(split.every.nobs),
    )
