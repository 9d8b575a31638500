"""The commands of ``tsar`` and their names."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

import tsar
from tsar.cli import analyze, backtest, demo, describe, forecast
from tsar.cli.output import print_line

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY

COMMANDS: dict[str, Callable[..., None]] = {
    "forecast": forecast.forecast,
    "backtest": backtest.backtest,
    "fit": forecast.fit,
    "predict": forecast.predict,
    "inspect": describe.inspect,
    "analyze": analyze.analyze,
    "models": describe.models,
    "datasets": describe.datasets,
    "benchmark": backtest.benchmark,
    "demo": demo.demo,
}

app = typer.Typer(
    name="tsar",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each dataclass in a command's signature by one option for each of its fields.

    Typer reads the new signature; the command still receives its dataclasses.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _fields(groups[parameter.name])
        else:
            hint = hints[parameter.name]
            parameters.append(parameter.replace(kind=KEYWORD_ONLY, annotation=hint))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010
    return run


def _fields(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]


for name, command in COMMANDS.items():
    app.command(name)(expand_groups(command))


def _print_version(requested: bool) -> None:
    if requested:
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
        bool, typer.Option("--debug", help="Print the traceback of an error; at any position.")
    ] = False,
) -> None:
    """Forecast many time series at once, and measure how good the forecasts are."""
