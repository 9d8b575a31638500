"""Layout of a frame (long, wide, Series, array), and forecasts as a frame of the same layout."""

from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.records import record

Style = Literal["long", "wide", "series", "array", "vector"]


@record("layout")
@dataclass(frozen=True)
class Layout:
    """Layout, library and dtypes of a frame.

    Attributes
    ----------
    style
        Long, wide, a Series, an array (time, series) or a vector (time,).
    backend
        The dataframe library.
    has_id
        Whether a long frame had an id column.
    time_name, series_name
        Names of a wide frame's index and of its columns, or of a Series' index and of itself.
    categorical, category_order
        Whether the ids were categorical, and their categories where these are ordered.
    date_only
        Whether the times were dates without a time of day, as polars and pyarrow have them.
    time_dtype
        Dtype of integer times where it is not int64.
    """

    style: Style
    backend: str = "pandas"
    has_id: bool = True
    time_name: Hashable = None
    series_name: Hashable = None
    categorical: bool = False
    date_only: bool = False
    category_order: tuple[Any, ...] = ()
    time_dtype: str = ""

    @property
    def has_times(self) -> bool:
        """Whether the frame has times of its own; those of an array are 0, 1, 2, ..."""
        return self.style not in ("array", "vector")


def to_pandas(frame: Any) -> tuple[Any, str]:
    """Convert a polars or pyarrow frame to pandas, and name its library; others are unchanged."""
    backend = type(frame).__module__.partition(".")[0]
    if backend not in ("polars", "pyarrow"):
        return frame, "pandas"
    try:
        return _narwhals().from_native(frame, eager_only=True).to_pandas(), backend
    except TypeError as error:
        raise TypeError(
            f"frame must be a table in memory; got {backend}'s {type(frame).__name__}. "
            "Collect a lazy frame; give a series as a column of a frame."
        ) from error


def is_date_only(frame: Any, name: str) -> bool:
    """Whether a column of a polars or pyarrow frame holds dates without a time of day."""
    narwhals = _narwhals()
    return bool(narwhals.from_native(frame, eager_only=True).schema[name] == narwhals.Date)


def _from_pandas(frame: pd.DataFrame, backend: str, date_column: str | None) -> Any:
    """Convert a frame to a library; `date_column` becomes one of dates without a time of day."""
    if backend == "pandas":
        return frame
    import pyarrow

    table = pyarrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    if date_column is not None:
        position = table.column_names.index(date_column)
        table = table.set_column(position, date_column, table[date_column].cast(pyarrow.date32()))
    if backend == "pyarrow":
        return table
    return _narwhals().from_arrow(table, backend=backend).to_native()


def _narwhals() -> Any:
    try:
        import narwhals
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "polars and pyarrow frames need the io extra. Run: pip install 'tsar[io]'"
        ) from error
    return narwhals


def build_frame(
    layout: Layout,
    key: tuple[str, str],
    ids: pd.Index,
    times: pd.Index,
    columns: dict[str, NDArray[np.generic]],
    freq: str | pd.offsets.BaseOffset,
) -> Any:
    """Frame of (series, horizon) arrays in a layout.

    `key` holds the names of the id and time columns of a long frame. `times` are those of every
    series end to end, each with the same number of them; `freq` is the alias or offset of their
    frequency. In a wide frame of more than one array, the columns are (series, name) pairs.
    """
    if layout.style == "long":
        return build_long_frame(layout, key, ids, times, columns)
    points = np.stack(list(columns.values()), axis=-1)  # (series, horizon, column)
    if not layout.has_times:
        array = points.transpose(1, 0, 2)  # (horizon, series, column)
        array = array if points.shape[2] > 1 else array[:, :, 0]
        return array[:, 0] if layout.style == "vector" else array
    index = with_frequency(times[: points.shape[1]].rename(layout.time_name), freq)
    names = list(columns)
    if layout.style == "wide":
        return _build_wide_frame(layout, ids, index, points, names)
    if len(names) == 1:
        return pd.Series(points[0, :, 0], index=index, name=layout.series_name)
    return pd.DataFrame(points[0], index=index, columns=names)


def with_frequency(index: pd.Index, freq: str | pd.offsets.BaseOffset) -> pd.Index:
    """Set the frequency of a DatetimeIndex whose times follow it exactly."""
    if isinstance(index, pd.DatetimeIndex):
        with suppress(ValueError):  # times that a clock change moved follow no alias
            index.freq = freq
    return index


def build_long_frame(
    layout: Layout,
    key: tuple[str, str],
    ids: pd.Index,
    times: pd.Index,
    columns: dict[str, NDArray[np.generic]],
) -> Any:
    """Long frame of (series, horizon) arrays, in the library of the layout."""
    id_name, time_name = key
    repeated = ids.repeat(len(times) // max(len(ids), 1))
    if layout.categorical:
        order = layout.category_order
        dtype = pd.CategoricalDtype(order, ordered=True) if order else "category"
        repeated = repeated.astype(dtype)
    head = {id_name: repeated} if layout.has_id else {}
    body = {name: values.reshape(-1) for name, values in columns.items()}
    clashes = [name for name in (*head, time_name) if name in body]
    if clashes:
        raise ValueError(
            f"columns must leave the names {list(body)} to the result; got {clashes[0]!r} for an "
            "id or time column. Rename that column."
        )
    times = times.astype(layout.time_dtype) if layout.time_dtype else times
    frame = pd.DataFrame({**head, time_name: times, **body})
    return _from_pandas(frame, layout.backend, time_name if layout.date_only else None)


def _build_wide_frame(
    layout: Layout, ids: pd.Index, index: pd.Index, points: NDArray[np.generic], names: list[str]
) -> pd.DataFrame:
    if len(names) == 1:
        return pd.DataFrame(points[:, :, 0].T, index=index, columns=ids.rename(layout.series_name))
    values = points.transpose(1, 0, 2).reshape(len(index), -1)
    pairs = pd.MultiIndex.from_product([ids, names], names=[layout.series_name, None])
    return pd.DataFrame(values, index=index, columns=pairs)
