"""``tsar demo``: forecast, score and draw two real data sets in a few seconds, offline."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsar.cli import options
from tsar.cli.lazy import datasets, evaluation, forecasters, io, pandas, plotting
from tsar.cli.output import (
    print_fields,
    print_frame,
    print_json,
    print_line,
    show_progress,
    to_records,
)

if TYPE_CHECKING:
    from tsar.forecasters import ARNet

METRICS = ("mase", "rmse", "coverage")
LEVEL = 80  # percent


@dataclass(frozen=True)
class Task:
    """A data set and how to forecast it.

    The picture shows the newest `drawn` of the `windows`, and the series in `titles`.
    """

    dataset: str
    description: str
    order: int
    horizon: int
    windows: int
    drawn: int
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Backtest:
    """Scores of both models on a data set."""

    dataset: str
    title: str
    scores: "pandas.DataFrame"


@dataclass(frozen=True)
class Demo:
    """Tables of scores, a sentence about each, and the files that were written."""

    backtests: tuple[Backtest, ...]
    conclusions: tuple[str, ...]
    files: Mapping[str, Path]


TASKS = (
    Task(
        dataset="co2",
        description="carbon dioxide at Mauna Loa, 52 weeks ahead, 5 windows",
        order=104,
        horizon=52,
        windows=5,
        drawn=2,
        titles={"co2": "Carbon dioxide at Mauna Loa, weekly, ppm"},
    ),
    Task(
        dataset="macrodata",
        description="12 series of the United States' economy, 4 quarters ahead, 8 windows",
        order=12,
        horizon=4,
        windows=8,
        drawn=4,
        titles={
            "realgdp": "Gross domestic product, quarterly, billion 2005 dollars",
            "unemp": "Unemployment, quarterly, %",
            "cpi": "Consumer prices, quarterly, index",
            "tbilrate": "Interest on treasury bills, quarterly, %",
        },
    ),
)


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the files.")
    ] = Path("out"),
    json: options.Json = False,
) -> None:
    """Forecast, score and draw real series, in seconds and offline."""
    with show_progress("forecasting"):
        result = run(output)
    tables = {backtest.title: backtest.scores.reset_index() for backtest in result.backtests}
    if json:
        backtests = [{"data": title, "scores": to_records(t)} for title, t in tables.items()]
        texts = {"conclusions": result.conclusions, "files": result.files}
        print_json({"backtests": backtests} | texts)
        return
    for (title, table), conclusion in zip(tables.items(), result.conclusions, strict=True):
        print_frame(table, title=title)
        print_line(conclusion + "\n")
    print_fields([(kind, str(path)) for kind, path in result.files.items()])


def run(folder: str | os.PathLike[str]) -> Demo:
    """Forecast, score and draw; write ``forecast.csv`` and ``forecast.png`` to a folder.

    The csv file holds forecasts beyond the last observation; the picture shows them after those of
    the newest windows of the backtest.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backtests, histories, forecasts, drawn = [], [], [], []
    for task in TASKS:
        history = _load(task.dataset)
        windows = _backtest(task, history)
        forecast = _arnet(task).fit(history).predict(level=LEVEL)
        scores = evaluation.evaluate(windows, METRICS, train=history)
        backtests.append(Backtest(task.dataset, f"{task.dataset}: {task.description}", scores))
        histories.append(history)
        forecasts.append(forecast)
        drawn += [_newest(windows, task.drawn), forecast.assign(cutoff=history["ds"].max())]
    files = {"forecast": folder / "forecast.csv", "picture": folder / "forecast.png"}
    io.write_frame(pandas.concat(forecasts, ignore_index=True), files["forecast"])
    titles = {name: title for task in TASKS for name, title in task.titles.items()}
    figure = plotting.plot_forecasts(pandas.concat(histories), pandas.concat(drawn), titles=titles)
    with io.atomic_write(files["picture"]) as temporary:
        figure.savefig(temporary)
    return Demo(tuple(backtests), tuple(_conclude(b) for b in backtests), files)


def _load(name: str) -> "pandas.DataFrame":
    frame = datasets.load(name)
    if "unique_id" in frame:
        return frame
    return frame.reset_index().melt("ds", var_name="unique_id", value_name="y")


def _arnet(task: Task) -> "ARNet":
    return forecasters.ARNet(task.order, horizon=task.horizon)


def _backtest(task: Task, history: "pandas.DataFrame") -> "pandas.DataFrame":
    return evaluation.cross_validation(
        [_arnet(task), forecasters.SeasonalNaive(horizon=task.horizon)],
        history,
        horizon=task.horizon,
        n_windows=task.windows,
        level=LEVEL,
    )


def _newest(windows: "pandas.DataFrame", count: int) -> "pandas.DataFrame":
    """ARNet's forecasts after the newest cutoffs."""
    cutoffs = windows["cutoff"].drop_duplicates().nlargest(count)
    others = [name for name in windows.columns if name.startswith("SeasonalNaive")]
    return windows[windows["cutoff"].isin(cutoffs)].drop(columns=["y", *others])


def _conclude(backtest: Backtest) -> str:
    """A sentence about the scores."""
    scores = backtest.scores
    arnet, naive = scores["mase"]["ARNet"], scores["mase"]["SeasonalNaive"]
    change = f"{100 * abs(1 - arnet / naive):.0f} % {'below' if arnet < naive else 'above'}"
    coverage = f"{100 * scores[f'coverage-{LEVEL}']['ARNet']:.0f} %"
    return (
        f"On {backtest.dataset}, ARNet's error (MASE) is {change} that of the seasonal naive "
        f"forecast; its {LEVEL} % intervals covered {coverage} of the values."
    )
