"""Arguments and options that several commands share, each said once; groups are dataclasses."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsar.cli.job import read_job
from tsar.cli.lazy import files, intervals, panel

if TYPE_CHECKING:
    from tsar.data.panel import Columns

PANEL = "Columns of INPUT"

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="A .csv, .csv.gz or .parquet file, or a data set's name (see `tsar datasets`). Times "
        "of a csv file with several offsets (+01:00, +02:00) are read as UTC.",
    ),
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
        help="A forecaster, or LABEL=NAME to tell two of a kind apart; repeatable.",
    ),
]
Horizon = Annotated[
    int | None,
    typer.Option(
        metavar="POINTS",
        show_default=False,
        help="Points to forecast; if left out, what is usual for a data set.",
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
        "context_length=48, training.epochs=5 or hidden=[32]; arnet.context_length=48 is for one "
        "model of several. VALUE is TOML, none, or else text; repeatable.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Write to a .csv, .csv.gz or .parquet file; one that is there is replaced at the end.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON to standard output, and nothing else.")
]
Level = Annotated[
    list[float] | None,
    typer.Option(
        metavar="PERCENT", show_default=False, help="A central interval, such as 80; repeatable."
    ),
]


@dataclass(frozen=True)
class Common:
    """What nearly every command takes."""

    job: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            is_eager=True,
            callback=read_job,
            help="A TOML file with options by their names, those of --set in a table named set. "
            "The command line wins.",
        ),
    ] = None
    json: Json = False


@dataclass(frozen=True)
class Request:
    """What a forecast is to hold."""

    level: Level = None
    quantile: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SHARE", show_default=False, help="A quantile, such as 0.9; repeatable."
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
        """Check before long work that the levels are in their ranges, and the file there."""
        intervals.Levels.parse(self.quantile, self.level)
        if self.future is not None and not self.future.is_file():
            raise FileNotFoundError(
                f"--future must be a file with future covariates; there is none at "
                f"{str(self.future)!r}. Name a column of INPUT by --future-covariate."
            )


@dataclass(frozen=True)
class Outputs:
    """Files that a forecast goes to."""

    output: Output = None
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="Draw a .png, .svg or .pdf picture."),
    ] = None

    def check(self) -> None:
        """Check before long work that the files can be written."""
        if self.output is not None:
            files.check_output(self.output, files.FRAME_EXTENSIONS, "--output")
        if self.plot is not None:
            files.check_output(self.plot, files.FIGURE_EXTENSIONS, "--plot")


def _column(role: str, default: str) -> Any:
    """Option for the name of a column."""
    return typer.Option(metavar="NAME", show_default=default, rich_help_panel=PANEL, help=role)


def _columns(role: str) -> Any:
    """Option for the names of several columns."""
    role += "; repeatable."
    return typer.Option(metavar="NAME", show_default=False, rich_help_panel=PANEL, help=role)


@dataclass(frozen=True)
class ColumnOptions:
    """How to read INPUT; what is None or empty is as in `tsar.Columns`."""

    id: Annotated[str | None, _column("Which series a row is of.", "unique_id")] = None
    time: Annotated[str | None, _column("When.", "ds")] = None
    target: Annotated[
        str | None,
        _column(
            "How much. A file with none of these three columns is wide: its first column holds "
            "the times, every other one is a series.",
            "y",
        ),
    ] = None
    past_covariate: Annotated[list[str] | None, _columns("A covariate known up to now")] = None
    future_covariate: Annotated[list[str] | None, _columns("One known ahead; see --future")] = None
    static_covariate: Annotated[list[str] | None, _columns("One constant within a series")] = None
    freq: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS",
            show_default="inferred",
            rich_help_panel=PANEL,
            help="Distance of two points: h, 15min, D, MS, or a step of whole-number times.",
        ),
    ] = None
    fill_gaps: Annotated[
        bool,
        typer.Option(
            "--fill-gaps", rich_help_panel=PANEL, help="Read absent times as missing values."
        ),
    ] = False

    def to_columns(self) -> "Columns":
        """`tsar.Columns` of what was given."""
        given = {
            "id": self.id,
            "time": self.time,
            "target": self.target,
            "past": tuple(self.past_covariate or ()),
            "future": tuple(self.future_covariate or ()),
            "static": tuple(self.static_covariate or ()),
            "freq": int(self.freq) if self.freq and self.freq.isdecimal() else self.freq,
            "fill_gaps": self.fill_gaps,
        }
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value}
        return panel.Columns(**chosen)
