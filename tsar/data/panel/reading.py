"""Reading of a frame into arrays sorted by series and time, with all checks of its columns."""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.data.panel.layout import Layout, is_date_only, to_pandas
from tsar.data.panel.static import Codes, constant_values
from tsar.data.panel.values import Floats, format_value, parse_times, read_array, to_floats
from tsar.validation import ParameterError


@dataclass(frozen=True)
class Rows:
    """Rows of a frame, sorted by series and time.

    Attributes
    ----------
    ids, codes
        Ids of the series, and the position in `ids` of each row's series.
    times
        Time of each row.
    target, covariates
        A value for each row; covariates by column name.
    static
        A value for each series, by column name.
    layout
        How the frame looked.
    shared
        Whether all series have the same times (a wide frame): `codes` and `times` then hold one
        series, the values all of them end to end.
    """

    ids: pd.Index
    codes: Codes
    times: pd.Index
    target: Floats
    covariates: dict[str, Floats]
    static: dict[str, pd.Series]
    layout: Layout
    shared: bool = False

    def series_name(self, row: int) -> str:
        """Id of a row's series, for error messages."""
        return format_value(self.ids[self.codes[row]])


def read_rows(frame: Any, columns: Columns) -> Rows:
    """Read the rows of a long frame, a wide frame, a Series or an array."""
    table, backend = to_pandas(frame)
    if isinstance(table, pd.Series):
        return _read_series(table, columns)
    if not isinstance(table, pd.DataFrame):
        return _read_array(table, columns)
    _check_columns(table)
    if is_long(table, columns):
        date_only = backend != "pandas" and is_date_only(frame, columns.time)
        return _read_long(table, columns, backend, date_only)
    # With no dates in the index, a column named as the target or a column of dates means a long
    # frame whose time column has another name.
    has_dates = not pd.api.types.is_integer_dtype(table.index.dtype)
    names = (columns.id,) if has_dates else (columns.id, columns.target)
    roles = [name for name in names if name in table.columns]
    date_column = None if has_dates else _find_date_column(table)
    if roles or backend != "pandas" or date_column is not None:
        raise _no_time_column(table, columns, roles, date_column)
    return _read_wide(table, columns)


def _find_date_column(frame: pd.DataFrame) -> Any:
    """Name of the first column that holds dates, or text that can be parsed as dates."""
    for name, dtype in frame.dtypes.items():
        if dtype.kind == "M":
            return name
        if dtype.kind in "iufbmc" or not isinstance(frame[name].iloc[0], (str, datetime.date)):
            continue
        try:
            parse_times(pd.Index(frame[name]), str(name))
        except (ValueError, TypeError):
            continue
        return name
    return None


def _no_time_column(
    frame: pd.DataFrame, columns: Columns, roles: list[str], date_column: Any
) -> ParameterError:
    """Error for a frame without its time column, naming a column of dates where there is one."""
    reason = f" beside {roles}" if roles else ", which holds its times"
    advice = "Rename it, or name it by {columns.time}."
    names = {"columns.time": "Columns(time=...)"}
    if date_column is not None:
        others = [name for name in frame.columns if name not in (date_column, columns.id)]
        target = ""
        if columns.target not in others:
            target = f", target={others[0]!r}" if len(others) == 1 else ", target=..."
        advice = (
            "Name it by {columns.time}, or make it the index of a frame with a column for each "
            "series: {index}."
        )
        names = {
            "columns.time": f"Columns(time={date_column!r}{target})",
            "index": f"set_index({date_column!r})",
        }
    return ParameterError(
        "frame",
        f"have the column {columns.time!r}{reason}",
        f"columns {list(frame.columns)[:10]}",
        advice,
        names,
    )


def is_long(frame: Any, columns: Columns) -> bool:
    """Whether a frame has the time column, and so is read as a long one."""
    # `columns` of a pyarrow table are the values.
    names = getattr(frame, "column_names", getattr(frame, "columns", ()))
    return not isinstance(frame, pd.Series) and columns.time in list(names)


def _check_columns(frame: pd.DataFrame) -> None:
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"frame must have one level of column names; got {frame.columns.nlevels}, named "
            f"{list(frame.columns.names)}. Join the levels."
        )
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(
            f"frame must have distinct column names; got {repeated[0]!r} twice. Drop or rename one."
        )
    if not frame.shape[0] or not frame.shape[1]:
        raise ValueError(
            f"frame must have rows and columns; got shape {frame.shape}: 0 sample(s) or "
            f"0 feature(s) (shape={frame.shape}) while a minimum of 1 is required. "
            "Check the filter or the file that it came from."
        )


def _read_long(frame: pd.DataFrame, columns: Columns, backend: str, date_only: bool) -> Rows:
    # A frame without the default id column is one series; another name must be present.
    required = () if columns.id == Columns.id else (columns.id,)
    _check_present(frame, (*required, columns.target, *columns.covariates, *columns.static))
    ids, codes, times, order = _read_keys(frame, columns)
    has_id = columns.id in frame.columns
    if order is not None:
        frame, codes, times = frame.iloc[order], codes[order], times[order]
        key = f"({columns.id}, {columns.time})" if has_id else repr(columns.time)
        _check_distinct(ids if has_id else None, codes, times, key)

    def locate(row: int) -> str:
        return f" for series {format_value(ids[codes[row]])}, first at {times[row]}"

    covariates = {name: to_floats(frame[name], name, locate) for name in columns.covariates}
    static = {name: constant_values(frame[name], name, ids, codes) for name in columns.static}
    id_dtype = frame[columns.id].dtype if has_id else None
    time_dtype = frame[columns.time].dtype
    layout = Layout(
        "long",
        backend,
        has_id,
        categorical=isinstance(id_dtype, pd.CategoricalDtype),
        date_only=date_only,
        category_order=_category_order(id_dtype),
        time_dtype=str(time_dtype) if time_dtype.kind in "iu" and time_dtype != np.int64 else "",
    )
    target = to_floats(frame[columns.target], columns.target, locate)
    return Rows(ids, codes, times, target, covariates, static, layout)


def _category_order(dtype: Any) -> tuple[str | int, ...]:
    """Categories of an ordered dtype where they are text or integers, which can be saved."""
    if not (isinstance(dtype, pd.CategoricalDtype) and dtype.ordered):
        return ()
    names = tuple(dtype.categories)
    return names if all(isinstance(name, (str, int)) for name in names) else ()


def row_order(frame: Any, columns: Columns) -> NDArray[np.intp]:
    """Positions of a long frame's rows in the order of a panel: by series, then by time."""
    table, _ = to_pandas(frame)
    order = _read_keys(table, columns)[3]
    return np.arange(len(table)) if order is None else order


def _read_keys(
    frame: pd.DataFrame, columns: Columns
) -> tuple[pd.Index, Codes, pd.Index, Codes | None]:
    """Ids, the code and time of each row, and the order that sorts the rows (see `_order`)."""
    if columns.id in frame.columns:
        ids, codes = _factorize(frame[columns.id])
    else:
        ids, codes = pd.Index([columns.target]), np.zeros(len(frame), dtype=np.intp)
    times = parse_times(pd.Index(frame[columns.time]), columns.time)
    return ids, codes, times, _order(codes, times)


def _check_present(frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"frame must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Rename it, or give its name in Columns."
        )


def _factorize(ids: pd.Series) -> tuple[pd.Index, Codes]:
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0])
        raise ValueError(
            f"frame[{ids.name!r}] must name a series in every row; got a missing value in row "
            f"{row}. Fill or drop such rows."
        )
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(ids.cat.categories.dtype)
    # Rows of a series are mostly consecutive: only the first of each run is factorized.
    changes = np.asarray(ids.array[1:] != ids.array[:-1], dtype=bool)
    first = np.concatenate([[0], np.flatnonzero(changes) + 1])
    try:
        codes, uniques = pd.factorize(ids.iloc[first], sort=True)
    except TypeError:  # ids of different types can't be compared: sort by type, then as text
        codes, uniques = pd.factorize(ids.iloc[first])
        keys = [(type(name).__name__, str(name)) for name in uniques]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        codes, uniques = np.argsort(order)[codes], uniques[order]
    return pd.Index(uniques), np.repeat(codes, np.diff(first, append=len(ids)))


def _order(codes: Codes, times: pd.Index) -> Codes | None:
    """Order by series and time; None where the rows are sorted and distinct already."""
    later = np.asarray(times[1:] > times[:-1])
    if np.all((codes[1:] > codes[:-1]) | ((codes[1:] == codes[:-1]) & later)):
        return None
    values = times.asi8 if hasattr(times, "asi8") else np.asarray(times)
    return np.lexsort((values, codes))


def _check_distinct(ids: pd.Index | None, codes: Codes, times: pd.Index, key: str) -> None:
    repeated = (codes[1:] == codes[:-1]) & np.asarray(times[1:] == times[:-1])
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        series = "" if ids is None else f" for series {format_value(ids[codes[row]])}"
        # Without ids, the rows may be those of several series.
        name = "" if ids is not None else ", or name the column of their series by {columns.id}"
        raise ParameterError(
            "frame",
            f"have one row for each {key}",
            f"several{series} at {times[row]} ({int(repeated.sum())} duplicate row(s) in all)",
            f"Aggregate or drop them{name}.",
            {"columns.id": "Columns(id=...)"},
        )


def _read_wide(frame: pd.DataFrame, columns: Columns) -> Rows:
    _check_no_static(columns, "a wide frame")
    _check_present(frame, columns.covariates)
    ids = frame.columns.drop(list(columns.covariates))
    if not len(ids):
        raise ValueError(
            "frame must have at least one series; got covariates only. Add the target's column."
        )
    layout = Layout("wide", time_name=frame.index.name, series_name=frame.columns.name)
    return _read_columns(frame, ids, columns, layout)


def _read_series(series: pd.Series, columns: Columns) -> Rows:
    _check_no_static(columns, "a Series")
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
    """Rows of a frame whose columns are the series `ids`, and covariates shared by them."""
    times = parse_times(frame.index, "the index")
    if not times.is_monotonic_increasing:
        order = times.argsort()
        frame, times = frame.iloc[order], times[order]
    codes = np.zeros(len(times), dtype=np.intp)
    _check_distinct(None, codes, times, "time of its index")

    def read(name: Any) -> Floats:
        return to_floats(frame[name], str(name), lambda row: f", first at {times[row]}")

    target = np.concatenate([read(name) for name in ids])
    covariates = {name: np.tile(read(name), len(ids)) for name in columns.covariates}
    return Rows(ids, codes, times, target, covariates, {}, layout, shared=True)


def _read_array(array: Any, columns: Columns) -> Rows:
    covariates = columns.covariates + columns.static
    if covariates:
        raise ValueError(
            f"columns must name no covariates for an array; got {covariates}. "
            "Give a DataFrame with them as columns."
        )
    values = read_array(array)
    layout = Layout("vector" if values.ndim == 1 else "array")
    values = values.reshape(len(values), -1)
    length, n_series = values.shape
    times, codes = pd.RangeIndex(length), np.broadcast_to(np.intp(0), length)
    target = values.T.reshape(-1)
    return Rows(pd.RangeIndex(n_series), codes, times, target, {}, {}, layout, shared=True)


def _check_no_static(columns: Columns, kind: str) -> None:
    if columns.static:
        raise ValueError(
            f"columns.static must be empty for {kind}; got {columns.static}. Give a long frame."
        )
