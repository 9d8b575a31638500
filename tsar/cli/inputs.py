"""Read INPUT, a file or the name of a data set, into a frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsar.cli.lazy import datasets, io, pandas, panel
from tsar.cli.settings import did_you_mean

if TYPE_CHECKING:
    from tsar.data.panel import Columns, Panel


@dataclass(frozen=True)
class Source:
    """A frame, its name in messages, its columns, and the usual horizon of a data set."""

    name: str
    frame: "pandas.DataFrame"
    columns: "Columns"
    horizon: int | None = None

    @property
    def is_long(self) -> bool:
        """Whether the frame has a row for each series and time."""
        return bool(panel.is_long(self.frame, self.columns))


def read_source(name: str, columns: "Columns") -> Source:
    """Read a file, or load a data set by name."""
    if Path(name).is_file():
        source = Source(Path(name).name, io.read_frame(name, columns), columns)
        _check_target(source)
        return source
    if Path(name).is_dir():
        raise IsADirectoryError(f"INPUT must be a file or a data set; got the folder {name!r}.")
    if name in datasets.names():
        return Source(name, datasets.load(name), columns, datasets.describe(name).horizon)
    if name.lower().endswith(io.FRAME_EXTENSIONS) or "/" in name or "\\" in name:
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
            "Name it by --target."
        )


def resolve_horizon(horizon: int | None, source: Source) -> int:
    """The horizon of the command line, else the usual one of the data set."""
    if horizon is not None:
        if horizon < 1:
            raise ValueError(f"--horizon must be at least 1; got {horizon}.")
        return horizon
    if source.horizon is None:
        raise ValueError("--horizon must be the number of points to forecast; got none.")
    return source.horizon


def to_long(source: Source) -> "pandas.DataFrame":
    """The frame as a long one with id, time and target columns."""
    frame, columns = source.frame, source.columns
    if source.is_long:
        if columns.id not in frame.columns:
            frame = frame.assign(**{columns.id: columns.target})
        return frame
    frame = frame.rename_axis(columns.time).reset_index()
    id_vars = [columns.time, *columns.covariates]
    return frame.melt(id_vars, var_name=columns.id, value_name=columns.target)


def context_source(context: "Panel", name: str) -> Source:
    """The context that a fitted model keeps, as a long frame."""
    labels, series = context.labels, context.series
    position = context.offsets.new_ones(len(series)).cumsum(0) - 1 - context.offsets[series]
    ordinals = labels.starts[series.numpy()] + position.numpy() * labels.frequency.step
    frame = pandas.DataFrame(
        {
            labels.columns.id: labels.ids[series.numpy()],
            labels.columns.time: labels.frequency.to_times(ordinals),
            labels.columns.target: context.values.numpy(),
        }
    )
    return Source(name, frame, labels.columns)
