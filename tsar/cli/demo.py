"""The demonstration: two real data sets, forecast, scored and drawn in a few seconds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tsar import datasets
from tsar.data.io import atomic_write, write_frame
from tsar.evaluation.cross_validation import cross_validation
from tsar.evaluation.scoring import evaluate
from tsar.forecasters import ARNet, SeasonalNaive
from tsar.plotting import plot_forecasts

METRICS = ("mase", "rmse", "coverage")
LEVEL = 80  # percent


@dataclass(frozen=True)
class Task:
    """A data set and how it is forecast; of its `windows` the newest `drawn` ones are drawn.

    `titles` says which series are drawn, and what stands above them.
    """

    dataset: str
    what: str
    context_length: int
    horizon: int
    windows: int
    drawn: int
    titles: Mapping[str, str]


@dataclass(frozen=True)
class Backtest:
    """Scores of both models on a data set."""

    dataset: str
    title: str
    scores: pd.DataFrame


@dataclass(frozen=True)
class Demo:
    """What `run` found, in tables and in a sentence for each, and the files that it wrote."""

    backtests: tuple[Backtest, ...]
    conclusions: tuple[str, ...]
    files: Mapping[str, Path]


TASKS = (
    Task(
        dataset="co2",
        what="carbon dioxide at Mauna Loa, 52 weeks ahead, 5 windows",
        context_length=104,
        horizon=52,
        windows=5,
        drawn=2,
        titles={"co2": "Carbon dioxide at Mauna Loa, weekly, ppm"},
    ),
    Task(
        dataset="macrodata",
        what="12 series of the United States' economy, 4 quarters ahead, 8 windows",
        context_length=12,
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


def run(folder: str | os.PathLike[str]) -> Demo:
    """Forecast, score and draw; write ``forecast.csv`` and ``forecast.png`` to a folder.

    The csv holds forecasts beyond the last observation; the picture shows them too, after those of
    the newest windows of the backtest.

    Raises
    ------
    OSError
        The folder can't be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    backtests, histories, ahead, drawn = [], [], [], []
    for task in TASKS:
        history = _load(task.dataset)
        windows = _backtest(task, history)
        forecast = _arnet(task).fit(history).predict(level=LEVEL)
        backtests.append(_score(task, windows, history))
        histories.append(history)
        ahead.append(forecast)
        drawn += [_newest(windows, task.drawn), forecast.assign(cutoff=history["ds"].max())]
    files = {"forecast": folder / "forecast.csv", "picture": folder / "forecast.png"}
    write_frame(pd.concat(ahead, ignore_index=True), files["forecast"])
    titles = {name: title for task in TASKS for name, title in task.titles.items()}
    figure = plot_forecasts(pd.concat(histories), pd.concat(drawn), titles=titles)
    with atomic_write(files["picture"]) as temporary:
        figure.savefig(temporary)
    return Demo(tuple(backtests), tuple(_conclude(b) for b in backtests), files)


def _load(name: str) -> pd.DataFrame:
    frame = datasets.load(name)
    if "unique_id" in frame:
        return frame
    return frame.reset_index().melt("ds", var_name="unique_id", value_name="y")


def _arnet(task: Task) -> ARNet:
    return ARNet(task.context_length, horizon=task.horizon)


def _backtest(task: Task, history: pd.DataFrame) -> pd.DataFrame:
    return cross_validation(
        [_arnet(task), SeasonalNaive(horizon=task.horizon)],
        history,
        horizon=task.horizon,
        n_windows=task.windows,
        level=LEVEL,
    )


def _score(task: Task, windows: pd.DataFrame, history: pd.DataFrame) -> Backtest:
    scores = evaluate(windows, METRICS, train=history)
    return Backtest(task.dataset, f"{task.dataset}: {task.what}", scores)


def _newest(windows: pd.DataFrame, count: int) -> pd.DataFrame:
    """ARNet's forecasts after the newest cutoffs."""
    cutoffs = windows["cutoff"].drop_duplicates().nlargest(count)
    others = [name for name in windows.columns if name.startswith("SeasonalNaive")]
    return windows[windows["cutoff"].isin(cutoffs)].drop(columns=["y", *others])


def _conclude(backtest: Backtest) -> str:
    """What a table says, in words."""
    scores = backtest.scores
    ours, naive = scores["mase"]["ARNet"], scores["mase"]["SeasonalNaive"]
    change = f"{100 * abs(1 - ours / naive):.0f} % {'below' if ours < naive else 'above'}"
    held = f"{100 * scores[f'coverage-{LEVEL}']['ARNet']:.0f} %"
    return (
        f"On {backtest.dataset}, ARNet's error (MASE) is {change} that of the seasonal naive "
        f"forecast; its {LEVEL} % intervals held {held} of what came."
    )
