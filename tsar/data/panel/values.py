"""Conversion of a frame's columns to times and float64, with errors that name the bad row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

Floats = NDArray[np.float64]


def format_value(value: object) -> str:
    """Representation of a value for an error message, NumPy's scalars without their type."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def parse_times(times: pd.Index, name: str) -> pd.Index:
    """Times as a DatetimeIndex, a PeriodIndex or int64; text is parsed as dates."""
    if isinstance(times, pd.MultiIndex):
        raise TypeError(
            f"{name} must hold dates, periods or integers; got {times.nlevels} levels. "
            "Put the ids into a column and the times into another, or give every series a column."
        )
    if times.hasnans:
        row = int(np.flatnonzero(times.isna())[0])
        raise ValueError(
            f"{name} must have a time in every row; got a missing one in row {row}. Drop such rows."
        )
    if isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)):
        return times
    times = times.infer_objects() if times.dtype == object else times
    if pd.api.types.is_integer_dtype(times.dtype):
        return pd.Index(times, dtype=np.int64)
    if pd.api.types.is_numeric_dtype(times.dtype) or isinstance(times, pd.TimedeltaIndex):
        raise TypeError(
            f"{name} must hold dates, periods or integers; got {times.dtype}. "
            "Use pandas.to_datetime, or count the steps with integers."
        )
    return _parse_objects(times, name)


def _parse_objects(times: pd.Index, name: str) -> pd.Index:
    try:
        if len(times) and isinstance(times[0], pd.Period):
            return pd.PeriodIndex(times)
        # No other format: 1/2/2024 is ambiguous.
        return pd.DatetimeIndex(pd.to_datetime(times, format="ISO8601"))
    except (ValueError, TypeError) as error:
        # Without the options of pandas.to_datetime, which a caller can't pass here.
        reason = str(error).splitlines()[0].partition(" You might want to try")[0].rstrip(".")
        raise ValueError(
            f"{name} must hold dates, periods or integers, text as in '2024-12-31 23:59'; got "
            f"{times[0]!r} ({reason}). Use pandas.to_datetime with its format."
        ) from error


def to_floats(values: pd.Series, name: str, locate: Callable[[int], str]) -> Floats:
    """Column as float64, NaN where missing; `locate` describes a row for error messages."""
    numbers = _to_numbers(values, name, locate)
    infinite = np.isinf(numbers)
    if infinite.any():
        raise ValueError(
            f"{name!r} must be finite or NaN; got infinity{locate(int(infinite.argmax()))}. "
            "Replace it by NaN, which is masked."
        )
    return numbers


def _to_numbers(values: pd.Series, name: str, locate: Callable[[int], str]) -> Floats:
    if np.iscomplexobj(values.to_numpy()):
        raise ValueError(
            f"{name!r} must hold real numbers; Complex data not supported. Take the real part."
        )
    try:
        if values.dtype.kind in "mM":  # pandas would return their nanoseconds
            raise TypeError(f"its type is {values.dtype}")
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        row = _first_non_number(values)
        value = values.iloc[row]
        reason = "" if isinstance(value, str) else f" ({error})"
        raise ValueError(
            f"{name!r} must hold numbers; got {format_value(value)}{locate(row)}{reason}. "
            "Convert it with pandas.to_numeric, or leave the column out."
        ) from error
    return np.array(numbers)  # a copy: the caller's array may be read-only, and is not changed


def _first_non_number(values: pd.Series) -> int:
    """Row of the first value that is neither a number nor missing."""
    if values.dtype.kind in "mM":
        return int(np.argmax(values.notna()))
    return int(np.argmax(pd.to_numeric(values, errors="coerce").isna() & values.notna()))


def read_array(array: Any) -> Floats:
    """Array of shape (time,) or (time, series) as float64; NaN is allowed, infinities are not."""
    # Only a dict itself: scipy's DOK arrays derive from it, and are refused as sparse below.
    if type(array) is dict or isinstance(array, (str, bytes, int, float)) or array is None:
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
    return np.array(values, dtype=np.float64)
