"""INPUT: a file or the name of a data set, and how its columns are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsar.cli.lazy import datasets, files, pandas, panel
from tsar.cli.settings import did_you_mean

if TYPE_CHECKING:
    from tsar.data.panel import Columns, Panel


@dataclass(frozen=True)
class Source:
    """A frame that was read, what to call it, and how many points one usually forecasts."""

    name: str
    frame: "pandas.DataFrame"
    columns: "Columns"
    horizon: int | None = None

    @property
    def is_long(self) -> bool:
        """Whether the frame has a row for each series and time."""
        return bool(panel.is_long(self.frame, self.columns))


def read_source(name: str, columns: "Columns") -> Source:
    """Read a file, or load a data set by its name.

    Raises
    ------
    ValueError, OSError
        It is neither, or can't be read.
    """
    if Path(name).is_file():
        source = Source(Path(name).name, files.read_frame(name, columns), columns)
        _check_target(source)
        return source
    if Path(name).is_dir():
        raise IsADirectoryError(f"INPUT must be a file or a data set; got the folder {name!r}.")
    if name in datasets.names():
        frame = datasets.load(name)
        return Source(name, frame, columns, datasets.describe(name).horizon)
    if name.lower().endswith(files.FRAME_EXTENSIONS) or "/" in name or "\\" in name:
        raise FileNotFoundError(f"there is no file {name!r}.")
    raise ValueError(
        f"INPUT must be a file or the name of a data set; got {name!r}. "
        f"{did_you_mean(name, datasets.names())}"
    )


def _check_target(source: Source) -> None:
    names, target = list(source.frame.columns), source.columns.target
    if source.is_long and target not in names:
        raise ValueError(
            f"{source.name!r} must have the target column {target!r}; got {names[:8]}. "
            "Say its name by --target."
        )


def check_horizon(horizon: int | None, source: Source) -> int:
    """The horizon that was given, or the usual one of a data set."""
    if horizon is not None:
        if horizon < 1:
            raise ValueError(f"--horizon must be at least 1; got {horizon}.")
        return horizon
    if source.horizon is None:
        raise ValueError("--horizon must say how many points to forecast; got none.")
    return source.horizon


def to_long(source: Source) -> "pandas.DataFrame":
    """The series of a frame as a long one with the id, time and target columns."""
    frame, columns = source.frame, source.columns
    if source.is_long:
        if columns.id not in frame.columns:
            frame = frame.assign(**{columns.id: columns.target})
        return frame
    shared = list(columns.covariates)
    frame = frame.rename_axis(columns.time).reset_index()
    return frame.melt([columns.time, *shared], var_name=columns.id, value_name=columns.target)


def from_panel(panel: "Panel", name: str) -> Source:
    """Source of what a fitted model remembers, as a long frame."""
    labels, rows = panel.labels, panel.series
    place = panel.offsets.new_ones(len(rows)).cumsum(0) - 1 - panel.offsets[rows]
    ordinals = labels.starts[rows.numpy()] + place.numpy() * labels.frequency.step
    frame = pandas.DataFrame(
        {
            labels.columns.id: labels.ids[rows.numpy()],
            labels.columns.time: labels.frequency.to_times(ordinals),
            labels.columns.target: panel.values.numpy(),
        }
    )
    return Source(name, frame, labels.columns)
