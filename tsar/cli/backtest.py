"""``tsar backtest`` and ``tsar benchmark``: score models on a file or by the LTSF protocol."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.inputs import Source, read_source, resolve_horizon, to_long
from tsar.cli.lazy import datasets, evaluation, io, metrics
from tsar.cli.models import ModelSpec, create_model, parse_models
from tsar.cli.output import print_frame, print_json, print_line, show_progress, to_records
from tsar.cli.settings import did_you_mean, read_settings

if TYPE_CHECKING:
    import pandas

    from tsar.data.panel import Columns
    from tsar.forecasters.base import Forecaster

DEFAULT_METRICS = ("mae", "rmse", "smape", "mase")


@dataclass(frozen=True)
class WindowOptions:
    """Windows of a backtest."""

    windows: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Windows at the end of each series.")
    ] = 5
    step: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="POINTS", show_default="horizon", help="Points between two windows."
        ),
    ] = None
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit before each window, not only before the first.")
    ] = False


@dataclass(frozen=True)
class ScoreOptions:
    """Metrics of a backtest, and how to group them."""

    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default="mae, rmse, smape, mase, and with --level coverage",
            help="A metric; repeatable.",
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            metavar="series|cutoff", show_default=False, help="Score each series or cutoff apart."
        ),
    ] = None
    level: options.Level = None

    def check(self) -> None:
        """Check the names, before any long computation."""
        for name in self.metric_names:
            if name not in metrics.METRICS:
                advice = did_you_mean(name, metrics.METRICS)
                raise ValueError(f"there is no metric {name!r}. {advice}")
        if self.by not in (None, "series", "cutoff"):
            raise ValueError(f"--by must be one of series, cutoff; got {self.by!r}.")

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics."""
        return self.metric or [*DEFAULT_METRICS, *(["coverage"] if self.level else [])]


def backtest(
    context: typer.Context,
    input: options.Input,
    *,
    model: options.Models = ["arnet", "seasonalnaive"],  # noqa: B006 (typer copies it)
    horizon: options.Horizon = None,
    windows: WindowOptions,
    scores: ScoreOptions,
    settings: options.Settings = None,
    output: options.Output = None,
    common: options.CommonOptions,
    columns: options.ColumnOptions,
) -> None:
    """Forecast the newest windows of a file, and score the forecasts.

    The forecast of a window uses only the data before it. A model that can't use a covariate goes
    without it. --output writes every forecast.

    Example: tsar backtest sales.csv --model arnet --model naive --horizon 24 --level 80
    """
    specs = parse_models(model, read_settings(context, settings))
    options.OutputOptions(output).check()
    scores.check()
    source = read_source(input, columns.to_columns())
    if source.columns.covariates and not source.is_long:
        # In a wide frame, a model without covariates would forecast them as series.
        source = replace(source, frame=to_long(source))
    points = resolve_horizon(horizon, source)
    models = {s.label: create_model(s, points, _usable_columns(source.columns, s)) for s in specs}
    with show_progress(f"backtesting {', '.join(models)}", list(models.values())):
        forecasts = evaluation.cross_validation(
            models,
            source.frame,
            horizon=points,
            n_windows=windows.windows,
            step_size=windows.step,
            refit=windows.refit,
            level=scores.level,
        )
        table = _score(forecasts, models, source, scores)
    if output is not None:
        io.write_frame(forecasts, output)
    if common.json:
        facts = {"input": input, "horizon": points, "windows": windows.windows}
        print_json(facts | {"scores": to_records(table), "output": output})
        return
    print_frame(table, title=_title(source.name, points, windows.windows))
    if output is not None:
        print_line(f"forecasts  {output}  ({len(forecasts)} rows)")


def benchmark(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", show_default=False, help="One with published splits, such as ETTh1."
        ),
    ],
    *,
    model: options.Models = ["nlinear", "dlinear"],  # noqa: B006 (typer copies it)
    horizon: Annotated[
        list[int], typer.Option(min=1, metavar="POINTS", help="Points to forecast; repeatable.")
    ] = [96, 192, 336, 720],  # noqa: B006
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use only this series; repeatable.", show_default=False),
    ] = None,
    settings: options.Settings = None,
    output: options.Output = None,
    common: options.CommonOptions,
) -> None:
    """Score models by the protocol of the papers on long-term forecasting (LTSF).

    Published splits, channels scaled by the training rows, every test window.

    Example: tsar benchmark ETTh1 --model nlinear --horizon 96 --set context_length=336
    """
    specs = parse_models(model, read_settings(context, settings))
    options.OutputOptions(output).check()
    if dataset not in datasets.names():
        advice = did_you_mean(dataset, datasets.names())
        raise ValueError(f"there is no data set {dataset!r}. {advice}")
    models = {spec.label: create_model(spec, horizon[0], None) for spec in specs}
    with show_progress(f"benchmarking {', '.join(models)} on {dataset}", list(models.values())):
        table = evaluation.benchmark(dataset, models, horizon, series=series).reset_index()
    if output is not None:
        io.write_frame(table, output)
    if common.json:
        print_json({"dataset": dataset, "scores": to_records(table), "output": output})
        return
    title = f"{dataset}, scaled by its training rows, every window of the test rows"
    print_frame(table.drop(columns="dataset"), title=title)
    if output is not None:
        print_line(f"scores  {output}")


def _score(
    forecasts: "pandas.DataFrame",
    models: dict[str, "Forecaster"],
    source: Source,
    scores: ScoreOptions,
) -> "pandas.DataFrame":
    columns = next(iter(models.values())).columns or source.columns
    names = {"series": columns.id, "cutoff": "cutoff"}
    by = [names[scores.by]] if scores.by else []
    return evaluation.evaluate(
        forecasts, scores.metric_names, by=by, train=source.frame, columns=columns
    ).reset_index()


def _usable_columns(columns: "Columns", spec: ModelSpec) -> "Columns":
    """Columns without the covariates that a model can't use."""
    kinds = {"past", "future", "static"} - set(spec.info.covariates)
    unused: dict[str, Any] = dict.fromkeys(kinds, ())
    return replace(columns, **unused)


def _title(name: str, horizon: int, windows: int) -> str:
    points = "point" if horizon == 1 else "points"
    return f"{name}: {horizon} {points} ahead, {windows} window{'s' * (windows > 1)} a series"
