"""``tsar analyze``: measure the risk of a forecast by the size of its model."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tsar.cli import options
from tsar.cli.inputs import Source, read_source, to_long
from tsar.cli.lazy import complexity, io
from tsar.cli.output import (
    print_fields,
    print_frame,
    print_json,
    print_line,
    print_table,
    show_progress,
    to_records,
)

if TYPE_CHECKING:
    import pandas

    from tsar.complexity import ComplexityAnalysis

COLUMNS = ("size", "head", "ratio", "penalty", "validation", "test", "test_std_err", "excess")
MAX_SERIES = 20
DECIMALS = 4  # of an R2, which is 1 at most


def analyze(
    input: options.Input,
    *,
    representation: Annotated[
        Literal["random", "lags", "hmm", "linear_gaussian"],
        typer.Option(
            "--representation",
            "-r",
            help="The features: random functions of the last points, these points, or hidden "
            "states.",
        ),
    ] = "random",
    head: Annotated[
        Literal["ridgeless", "ridge"], typer.Option(help="The head whose size is recommended.")
    ] = "ridgeless",
    horizon: Annotated[
        int, typer.Option(metavar="POINTS", help="Points from the last observation to the target.")
    ] = 1,
    size: Annotated[
        list[int] | None,
        typer.Option(metavar="FEATURES", show_default=False, help="A size to measure; repeatable."),
    ] = None,
    rows: Annotated[int, typer.Option(metavar="ROWS", help="Training rows.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of random features and of the bootstrap.")] = 0,
    outputs: options.OutputOptions,
    common: options.CommonOptions,
    columns: options.ColumnOptions,
) -> None:
    """Measure risk, bias and variance against the size of a model, and recommend a size.

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
    with show_progress("measuring sizes"):
        analysis.fit(to_long(source))
    _write(analysis, outputs)
    advice, series = analysis.recommend(), analysis.per_series_.reset_index()
    if common.json:
        tables = {"curves": to_records(analysis.curves_), "series": to_records(series)}
        print_json({"input": input, "advice": asdict(advice), "text": str(advice)} | tables)
        return
    _print_curves(analysis.curves_, source)
    _print_series(series)
    print_line(str(advice))
    files = [("curves", outputs.output), ("plot", outputs.plot)]
    if written := [(name, str(path)) for name, path in files if path is not None]:
        print_line("")
        print_fields(written)


def _write(analysis: "ComplexityAnalysis", outputs: options.OutputOptions) -> None:
    if outputs.output is not None:
        io.write_frame(analysis.curves_, outputs.output)
    if outputs.plot is not None:
        with io.atomic_write(outputs.plot) as temporary:
            analysis.plot().savefig(temporary)


def _print_curves(curves: "pandas.DataFrame", source: Source) -> None:
    names = [name for name in COLUMNS if name in curves]
    rows = [[_format(value) for value in row] for row in curves[names].itertuples(index=False)]
    print_table(names, rows, title=f"{source.name}: risk by size", numeric=names)


def _print_series(series: "pandas.DataFrame") -> None:
    """Print a row for each series, then why series were excluded."""
    title = "each series"
    if len(series) > MAX_SERIES:
        title = f"the first {MAX_SERIES} of {len(series)} series"
    # Rounding and adding 0.0 prints small negative values as "0.0000", not "-0.0000".
    table = series.drop(columns="excluded").assign(r2=series["r2"].round(DECIMALS) + 0.0)
    print_frame(table, title=title, max_rows=MAX_SERIES)
    for row, reason in series["excluded"].dropna().head(MAX_SERIES).items():
        print_line(f"{series['unique_id'][row]} was excluded: {reason}.")


def _format(value: Any) -> str:
    """Four significant digits; the peak of a curve may be a billion times its other values."""
    if not isinstance(value, float):
        return str(value)
    return "" if value != value else f"{value:.4g}"
