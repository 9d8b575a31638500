"""What follows the fitted series: whose it is, how far behind, at which steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Columns, Labels, Panel, check_time_zone
from tsar.data.panel.values import format_value


def usable_columns(columns: Columns | None, uses: frozenset[str], name: str) -> Columns:
    """How frames are read, by a forecaster that uses some kinds of covariates.

    Raises
    ------
    TypeError, ValueError
        It is something else, or names covariates of another kind.
    """
    columns = Columns() if columns is None else columns
    if not isinstance(columns, Columns):
        raise TypeError(f"columns must be a tsar.Columns; got {columns!r}. Build one.")
    for kind in ("past", "future", "static"):
        if getattr(columns, kind) and kind not in uses:
            raise ValueError(
                f"columns.{kind} must be empty for {name}, which can't use it; "
                f"got {getattr(columns, kind)}. Leave it out, or use a model that does."
            )
    return columns


def read_like(
    frame: Any,
    columns: Columns,
    fitted: Labels,
    features: int | None,
    *,
    zero_shot: bool,
    observed: bool,
) -> Panel:
    """Panel of a frame, regular at the frequency that was fitted; zero-shot: at another one too.

    Fitted series have the frequency that they had: a few of their points may tell none, or another.
    Where `observed` is False, these may be missing, all of them.

    Raises
    ------
    ValueError
        It has another one, or is one series where several (`features`) were fitted.
    """
    frequency = fitted.frequency
    known = columns
    if columns.freq is None and frequency.kind != "period":
        whole = frequency.kind == "integer"
        known = replace(columns, freq=frequency.step if whole else frequency.name)
    try:
        panel = Panel.from_frame(frame, known, observed=observed)
    except ValueError as error:
        other = _read_freely(frame, columns)
        if other is None:
            raise
        if zero_shot and are_others(other, fitted):
            return other
        _check_kind(other.labels, fitted, error)
        raise
    if not (zero_shot and are_others(panel, fitted)):
        check_time_zone(panel.labels.frequency.timezone, frequency, "frame")
    if panel.labels.frequency.name != frequency.name and not zero_shot:
        raise ValueError(
            f"frame must have the frequency {frequency.name!r} that was fitted; got "
            f"{panel.labels.frequency.name!r}. Resample it, or fit again."
        )
    if panel.labels.layout.style == "vector" and features is not None:
        raise ValueError(
            f"frame must have the {features} series that were fitted; got a 1-D array. Reshape "
            "your data to (time, series)."
        )
    return panel


def are_others(panel: Panel, fitted: Labels) -> bool:
    """Whether no series was fitted."""
    return not bool(panel.labels.ids.isin(fitted.ids).any())


def _read_freely(frame: Any, columns: Columns) -> Panel | None:
    """Panel of a frame at any frequency; None if that can't be told either."""
    try:
        return Panel.from_frame(frame, columns)
    except ValueError:
        return None


def _check_kind(given: Labels, fitted: Labels, cause: ValueError) -> None:
    """Refuse integers where dates were fitted, and the reverse, in the words of the caller."""
    kinds = ["integers" if of.frequency.kind == "integer" else "dates" for of in (given, fitted)]
    if kinds[0] != kinds[1]:
        array = given.layout.style in ("array", "vector")
        came = "an array, which has none" if array else kinds[0]
        raise ValueError(
            f"frame must have times that are {kinds[1]} (frequency {fitted.frequency.name!r}), as "
            f"in fit; got {came}. Give a frame with them."
        ) from cause


def check_covariates(
    panel: Panel,
    series: Int[Tensor, " window"],
    points: Int[Tensor, " window"],
    *,
    back: int,
    lead: Int[Tensor, " window"],
    horizon: int,
) -> None:
    """Check that covariates have values where forecasts from given points of series need them.

    Past ones are needed in the `back` points before, as far as the series goes; future ones from
    `lead` points before, to the end of the horizon.

    Raises
    ------
    ValueError
        One has none: which, of what series, when.
    """
    columns, start = panel.labels.columns, panel.offsets[:-1][series]
    for kind, names, values, first, last, when in (
        ("past", columns.past, panel.past, points - back, points, "that a forecast reads"),
        (
            "future",
            columns.future,
            panel.future,
            points - lead,
            points + horizon,
            "that is forecast",
        ),
    ):
        absent = values.isnan()
        if not bool(absent.any()):
            continue
        begin, end = start + first.clamp(min=0), start + last
        known = torch.cat([end.new_zeros(1), absent.sum(dim=1).cumsum(0)])
        missed = known[end] - known[begin]
        if not bool(missed.any()):
            continue
        window = int(missed.nonzero()[0, 0])
        row, feature = absent[begin[window] : end[window]].nonzero()[0].tolist()
        at = begin[window : window + 1] + row
        ordinal = panel.ordinals_at(series[window : window + 1], at).cpu().numpy()
        time = panel.labels.frequency.to_times(ordinal)[0]
        name = format_value(panel.labels.ids[int(series[window])])
        raise ValueError(
            f"frame must have the {kind} covariate {names[feature]!r} at every time {when}; got "
            f"none for series {name} at {time} "
            f"({int(missed[window])} missing in all). Fill it in, or leave the covariate out."
        )


def fitted_rows(panel: Panel, fitted: Panel, name: str) -> NDArray[np.intp]:
    """Row of each series of a panel among those that were fitted.

    Raises
    ------
    ValueError
        A series was not fitted.
    """
    rows = fitted.labels.ids.get_indexer(panel.labels.ids)
    if (rows < 0).any():
        unknown = panel.labels.ids[int(np.flatnonzero(rows < 0)[0])]
        raise ValueError(
            f"frame must hold series that {name} was fitted to; got series {unknown!r}. Fit with "
            "it; predict(frame) of a model across series forecasts others too."
        )
    return np.asarray(rows)


def steps_behind(actual: Panel, fitted: Panel, rows: NDArray[np.intp]) -> Int[Tensor, " series"]:
    """Steps from the end of what was fitted to the start of each series; 0 where it follows.

    Raises
    ------
    ValueError
        A series begins before the end of what was fitted.
    """
    step = actual.labels.frequency.step
    if actual.labels.layout.style in ("array", "vector"):
        lead = np.zeros(len(actual), dtype=np.int64)  # an array has no times: it follows
    else:
        lead = (actual.labels.starts - fitted.end_ordinals(1)[rows]) // step
    if (lead < 0).any():
        series = actual.labels.ids[int(np.flatnonzero(lead < 0)[0])]
        raise ValueError(
            f"frame must begin after what was fitted; got earlier times for series {series!r}. "
            "Give the points that follow, or fit on fewer."
        )
    return torch.from_numpy(lead)


def check_follows(newer: Panel, fitted: Panel, rows: NDArray[np.intp]) -> None:
    """Check that series begin at once behind what was fitted.

    Raises
    ------
    ValueError
        One begins before the end of what was fitted, or later; or a series is left out of a layout
        whose series share their times.
    """
    style = fitted.labels.layout.style
    if style != "long" and len(newer) < len(fitted):
        raise ValueError(
            f"frame must hold all {len(fitted)} series that were fitted, whose layout ({style}) "
            f"gives them the same times; got {len(newer)}. Add the others, NaN where unknown."
        )
    lead = steps_behind(newer, fitted, rows)
    if bool((lead > 0).any()):
        late = int(lead.argmax())
        raise ValueError(
            f"frame must begin where the fitted series end; got {int(lead[late])} missing "
            f"row(s) before series {newer.labels.ids[late]!r}. Add them, NaN where unknown."
        )


def check_contexts(context: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """Contexts in rows, none of whose points is infinite.

    Raises
    ------
    TypeError, ValueError
        They are no tensor, or have another shape; a point is infinite.
    """
    if not isinstance(context, Tensor):
        raise TypeError(
            f"context must be a tensor of shape (batch, time); got {type(context).__name__}. Use "
            "torch.as_tensor, or predict(frame)."
        )
    if context.ndim != 2:
        raise ValueError(
            f"context must have the shape (batch, time); got {tuple(context.shape)}. A single one "
            "is context[None]."
        )
    context = context.detach()
    if not context.is_floating_point():
        context = context.to(torch.get_default_dtype())  # integers have no room for forecasts
    infinite = context.isinf()
    if bool(infinite.any()):
        row, point = infinite.nonzero()[0].tolist()
        raise ValueError(
            f"context must be finite or NaN; got {float(context[row, point])} in row {row} at "
            f"point {point}. Give NaN where the value is not known."
        )
    return context


def context_ids(fitted: Panel, count: int, series: Int[Tensor, " batch"] | None) -> pd.Index:
    """Id of the fitted series of each context, one of its own where that was not fitted.

    Raises
    ------
    ValueError
        It is not said whose contexts they are, or of what is no series.
    """
    ids = fitted.labels.ids
    if series is not None:
        rows = torch.as_tensor(series)
        if rows.dtype == torch.bool or rows.is_floating_point() or rows.shape != (count,):
            raise ValueError(
                f"series must be integers, one for each of the {count} contexts; got "
                f"{format_value(series)}. Give the row of the fitted series that each is of."
            )
        if bool(((rows < -1) | (rows >= len(ids))).any()):
            raise ValueError(
                f"series must be rows from 0 to {len(ids) - 1} of fitted series, or -1 for others; "
                f"got {format_value(series)}. Give the row of the series that each context is of."
            )
        series = rows
    if series is None and len(ids) not in (1, count):
        raise ValueError(
            f"series must say which of the {len(ids)} fitted series each context is of; got "
            f"None with {count} contexts. Give their rows, -1 for series that were not fitted."
        )
    rows = torch.arange(count) % len(ids) if series is None else series
    named = [ids[row] if row >= 0 else ("context", k) for k, row in enumerate(rows.tolist())]
    return pd.Index(named, dtype=object, tupleize_cols=False)


def place(
    panel: Panel, lead: Int[Tensor, " series"], horizon: int, values: Float[Tensor, "time feature"]
) -> Float[Tensor, "series horizon feature"]:
    """Points of each series at the steps of the horizon where they stand, NaN elsewhere."""
    room = values.new_full((len(panel), horizon, values.shape[1]), torch.nan)
    step = torch.arange(len(values)) - panel.offsets[:-1][panel.series] + lead[panel.series]
    room[panel.series, step] = values
    return room


def held(
    values: Float[Tensor, "series horizon feature"], ends: Int[Tensor, " series"]
) -> Float[Tensor, "series horizon feature"]:
    """Values that stay as they are from each series' end on."""
    steps = torch.arange(values.shape[1]).minimum(ends[:, None] - 1)
    return values.gather(1, steps[:, :, None].expand_as(values))
