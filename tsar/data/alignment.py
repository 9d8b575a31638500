"""Alignment of new data with the fitted series: their ids, frequency, covariates and times."""

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


def check_columns(columns: Columns | None, uses: frozenset[str], name: str) -> Columns:
    """Columns of a forecaster that uses some kinds of covariates; the defaults for None."""
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


def read_new_frame(
    frame: Any,
    columns: Columns,
    fitted: Labels,
    features: int | None,
    *,
    any_frequency: bool,
    observed: bool,
) -> Panel:
    """Panel of a new frame at the fitted frequency, or of other series at any frequency.

    The fitted frequency is used rather than inferred, as a few points may suggest another one; with
    `any_frequency`, series that were not fitted may have another one. `features` is the number of
    series that were fitted from a wide frame or an array; None after a long frame. With `observed`,
    each series must have an observed value.
    """
    frequency = fitted.frequency
    with_freq = columns
    if columns.freq is None and frequency.kind != "period":
        with_freq = replace(columns, freq=frequency.freq)
    try:
        panel = Panel.from_frame(frame, with_freq, observed=observed)
    except ValueError as error:
        inferred = _read_at_any_frequency(frame, columns)
        if inferred is None:
            raise
        if any_frequency and has_only_new_series(inferred, fitted):
            return inferred
        _check_time_type(inferred.labels, fitted, error)
        raise
    if not (any_frequency and has_only_new_series(panel, fitted)):
        check_time_zone(panel.labels.frequency.timezone, frequency, "frame")
    if panel.labels.frequency.name != frequency.name and not any_frequency:
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


def has_only_new_series(panel: Panel, fitted: Labels) -> bool:
    """Whether no series of a panel was fitted."""
    return not bool(panel.labels.ids.isin(fitted.ids).any())


def _read_at_any_frequency(frame: Any, columns: Columns) -> Panel | None:
    """Panel of a frame at its own frequency; None if it can't be read either."""
    try:
        return Panel.from_frame(frame, columns)
    except ValueError:
        return None


def _check_time_type(new: Labels, fitted: Labels, cause: ValueError) -> None:
    """Refuse integer times where dates were fitted, and the reverse."""
    types = [
        "integers" if labels.frequency.kind == "integer" else "dates" for labels in (new, fitted)
    ]
    if types[0] != types[1]:
        found = types[0] if new.layout.has_times else "an array, which has none"
        raise ValueError(
            f"frame must have times that are {types[1]} (frequency {fitted.frequency.name!r}), as "
            f"in fit; got {found}. Give a frame with them."
        ) from cause


def check_covariates(
    panel: Panel,
    series: Int[Tensor, " window"],
    points: Int[Tensor, " window"],
    *,
    context_length: int,
    gap: Int[Tensor, " window"],
    horizon: int,
) -> None:
    """Check that no covariate is missing that forecasts from given points of series need.

    Past covariates are needed at the `context_length` points before, as far as the series has
    them; future ones from `gap` points before to the end of the horizon.
    """
    columns = panel.labels.columns
    past = points - context_length, points
    future = points - gap, points + horizon
    _check_present(panel, "past", columns.past, panel.past, series, past, "that a forecast reads")
    _check_present(
        panel, "future", columns.future, panel.future, series, future, "that is forecast"
    )


def _check_present(
    panel: Panel,
    kind: str,
    names: tuple[str, ...],
    values: Float[Tensor, "time feature"],
    series: Int[Tensor, " window"],
    points: tuple[Int[Tensor, " window"], Int[Tensor, " window"]],
    when: str,
) -> None:
    """Check that covariates have no NaN from the first to before the last of some points."""
    missing = values.isnan()
    if not bool(missing.any()):
        return
    start = panel.offsets[:-1][series]
    begin, end = start + points[0].clamp(min=0), start + points[1]
    count = torch.cat([end.new_zeros(1), missing.sum(dim=1).cumsum(0)])
    n_missing = count[end] - count[begin]
    if not bool(n_missing.any()):
        return
    window = int(n_missing.nonzero()[0, 0])
    row, feature = missing[begin[window] : end[window]].nonzero()[0].tolist()
    rows = begin[window : window + 1] + row
    ordinal = panel.ordinals_at(series[window : window + 1], rows).cpu().numpy()
    time = panel.labels.frequency.to_times(ordinal)[0]
    name = format_value(panel.labels.ids[int(series[window])])
    raise ValueError(
        f"frame must have the {kind} covariate {names[feature]!r} at every time {when}; got none "
        f"for series {name} at {time} ({int(n_missing[window])} missing in all). Fill it in, or "
        "leave the covariate out."
    )


def fitted_rows(panel: Panel, fitted: Panel, name: str | None) -> NDArray[np.intp]:
    """Position of each series of a panel among the fitted ones, -1 for a new one.

    New series are refused in the name of the forecaster `name`; None: they are allowed.
    """
    rows = fitted.labels.ids.get_indexer(panel.labels.ids)
    if name is not None and (rows < 0).any():
        unknown = panel.labels.ids[int(np.flatnonzero(rows < 0)[0])]
        raise ValueError(
            f"frame must hold series that {name} was fitted to; got series {unknown!r}. Fit with "
            "it; predict(frame) of a model across series forecasts others too."
        )
    return np.asarray(rows)


def steps_after_fit(new: Panel, fitted: Panel, rows: NDArray[np.intp]) -> Int[Tensor, " series"]:
    """Missing steps between the end of each fitted series and the start of its new points."""
    if not new.labels.layout.has_times:  # an array continues the fitted series
        return torch.zeros(len(new), dtype=torch.int64)
    steps = (new.labels.starts - fitted.end_ordinals(1)[rows]) // new.labels.frequency.step
    if (steps < 0).any():
        series = new.labels.ids[int(np.flatnonzero(steps < 0)[0])]
        raise ValueError(
            f"frame must begin after the fitted series; got earlier times for series {series!r}. "
            "Give only later points, or fit on fewer points."
        )
    return torch.from_numpy(steps)


def check_contiguous(new: Panel, fitted: Panel, rows: NDArray[np.intp]) -> None:
    """Check that new points begin right after the fitted series.

    A layout whose series share their times (wide, array) needs all of them.
    """
    style = fitted.labels.layout.style
    if style != "long" and len(new) < len(fitted):
        raise ValueError(
            f"frame must hold all {len(fitted)} series that were fitted, whose layout ({style}) "
            f"gives them the same times; got {len(new)}. Add the others, NaN where unknown."
        )
    steps = steps_after_fit(new, fitted, rows)
    if bool((steps > 0).any()):
        last = int(steps.argmax())
        raise ValueError(
            f"frame must begin where the fitted series end; got {int(steps[last])} missing "
            f"row(s) before series {new.labels.ids[last]!r}. Add them, NaN where unknown."
        )


def check_contexts(context: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """Contexts as a floating-point tensor (batch, time), checked."""
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
        context = context.to(torch.get_default_dtype())  # forecasts must not be rounded to integers
    infinite = context.isinf()
    if bool(infinite.any()):
        row, point = infinite.nonzero()[0].tolist()
        raise ValueError(
            f"context must be finite or NaN; got {float(context[row, point])} in row {row} at "
            f"point {point}. Give NaN where the value is not known."
        )
    return context


def context_ids(fitted: Panel, n_contexts: int, series: Int[Tensor, " batch"] | None) -> pd.Index:
    """Id of the fitted series of each context; a new id for a series that was not fitted."""
    ids = fitted.labels.ids
    if series is None:
        if len(ids) not in (1, n_contexts):
            raise ValueError(
                f"series must be given for contexts of one of {len(ids)} fitted series; got None "
                f"with {n_contexts} contexts. Give their rows, -1 for series that were not fitted."
            )
        rows = torch.arange(n_contexts) % len(ids)
    else:
        rows = torch.as_tensor(series)
        if rows.dtype == torch.bool or rows.is_floating_point() or rows.shape != (n_contexts,):
            raise ValueError(
                f"series must be integers, one for each of the {n_contexts} contexts; got "
                f"{format_value(series)}. Give the row of each context's fitted series."
            )
        if bool(((rows < -1) | (rows >= len(ids))).any()):
            raise ValueError(
                f"series must be rows from 0 to {len(ids) - 1} of fitted series, or -1 for others; "
                f"got {format_value(series)}. Give the row of each context's fitted series."
            )
    names = [ids[row] if row >= 0 else ("context", k) for k, row in enumerate(rows.tolist())]
    return pd.Index(names, dtype=object, tupleize_cols=False)


def align_to_horizon(
    panel: Panel,
    offset: Int[Tensor, " series"],
    horizon: int,
    values: Float[Tensor, "time feature"],
) -> Float[Tensor, "series horizon feature"]:
    """Values of each series' points from step `offset` of the horizon on, NaN elsewhere."""
    aligned = values.new_full((len(panel), horizon, values.shape[1]), torch.nan)
    step = torch.arange(len(values)) - panel.offsets[:-1][panel.series] + offset[panel.series]
    aligned[panel.series, step] = values
    return aligned


def repeat_last(
    values: Float[Tensor, "series horizon feature"], lengths: Int[Tensor, " series"]
) -> Float[Tensor, "series horizon feature"]:
    """Values whose steps from each series' length on repeat the one before."""
    steps = torch.arange(values.shape[1]).minimum(lengths[:, None] - 1)
    return values.gather(1, steps[:, :, None].expand_as(values))
