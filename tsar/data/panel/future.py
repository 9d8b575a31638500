"""Future values of covariates: a frame of the times to forecast, and reading it once filled in."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel.columns import Columns
from tsar.data.panel.inference import check_time_zone, time_zone_of
from tsar.data.panel.layout import build_long_frame, to_pandas, with_frequency
from tsar.data.panel.panel import Panel
from tsar.data.panel.values import Floats, format_value, parse_times, to_floats
from tsar.validation import ParameterError, check_integer


def make_future(frame: Any, horizon: int, *, columns: Columns | None = None) -> Any:
    """Build a frame of the times to forecast, with columns for the future covariates.

    Parameters
    ----------
    frame
        The frame to forecast, long or wide.
    horizon
        Points to forecast.
    columns
        Roles of the frame's columns.

    Returns
    -------
    frame
        Long: a row for each (id, time). Wide: a row for each time, with the index of `frame`
        continued. The covariates in `columns.future` are NaN, to be filled in.

    Raises
    ------
    TypeError
        The frame is an array, which has no times.
    ValueError
        The frame can't be read, or the horizon is below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsar import Columns, make_future
    >>> sales = pd.DataFrame({"ds": [1, 2], "y": [3.0, 4.0], "price": [9.0, 9.0]})
    >>> make_future(sales, 2, columns=Columns(future=("price",)))
       ds  price
    0   3    NaN
    1   4    NaN
    """
    columns = columns or Columns()
    check_integer("horizon", horizon)
    panel = Panel.from_frame(frame, columns)
    layout = panel.labels.layout
    if not layout.has_times:
        raise TypeError("frame must have times of its own; got an array. Give a DataFrame.")
    times = panel.future_times(horizon)
    if layout.style == "long":
        empty = dict.fromkeys(columns.future, np.full(len(times), np.nan))
        return build_long_frame(layout, (columns.id, columns.time), panel.labels.ids, times, empty)
    index = times[:horizon].rename(layout.time_name)
    index = with_frequency(index, panel.labels.frequency.offset)
    return pd.DataFrame(np.nan, index=index, columns=list(columns.future))


def read_future(panel: Panel, future: Any, horizon: int) -> Float[Tensor, "series horizon future"]:
    """Read the future covariates at the horizon after each series of a panel."""
    columns = panel.labels.columns
    if not columns.future:
        if future is not None:
            raise ParameterError(
                "future",
                "be None without future covariates",
                "a frame",
                "Name its columns in {columns.future} before fitting.",
                {"columns.future": "Columns(future=(...))"},
            )
        return panel.future.new_empty(len(panel), horizon, 0)
    if future is None:
        raise ValueError(
            f"future must give the covariates {columns.future}; got None. "
            "Fill in the frame of tsar.make_future(frame, horizon)."
        )
    frame, _ = to_pandas(future)
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(
            f"future must be a DataFrame; got {type(frame).__name__}. "
            "Fill in the frame of tsar.make_future(frame, horizon)."
        )
    rows = _find_rows(panel, frame, horizon)
    values = np.stack([_column(frame, name)[rows] for name in columns.future], axis=-1)
    _check_complete(panel, values, horizon)
    return torch.from_numpy(values).to(panel.future)


def _column(frame: pd.DataFrame, name: str) -> Floats:
    """Values of a covariate, with a NaN appended for row -1 (see `_find_rows`)."""
    if name not in frame.columns:
        raise ValueError(
            f"future must have the covariate {name!r}; got columns {list(frame.columns)[:10]}. "
            "Add it, for every (id, time) to forecast."
        )
    return np.append(to_floats(frame[name], name, lambda row: f" in row {row} of future"), np.nan)


def _find_rows(panel: Panel, frame: pd.DataFrame, horizon: int) -> NDArray[np.intp]:
    """Row of `frame` for each (series, step) to forecast, -1 where there is none."""
    columns, layout = panel.labels.columns, panel.labels.layout
    times = panel.future_times(horizon)
    if layout.style != "long":
        index = parse_times(frame.index, "the index of future")
        _check_zone(panel, index)
        _check_distinct(index, "time")
        return np.tile(index.get_indexer(times[:horizon]), (len(panel), 1))
    names = [columns.id, columns.time] if layout.has_id else [columns.time]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"future must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Start from tsar.make_future(frame, horizon)."
        )
    row_times = parse_times(pd.Index(frame[columns.time]), columns.time)
    _check_zone(panel, row_times)
    codes = np.zeros(len(frame), dtype=np.intp)
    if layout.has_id:
        codes = panel.labels.ids.get_indexer(pd.Index(frame[columns.id]))
    known = np.flatnonzero(codes >= 0)  # rows of other series are ignored
    keys = pd.MultiIndex.from_arrays([codes[known], row_times[known]])
    _check_distinct(keys, f"({', '.join(names)})", panel.labels.ids)
    targets = pd.MultiIndex.from_arrays([np.arange(len(panel)).repeat(horizon), times])
    return np.append(known, -1)[keys.get_indexer(targets)].reshape(len(panel), horizon)


def _check_zone(panel: Panel, times: pd.Index) -> None:
    if isinstance(times, pd.DatetimeIndex):
        check_time_zone(time_zone_of(times), panel.labels.frequency, "future")


def _check_distinct(keys: pd.Index, names: str, ids: pd.Index | None = None) -> None:
    if keys.has_duplicates:
        key = keys[keys.duplicated()][0]
        where = f"series {format_value(ids[key[0]])} at {key[1]}" if ids is not None else key
        raise ValueError(
            f"future must have one row for each {names}; got several for {where}. "
            "Drop the duplicates."
        )


def _check_complete(panel: Panel, values: Floats, horizon: int) -> None:
    missing = np.isnan(values)
    if missing.any():
        series, step, feature = (int(k) for k in np.argwhere(missing)[0])
        name = format_value(panel.labels.ids[series])
        time = panel.future_times(horizon)[series * horizon + step]
        raise ValueError(
            f"future must have the covariate {panel.labels.columns.future[feature]!r} for every "
            f"(id, time) to forecast; got none for series {name} at {time} "
            f"({int(missing.sum())} missing in all). Fill in tsar.make_future(frame, horizon)."
        )
