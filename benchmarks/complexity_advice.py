"""Sizes recommended by a complexity analysis, against defaults and a grid search.

The analysis and the grid search use only the points before the test part; the grid search scores
each candidate by backtests of the newest of these. Each choice is scored on the test part once.
Where the analysis recommends the mean, the smallest size is used.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from measure import argument_parser, print_record, print_table, set_threads, timed

from tsar import ARNet, AutoTimes, ComplexityAnalysis, SpaceTime, cross_validation, evaluate
from tsar.datasets import load
from tsar.forecasters.base import Forecaster
from tsar.training import Training

MakeForecaster = Callable[[int | None], Forecaster]  # size to forecaster; None: default


@dataclass(frozen=True)
class Task:
    """A long frame, and the number of windows at its end that are scored."""

    name: str
    frame: pd.DataFrame
    horizon: int
    windows: int
    orders: tuple[int, ...]

    @property
    def history(self) -> pd.DataFrame:
        """Points before the test part."""
        until_end = self.frame.groupby("unique_id").cumcount(ascending=False)
        return self.frame[until_end >= self.horizon * self.windows]


def main() -> None:
    """Score autoregressions on three data sets, and networks on one channel."""
    parser = argument_parser(__doc__)
    parser.add_argument("--networks", action="store_true", help="SpaceTime and AutoTimes too")
    args = parser.parse_args()
    set_threads(args.threads)
    rows: list[dict[str, Any]] = []
    for task in tasks(args):
        advice = {
            "advice, a step ahead": recommend("lags", task, 1, args),
            "advice, all of the horizon": recommend("lags", task, task.horizon, args),
        }
        sizes = {name: (one.order, seconds) for name, (one, seconds) in advice.items()}
        rows += compare("ARNet, order", task, ARNet, task.orders, sizes)
        print_table(rows)
    if args.networks:
        rows += networks(args)
    print_table(rows)
    print_record("complexity_advice", args, {"rows": rows})


def tasks(args: argparse.Namespace) -> list[Task]:
    """ETTh1 (all channels, a day ahead), M4 hourly and M3 monthly (their official test parts)."""
    if args.quick:
        return [Task("m4_hourly", first_series(load("m4_hourly"), 3), 48, 1, (12, 24))]
    hours, months = (12, 24, 48, 96, 168), (6, 12, 13, 18, 24)
    return [
        Task("ETTh1", etth1(), 24, 120, (*hours, 336)),
        Task("m4_hourly", load("m4_hourly"), 48, 1, hours),
        Task("m3_monthly", load("m3_monthly"), 18, 1, months),
    ]


def etth1() -> pd.DataFrame:
    """Long frame of the first 14,400 hours, which the published protocols use."""
    wide = load("ETTh1").iloc[:14_400]
    return wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")


def first_series(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    return frame[frame["unique_id"].isin(frame["unique_id"].unique()[:count])]


def recommend(kind: str, task: Task, horizon: int, args: argparse.Namespace) -> tuple[Any, float]:
    """Advice for forecasts of all points up to a horizon, and the seconds that it took."""
    analysis = ComplexityAnalysis(
        kind,
        task="next_segment",
        horizon=horizon,
        n_train=2000,
        random_state=args.seed,
        device="cpu",
    )
    seconds, fitted = timed(lambda: analysis.fit(task.history))
    return fitted.recommend(), seconds


def compare(
    what: str,
    task: Task,
    make: MakeForecaster,
    grid: Sequence[int],
    advice: dict[str, tuple[int | None, float]],
) -> list[dict[str, Any]]:
    """Score the default size, the recommended one, and that of the grid search."""
    seconds, best = timed(lambda: search(task, make, grid))
    choices = {"default": (None, 0.0), **advice, "grid search": (best, seconds)}
    rows = []
    for name, (size, seconds_to_choose) in choices.items():
        seconds, mase = timed(lambda s=size: score(task.frame, task, make(s), task.windows))
        rows.append(
            {
                "what": what,
                "data": task.name,
                "chosen by": name,
                "size": "default" if size is None else size,
                "MASE": round(mase, 4),
                "seconds to choose": round(seconds_to_choose, 2),
                "seconds to fit and score": round(seconds, 2),
            }
        )
    return rows


def search(task: Task, make: MakeForecaster, grid: Sequence[int]) -> int:
    """Size of the least backtest error before the test part."""
    windows = max(1, task.windows // 4)
    errors = {size: score(task.history, task, make(size), windows) for size in grid}
    return min(errors, key=errors.__getitem__)


def score(frame: pd.DataFrame, task: Task, model: Forecaster, windows: int) -> float:
    """Mean MASE of windows at the end of a frame; fitted once, before the first."""
    model = model.set_params(horizon=task.horizon)
    forecasts = cross_validation(
        {"model": model}, frame, horizon=task.horizon, n_windows=windows, refit=False
    )
    train = frame[frame.groupby("unique_id").cumcount(ascending=False) >= task.horizon * windows]
    return float(evaluate(forecasts, ["mase"], train=train).loc["model", "mase"])


def networks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """State size of SpaceTime and hidden width of AutoTimes, on the oil temperature of ETTh1."""
    frame = etth1()
    task = Task("ETTh1, OT", frame[frame["unique_id"] == "OT"], 24, 120, ())
    common: dict[str, Any] = {"device": "cpu", "random_state": args.seed}
    training = Training(epochs=2 if args.quick else 10, patience=3)

    def spacetime(size: int | None) -> Forecaster:
        options = {} if size is None else {"state_size": size}
        return SpaceTime(168, training=training, **options, **common)

    def autotimes(size: int | None) -> Forecaster:
        options = {} if size is None else {"hidden": (size,) if size else ()}
        return AutoTimes(336, segment_length=24, backbone=None, depth=1, **options, **common)

    name = "advice, all of the horizon"
    lags, seconds = recommend("lags", task, task.horizon, args)
    rows = compare(
        "SpaceTime, state", task, spacetime, (8, 32, 128), {name: (lags.state_size, seconds)}
    )
    print_table(rows)
    random, seconds = recommend("random", task, task.horizon, args)
    return rows + compare(
        "AutoTimes, hidden", task, autotimes, (32, 256), {name: (random.size, seconds)}
    )


if __name__ == "__main__":
    main()
