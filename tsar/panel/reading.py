"""From a frame to plain arrays: series end to end, checked once, here at the border."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.panel.columns import Columns
from tsar.panel.layout import Layout, to_pandas

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """The rows of a frame, sorted by series and time.

    `codes` says which of `ids` a row belongs to; `covariates` and `static` are by column name.
    """

    ids: pd.Index
    codes: NDArray[np.intp]
    times: pd.Index
    target: Floats
    covariates: dict[str, Floats]
    static: dict[str, NDArray[Any]]
    layout: Layout


def read(frame: Any, columns: Columns) -> Rows:
    """Rows of a long frame, a wide frame, a Series or an array.

    Raises
    ------
    TypeError
        The input is none of these.
    ValueError
        It is empty, lacks a column, has columns twice, or holds text or infinities for numbers.
    """
    frame, backend = to_pandas(frame)
    if isinstance(frame, pd.Series):
        return _read_series(frame, columns)
    if not isinstance(frame, pd.DataFrame):
        return _read_array(frame, columns)
    _check_columns(frame)
    if columns.time in frame.columns:
        return _read_long(frame, columns, backend)
    found = [name for name in (columns.id, columns.target) if name in frame.columns]
    if found or backend != "pandas":
        raise ValueError(
            f"frame must have the column {columns.time!r} beside {found}; got columns "
            f"{list(frame.columns)[:10]}. Rename it, or say its name in Columns(time=...)."
        )
    return _read_wide(frame, columns)


def is_long(frame: Any, columns: Columns) -> bool:
    """Whether the frame has the time column, and so is read as a long one."""
    names = getattr(frame, "columns", getattr(frame, "column_names", ()))
    return not isinstance(frame, pd.Series) and columns.time in list(names)


def _check_columns(frame: pd.DataFrame) -> None:
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


# --- long -----------------------------------------------------------------------------------


def _read_long(frame: pd.DataFrame, columns: Columns, backend: str) -> Rows:
    _check_present(frame, (columns.target, *columns.covariates, *columns.static))
    has_id = columns.id in frame.columns
    ids, codes = _factorize(frame[columns.id]) if has_id else _one_series(columns, len(frame))
    times = parse_times(pd.Index(frame[columns.time]), columns.time)
    order = _order(codes, times)
    if order is not None:
        frame, codes, times = frame.iloc[order], codes[order], times[order]
    _check_distinct(ids, codes, times, columns)
    numbers = {
        name: read_numbers(frame[name], name, ids[codes], times)
        for name in (columns.target, *columns.covariates)
    }
    target = numbers.pop(columns.target)
    static = {name: _constant(frame[name], name, ids, codes) for name in columns.static}
    return Rows(ids, codes, times, target, numbers, static, Layout("long", backend, has_id))


def _check_present(frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"frame must have the column {missing[0]!r}; got columns {list(frame.columns)[:10]}. "
            "Rename it, or say its name in Columns."
        )


def _one_series(columns: Columns, length: int) -> tuple[pd.Index, NDArray[np.intp]]:
    return pd.Index([columns.target]), np.zeros(length, dtype=np.intp)


def _factorize(ids: pd.Series) -> tuple[pd.Index, NDArray[np.intp]]:
    if ids.isna().any():
        row = int(np.flatnonzero(ids.isna())[0])
        raise ValueError(
            f"frame[{ids.name!r}] must name a series in every row; got a missing value in row "
            f"{row}. Fill or drop such rows."
        )
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(ids.cat.categories.dtype)
    try:
        codes, uniques = pd.factorize(ids, sort=True)
    except TypeError:  # ids of mixed types have no order of their own
        codes, uniques = pd.factorize(ids.astype(str), sort=True)
    return pd.Index(uniques), codes


def _order(codes: NDArray[np.intp], times: pd.Index) -> NDArray[np.intp] | None:
    """Order by series and time, or None where the rows stand in it already."""
    step = np.diff(codes)
    later = np.asarray(times[1:] >= times[:-1])
    if np.all((step > 0) | ((step == 0) & later)):
        return None
    ranks = times.asi8 if hasattr(times, "asi8") else np.asarray(times)
    return np.lexsort((ranks, codes))


def _check_distinct(
    ids: pd.Index, codes: NDArray[np.intp], times: pd.Index, columns: Columns
) -> None:
    twice = (codes[1:] == codes[:-1]) & np.asarray(times[1:] == times[:-1])
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise ValueError(
            f"frame must have one row for each ({columns.id}, {columns.time}); got several for "
            f"series {ids[codes[row]]!r} at {times[row]} ({int(twice.sum())} duplicate row(s) in "
            "all). Aggregate or drop them."
        )


def _constant(values: pd.Series, name: str, ids: pd.Index, codes: NDArray[np.intp]) -> NDArray[Any]:
    first = values.groupby(codes).first()
    agree = (values.to_numpy() == first.to_numpy()[codes]) | values.isna().to_numpy()
    if not np.all(agree):
        row = int(np.flatnonzero(~np.asarray(agree, dtype=bool))[0])
        raise ValueError(
            f"static column {name!r} must be constant within a series; got {values.iloc[row]!r} "
            f"and {first.iloc[codes[row]]!r} for series {ids[codes[row]]!r}. Make it a past or "
            "future covariate."
        )
    return np.asarray(first.to_numpy())


# --- wide, Series, array ----------------------------------------------------------------------


def _read_wide(frame: pd.DataFrame, columns: Columns) -> Rows:
    _refuse_static(columns, "a wide frame")
    _check_present(frame, columns.covariates)
    ids = frame.columns.drop(list(columns.covariates))
    times = parse_times(frame.index, "the index")
    order = None if times.is_monotonic_increasing else np.asarray(times.argsort())
    if order is not None:
        frame, times = frame.iloc[order], times[order]
    _check_distinct(ids, np.zeros(len(times), dtype=np.intp), times, columns)
    series = [read_numbers(frame[name], str(name), None, times) for name in ids]
    shared = {
        name: np.tile(read_numbers(frame[name], name, None, times), len(ids))
        for name in columns.covariates
    }
    layout = Layout("wide", time_name=frame.index.name, series_name=frame.columns.name)
    return _stack(ids, times, series, shared, layout)


def _read_series(series: pd.Series, columns: Columns) -> Rows:
    _refuse_static(columns, "a Series")
    if columns.covariates:
        raise ValueError(
            f"frame must have the covariate {columns.covariates[0]!r}; got a Series. "
            "Give a DataFrame with it as a column."
        )
    if not len(series):
        raise ValueError("frame must have rows; got an empty Series. Check where it came from.")
    series = series.sort_index()
    name = columns.target if series.name is None else series.name
    times = parse_times(series.index, "the index")
    _check_distinct(pd.Index([name]), np.zeros(len(times), dtype=np.intp), times, columns)
    layout = Layout("series", time_name=series.index.name, series_name=series.name)
    values = [read_numbers(series, str(name), None, times)]
    return _stack(pd.Index([name]), times, values, {}, layout)


def _read_array(array: Any, columns: Columns) -> Rows:
    if columns.covariates or columns.static:
        raise ValueError(
            f"columns must name no covariates for an array; got {columns.covariates + columns.static}. "
            "Give a DataFrame with them as columns."
        )
    values = check_numeric_array(array)
    layout = Layout("vector" if values.ndim == 1 else "array")
    values = values.reshape(len(values), -1)
    times = pd.RangeIndex(len(values))
    return _stack(pd.RangeIndex(values.shape[1]), times, list(values.T), {}, layout)


def check_numeric_array(array: Any) -> Floats:
    """Array of shape (time,) or (time, series) as float64; NaN is allowed, infinities are not."""
    from sklearn.utils.validation import check_array

    if isinstance(array, (str, bytes, dict, int, float)) or array is None:
        raise TypeError(
            f"frame must be a DataFrame, a Series or a 2-D array; got {type(array).__name__}. "
            "Read the file first, for example with pandas.read_csv."
        )
    values = check_array(
        array, dtype=np.float64, ensure_all_finite="allow-nan", ensure_2d=False, allow_nd=True
    )
    if values.ndim not in (1, 2):
        raise ValueError(
            f"frame must be an array (time,) or (time, series); got shape {values.shape}. "
            "Give every series a column."
        )
    return np.asarray(values, dtype=np.float64)


def _refuse_static(columns: Columns, what: str) -> None:
    if columns.static:
        raise ValueError(
            f"columns.static must be empty for {what}; got {columns.static}. Give a long frame."
        )


def _stack(
    ids: pd.Index,
    times: pd.Index,
    series: list[Floats],
    covariates: dict[str, Floats],
    layout: Layout,
) -> Rows:
    if not series:
        raise ValueError(
            "frame must have at least one series; got covariates only. Add the target's column."
        )
    codes = np.repeat(np.arange(len(ids), dtype=np.intp), len(times))
    repeated = times.take(np.tile(np.arange(len(times)), len(ids)))
    return Rows(ids, codes, repeated, np.concatenate(series), covariates, {}, layout)


# --- values -----------------------------------------------------------------------------------


def parse_times(times: pd.Index, name: str) -> pd.Index:
    """Times as a DatetimeIndex, a PeriodIndex or int64; text is parsed as dates.

    Raises
    ------
    ValueError, TypeError
        Times are missing, or neither dates nor whole numbers.
    """
    if times.hasnans:
        row = int(np.flatnonzero(times.isna())[0])
        raise ValueError(
            f"{name} must have a time in every row; got a missing one in row {row}. Drop such rows."
        )
    if isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)):
        return times
    if pd.api.types.is_integer_dtype(times.dtype):
        return pd.Index(times, dtype=np.int64)
    if pd.api.types.is_numeric_dtype(times.dtype) or isinstance(times, pd.MultiIndex):
        raise TypeError(
            f"{name} must hold dates, periods or whole numbers; got {times.dtype}. "
            "Use pandas.to_datetime, or count the steps with integers."
        )
    return _parse_text(times, name)


def _parse_text(times: pd.Index, name: str) -> pd.Index:
    first = times[0]
    if isinstance(first, pd.Period):
        return pd.PeriodIndex(times)
    try:
        return pd.DatetimeIndex(pd.to_datetime(times))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must hold dates, periods or whole numbers; got text such as {first!r} "
            f"({str(error).splitlines()[0]}). Use pandas.to_datetime with its format."
        ) from error


def read_numbers(values: pd.Series, name: str, ids: pd.Index | None, times: pd.Index) -> Floats:
    if np.iscomplexobj(values.to_numpy()):
        raise ValueError(
            f"{name!r} must hold real numbers; Complex data not supported. Take the real part."
        )
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        found = next((v for v in values if isinstance(v, str)), values.iloc[0])
        raise ValueError(
            f"{name!r} must hold numbers; got {found!r} ({error}). "
            "Convert it with pandas.to_numeric, or leave the column out."
        ) from error
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0])
        where = f" for series {ids[row]!r}" if ids is not None else ""
        raise ValueError(
            f"{name!r} must be finite or NaN; got infinity{where}, first at {times[row]}. "
            "Replace it by NaN, which is masked."
        )
    return np.array(numbers)  # a copy: the caller's memory may be read-only, and stays his
