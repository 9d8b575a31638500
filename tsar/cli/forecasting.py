"""tsar forecast, tsar fit, tsar predict."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.forecasts import Result, present
from tsar.cli.inputs import Source, check_horizon, from_panel, read_source
from tsar.cli.job import read_settings
from tsar.cli.lazy import files
from tsar.cli.models import Choice, build, choose, load_model
from tsar.cli.output import at_work, print_facts, print_json

if TYPE_CHECKING:
    from tsar.forecasters.base import Forecaster

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", show_default=False, help="Where a model was saved.")
]


def forecast(
    context: typer.Context,
    input: options.Input,
    *,
    model: options.Model = "arnet",
    horizon: options.Horizon = None,
    settings: options.Settings = None,
    request: options.Request,
    outputs: options.Outputs,
    common: options.Common,
    columns: options.ColumnOptions,
) -> None:
    """Fit a model to a file and forecast what comes after it.

    Example: tsar forecast sales.csv --horizon 24 --level 80 --output forecast.csv
    """
    outputs.check()
    request.check()
    [choice] = choose([model], read_settings(context, settings))
    source = read_source(input, columns.to_columns())
    fitted, source = _fit(choice, source, check_horizon(horizon, source))
    facts = {"model": choice.label, "input": input} if common.json else None
    _predict(fitted, source, fitted.horizon, request, outputs, facts)


def fit(
    context: typer.Context,
    input: options.Input,
    *,
    save: Annotated[
        Path,
        typer.Option(metavar="FOLDER", show_default=False, help="Where to save the fitted model."),
    ],
    model: options.Model = "arnet",
    horizon: options.Horizon = None,
    settings: options.Settings = None,
    common: options.Common,
    columns: options.ColumnOptions,
) -> None:
    """Fit a model to a file and save it to a folder.

    Example: tsar fit sales.csv --horizon 24 --save model
    """
    [choice] = choose([model], read_settings(context, settings))
    source = read_source(input, columns.to_columns())
    points = None if horizon is None and source.horizon is None else check_horizon(horizon, source)
    fitted, source = _fit(choice, source, points)
    fitted.save(save)
    series = len(fitted.context_)
    if common.json:
        facts = {"model": choice.label, "input": input, "series": series}
        print_json(facts | {"horizon": fitted.horizon, "folder": save})
        return
    print_facts(
        [
            ("model", f"{choice.label}, fitted to {series} series of {source.name}"),
            ("folder", f"{save}  (next: tsar predict {save})"),
        ]
    )


def predict(
    folder: Folder,
    input: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            show_default=False,
            help="Newer history, or other series; if left out, what was fitted goes on.",
        ),
    ] = None,
    *,
    horizon: options.Horizon = None,
    request: options.Request,
    outputs: options.Outputs,
    common: options.Common,
) -> None:
    """Forecast with a saved model.

    Example: tsar predict model --horizon 24 --level 80 --plot forecast.png
    """
    outputs.check()
    request.check()
    model = _with_frames(load_model(folder))
    known = model.context_.labels.columns
    source = read_source(input, known) if input else from_panel(model.context_, str(folder))
    points = check_horizon(horizon, replace(source, horizon=model.horizon))
    facts = {"model": type(model).__name__, "input": input} if common.json else None
    _predict(model, source, points, request, outputs, facts, fresh=input is not None)


def _fit(choice: Choice, source: Source, horizon: int | None) -> tuple["Forecaster", Source]:
    """A model fitted to a source, and the source with the columns that the model reads."""
    model = build(choice, horizon, source.columns)
    source = replace(source, columns=model.columns or source.columns)
    with at_work(f"fitting {choice.label}", [model]):
        model.fit(source.frame)
    return model, source


def _predict(
    model: "Forecaster",
    source: Source,
    horizon: int,
    request: options.Request,
    outputs: options.Outputs,
    facts: dict[str, Any] | None,
    *,
    fresh: bool = False,
) -> None:
    """Forecast after what was fitted, or after a `fresh` source, and present it."""
    future = request.future and files.read_frame(request.future, source.columns)
    with at_work(f"forecasting by {type(model).__name__}"):
        frame = model.predict(
            source.frame if fresh else None,
            horizon=horizon,
            future=future,
            quantile_levels=request.quantile,
            level=request.level,
        )
    result = Result(type(model).__name__, horizon, frame, source.columns)
    present(result, source, outputs, facts)


def _with_frames(model: "Forecaster") -> "Forecaster":
    """The model, answering by a pandas frame even if it was fitted to something else."""
    if not hasattr(model, "context_"):
        raise ValueError(f"the saved {type(model).__name__} must be fitted before it forecasts.")
    labels = model.context_.labels
    style = labels.layout.style if labels.layout.style in ("long", "wide") else "long"
    layout = replace(labels.layout, style=style, backend="pandas")
    model.context_ = replace(model.context_, labels=replace(labels, layout=layout))
    return model
