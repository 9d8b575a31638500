"""Frames in files: csv and parquet, read by one rule and written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from tsar.data.panel import Columns
from tsar.data.panel.values import parse_times
from tsar.validation import ParameterError

FRAME_EXTENSIONS = (".csv", ".csv.gz", ".parquet")
FIGURE_EXTENSIONS = (".png", ".svg", ".pdf")


def read_frame(path: str | os.PathLike[str], columns: Columns | None = None) -> pd.DataFrame:
    """Read a frame from a csv or parquet file.

    The file is long if it has one of the id, time and target columns; else it is wide, and its
    first column holds the times (a parquet file may have them as its index instead). In a csv file
    ids are text, or integers where all of them are written as such without leading zeros;
    times with several offsets (``+01:00``, ``+02:00``) are read as UTC.

    Parameters
    ----------
    path
        A file that ends in ``.csv``, ``.csv.gz`` or ``.parquet``.
    columns
        The names of the columns; None for `Columns()`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Its extension is unknown, it can't be read, or it lacks a column.
    ImportError
        It is a parquet file, and the io extra is not installed.
    """
    path, columns = Path(path), columns or Columns()
    kind = check_extension(path, FRAME_EXTENSIONS)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    try:
        frame = pd.read_parquet(path) if kind == ".parquet" else _read_csv(path, columns)
    except ImportError as error:
        raise ImportError("parquet needs the io extra. Run: pip install 'tsar[io]'") from error
    except (ValueError, EOFError, OSError) as error:  # parser, encoding and archive errors
        raise ValueError(f"{str(path)!r} can't be read as {kind}: {error}") from error
    if not frame.shape[1]:
        raise ValueError(f"{str(path)!r} must have columns; got none. Check how it was written.")
    if any(name in frame.columns for name in (columns.id, columns.time, columns.target)):
        return _as_long(frame, columns, path)
    return _as_wide(frame)


def write_frame(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame as its path's extension says; an index of times becomes the first column.

    Raises
    ------
    OSError
        The file can't be written; what stood there before stays whole.
    """
    kind = check_extension(Path(path), FRAME_EXTENSIONS)
    numbered = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    with atomic_write(path) as temporary:
        if kind == ".parquet":
            frame.to_parquet(temporary, index=not numbered)
        else:
            frame.to_csv(temporary, index=not numbered)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a temporary sibling, which takes the place of `path` at the end.

    After an error, the sibling is gone and `path` is as it was.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic_write(path) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> path.read_text()
    '1 2 3'
    """
    target = Path(path).resolve()  # a link stays a link
    temporary = target.with_name(f".{os.getpid()}.tmp.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if str(error.filename) != str(temporary):
            raise
        raise type(error)(f"{str(path)!r} can't be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_output(
    path: str | os.PathLike[str], kinds: tuple[str, ...], name: str = "file names"
) -> Path:
    """Check before long work that a file can be written; errors call its name `name`.

    Raises
    ------
    ValueError
        Its extension is not among `kinds`.
    OSError
        Its folder is not there or not writable, or it is a folder itself.
    """
    path = Path(path)
    check_extension(path, kinds, name)
    folder = path.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{str(path)!r} can't be written: no folder {str(folder)!r}.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} can't be written: it is a folder.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{str(path)!r} can't be written: {str(folder)!r} is read-only.")
    return path


def check_extension(path: Path, kinds: tuple[str, ...], name: str = "file names") -> str:
    """Extension of a path, one of `kinds`, or an error that names them."""
    for kind in kinds:
        if path.name.lower().endswith(kind):
            return kind
    raise ValueError(f"{name} must end in {', '.join(kinds)}; got {str(path)!r}.")


def _read_csv(path: Path, columns: Columns) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype={columns.id: str})
    if len(frame.columns) == 1 and ";" in str(frame.columns[0]):
        raise ValueError("its columns must be separated by commas; got semicolons")
    if columns.id in frame.columns:
        ids = frame[columns.id]
        if ids.hasnans:  # some may be named NA, which pandas takes for missing
            plain = {"keep_default_na": False, "na_values": [""], "dtype": str}
            ids = pd.read_csv(path, usecols=[columns.id], **plain)[columns.id]
        frame[columns.id] = _numbered(ids)
    return frame


def _numbered(ids: pd.Series) -> pd.Series:
    """Ids as integers where that loses nothing: ``007`` stays text."""
    whole = ids.str.fullmatch(r"0|-?[1-9]\d{0,17}").fillna(False)
    return ids.astype(np.int64) if len(ids) and whole.all() else ids


def _as_long(frame: pd.DataFrame, columns: Columns, path: Path) -> pd.DataFrame:
    if columns.time not in frame.columns:
        raise ParameterError(
            repr(path.name),
            f"have the time column {columns.time!r}",
            str(_listed(frame)),
            "Rename it, or name it by {columns.time}.",
            {"columns.time": "Columns(time=...)"},
        )
    return frame.assign(**{columns.time: _times(pd.Index(frame[columns.time]), columns.time)})


def _as_wide(frame: pd.DataFrame) -> pd.DataFrame:
    # pandas numbers the rows of a file that has no index of its own.
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:
        if frame.shape[1] == 1:
            raise ValueError(
                "a wide file must have its times in the first column, and a series in every other "
                f"one; got the column {frame.columns[0]!r} alone. Add the times."
            )
        frame = frame.set_index(frame.columns[0])
    return frame.set_axis(_times(frame.index, str(frame.index.name)), axis=0)


def _times(times: pd.Index, name: str) -> pd.Index:
    if not len(times):
        return times
    try:
        return parse_times(times, name).rename(times.name)
    except ValueError:
        # With a clock change inside, a file has two offsets, and only UTC has room for both.
        if times.dtype.kind != "O" and not pd.api.types.is_string_dtype(times.dtype):
            raise
        if not times.str.fullmatch(r".*\d(Z|[+-]\d\d:?\d\d)").all():
            raise
        return pd.DatetimeIndex(pd.to_datetime(times, format="ISO8601", utc=True), name=times.name)


def _listed(frame: pd.DataFrame) -> str:
    names = ", ".join(repr(name) for name in frame.columns[:8])
    return names + (", ..." if len(frame.columns) > 8 else "")
