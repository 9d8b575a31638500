"""The commands and their names."""

from collections.abc import Callable
from typing import Annotated

import typer

import tsar
from tsar.cli import analyzing, forecasting, listing, scoring, showing
from tsar.cli.groups import expand
from tsar.cli.output import print_line

app = typer.Typer(
    name="tsar",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

COMMANDS: dict[str, Callable[..., None]] = {
    "forecast": forecasting.forecast,
    "backtest": scoring.backtest,
    "fit": forecasting.fit,
    "predict": forecasting.predict,
    "inspect": listing.inspect,
    "analyze": analyzing.analyze,
    "models": listing.list_models,
    "datasets": listing.list_datasets,
    "benchmark": scoring.benchmark,
    "demo": showing.demo,
}

for name, command in COMMANDS.items():
    app.command(name)(expand(command))


def _print_version(asked: bool) -> None:
    if asked:
        print_line(f"tsar {tsar.__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from; at any place.")
    ] = False,
) -> None:
    """Forecast many time series at once, and measure how good the forecasts are."""
