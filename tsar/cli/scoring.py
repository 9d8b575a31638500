"""tsar backtest, tsar benchmark."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from tsar.cli import options
from tsar.cli.inputs import Source, check_horizon, read_source, to_long
from tsar.cli.job import read_settings
from tsar.cli.lazy import benchmarking, datasets, evaluation, files, metrics, scoring
from tsar.cli.models import Choice, build, choose
from tsar.cli.output import at_work, print_frame, print_json, print_line, records
from tsar.cli.settings import did_you_mean

if TYPE_CHECKING:
    import pandas

    from tsar.data.panel import Columns
    from tsar.forecasters.base import Forecaster

Models = dict[str, "Forecaster"]

METRICS = ("mae", "rmse", "smape", "mase")


@dataclass(frozen=True)
class Windows:
    """Windows of a backtest."""

    windows: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Windows at the end of each series.")
    ] = 5
    step: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="POINTS", show_default="horizon", help="Points from window to window."
        ),
    ] = None
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit before each window, not only before the first.")
    ] = False


@dataclass(frozen=True)
class Scores:
    """Scores of a backtest, and what is scored apart."""

    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default="mae, rmse, smape, mase, and with --level coverage",
            help="A score; repeatable.",
        ),
    ] = None
    by: Annotated[
        str | None,
        typer.Option(
            metavar="series|cutoff", show_default=False, help="Score each series or cutoff apart."
        ),
    ] = None
    level: options.Level = None

    def names(self) -> list[str]:
        """Names of the scores, each known."""
        names = self.metric or [*METRICS, *(["coverage"] if self.level else [])]
        for name in names:
            if name not in metrics.METRICS:
                known = did_you_mean(name, metrics.METRICS)
                raise ValueError(f"there is no metric {name!r}. {known}")
        return names

    def keys(self, columns: "Columns") -> list[str]:
        """Columns to score apart."""
        known = {"series": columns.id, "cutoff": "cutoff"}
        if self.by is not None and self.by not in known:
            raise ValueError(f"--by must be one of {', '.join(known)}; got {self.by!r}.")
        return [known[self.by]] if self.by else []


def backtest(
    context: typer.Context,
    input: options.Input,
    *,
    model: options.Models = ["arnet", "seasonalnaive"],  # noqa: B006 (typer copies it)
    horizon: options.Horizon = None,
    windows: Windows,
    scores: Scores,
    settings: options.Settings = None,
    output: options.Output = None,
    common: options.Common,
    columns: options.ColumnOptions,
) -> None:
    """Forecast the newest windows of a file, and score the forecasts.

    Each window is forecast from what came before it. A model goes without the covariates that it
    can't use. --output writes every forecast.

    Example: tsar backtest sales.csv --model arnet --model naive --horizon 24 --level 80
    """
    options.Outputs(output).check()
    choices = choose(model, read_settings(context, settings))
    names = scores.names()
    source = _with_shared_covariates(read_source(input, columns.to_columns()))
    points = check_horizon(horizon, source)
    models = {c.label: build(c, points, _usable(source.columns, c)) for c in choices}
    with at_work(f"backtesting {', '.join(models)}", list(models.values())):
        forecasts = _forecast_windows(models, source, points, windows, scores)
        table = _score(forecasts, models, source, names, scores)
    if output is not None:
        files.write_frame(forecasts, output)
    if common.json:
        facts = {"input": input, "horizon": points, "windows": windows.windows}
        print_json(facts | {"scores": records(table), "output": output})
        return
    print_frame(table, title=_describe(source.name, points, windows.windows))
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
        typer.Option(metavar="NAME", help="Use this series alone; repeatable.", show_default=False),
    ] = None,
    settings: options.Settings = None,
    output: options.Output = None,
    common: options.Common,
) -> None:
    """Score models as the papers on long horizons do.

    The protocol of LTSF: fixed splits, channels scaled by the training rows, every test window.

    Example: tsar benchmark ETTh1 --model nlinear --horizon 96 --set context_length=336
    """
    options.Outputs(output).check()
    choices = choose(model, read_settings(context, settings))
    if dataset not in datasets.names():
        raise ValueError(
            f"there is no data set {dataset!r}. {did_you_mean(dataset, datasets.names())}"
        )
    models = {choice.label: build(choice, horizon[0], None) for choice in choices}
    with at_work(f"benchmarking {', '.join(models)} on {dataset}", list(models.values())):
        table = benchmarking.benchmark(dataset, models, horizon, series=series)
        table = table.reset_index()
    if output is not None:
        files.write_frame(table, output)
    if common.json:
        print_json({"dataset": dataset, "scores": records(table), "output": output})
        return
    title = f"{dataset}, scaled by its training rows, every window of the test rows"
    print_frame(table.drop(columns="dataset"), title=title)
    if output is not None:
        print_line(f"scores  {output}")


def _forecast_windows(
    models: Models, source: Source, horizon: int, windows: Windows, scores: Scores
) -> "pandas.DataFrame":
    return evaluation.cross_validation(
        models,
        source.frame,
        horizon=horizon,
        n_windows=windows.windows,
        step_size=windows.step,
        refit=windows.refit,
        level=scores.level,
    )


def _score(
    forecasts: "pandas.DataFrame",
    models: Models,
    source: Source,
    names: list[str],
    scores: Scores,
) -> "pandas.DataFrame":
    columns = next(iter(models.values())).columns or source.columns
    keys = scores.keys(columns)
    table = scoring.evaluate(forecasts, names, by=keys, train=source.frame, columns=columns)
    return table.reset_index()


def _with_shared_covariates(source: Source) -> Source:
    """A wide frame with covariates made long, lest a model that can't use one forecasts it."""
    if source.is_long or not source.columns.covariates:
        return source
    return replace(source, frame=to_long(source))


def _usable(columns: "Columns", choice: Choice) -> "Columns":
    """Columns less the covariates of kinds that a model can't use."""
    uses = choice.entry.uses
    return replace(
        columns,
        past=columns.past if "past" in uses else (),
        future=columns.future if "future" in uses else (),
        static=columns.static if "static" in uses else (),
    )


def _describe(name: str, horizon: int, windows: int) -> str:
    points = "point" if horizon == 1 else "points"
    return f"{name}: {horizon} {points} ahead, {windows} window{'s' * (windows > 1)} a series"
