"""From a frame to plain arrays: series end to end, checked once, here at the border."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.data.panel.layout import Layout, holds_dates, to_pandas
from tsar.data.panel.static import Codes, constant_values
from tsar.data.panel.values import Floats, parse_times, read_array, read_numbers, show
from tsar.validation import ParameterError


@dataclass(frozen=True)
class Rows:
    """The rows of a frame, sorted by series and time.

    `codes` says which of `ids` a row belongs to; `covariates` and `static` are by column name, a
    value for each row and for each series. Where the times are `shared` by all series, `codes`
    and `times` are given once; the values stand series by series.
    """

    ids: pd.Index
    codes: Codes
    times: pd.Index
    target: Floats
    covariates: dict[str, Floats]
    static: dict[str, pd.Series]
    layout: Layout
    shared: bool = False

    def name_of(self, row: int) -> str:
        """Name of the series that a row belongs to, for errors."""
        return show(self.ids[self.codes[row]])


def read(frame: Any, columns: Columns) -> Rows:
    """Rows of a long frame, a wide frame, a Series or an array.

    Raises
    ------
    TypeError
        The input is none of these.
    ValueError
        It is empty, lacks a column, has columns twice, or holds text or infinities for numbers.
    """
    twin, backend = to_pandas(frame)
    if isinstance(twin, pd.Series):
        return _read_series(twin, columns)
    if not isinstance(twin, pd.DataFrame):
        return _read_array(twin, columns)
    _check_columns(twin)
    if is_long(twin, columns):
        dates = backend != "pandas" and holds_dates(frame, columns.time)
        return _read_long(twin, columns, backend, dates)
    # A target without dates in the index is a long frame whose time column has another name.
    dated = not pd.api.types.is_integer_dtype(twin.index.dtype)
    names = (columns.id,) if dated else (columns.id, columns.target)
    found = [name for name in names if name in twin.columns]
    day = None if dated else _dated_column(twin)
    if found or backend != "pandas" or day is not None:
        raise _no_times(twin, columns, found, day)
    return _read_wide(twin, columns)


def _dated_column(frame: pd.DataFrame) -> Any:
    """Name of the first column that holds dates, or text that can be read as such."""
    for name, kind in frame.dtypes.items():
        if kind.kind == "M":
            return name
        if kind.kind in "iufbmc" or not isinstance(frame[name].iloc[0], (str, datetime.date)):
            continue
        try:
            parse_times(pd.Index(frame[name]), str(name))
        except (ValueError, TypeError):
            continue
        return name
    return None


def _no_times(frame: pd.DataFrame, columns: Columns, found: list[str], day: Any) -> ValueError:
    """Error of a frame that has no column of times, with the one that may be meant."""
    beside = f" beside {found}" if found else ", which tells its times"
    advice, names = (
        "Rename it, or name it by {columns.time}.",
        {"columns.time": "Columns(time=...)"},
    )
    if day is not None:
        others = [name for name in frame.columns if name not in (day, columns.id)]
        target = "" if columns.target in others else f", target={others[0]!r}"
        several = ", target=..." if target and len(others) != 1 else target
        advice = (
            "Name it by {columns.time}, or make it the index of a frame with a column for each "
            "series: {index}."
        )
        names = {
            "columns.time": f"Columns(time={day!r}{several})",
            "index": f"set_index({day!r})",
        }
    return ParameterError(
        "frame",
        f"have the column {columns.time!r}{beside}",
        f"columns {list(frame.columns)[:10]}",
        advice,
        names,
    )


def is_long(frame: Any, columns: Columns) -> bool:
    """Whether the frame has the time column, and so is read as a long one."""
    # What pyarrow calls columns are their values.
    names = getattr(frame, "column_names", getattr(frame, "columns", ()))
    return not isinstance(frame, pd.Series) and columns.time in list(names)


def _check_columns(frame: pd.DataFrame) -> None:
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"frame must have one level of column names; got {frame.columns.nlevels}, named "
            f"{list(frame.columns.names)}. Join the levels."
        )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"frame must have distinct column names; got {twice[0]!r} twice. Drop or rename one."
        )
    if not frame.shape[0] or not frame.shape[1]:
        raise ValueError(
            f"frame must have rows and columns; got shape {frame.shape}: 0 sample(s) or "
            f"0 feature(s) (shape={frame.shape}) while a minimum of 1 is required. "
            "Check the filter or the file that it came from."
        )


def _read_long(frame: pd.DataFrame, columns: Columns, backend: str, dates: bool) -> Rows:
    # A frame without the usual id column is one series; a name that was chosen must be there.
    chosen = () if columns.id == Columns.id else (columns.id,)
    _check_present(frame, (*chosen, columns.target, *columns.covariates, *columns.static))
    ids, codes, times, order = _places(frame, columns)
    has_id = columns.id in frame.columns
    if order is not None:
        frame, codes, times = frame.iloc[order], codes[order], times[order]
        key = f"({columns.id}, {columns.time})" if has_id else repr(columns.time)
        _check_distinct(ids if has_id else None, codes, times, key)
    where = _locator(times, ids, codes)
    covariates = {name: read_numbers(frame[name], name, where) for name in columns.covariates}
    static = {name: constant_values(frame[name], name, ids, codes) for name in columns.static}
    kind = frame[columns.id].dtype if has_id else None
    categories = isinstance(kind, pd.CategoricalDtype)
    ranks = _ranks(kind) if isinstance(kind, pd.CategoricalDtype) and kind.ordered else ()
    whole = frame[columns.time].dtype
    numbers = str(whole) if whole.kind in "iu" and whole != np.int64 else ""
    layout = Layout(
        "long", backend, has_id, categories=categories, dates=dates, order=ranks, numbers=numbers
    )
    target = read_numbers(frame[columns.target], columns.target, where)
    return Rows(ids, codes, times, target, covariates, static, layout)


def _ranks(kind: pd.CategoricalDtype) -> tuple[str | int, ...]:
    """Ordered categories, of the types that a saved model can hold."""
    names = tuple(kind.categories)
    return names if all(isinstance(name, (str, int)) for name in names) else ()


def row_order(frame: Any, columns: Columns) -> NDArray[np.intp]:
    """Rows of a long frame in the order that a panel has them: by series, then by time.

    Raises
    ------
    ValueError
        A row names no series, or no time.
    """
    twin, _ = to_pandas(frame)
    order = _places(twin, columns)[3]
    return np.arange(len(twin)) if order is None else order


def _places(
    frame: pd.DataFrame, columns: Columns
) -> tuple[pd.Index, Codes, pd.Index, Codes | None]:
    """Series, which of them each row is of, its time, and the order that the rows should have."""
    has_id = columns.id in frame.columns
    ids, codes = _factorize(frame[columns.id]) if has_id else _one_series(columns, len(frame))
    times = parse_times(pd.Index(frame[columns.time]), columns.time)
    return ids, codes, times, _order(codes, times)


def _locator(times: pd.Index, ids: pd.Index, codes: Codes) -> Callable[[int], str]:
    return lambda row: f" for series {show(ids[codes[row]])}, first at {times[row]}"


def _check_present(frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"frame must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Rename it, or say its name in Columns."
        )


def _one_series(columns: Columns, length: int) -> tuple[pd.Index, Codes]:
    return pd.Index([columns.target]), np.zeros(length, dtype=np.intp)


def _factorize(ids: pd.Series) -> tuple[pd.Index, Codes]:
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0])
        raise ValueError(
            f"frame[{ids.name!r}] must name a series in every row; got a missing value in row "
            f"{row}. Fill or drop such rows."
        )
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(ids.cat.categories.dtype)
    # Rows of a series mostly stand together: the first of each stretch tells the others.
    changes = np.asarray(ids.array[1:] != ids.array[:-1], dtype=bool)
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    heads = ids.iloc[first]
    try:
        codes, uniques = pd.factorize(heads, sort=True)
    except TypeError:  # names of several types have no order of their own
        codes, uniques = pd.factorize(heads)
        keys = [(type(name).__name__, str(name)) for name in uniques]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        codes, uniques = np.argsort(order)[codes], uniques[order]
    return pd.Index(uniques), np.repeat(codes, np.diff(first, append=len(ids)))


def _order(codes: Codes, times: pd.Index) -> Codes | None:
    """Order by series and time, or None where the rows stand in it already, none of them twice."""
    later = np.asarray(times[1:] > times[:-1])
    if np.all((codes[1:] > codes[:-1]) | ((codes[1:] == codes[:-1]) & later)):
        return None
    ranks = times.asi8 if hasattr(times, "asi8") else np.asarray(times)
    return np.lexsort((ranks, codes))


def _check_distinct(ids: pd.Index | None, codes: Codes, times: pd.Index, key: str) -> None:
    twice = (codes[1:] == codes[:-1]) & np.asarray(times[1:] == times[:-1])
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        whose = "" if ids is None else f" for series {show(ids[codes[row]])}"
        raise ValueError(
            f"frame must have one row for each {key}; got several{whose} at {times[row]} "
            f"({int(twice.sum())} duplicate row(s) in all). Aggregate or drop them."
        )


def _read_wide(frame: pd.DataFrame, columns: Columns) -> Rows:
    _refuse_static(columns, "a wide frame")
    _check_present(frame, columns.covariates)
    ids = frame.columns.drop(list(columns.covariates))
    if not len(ids):
        raise ValueError(
            "frame must have at least one series; got covariates only. Add the target's column."
        )
    layout = Layout("wide", time_name=frame.index.name, series_name=frame.columns.name)
    return _read_columns(frame, ids, columns, layout)


def _read_series(series: pd.Series, columns: Columns) -> Rows:
    _refuse_static(columns, "a Series")
    if columns.covariates:
        raise ValueError(
            f"frame must have the covariate {columns.covariates[0]!r}; got a Series. "
            "Give a DataFrame with it as a column."
        )
    if not len(series):
        raise ValueError("frame must have rows; got an empty Series. Check where it came from.")
    name = columns.target if series.name is None else series.name
    layout = Layout("series", time_name=series.index.name, series_name=series.name)
    return _read_columns(series.to_frame(name), pd.Index([name]), columns, layout)


def _read_columns(frame: pd.DataFrame, ids: pd.Index, columns: Columns, layout: Layout) -> Rows:
    """Rows of a frame whose columns are the series `ids`, and covariates that they share."""
    times = parse_times(frame.index, "the index")
    if not times.is_monotonic_increasing:
        order = times.argsort()
        frame, times = frame.iloc[order], times[order]
    codes = np.zeros(len(times), dtype=np.intp)
    _check_distinct(None, codes, times, "time of its index")
    series = [
        read_numbers(frame[name], str(name), lambda row: f", first at {times[row]}") for name in ids
    ]
    shared = {
        name: np.tile(
            read_numbers(frame[name], name, lambda row: f", first at {times[row]}"), len(ids)
        )
        for name in columns.covariates
    }
    return Rows(ids, codes, times, np.concatenate(series), shared, {}, layout, shared=True)


def _read_array(array: Any, columns: Columns) -> Rows:
    named = columns.covariates + columns.static
    if named:
        raise ValueError(
            f"columns must name no covariates for an array; got {named}. "
            "Give a DataFrame with them as columns."
        )
    values = read_array(array)
    layout = Layout("vector" if values.ndim == 1 else "array")
    values = values.reshape(len(values), -1)
    length, count = values.shape
    times, codes = pd.RangeIndex(length), np.broadcast_to(np.intp(0), length)
    target = values.T.reshape(-1)
    return Rows(pd.RangeIndex(count), codes, times, target, {}, {}, layout, shared=True)


def _refuse_static(columns: Columns, what: str) -> None:
    if columns.static:
        raise ValueError(
            f"columns.static must be empty for {what}; got {columns.static}. Give a long frame."
        )
