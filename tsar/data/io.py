"""Reading and writing frames as csv or parquet files; writing is atomic."""

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

    The file is long if it has one of the id, time and target columns. Otherwise it is wide, and its
    first column holds the times (a parquet file may have them as its index instead). In a csv file
    ids are text, or integers if all of them are integers without leading zeros; times with
    different offsets (``+01:00``, ``+02:00``) are read as UTC.

    The path ends in ``.csv``, ``.csv.gz`` or ``.parquet``; the last needs the io extra.
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
        return _to_long(frame, columns, path)
    return _to_wide(frame)


def write_frame(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame to a csv or parquet file; an index of times becomes the first column.

    If the file can't be written, an existing one is unchanged.
    """
    kind = check_extension(Path(path), FRAME_EXTENSIONS)
    with atomic_write(path) as temporary:
        write = frame.to_parquet if kind == ".parquet" else frame.to_csv
        write(temporary, index=not _has_default_index(frame))


def _has_default_index(frame: pd.DataFrame) -> bool:
    return isinstance(frame.index, pd.RangeIndex) and frame.index.name is None


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces `path` when the block ends.

    After an error the temporary file is removed and `path` is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with atomic_write(path) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> path.read_text()
    '1 2 3'
    """
    target = Path(path).resolve()  # a symbolic link is kept
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
    """Check before a long computation that a file can be written; errors name it as `name`."""
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
    """Extension of a path, which must be one of `kinds`."""
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
        if ids.hasnans:  # an id may be "NA", which pandas reads as missing
            options = {"keep_default_na": False, "na_values": [""], "dtype": str}
            ids = pd.read_csv(path, usecols=[columns.id], **options)[columns.id]
        frame[columns.id] = _to_integers(ids)
    return frame


def _to_integers(ids: pd.Series) -> pd.Series:
    """Ids as integers if their text can be recovered: ``007`` stays text."""
    are_integers = ids.str.fullmatch(r"0|-?[1-9]\d{0,17}").fillna(False)
    return ids.astype(np.int64) if len(ids) and are_integers.all() else ids


def _to_long(frame: pd.DataFrame, columns: Columns, path: Path) -> pd.DataFrame:
    if columns.time not in frame.columns:
        names = ", ".join(repr(name) for name in frame.columns[:8])
        raise ParameterError(
            repr(path.name),
            f"have the time column {columns.time!r}",
            names + (", ..." if len(frame.columns) > 8 else ""),
            "Rename it, or name it by {columns.time}.",
            {"columns.time": "Columns(time=...)"},
        )
    return frame.assign(**{columns.time: _parse_times(pd.Index(frame[columns.time]), columns.time)})


def _to_wide(frame: pd.DataFrame) -> pd.DataFrame:
    if _has_default_index(frame):
        if frame.shape[1] == 1:
            raise ValueError(
                "a wide file must have its times in the first column, and a series in every other "
                f"one; got only the column {frame.columns[0]!r}. Add the times."
            )
        frame = frame.set_index(frame.columns[0])
    return frame.set_axis(_parse_times(frame.index, str(frame.index.name)), axis=0)


def _parse_times(times: pd.Index, name: str) -> pd.Index:
    if not len(times):
        return times
    try:
        return parse_times(times, name).rename(times.name)
    except ValueError:
        # A file across a clock change has two offsets: only UTC can hold both.
        if times.dtype.kind != "O" and not pd.api.types.is_string_dtype(times.dtype):
            raise
        if not times.str.fullmatch(r".*\d(Z|[+-]\d\d:?\d\d)").all():
            raise
        return pd.DatetimeIndex(pd.to_datetime(times, format="ISO8601", utc=True), name=times.name)
