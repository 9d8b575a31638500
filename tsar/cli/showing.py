"""tsar demo."""

from pathlib import Path
from typing import Annotated

import typer

from tsar.cli import options
from tsar.cli.lazy import demo as demonstration
from tsar.cli.output import at_work, print_facts, print_frame, print_json, print_line, records


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.")
    ] = Path("out"),
    json: options.Json = False,
) -> None:
    """Forecast, score and draw real series, in seconds and offline."""
    with at_work("forecasting"):
        shown = demonstration.run(output)
    tables = {backtest.title: backtest.scores.reset_index() for backtest in shown.backtests}
    if json:
        backtests = [{"data": title, "scores": records(t)} for title, t in tables.items()]
        print_json({"backtests": backtests, "says": shown.conclusions, "files": shown.files})
        return
    for (title, table), conclusion in zip(tables.items(), shown.conclusions, strict=True):
        print_frame(table, title=title)
        print_line(conclusion + "\n")
    print_facts([(kind, str(path)) for kind, path in shown.files.items()])
