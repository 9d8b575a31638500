"""``tsar forecast``, ``tsar fit`` and ``tsar predict``: fit a model, save it, and forecast."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.inputs import Source, context_source, read_source, resolve_horizon
from tsar.cli.lazy import io
from tsar.cli.models import ModelSpec, create_model, load_model, parse_models
from tsar.cli.output import print_fields, print_json, show_progress
from tsar.cli.results import Result, present
from tsar.cli.settings import read_settings

if TYPE_CHECKING:
    from tsar.forecasters.base import Forecaster


def forecast(
    context: typer.Context,
    input: options.Input,
    *,
    model: options.Model = "arnet",
    horizon: options.Horizon = None,
    settings: options.Settings = None,
    request: options.ForecastOptions,
    outputs: options.OutputOptions,
    common: options.CommonOptions,
    columns: options.ColumnOptions,
) -> None:
    """Fit a model to a file and forecast its future.

    Example: tsar forecast sales.csv --horizon 24 --level 80 --output forecast.csv
    """
    [spec] = parse_models([model], read_settings(context, settings))
    outputs.check()
    request.check()
    source = read_source(input, columns.to_columns())
    fitted, source = _fit(spec, source, resolve_horizon(horizon, source))
    facts = {"model": spec.label, "input": input} if common.json else None
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
    common: options.CommonOptions,
    columns: options.ColumnOptions,
) -> None:
    """Fit a model to a file and save it to a folder.

    Example: tsar fit sales.csv --horizon 24 --save model
    """
    [spec] = parse_models([model], read_settings(context, settings))
    source = read_source(input, columns.to_columns())
    has_horizon = horizon is not None or source.horizon is not None
    fitted, source = _fit(spec, source, resolve_horizon(horizon, source) if has_horizon else None)
    fitted.save(save)
    series = len(fitted.context_)
    if common.json:
        facts = {"model": spec.label, "input": input, "series": series}
        print_json(facts | {"horizon": fitted.horizon, "folder": save})
        return
    print_fields(
        [
            ("model", f"{spec.label}, fitted to {series} series of {source.name}"),
            ("folder", f"{save}  (next: tsar predict {save})"),
        ]
    )


def predict(
    folder: options.Folder,
    input: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            show_default=False,
            help="Newer history, or other series; by default the series that were fitted.",
        ),
    ] = None,
    *,
    horizon: options.Horizon = None,
    request: options.ForecastOptions,
    outputs: options.OutputOptions,
    common: options.CommonOptions,
) -> None:
    """Forecast with a saved model.

    Example: tsar predict model --horizon 24 --level 80 --plot forecast.png
    """
    outputs.check()
    request.check()
    model = _with_pandas_layout(load_model(folder))
    columns = model.context_.labels.columns
    source = read_source(input, columns) if input else context_source(model.context_, str(folder))
    points = resolve_horizon(horizon, replace(source, horizon=model.horizon))
    facts = {"model": type(model).__name__, "input": input} if common.json else None
    _predict(model, source, points, request, outputs, facts, new_data=input is not None)


def _fit(spec: ModelSpec, source: Source, horizon: int | None) -> tuple["Forecaster", Source]:
    """A model fitted to a source, and the source with the model's own columns."""
    model = create_model(spec, horizon, source.columns)
    source = replace(source, columns=model.columns or source.columns)
    with show_progress(f"fitting {spec.label}", [model]):
        model.fit(source.frame)
    return model, source


def _predict(
    model: "Forecaster",
    source: Source,
    horizon: int,
    request: options.ForecastOptions,
    outputs: options.OutputOptions,
    facts: dict[str, Any] | None,
    *,
    new_data: bool = False,
) -> None:
    """Forecast the fitted series, or those of a source of `new_data`, and present the result."""
    future = request.future and io.read_frame(request.future, source.columns)
    with show_progress(f"forecasting by {type(model).__name__}"):
        frame = model.predict(
            source.frame if new_data else None,
            horizon=horizon,
            future=future,
            quantile_levels=request.quantile,
            level=request.level,
        )
    present(Result(type(model).__name__, horizon, frame, source.columns), source, outputs, facts)


def _with_pandas_layout(model: "Forecaster") -> "Forecaster":
    """The model, forecasting pandas frames even if it was fitted to an array or to polars."""
    if not hasattr(model, "context_"):
        raise ValueError(f"the saved {type(model).__name__} must be fitted before it forecasts.")
    labels = model.context_.labels
    style = labels.layout.style if labels.layout.style in ("long", "wide") else "long"
    layout = replace(labels.layout, style=style, backend="pandas")
    model.context_ = replace(model.context_, labels=replace(labels, layout=layout))
    return model
