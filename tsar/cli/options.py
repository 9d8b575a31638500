"""Arguments and options that several commands share.

A dataclass groups options; `tsar.cli.app` turns each field into an option of the command.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsar.cli.lazy import intervals, io, panel
from tsar.cli.settings import read_config

if TYPE_CHECKING:
    from tsar.data.panel import Columns

# Options by the arguments that they become, for `tsar.validation.ParameterError`.
FLAGS = {
    "ComplexityAnalysis.horizon": "--horizon",
    "columns.fill_gaps": "--fill-gaps",
    "columns.freq": "--freq",
    "columns.future": "--future-covariate",
    "columns.id": "--id",
    "columns.past": "--past-covariate",
    "columns.static": "--static-covariate",
    "columns.target": "--target",
    "columns.time": "--time",
    "future": "--future",
    "horizon": "--horizon",
    "level": "--level",
    "n_train": "--rows",
    "n_windows": "--windows",
    "quantile_levels": "--quantile",
    "sizes": "--size",
    "step_size": "--step",
    "training.validation": "--set training.validation=...",
}
COLUMNS_PANEL = "Columns of INPUT"  # heading in the help text

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A .csv, .csv.gz or .parquet file, or a data set's name (see `tsar datasets`). Times "
        "of a csv file with several UTC offsets (+01:00, +02:00) are read as UTC.",
    ),
]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", show_default=False, help="Where a model was saved.")
]
Model = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME", help="A forecaster; see `tsar models`.")
]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="A forecaster, or LABEL=NAME where one is used twice; repeatable.",
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(
        metavar="POINTS",
        show_default=False,
        help="Points to forecast; a data set has a usual number.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        show_default=False,
        help="A parameter of the model (`tsar models NAME` lists them), such as "
        "order=48, training.epochs=5 or hidden=[32]; arnet.order=48 is for one "
        "of several models. VALUE is TOML, none, or else text; repeatable.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Write a .csv, .csv.gz or .parquet file; an existing one is replaced at the end.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON to standard output.")]
Level = Annotated[
    list[float] | None,
    typer.Option(
        metavar="PERCENT", show_default=False, help="A central interval, such as 80; repeatable."
    ),
]


@dataclass(frozen=True)
class CommonOptions:
    """Options of nearly every command."""

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            is_eager=True,
            callback=read_config,
            help="A TOML file of options by name, those of --set in a table named set. "
            "The command line takes precedence.",
        ),
    ] = None
    json: Json = False


@dataclass(frozen=True)
class ForecastOptions:
    """Levels, quantiles and future covariates of a forecast."""

    level: Level = None
    quantile: Annotated[
        list[float] | None,
        typer.Option(
            metavar="FRACTION", show_default=False, help="A quantile, such as 0.9; repeatable."
        ),
    ] = None
    future: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The future covariates at the times to forecast, read as INPUT is.",
        ),
    ] = None

    def check(self) -> None:
        """Check the levels and that the file exists, before any long computation."""
        intervals.Levels.parse(self.quantile, self.level)
        if self.future is not None and not self.future.is_file():
            raise FileNotFoundError(
                f"--future must be a file with future covariates; there is none at "
                f"{str(self.future)!r}. Name a column of INPUT by --future-covariate."
            )


@dataclass(frozen=True)
class OutputOptions:
    """Files to write."""

    output: Output = None
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Draw a .png, .svg or .pdf picture."),
    ] = None

    def check(self) -> None:
        """Check that the files can be written, before any long computation."""
        if self.output is not None:
            io.check_output(self.output, io.FRAME_EXTENSIONS, "--output")
        if self.plot is not None:
            io.check_output(self.plot, io.FIGURE_EXTENSIONS, "--plot")


def _column(description: str, default: str) -> Any:
    """Option for the name of a column."""
    return typer.Option(
        metavar="NAME", show_default=default, rich_help_panel=COLUMNS_PANEL, help=description
    )


def _columns(description: str) -> Any:
    """Repeatable option for the names of columns."""
    return typer.Option(
        metavar="NAME",
        show_default=False,
        rich_help_panel=COLUMNS_PANEL,
        help=f"{description}; repeatable.",
    )


@dataclass(frozen=True)
class ColumnOptions:
    """Column names and frequency of INPUT; None and empty stand for the defaults of `Columns`."""

    id: Annotated[str | None, _column("The series of a row.", "unique_id")] = None
    time: Annotated[str | None, _column("The time of a row.", "ds")] = None
    target: Annotated[
        str | None,
        _column(
            "The value to forecast. A file with none of these three columns is wide: its first "
            "column holds the times, every other one is a series.",
            "y",
        ),
    ] = None
    past_covariate: Annotated[list[str] | None, _columns("A covariate known up to the present")] = (
        None
    )
    future_covariate: Annotated[
        list[str] | None, _columns("A covariate known ahead; see --future")
    ] = None
    static_covariate: Annotated[
        list[str] | None, _columns("A covariate that is constant within a series")
    ] = None
    freq: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS",
            show_default="inferred",
            rich_help_panel=COLUMNS_PANEL,
            help="Time between two points: h, 15min, D, MS, or the step of integer times.",
        ),
    ] = None
    fill_gaps: Annotated[
        bool,
        typer.Option(
            "--fill-gaps",
            rich_help_panel=COLUMNS_PANEL,
            help="Read absent times as missing values.",
        ),
    ] = False

    def to_columns(self) -> "Columns":
        """`tsar.Columns` with these names."""
        values: dict[str, Any] = {
            "id": self.id,
            "time": self.time,
            "target": self.target,
            "past": tuple(self.past_covariate or ()),
            "future": tuple(self.future_covariate or ()),
            "static": tuple(self.static_covariate or ()),
            "freq": int(self.freq) if self.freq and self.freq.isdecimal() else self.freq,
            "fill_gaps": self.fill_gaps,
        }
        return panel.Columns(**{name: value for name, value in values.items() if value})
