"""The shape in which a frame came in, so that what goes out mirrors it."""

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
    """How the frame looked.

    `backend` is the dataframe library; `has_id` whether a long frame had an id column;
    `time_name` and `series_name` are the names of a wide frame's index and of its columns, or of
    a Series; `categories` whether the ids were of a categorical type, `order` its categories where
    they have one; `dates` whether the times were dates without a clock, as polars and pyarrow have
    them; `numbers` the type of whole-number times that were of another than int64.
    """

    style: Style
    backend: str = "pandas"
    has_id: bool = True
    time_name: Hashable = None
    series_name: Hashable = None
    categories: bool = False
    dates: bool = False
    order: tuple[Any, ...] = ()
    numbers: str = ""


def to_pandas(frame: Any) -> tuple[Any, str]:
    """Pandas twin of a polars or pyarrow frame, and the name of its library; others unchanged.

    Raises
    ------
    TypeError
        It is of these libraries, but no frame in memory.
    ImportError
        The io extra is not installed.
    """
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


def holds_dates(frame: Any, name: str) -> bool:
    """Whether a column of a polars or pyarrow frame holds dates without a clock."""
    narwhals = _narwhals()
    return bool(narwhals.from_native(frame, eager_only=True).schema[name] == narwhals.Date)


def _from_pandas(frame: pd.DataFrame, backend: str, dates: str | None) -> Any:
    """The frame in the library that it came in; `dates` names a column of dates."""
    if backend == "pandas":
        return frame
    import pyarrow

    table = pyarrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    if dates is not None:
        column = table.column_names.index(dates)
        table = table.set_column(column, dates, table[dates].cast(pyarrow.date32()))
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


def write(
    layout: Layout,
    labels: tuple[str, str],
    ids: pd.Index,
    times: pd.Index,
    columns: dict[str, NDArray[np.generic]],
    freq: str,
) -> Any:
    """Frame of (series, horizon) arrays in the layout that came in.

    `labels` are the names of the id and time columns; `times` holds the times of every series end
    to end, `freq` the alias of their frequency. In a wide layout with several columns, the columns
    are (series, column) pairs.
    """
    if layout.style == "long":
        return write_long(layout, labels, ids, times, columns)
    points = np.stack(list(columns.values()), axis=-1)  # (series, horizon, column)
    if layout.style in ("array", "vector"):
        return _array(layout, points)
    index = with_frequency(times[: points.shape[1]].rename(layout.time_name), freq)
    if layout.style == "series":
        return _series(layout, index, points[0], list(columns))
    return _wide(layout, ids, index, points, list(columns))


def with_frequency(index: pd.Index, freq: str) -> pd.Index:
    """Times that know the alias of their frequency, where it describes them."""
    if isinstance(index, pd.DatetimeIndex):
        with suppress(ValueError):  # times that a clock change moved follow no alias
            index.freq = freq
    return index


def write_long(
    layout: Layout,
    labels: tuple[str, str],
    ids: pd.Index,
    times: pd.Index,
    columns: dict[str, NDArray[np.generic]],
) -> Any:
    """Long frame of (series, horizon) arrays, in the library that came in."""
    names = ids.repeat(len(times) // max(len(ids), 1))
    if layout.categories:
        ordered = pd.CategoricalDtype(layout.order, ordered=True) if layout.order else "category"
        names = names.astype(ordered)
    head = {labels[0]: names} if layout.has_id else {}
    body = {name: values.reshape(-1) for name, values in columns.items()}
    taken = [name for name in (*head, labels[1]) if name in body]
    if taken:
        raise ValueError(
            f"columns must leave the names {list(body)} to the result; got {taken[0]!r} for an id "
            "or time column. Rename that column."
        )
    times = times.astype(layout.numbers) if layout.numbers else times
    frame = pd.DataFrame({**head, labels[1]: times, **body})
    return _from_pandas(frame, layout.backend, labels[1] if layout.dates else None)


def _array(layout: Layout, points: NDArray[np.generic]) -> NDArray[np.generic]:
    turned = points.transpose(1, 0, 2)  # (horizon, series, column)
    turned = turned if points.shape[2] > 1 else turned[:, :, 0]
    return turned[:, 0] if layout.style == "vector" else turned


def _series(
    layout: Layout, index: pd.Index, points: NDArray[np.generic], names: list[str]
) -> pd.Series | pd.DataFrame:
    if len(names) == 1:
        return pd.Series(points[:, 0], index=index, name=layout.series_name)
    return pd.DataFrame(points, index=index, columns=names)


def _wide(
    layout: Layout, ids: pd.Index, index: pd.Index, points: NDArray[np.generic], names: list[str]
) -> pd.DataFrame:
    if len(names) == 1:
        return pd.DataFrame(points[:, :, 0].T, index=index, columns=ids.rename(layout.series_name))
    flat = points.transpose(1, 0, 2).reshape(len(index), -1)
    pairs = pd.MultiIndex.from_product([ids, names], names=[layout.series_name, None])
    return pd.DataFrame(flat, index=index, columns=pairs)
