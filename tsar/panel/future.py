"""Future values of covariates: the skeleton to fill in, and the reading of what was filled in."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tsar.panel.columns import Columns
from tsar.panel.layout import to_pandas, write_long
from tsar.panel.panel import Panel
from tsar.panel.values import parse_times, read_numbers


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
    >>> sales = pd.DataFrame({"ds": [1, 2], "y": [3.0, 4.0], "price": [9.0, 9.0]})
    >>> make_future(sales, 2, columns=Columns(future=("price",)))
       ds  price
    0   3    NaN
    1   4    NaN
    """
    columns = columns or Columns()
    panel = Panel.from_frame(frame, columns)
    layout = panel.labels.layout
    if layout.style in ("array", "vector"):
        raise TypeError("frame must have times of its own; got an array. Give a DataFrame.")
    times = panel.future_times(horizon)
    if layout.style == "long":
        empty = dict.fromkeys(columns.future, np.full(len(times), np.nan))
        return write_long(layout, (columns.id, columns.time), panel.labels.ids, times, empty)
    index = times[:horizon].rename(layout.time_name)
    return pd.DataFrame(np.nan, index=index, columns=list(columns.future))


def read_future(panel: Panel, future: Any, horizon: int) -> Float[Tensor, "series horizon future"]:
    """Values of the future covariates at the horizon after each series of a panel.

    Raises
    ------
    ValueError
        The panel has future covariates and `future` is None; a covariate is absent, or has no
        value for an (id, time) that is forecast.
    """
    columns = panel.labels.columns
    if not columns.future:
        if future is not None:
            raise ValueError(
                "future must be None without future covariates; got a frame. "
                "Name its columns in Columns(future=(...)) before fitting."
            )
        return panel.future.new_empty(len(panel), horizon, 0)
    if future is None:
        raise ValueError(
            f"future must give the covariates {columns.future}; got None. "
            "Fill in the frame of tsar.make_future(frame, horizon)."
        )
    frame, _ = to_pandas(future)
    rows = _locate(panel, frame, horizon)
    values = np.stack([_column(frame, name)[rows] for name in columns.future], axis=-1)
    values[rows < 0] = np.nan
    _check_complete(panel, values, horizon)
    return torch.from_numpy(values).to(panel.future)


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        raise ValueError(
            f"future must have the covariate {name!r}; got columns {list(frame.columns)[:10]}. "
            "Add it, for every (id, time) to forecast."
        )
    return read_numbers(frame[name], name, lambda row: f", first in row {row}")


def _locate(panel: Panel, frame: pd.DataFrame, horizon: int) -> np.ndarray:
    """Row of `frame` for each (series, step) to forecast, -1 where there is none."""
    columns, layout = panel.labels.columns, panel.labels.layout
    times = panel.future_times(horizon)
    if layout.style != "long":
        found = pd.Index(parse_times(frame.index, "the index of future")).get_indexer(
            times[:horizon]
        )
        return np.tile(found, (len(panel), 1))
    names = [columns.id, columns.time] if layout.has_id else [columns.time]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"future must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Start from tsar.make_future(frame, horizon)."
        )
    given = parse_times(pd.Index(frame[columns.time]), columns.time)
    codes = panel.labels.ids.get_indexer(pd.Index(frame[columns.id])) if layout.has_id else 0
    keys = pd.MultiIndex.from_arrays([np.broadcast_to(codes, len(frame)), given])
    wanted = pd.MultiIndex.from_arrays([np.arange(len(panel)).repeat(horizon), times])
    if keys.has_duplicates:
        raise ValueError(
            f"future must have one row for each {tuple(names)}; got several for row "
            f"{int(np.flatnonzero(keys.duplicated())[0])}. Drop the duplicates."
        )
    return keys.get_indexer(wanted).reshape(len(panel), horizon)


def _check_complete(panel: Panel, values: np.ndarray, horizon: int) -> None:
    absent = np.isnan(values)
    if absent.any():
        series, step, feature = (int(k) for k in np.argwhere(absent)[0])
        time = panel.future_times(horizon)[series * horizon + step]
        raise ValueError(
            f"future must have the covariate {panel.labels.columns.future[feature]!r} for every "
            f"(id, time) to forecast; got none for series {panel.labels.ids[series]!r} at {time} "
            f"({int(absent.sum())} missing in all). Fill in tsar.make_future(frame, horizon)."
        )
