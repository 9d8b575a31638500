"""Future values of covariates: the skeleton to fill in, and the reading of what was filled in."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel.columns import Columns
from tsar.data.panel.inference import check_time_zone, time_zone_of
from tsar.data.panel.layout import to_pandas, with_frequency, write_long
from tsar.data.panel.panel import Panel
from tsar.data.panel.values import Floats, parse_times, read_numbers, show
from tsar.validation import ParameterError, check_integer


def make_future(frame: Any, horizon: int, *, columns: Columns | None = None) -> Any:
    """Frame of the times to forecast, with the columns of the future covariates to fill in.

    Parameters
    ----------
    frame
        The frame that a forecaster is fitted on, long or wide.
    horizon
        Points to forecast.
    columns
        How to read the frame.

    Returns
    -------
    frame
        Long: a row for each (id, time). Wide: a row for each time, indexed as `frame` is. The
        covariates in `columns.future` are NaN.

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
    if layout.style in ("array", "vector"):
        raise TypeError("frame must have times of its own; got an array. Give a DataFrame.")
    times = panel.future_times(horizon)
    if layout.style == "long":
        empty = dict.fromkeys(columns.future, np.full(len(times), np.nan))
        return write_long(layout, (columns.id, columns.time), panel.labels.ids, times, empty)
    index = times[:horizon].rename(layout.time_name)
    index = with_frequency(index, panel.labels.frequency.name)
    return pd.DataFrame(np.nan, index=index, columns=list(columns.future))


def read_future(panel: Panel, future: Any, horizon: int) -> Float[Tensor, "series horizon future"]:
    """Values of the future covariates at the horizon after each series of a panel.

    Raises
    ------
    TypeError, ValueError
        The panel has future covariates and `future` is None or no frame; a covariate is absent, or
        has no value for an (id, time) that is forecast.
    """
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
    rows = _locate(panel, frame, horizon)
    values = np.stack([_column(frame, name)[rows] for name in columns.future], axis=-1)
    _check_complete(panel, values, horizon)
    return torch.from_numpy(values).to(panel.future)


def _column(frame: pd.DataFrame, name: str) -> Floats:
    """A covariate, with NaN behind it: what row -1 is given."""
    if name not in frame.columns:
        raise ValueError(
            f"future must have the covariate {name!r}; got columns {list(frame.columns)[:10]}. "
            "Add it, for every (id, time) to forecast."
        )
    return np.append(
        read_numbers(frame[name], name, lambda row: f" in row {row} of future"), np.nan
    )


def _locate(panel: Panel, frame: pd.DataFrame, horizon: int) -> NDArray[np.intp]:
    """Row of `frame` for each (series, step) to forecast, -1 where there is none."""
    columns, layout = panel.labels.columns, panel.labels.layout
    times = panel.future_times(horizon)
    if layout.style != "long":
        given = parse_times(frame.index, "the index of future")
        _check_zone(panel, given)
        _check_distinct(given, "time")
        return np.tile(given.get_indexer(times[:horizon]), (len(panel), 1))
    names = [columns.id, columns.time] if layout.has_id else [columns.time]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"future must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Start from tsar.make_future(frame, horizon)."
        )
    given = parse_times(pd.Index(frame[columns.time]), columns.time)
    _check_zone(panel, given)
    codes = np.zeros(len(frame), dtype=np.intp)
    if layout.has_id:
        codes = panel.labels.ids.get_indexer(pd.Index(frame[columns.id]))
    known = np.flatnonzero(codes >= 0)
    keys = pd.MultiIndex.from_arrays([codes[known], given[known]])
    _check_distinct(keys, f"({', '.join(names)})", panel.labels.ids)
    wanted = pd.MultiIndex.from_arrays([np.arange(len(panel)).repeat(horizon), times])
    return np.append(known, -1)[keys.get_indexer(wanted)].reshape(len(panel), horizon)


def _check_zone(panel: Panel, times: pd.Index) -> None:
    if isinstance(times, pd.DatetimeIndex):
        check_time_zone(time_zone_of(times), panel.labels.frequency, "future")


def _check_distinct(keys: pd.Index, names: str, ids: pd.Index | None = None) -> None:
    if keys.has_duplicates:
        key = keys[keys.duplicated()][0]
        where = f"series {show(ids[key[0]])} at {key[1]}" if ids is not None else key
        raise ValueError(
            f"future must have one row for each {names}; got several for {where}. "
            "Drop the duplicates."
        )


def _check_complete(panel: Panel, values: Floats, horizon: int) -> None:
    absent = np.isnan(values)
    if absent.any():
        series, step, feature = (int(k) for k in np.argwhere(absent)[0])
        name = show(panel.labels.ids[series])
        time = panel.future_times(horizon)[series * horizon + step]
        raise ValueError(
            f"future must have the covariate {panel.labels.columns.future[feature]!r} for every "
            f"(id, time) to forecast; got none for series {name} at {time} "
            f"({int(absent.sum())} missing in all). Fill in tsar.make_future(frame, horizon)."
        )
