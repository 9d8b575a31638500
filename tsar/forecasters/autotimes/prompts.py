"""Prompts: earlier stretches of series, put before the contexts that a model forecasts from."""

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
from tsar.forecasters.autotimes.nearest import (
    Home,
    fill_gaps,
    matched_length,
    search,
    standardization,
)
from tsar.validation import check_integer

Strategy = Literal["auto", "first", "last", "phase", "nearest"]


@dataclass(frozen=True)
class Prompts:
    """Where each prompt was taken from.

    Attributes
    ----------
    series
        Row in the pool, -1 where a series has no prompt.
    first
        First point of the stretch in that series, -1 where there is none.
    values
        The points, NaN where there are none; those of another series in the units of the context.
    begin
        Ordinal of the time of the first point; what it is means nothing where there is none.
    """

    series: Int[Tensor, " series"]
    first: Int[Tensor, " series"]
    values: Float[Tensor, "series time"]
    begin: Int[Tensor, " series"]


def find_prompts(
    panel: Panel,
    pool: Panel,
    *,
    context_length: int,
    prompt_length: int,
    strategy: Strategy,
    pool_rows: NDArray[np.intp] | None = None,
) -> Prompts:
    """An earlier stretch of `prompt_length` points for the context of each series.

    Parameters
    ----------
    panel
        Series to forecast after; their contexts are their last `context_length` points.
    pool
        Where stretches are taken from: `panel` itself, or a panel of the same frequency. Those of
        a context's own series, told by its id, end before the context begins; another pool than
        `panel` lies before it as a whole where both are arrays, which have no times.
    strategy
        ``"first"``: the first points of the same series, from its first observed one on.
        ``"last"``: those just before the context. ``"phase"``: the newest that ends at the place
        in the season where the context ends. ``"nearest"``: of all stretches without gaps of all
        series, the one that begins with the look-alike of the context's last points, so that what
        followed is in the prompt too. A look-alike has at most half of the prompt's points, fewer
        where the season then goes on unbroken from the prompt to the context, and is the nearest
        where both have mean 0 and deviation 1; of equals one of the same series, the newest.
        ``"auto"``: by phase, else the last, else NaN.
    pool_rows
        Row in the pool of each series of `panel`, where the pool holds the same points of it. None:
        by id.

    Raises
    ------
    ValueError
        The frequencies differ, or a series has no such stretch, unless by ``"auto"``.

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
    own = _own(panel, pool, context_length, pool_rows)
    pool = pool.to(panel.values.device, panel.values.dtype)
    if strategy == "nearest":
        return _nearest(panel, pool, own, context_length, prompt_length)
    stop = _stop(own, strategy, prompt_length, panel.labels.frequency.season_length)
    if strategy != "auto":
        _check_found(panel, own, stop - own.first, strategy, prompt_length)
    found = stop - own.first >= prompt_length
    return _taken(pool, own.row, torch.where(found, stop - prompt_length, -1), prompt_length)


def prompted(panel: Panel, prompts: Prompts, context_length: int) -> Panel:
    """Panel of prompts and contexts: series of one length, that end when they ended.

    Parameters
    ----------
    context_length
        Last points of each series; NaN before those of a shorter one.

    Raises
    ------
    ValueError
        The panel has covariates, which prompts have not.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.arange(8.0)[None])
    >>> prompts = find_prompts(panel, panel, context_length=3, prompt_length=2, strategy="first")
    >>> prompted(panel, prompts, context_length=3).values
    tensor([0., 1., 5., 6., 7.])
    """
    if panel.past.shape[1] or panel.future.shape[1]:
        raise ValueError(
            "prompts must be None with covariates, which a prompt has not; got "
            f"{list(panel.labels.columns.covariates)}. Do without prompts, or without covariates."
        )
    values = torch.cat([prompts.values, _recent(panel, context_length)], dim=1)
    series, length = values.shape
    step = panel.labels.frequency.step
    starts = panel.end_ordinals() - (length - 1) * step
    # Where there is no prompt, there is nothing that has a time.
    by = np.where(prompts.first.cpu().numpy() < 0, 0, starts - prompts.begin.cpu().numpy())
    time_shift = TimeShift(starts + prompts.values.shape[1] * step, by)
    return replace(
        panel,
        values=values.reshape(-1),
        offsets=torch.arange(series + 1, device=values.device) * length,
        past=values.new_empty(series * length, 0),
        future=values.new_empty(series * length, 0),
        labels=replace(panel.labels, starts=starts, time_shift=time_shift),
    )


def prompted_windows(
    windows: Windows,
    pool: Panel | None,
    context_length: int,
    prompt_length: int | None,
    strategy: Strategy,
) -> Windows:
    """Windows whose contexts stand behind a prompt, in the same order.

    Parameters
    ----------
    windows
        Windows of a panel that holds the whole history before them.
    pool
        Series to find the nearest stretch in; None: those of the panel, as far as they were known
        when the window begins, counted in points from the end of each series.
    context_length
        Points of a context.
    prompt_length
        Points of a prompt; None: as many as of a context.
    """
    length = context_length if prompt_length is None else prompt_length
    if pool is not None and list(pool.labels.ids) == [pool.labels.columns.target]:
        # One series without a name is not the same as another one without a name.
        pool = replace(pool, labels=replace(pool.labels, ids=pd.Index(["prompts"])))
    series = windows.series
    after = windows.panel.offsets[series + 1] - windows.cutoffs
    values = torch.empty(len(series), length + context_length, dtype=windows.panel.values.dtype)
    starts = np.empty(len(series), np.int64)
    shifts = np.empty((2, len(series)), np.int64)
    for points in after.unique().tolist():
        known = windows.panel.without_last(points)
        rows = (after == points).nonzero()[:, 0].numpy()
        chosen = series[rows].numpy()
        contexts = known.select(chosen)
        found = find_prompts(
            contexts,
            known if pool is None else pool,
            context_length=context_length,
            prompt_length=length,
            strategy=strategy,
            pool_rows=chosen if pool is None else None,
        )
        part = prompted(contexts, found, context_length)
        values[rows] = part.values.view(len(rows), -1)
        starts[rows] = part.labels.starts
        shifts[:, rows] = np.stack(part.labels.time_shift or ())
    labels = windows.panel.labels.select(series.numpy())
    joined = replace(
        Panel.from_tensor(values),
        labels=replace(labels, starts=starts, time_shift=TimeShift(*shifts)),
    )
    extended = joined.extend(values.new_empty(len(series), windows.horizon, 0))
    rows = torch.arange(len(series))
    ends = torch.full_like(rows, values.shape[1])
    return Windows.at(extended, values.shape[1], windows.horizon, rows, ends, gap=windows.gap)


# --- stretches of the same series -------------------------------------------------------------


class _Own(NamedTuple):
    """The same series in the pool, and where its points end that may be taken.

    `row` is -1 where the pool has no such series; `first` its first observed point; `limit` the
    points of it before the context; `end` where the context ends, counted from its start.
    """

    row: Int[Tensor, " series"]
    first: Int[Tensor, " series"]
    limit: Int[Tensor, " series"]
    end: Int[Tensor, " series"]


def _own(
    panel: Panel, pool: Panel, context_length: int, pool_rows: NDArray[np.intp] | None
) -> _Own:
    device = panel.values.device
    same = pool_rows is not None or pool.labels is panel.labels
    rows = pool.labels.ids.get_indexer(panel.labels.ids) if pool_rows is None else pool_rows
    row = torch.as_tensor(rows.astype(np.int64), device=device)
    lengths, known = pool.lengths.to(device)[row], row >= 0
    if same:  # the same series, on another device or scaled perhaps
        begin = torch.zeros_like(row)
    elif panel.labels.layout.style in ("array", "vector"):
        begin = lengths  # an array has no times: it follows
    else:
        steps = (panel.labels.starts - pool.labels.starts[rows]) // panel.labels.frequency.step
        begin = torch.as_tensor(steps, device=device)
    context = begin + (panel.lengths - context_length).clamp(min=0)
    limit = torch.minimum(context.clamp(min=0), lengths) * known
    return _Own(row, _first_observed(pool).to(device)[row] * known, limit, begin + panel.lengths)


def _first_observed(panel: Panel) -> Int[Tensor, " series"]:
    """First observed point of each series; its length where none is."""
    counts = (~panel.values.isnan()).cumsum(0)
    before = torch.cat([counts.new_zeros(1), counts])[panel.offsets[:-1]]
    rows = torch.searchsorted(counts, before + 1)
    return torch.minimum(rows - panel.offsets[:-1], panel.lengths)


def _stop(own: _Own, strategy: Strategy, length: int, season: int) -> Int[Tensor, " series"]:
    """Point behind each stretch; it lies too early where the series is too short."""
    if strategy == "first":
        return torch.minimum(own.first + length, own.limit)
    # A whole number of seasons before the context's end.
    phase = own.end + (own.limit - own.end) // season * season
    if strategy == "auto":
        return torch.where(phase - own.first >= length, phase, own.limit)
    return phase if strategy == "phase" else own.limit


def _check_found(
    panel: Panel, own: _Own, points: Int[Tensor, " series"], strategy: Strategy, length: int
) -> None:
    """Check that each series is in the pool, and has points enough to take a stretch of."""
    for row in (own.row < 0).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find each series in the pool by {strategy!r}; got none for series "
            f"{panel.labels.ids[row]!r}. Give its earlier points, or prompts='nearest'."
        )
    for row in (points < length).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find {length} points before the context of each series; got "
            f"{max(int(points[row]), 0)} for series {panel.labels.ids[row]!r}. "
            "Give longer series, a shorter prompt_length, or prompts='auto'."
        )


def _taken(
    pool: Panel, row: Int[Tensor, " series"], first: Int[Tensor, " series"], length: int
) -> Prompts:
    """Stretches of the pool as they are; NaN where `first` is negative."""
    found = first >= 0
    begin = torch.where(found, pool.offsets[row] + first, 0)
    points = begin[:, None] + torch.arange(length, device=begin.device)
    values = pool.values[points.clamp(max=len(pool.values) - 1)]
    return Prompts(
        series=torch.where(found, row, -1),
        first=first,
        values=torch.where(found[:, None], values, torch.nan),
        begin=pool.starts[row] + first * pool.labels.frequency.step,
    )


def _recent(panel: Panel, points: int) -> Float[Tensor, "series points"]:
    """Last points of each series, NaN before those of a shorter one."""
    rows = panel.offsets[1:, None] + torch.arange(-points, 0, device=panel.offsets.device)
    there = rows >= panel.offsets[:-1, None]
    return torch.where(there, panel.values[rows.clamp(min=0)], torch.nan)


def _nearest(
    panel: Panel, pool: Panel, own: _Own, context_length: int, prompt_length: int
) -> Prompts:
    span = matched_length(context_length, prompt_length, panel.labels.frequency.season_length)
    units = standardization(contexts := fill_gaps(_recent(panel, context_length))[:, -span:])
    # By name: of equals the same one is found in any order of the series.
    order = np.argsort(np.asarray(pool.labels.ids.astype(str)), kind="stable")
    rows = torch.as_tensor(order, device=own.row.device)
    named, row = pool.select(order), torch.where(own.row >= 0, rows.argsort()[own.row], -1)
    begin, end = named.offsets[row], named.offsets[row + 1] * (row >= 0)
    home = Home(begin, begin + (own.limit - prompt_length + 1).clamp(min=0), end)
    place = search(named, prompt_length, units.normalize(contexts), home)
    _check_any(panel, place, prompt_length)
    series = torch.searchsorted(named.offsets, place, right=True) - 1
    prompts = _taken(pool, rows[series], place - named.offsets[series], prompt_length)
    scaled = units.denormalize(standardization(prompts.values[:, :span]).normalize(prompts.values))
    return replace(prompts, values=torch.where((series == row)[:, None], prompts.values, scaled))


def _check_any(panel: Panel, place: Int[Tensor, " series"], length: int) -> None:
    for row in (place < 0).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find {length} points in a row in the pool, before the context; got none "
            f"for series {panel.labels.ids[row]!r}. Give longer series, or a shorter prompt_length."
        )
