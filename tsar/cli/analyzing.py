"""tsar analyze."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from tsar.cli import options
from tsar.cli.inputs import read_source, to_long
from tsar.cli.lazy import complexity, files
from tsar.cli.output import (
    at_work,
    print_facts,
    print_frame,
    print_json,
    print_line,
    print_table,
    records,
)

SHOWN = ("size", "head", "ratio", "penalty", "validation", "test", "test_error", "excess")
MOST_SERIES = 20
DECIMALS = 4  # of a predictability, which is 1 at most


def analyze(
    input: options.Input,
    *,
    representation: Annotated[
        Literal["random", "lags", "hmm", "linear_gaussian"],
        typer.Option(
            "--representation",
            "-r",
            help="What grows: random functions of the last points, these points, or hidden states.",
        ),
    ] = "random",
    head: Annotated[
        Literal["ridgeless", "ridge"], typer.Option(help="The head whose size is recommended.")
    ] = "ridgeless",
    horizon: Annotated[
        int, typer.Option(metavar="POINTS", help="The value so many points on is forecast.")
    ] = 1,
    size: Annotated[
        list[int] | None,
        typer.Option(metavar="FEATURES", show_default=False, help="A size to measure; repeatable."),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="ROWS", help="Training rows.")] = 500,
    seed: Annotated[int, typer.Option(help="Of random features and of blocks.")] = 0,
    outputs: options.Outputs,
    common: options.Common,
    columns: options.ColumnOptions,
) -> None:
    """Measure what the size of a model costs and buys on a file, and say which size to use.

    Example: tsar analyze sales.csv --representation lags --output curves.csv --plot curves.png
    """
    outputs.check()
    source = read_source(input, columns.to_columns())
    analysis = complexity.ComplexityAnalysis(
        representation,
        sizes=size,
        head=head,
        horizon=horizon,
        n_train=rows,
        columns=source.columns,
        random_state=seed,
    )
    with at_work("measuring sizes"):
        analysis.fit(to_long(source))
    advice, curves = analysis.recommend(), analysis.curves_
    series = analysis.per_series_.reset_index()
    if outputs.output is not None:
        files.write_frame(curves, outputs.output)
    if outputs.plot is not None:
        with files.atomic_write(outputs.plot) as path:
            analysis.plot().savefig(path)
    if common.json:
        tables = {"curves": records(curves), "series": records(series)}
        print_json({"input": input, "advice": asdict(advice), "says": str(advice)} | tables)
        return
    shown = [name for name in SHOWN if name in curves]
    cells = [[_digits(value) for value in row] for row in curves[shown].itertuples(index=False)]
    print_table(shown, cells, title=f"{source.name}: risk by size", numbers=shown)
    title = "each series"
    if len(series) > MOST_SERIES:
        title = f"the first {MOST_SERIES} of {len(series)} series"
    left_out = series.pop("left_out").dropna()
    # Rounded, that it may not be printed as less than nothing: "-0.0000".
    series["predictability"] = series["predictability"].round(DECIMALS) + 0.0
    print_frame(series, title=title, rows=MOST_SERIES)
    for row, reason in left_out.head(MOST_SERIES).items():
        print_line(f"{series['series'][row]} was left out: {reason}.")
    print_line(str(advice))
    written = [("curves", outputs.output), ("plot", outputs.plot)]
    facts = [(name, str(path)) for name, path in written if path is not None]
    if facts:
        print_line("")
        print_facts(facts)


def _digits(value: Any) -> str:
    """Digits that count, cell by cell: the peak may be a billion times what else there is."""
    if not isinstance(value, float):
        return str(value)
    return "" if value != value else f"{value:.4g}"
