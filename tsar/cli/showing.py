"""tsar demo."""

from pathlib import Path
from typing import Annotated

import typer

from tsar.cli import options
from tsar.cli.lazy import demo as demonstration
from tsar.cli.output import at_work, print_frame, print_json, print_line, records


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.")
    ] = Path("out"),
    json: options.Json = False,
) -> None:
    """Forecast real series, score the forecasts, and draw them: takes seconds, needs no network."""
    with at_work("forecasting"):
        shown = demonstration.run(output)
    if json:
        scores = [{"data": backtest.name, "scores": records(backtest.scores)} for backtest in shown.backtests]
        print_json({"backtests": scores, "conclusion": shown.conclusion, "files": shown.files})
        return
    for backtest in shown.backtests:
        print_frame(backtest.scores, title=backtest.title)
    print_line(shown.conclusion)
    for kind, path in shown.files.items():
        print_line(f"{kind:<9} {path}")
