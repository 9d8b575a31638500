"""In-context prompts: earlier stretches of series, put before the contexts of forecasts."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Panel, TimeShift
from tsar.data.windows import Windows
from tsar.forecasters.autotimes.neighbors import (
    ExclusionZone,
    fill_gaps,
    nearest_neighbors,
    query_length,
    standardization,
)
from tsar.validation import check_integer

Strategy = Literal["auto", "first", "last", "phase", "nearest"]


@dataclass(frozen=True)
class Prompts:
    """Prompts, and where they were taken from.

    Attributes
    ----------
    series
        Row of the series in the pool, -1 where there is no prompt.
    first
        Position of the first point in that series, -1 where there is no prompt.
    values
        The points, NaN where there is no prompt; those of another series in the units of the
        context.
    start
        Ordinal of the time of the first point; undefined where there is no prompt.
    """

    series: Int[Tensor, " series"]
    first: Int[Tensor, " series"]
    values: Float[Tensor, "series time"]
    start: Int[Tensor, " series"]


def find_prompts(
    panel: Panel,
    pool: Panel,
    *,
    context_length: int,
    prompt_length: int,
    strategy: Strategy,
    pool_rows: NDArray[np.intp] | None = None,
) -> Prompts:
    """Find a prompt of `prompt_length` points for the context of each series.

    Parameters
    ----------
    panel
        Series to forecast; the contexts are their last `context_length` points.
    pool
        Series to take prompts from: `panel` itself, or a panel of the same frequency. A prompt from
        the context's own series, found by its id, ends before the context begins. Arrays have no
        times: another array than `panel` is taken to end before `panel` begins.
    strategy
        ``"first"``: the first points of the same series, from its first observed one on.
        ``"last"``: the points just before the context. ``"phase"``: the newest that ends in the
        same phase of the season as the context. ``"nearest"``: the nearest neighbour of the
        context's newest points in all series, and what followed it; without gaps. At most half of
        the prompt is compared, z-normalized, and less where the season then continues from prompt
        to context; of equals the same series is preferred, then the newest. ``"auto"``: by phase,
        else the last, else none.
    pool_rows
        Row in the pool of each series of `panel`, which must hold the same points there; None to
        find it by its id.

    Raises
    ------
    ValueError
        The frequencies differ, or there is no prompt for a series, except with ``"auto"``.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.arange(8.0)[None])
    >>> find_prompts(panel, panel, context_length=3, prompt_length=2, strategy="last").values
    tensor([[3., 4.]])
    """
    check_integer("context_length", context_length)
    check_integer("prompt_length", prompt_length, 2)
    if strategy not in get_args(Strategy):
        raise ValueError(
            f"prompts must be one of {list(get_args(Strategy))}; got {strategy!r}. Change it."
        )
    names = [x.labels.frequency.name for x in (panel, pool)]
    if names[0] != names[1]:
        raise ValueError(
            f"prompts must have the frequency {names[0]!r} of the series; got {names[1]!r}. "
            "Resample the pool, or the series."
        )
    own = _own_series(panel, pool, context_length, pool_rows)
    pool = pool.to(panel.values.device, panel.values.dtype)
    if strategy == "nearest":
        return _nearest(panel, pool, own, context_length, prompt_length)
    end = _ends(own, strategy, prompt_length, panel.labels.frequency.season_length)
    available = end - own.first_observed
    if strategy != "auto":
        _check_available(panel, own, available, strategy, prompt_length)
    first = torch.where(available >= prompt_length, end - prompt_length, -1)
    return _extract(pool, own.row, first, prompt_length)


def prepend_prompts(panel: Panel, prompts: Prompts, context_length: int) -> Panel:
    """Panel of prompts and contexts: series of equal length with the same last time as before.

    Parameters
    ----------
    context_length
        Points of a context, padded with NaN on the left in a shorter series.

    Raises
    ------
    ValueError
        The panel has covariates, which prompts have not.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.arange(8.0)[None])
    >>> prompts = find_prompts(panel, panel, context_length=3, prompt_length=2, strategy="first")
    >>> prepend_prompts(panel, prompts, context_length=3).values
    tensor([0., 1., 5., 6., 7.])
    """
    if panel.past.shape[1] or panel.future.shape[1]:
        raise ValueError(
            "prompts must be None with covariates, which a prompt has not; got "
            f"{list(panel.labels.columns.covariates)}. Do without prompts, or without covariates."
        )
    values = torch.cat([prompts.values, _last_points(panel, context_length)], dim=1)
    n_series, length = values.shape
    step = panel.labels.frequency.step
    starts = panel.end_ordinals() - (length - 1) * step
    # Without a prompt there is nothing to shift.
    missing = prompts.first.cpu().numpy() < 0
    shift = np.where(missing, 0, starts - prompts.start.cpu().numpy())
    time_shift = TimeShift(starts + prompts.values.shape[1] * step, shift)
    return replace(
        panel,
        values=values.reshape(-1),
        offsets=torch.arange(n_series + 1, device=values.device) * length,
        past=values.new_empty(n_series * length, 0),
        future=values.new_empty(n_series * length, 0),
        labels=replace(panel.labels, starts=starts, time_shift=time_shift),
    )


def prompted_windows(
    windows: Windows,
    pool: Panel | None,
    context_length: int,
    prompt_length: int | None,
    strategy: Strategy,
) -> Windows:
    """Windows with a prompt before each context, in the same order.

    Parameters
    ----------
    windows
        Windows of a panel that holds the whole history before them.
    pool
        Series to take prompts from; None for those of the panel, without as many of their last
        points as the window's own series has after the context, so that none is from its future.
    context_length
        Points of a context.
    prompt_length
        Points of a prompt; None for `context_length`.
    strategy
        See `find_prompts`.
    """
    length = context_length if prompt_length is None else prompt_length
    if pool is not None and list(pool.labels.ids) == [pool.labels.columns.target]:
        # Two series without a name are not the same series.
        pool = replace(pool, labels=replace(pool.labels, ids=pd.Index(["prompts"])))
    series, panel = windows.series, windows.panel
    n_windows, width = len(series), length + context_length
    values = panel.values.new_full((n_windows, width + windows.horizon), torch.nan)
    starts, shifts = np.empty(n_windows, np.int64), np.empty((2, n_windows), np.int64)
    n_later = panel.offsets[series + 1] - windows.cutoffs
    for count in n_later.unique().tolist():
        rows = (n_later == count).nonzero()[:, 0].numpy()
        past, chosen = panel.without_last(count), series[rows].numpy()
        contexts = past.select(chosen)
        prompts = find_prompts(
            contexts,
            past if pool is None else pool,
            context_length=context_length,
            prompt_length=length,
            strategy=strategy,
            pool_rows=chosen if pool is None else None,
        )
        joined = prepend_prompts(contexts, prompts, context_length)
        values[rows, :width] = joined.values.view(-1, width)
        starts[rows] = joined.labels.starts
        shifts[:, rows] = np.stack(joined.labels.time_shift or ())
    labels = panel.labels.select(series.numpy())
    labels = replace(labels, starts=starts, time_shift=TimeShift(*shifts))
    joined = replace(Panel.from_tensor(values), labels=labels)
    index = torch.arange(n_windows)
    cutoffs = torch.full_like(index, width)
    return Windows.at(joined, width, windows.horizon, index, cutoffs, gap=windows.gap)


class _OwnSeries(NamedTuple):
    """Each context's own series in the pool; points are counted from its start there.

    `row` is -1 where the pool does not hold it; `first_observed` is its first observed point,
    `limit` the number of its points before the context, and `end` where the context ends.
    """

    row: Int[Tensor, " series"]
    first_observed: Int[Tensor, " series"]
    limit: Int[Tensor, " series"]
    end: Int[Tensor, " series"]


def _own_series(
    panel: Panel, pool: Panel, context_length: int, pool_rows: NDArray[np.intp] | None
) -> _OwnSeries:
    device = panel.values.device
    same_points = pool_rows is not None or pool.labels is panel.labels
    rows = pool.labels.ids.get_indexer(panel.labels.ids) if pool_rows is None else pool_rows
    row = torch.as_tensor(rows.astype(np.int64), device=device)
    lengths, found = pool.lengths.to(device)[row], row >= 0
    if same_points:  # on another device or in other units perhaps
        begin = torch.zeros_like(row)
    elif panel.labels.layout.style in ("array", "vector"):
        begin = lengths  # arrays have no times: the panel follows the pool
    else:
        steps = (panel.labels.starts - pool.labels.starts[rows]) // panel.labels.frequency.step
        begin = torch.as_tensor(steps, device=device)
    context = begin + (panel.lengths - context_length).clamp(min=0)
    limit = torch.minimum(context.clamp(min=0), lengths) * found
    first_observed = _first_observed(pool).to(device)[row] * found
    return _OwnSeries(row, first_observed, limit, begin + panel.lengths)


def _first_observed(panel: Panel) -> Int[Tensor, " series"]:
    """First observed point of each series; its length where none is."""
    counts = (~panel.values.isnan()).cumsum(0)
    before = torch.cat([counts.new_zeros(1), counts])[panel.offsets[:-1]]
    rows = torch.searchsorted(counts, before + 1)
    return torch.minimum(rows - panel.offsets[:-1], panel.lengths)


def _ends(
    own: _OwnSeries, strategy: Strategy, length: int, season_length: int
) -> Int[Tensor, " series"]:
    """Point after each prompt; too early where the series is too short."""
    if strategy == "first":
        return torch.minimum(own.first_observed + length, own.limit)
    # Whole seasons before the end of the context.
    phase = own.end + (own.limit - own.end) // season_length * season_length
    if strategy == "auto":
        return torch.where(phase - own.first_observed >= length, phase, own.limit)
    return phase if strategy == "phase" else own.limit


def _check_available(
    panel: Panel,
    own: _OwnSeries,
    available: Int[Tensor, " series"],
    strategy: Strategy,
    length: int,
) -> None:
    """Check that the pool holds each series, and enough of its points."""
    for row in (own.row < 0).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find each series in the pool by {strategy!r}; got none for series "
            f"{panel.labels.ids[row]!r}. Give its earlier points, or prompts='nearest'."
        )
    for row in (available < length).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find {length} points before the context of each series; got "
            f"{max(int(available[row]), 0)} for series {panel.labels.ids[row]!r}. "
            "Give longer series, a shorter prompt_length, or prompts='auto'."
        )


def _extract(
    pool: Panel, row: Int[Tensor, " series"], first: Int[Tensor, " series"], length: int
) -> Prompts:
    """Prompts from series of the pool, in their units; NaN where `first` is negative."""
    found = first >= 0
    begin = torch.where(found, pool.offsets[row] + first, 0)
    rows = begin[:, None] + torch.arange(length, device=begin.device)
    values = pool.values[rows.clamp(max=len(pool.values) - 1)]
    return Prompts(
        series=torch.where(found, row, -1),
        first=first,
        values=torch.where(found[:, None], values, torch.nan),
        start=pool.starts[row] + first * pool.labels.frequency.step,
    )


def _last_points(panel: Panel, count: int) -> Float[Tensor, "series time"]:
    """Last points of each series, padded with NaN on the left."""
    rows = panel.offsets[1:, None] + torch.arange(-count, 0, device=panel.offsets.device)
    inside = rows >= panel.offsets[:-1, None]
    return torch.where(inside, panel.values[rows.clamp(min=0)], torch.nan)


def _nearest(
    panel: Panel, pool: Panel, own: _OwnSeries, context_length: int, prompt_length: int
) -> Prompts:
    width = query_length(context_length, prompt_length, panel.labels.frequency.season_length)
    contexts = fill_gaps(_last_points(panel, context_length))[:, -width:]
    norm = standardization(contexts)
    # Sorted by id: the last of equals does not depend on the order of the series.
    order = np.argsort(np.asarray(pool.labels.ids.astype(str)), kind="stable")
    rows = torch.as_tensor(order, device=own.row.device)
    ordered, own_row = pool.select(order), torch.where(own.row >= 0, rows.argsort()[own.row], -1)
    begin, end = ordered.offsets[own_row], ordered.offsets[own_row + 1] * (own_row >= 0)
    first_excluded = begin + (own.limit - prompt_length + 1).clamp(min=0)
    exclusion = ExclusionZone(begin, first_excluded, end)
    start = nearest_neighbors(ordered, prompt_length, norm.normalize(contexts), exclusion)
    _check_found(panel, start, prompt_length)
    series = torch.searchsorted(ordered.offsets, start, right=True) - 1
    prompts = _extract(pool, rows[series], start - ordered.offsets[series], prompt_length)
    prompt_norm = standardization(prompts.values[:, :width])
    scaled = norm.denormalize(prompt_norm.normalize(prompts.values))
    same_series = (series == own_row)[:, None]
    return replace(prompts, values=torch.where(same_series, prompts.values, scaled))


def _check_found(panel: Panel, start: Int[Tensor, " series"], length: int) -> None:
    for row in (start < 0).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find {length} points in a row in the pool, before the context; got none "
            f"for series {panel.labels.ids[row]!r}. Give longer series, or a shorter prompt_length."
        )
