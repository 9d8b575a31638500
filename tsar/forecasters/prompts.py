"""Prompts: earlier stretches of series, put before the contexts that a model forecasts from."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel, TimeShift
from tsar.data.scaling import Scaling
from tsar.data.segments import rolling_std
from tsar.nn.convolution import correlate, next_fast_length
from tsar.nn.normalization import InstanceNorm, forward_fill, instance_norm
from tsar.validation import check_integer

Strategy = Literal["auto", "first", "last", "phase", "nearest"]

CHUNK = 2**19  # real numbers that one step of the search holds, a few times over: 4 MB each
BLOCK = 2**12  # points of a transform, at least: shorter ones are no faster
FLAT = 1e-10  # a deviation, in units of its series', that transforms tell nothing of
STEPS = 1e9  # of a correlation, from 0 to 1: rounding alone may tell apart what is nearer


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
    panel: Panel, pool: Panel, *, context_length: int, prompt_length: int, strategy: Strategy
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
    own = _own(panel, pool, context_length)
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


def with_prompts(
    panel: Panel, pool: Panel, context_length: int, prompt_length: int | None, strategy: Strategy
) -> Panel:
    """Panel of contexts, each behind a prompt that is as long unless its length is given."""
    length = context_length if prompt_length is None else prompt_length
    nameless = list(pool.labels.ids) == [pool.labels.columns.target]
    if nameless and pool is not panel:  # one series without a name is not another one without
        pool = replace(pool, labels=replace(pool.labels, ids=pd.Index(["prompts"])))
    found = find_prompts(
        panel, pool, context_length=context_length, prompt_length=length, strategy=strategy
    )
    return prompted(panel, found, context_length)


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


def _own(panel: Panel, pool: Panel, context_length: int) -> _Own:
    device = panel.values.device
    rows = pool.labels.ids.get_indexer(panel.labels.ids)
    row = torch.as_tensor(rows.astype(np.int64), device=device)
    lengths, known = pool.lengths.to(device)[row], row >= 0
    if pool.labels is panel.labels:  # the same series, on another device or scaled perhaps
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


# --- the nearest of all stretches -------------------------------------------------------------


class _Home(NamedTuple):
    """The context's own series in the pool: rows of its points, and of what is out of bounds."""

    begin: Int[Tensor, " context"]
    bound: Int[Tensor, " context"]  # stretches from here on reach into the context
    end: Int[Tensor, " context"]


def _nearest(
    panel: Panel, pool: Panel, own: _Own, context_length: int, prompt_length: int
) -> Prompts:
    span = _span(context_length, prompt_length, panel.labels.frequency.season_length)
    units = _units(contexts := _filled(_recent(panel, context_length))[:, -span:])
    # By name: of equals the same one is found in any order of the series.
    order = np.argsort(np.asarray(pool.labels.ids.astype(str)), kind="stable")
    rows = torch.as_tensor(order, device=own.row.device)
    named, row = pool.select(order), torch.where(own.row >= 0, rows.argsort()[own.row], -1)
    begin, end = named.offsets[row], named.offsets[row + 1] * (row >= 0)
    home = _Home(begin, begin + (own.limit - prompt_length + 1).clamp(min=0), end)
    place = _search(named, prompt_length, units.normalize(contexts), home)
    _check_any(panel, place, prompt_length)
    series = torch.searchsorted(named.offsets, place, right=True) - 1
    prompts = _taken(pool, rows[series], place - named.offsets[series], prompt_length)
    scaled = units.denormalize(_units(prompts.values[:, :span]).normalize(prompts.values))
    return replace(prompts, values=torch.where((series == row)[:, None], prompts.values, scaled))


def _span(context_length: int, prompt_length: int, season: int) -> int:
    """Points of a look-alike: half a prompt, or a little less for the season.

    A prompt begins where a context of `span` points would, and ends `prompt_length` later: that is
    where the whole context begins, in the season, if these lengths differ by whole seasons.
    """
    most = min(context_length, prompt_length // 2)
    less = (most - context_length - prompt_length) % season
    return most - less if 2 * less < most else most


def _filled(contexts: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Contexts without gaps: missing points repeat the one before, the first ones the next."""
    begun = (~contexts.isnan()).cummax(dim=1).values
    return torch.where(begun, forward_fill(contexts), forward_fill(contexts.flip(1)).flip(1))


def _units(values: Float[Tensor, "series time"]) -> InstanceNorm:
    """Mean and deviation of rows; what is constant has 1, and is left as nothing at all."""
    start = values[:, :1]
    own = instance_norm(values - start, "standardize")
    return own._replace(level=own.level + start)


def _check_any(panel: Panel, place: Int[Tensor, " series"], length: int) -> None:
    for row in (place < 0).nonzero()[:1, 0].tolist():
        raise ValueError(
            f"prompts must find {length} points in a row in the pool, before the context; got none "
            f"for series {panel.labels.ids[row]!r}. Give longer series, or a shorter prompt_length."
        )


def _search(
    pool: Panel, length: int, queries: Float[Tensor, "context span"], home: _Home
) -> Int[Tensor, " context"]:
    """Row of ``pool.values`` where the stretch begins that is nearest to each context; -1: none.

    `queries` have mean 0 and deviation 1, or are 0 all over.
    """
    signal = Scaling.of(pool).apply(pool).values.nan_to_num(0.0)
    complete, span = _complete(pool, length), queries.shape[1]
    best = torch.full_like(queries[:, 0], -torch.inf)
    place = torch.full_like(home.begin, -1)
    # The transforms of `correlate` are as long as a block and a query.
    stride = next_fast_length(max(8 * span, BLOCK)) - 2 * span + 1
    rows = max(min(CHUNK // stride, len(queries)), 1)
    width = stride * max(CHUNK // (stride * rows), 1)
    for begin in range(0, len(complete), width):
        whole = complete[begin : begin + width]
        windows = _windows(signal[begin : begin + len(whole) + span - 1], whole, span, stride)
        for chunk in (slice(i, i + rows) for i in range(0, len(queries), rows)):
            score = _scores(windows, queries[chunk])
            _mark_home(score, _Home(*(row[chunk] - begin for row in home)))
            highest, back = score.flip(1).max(dim=1)  # the first of equals, in the flipped ones
            better = (highest >= best[chunk]) & (highest > -torch.inf)
            best[chunk] = torch.where(better, highest, best[chunk])
            place[chunk] = torch.where(better, begin + len(whole) - 1 - back, place[chunk])
    return place


def _complete(pool: Panel, length: int) -> Bool[Tensor, " stretch"]:
    """Whether the stretch from each point on lies in one series, and has no gap."""
    missing = torch.nn.functional.pad(pool.values.isnan().cumsum(0), (1, 0))
    gapless = missing[length:] == missing[: max(len(missing) - length, 0)]
    series = pool.series
    return gapless & (series[: len(gapless)] == series[length - 1 :])


class _Windows(NamedTuple):
    """Windows of one step of the search: points in blocks, and what makes scores of products."""

    blocks: Float[Tensor, "block time"]
    unit: Float[Tensor, " window"]
    base: Float[Tensor, " window"]
    stride: int


def _windows(
    part: Float[Tensor, " time"], complete: Bool[Tensor, " window"], span: int, stride: int
) -> _Windows:
    padded = torch.nn.functional.pad(part, (0, -len(complete) % stride))
    deviation = rolling_std(part, span)
    varies = deviation > FLAT
    unit = torch.where(varies, STEPS / (span * deviation), 0.0)
    base = torch.where(complete, -0.5 * STEPS * varies, -torch.inf)
    return _Windows(padded.unfold(0, stride + span - 1, stride), unit, base, stride)


def _scores(
    windows: _Windows, queries: Float[Tensor, "context span"]
) -> Float[Tensor, "context window"]:
    """What falls as the distance of each query to each window grows, both z-normalized.

    The squared distance is ``span * (varies + 1 - 2 * correlation)``, as a query sums to 0 (MASS,
    Mueen et al. 2015); `varies` is 0 for a constant window, which has no shape.
    """
    products = correlate(windows.blocks, queries[:, None], windows.stride).flatten(1)
    return (products[:, : len(windows.unit)] * windows.unit).round_().add_(windows.base)


def _mark_home(score: Float[Tensor, "context window"], home: _Home) -> None:
    """Prefer, of equals, the context's own series, and leave out what reaches into the context."""
    here = ((home.end > 0) & (home.begin < score.shape[1])).nonzero()[:, 0]  # few of many
    begin, bound, end = (row[here, None] for row in home)
    place = torch.arange(score.shape[1], device=score.device)
    own = (place >= begin) & (place < end)
    score[here] = (score[here] + 0.5 * own).masked_fill_(own & (place >= bound), -torch.inf)
