"""Whether the advice of a complexity analysis pays: against defaults and a grid search.

The analysis sees what is before the test part alone, as the grid search does, which scores each
candidate by backtests of the newest stretch of that. The test part is scored once for each.
Where the analysis finds that no size beats the mean, its advice is the default.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from measure import parser, report, set_threads, show, timed

from tsar import ARNet, AutoTimes, ComplexityAnalysis, SpaceTime, cross_validation, evaluate
from tsar.datasets import load
from tsar.forecasters.base import Forecaster
from tsar.training import Training

Make = Callable[[int | None], Forecaster]  # of a size; None for the default


@dataclass(frozen=True)
class Task:
    """A long frame, and the windows at its end that are scored."""

    name: str
    frame: pd.DataFrame
    horizon: int
    windows: int
    orders: tuple[int, ...]

    @property
    def history(self) -> pd.DataFrame:
        """What is before the test part."""
        late = self.frame.groupby("unique_id").cumcount(ascending=False)
        return self.frame[late >= self.horizon * self.windows]


def main() -> None:
    """Score autoregressions on three sets, and networks on one channel."""
    options = parser(__doc__)
    options.add_argument("--networks", action="store_true", help="SpaceTime and AutoTimes too")
    args = options.parse_args()
    set_threads(args.threads)
    rows: list[dict[str, Any]] = []
    for task in tasks(args):
        advice = {
            "advice, a step ahead": advised("lags", task, 1, args),
            "advice, all of the horizon": advised("lags", task, task.horizon, args),
        }
        sizes = {name: (found.order, seconds) for name, (found, seconds) in advice.items()}
        rows += compare("ARNet, order", task, ARNet, task.orders, sizes)
        show(rows)
    if args.networks:
        rows += networks(args)
    show(rows)
    report("complexity_advice", args, {"rows": rows})


def tasks(args: argparse.Namespace) -> list[Task]:
    """ETTh1 (all channels, a day ahead), M4 hourly and M3 monthly (their official parts)."""
    if args.quick:
        return [Task("m4_hourly", some(load("m4_hourly"), 3), 48, 1, (12, 24))]
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


def some(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    return frame[frame["unique_id"].isin(frame["unique_id"].unique()[:count])]


def advised(kind: str, task: Task, horizon: int, args: argparse.Namespace) -> tuple[Any, float]:
    """Advice for forecasts of all points up to a horizon, and the seconds it took."""
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
    make: Make,
    grid: Sequence[int],
    advice: dict[str, tuple[int | None, float]],
) -> list[dict[str, Any]]:
    """Score the default, what the analysis recommends, and what the grid search chooses."""
    searched, chosen = timed(lambda: search(task, make, grid))
    arms = {"default": (None, 0.0), **advice, "grid search": (chosen, searched)}
    rows = []
    for name, (value, before) in arms.items():
        taken, score = timed(lambda v=value: scored(task.frame, task, make(v), task.windows))
        rows.append(
            {
                "what": what,
                "data": task.name,
                "chosen by": name,
                "size": value or "default",
                "MASE": round(score, 4),
                "s to choose": round(before, 2),
                "s to fit and score": round(taken, 2),
            }
        )
    return rows


def search(task: Task, make: Make, grid: Sequence[int]) -> int:
    """Size of the least backtest error before the test part."""
    windows = max(1, task.windows // 4)
    errors = {size: scored(task.history, task, make(size), windows) for size in grid}
    return min(errors, key=errors.__getitem__)


def scored(frame: pd.DataFrame, task: Task, model: Forecaster, windows: int) -> float:
    """Mean MASE of windows at the end of a frame; fitted once, before the first."""
    model = model.set_params(horizon=task.horizon)
    found = cross_validation(
        {"model": model}, frame, horizon=task.horizon, n_windows=windows, refit=False
    )
    known = frame[frame.groupby("unique_id").cumcount(ascending=False) >= task.horizon * windows]
    return float(evaluate(found, ["mase"], train=known).loc["model", "mase"])


def networks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """SpaceTime's state and AutoTimes' hidden layer, on the oil temperature of ETTh1."""
    frame = etth1()
    task = Task("ETTh1, OT", frame[frame["unique_id"] == "OT"], 24, 120, ())
    common: dict[str, Any] = {"device": "cpu", "random_state": args.seed}
    training = Training(epochs=2 if args.quick else 10, patience=3)

    def spacetime(size: int | None) -> Forecaster:
        chosen = {} if size is None else {"state_size": size}
        return SpaceTime(168, training=training, **chosen, **common)

    def autotimes(size: int | None) -> Forecaster:
        chosen = {} if size is None else {"hidden": size}
        return AutoTimes(336, segment_length=24, backbone=None, layers=1, **chosen, **common)

    name = "advice, all of the horizon"
    lags, seconds = advised("lags", task, task.horizon, args)
    rows = compare(
        "SpaceTime, state", task, spacetime, (8, 32, 128), {name: (lags.state_size, seconds)}
    )
    show(rows)
    wide, seconds = advised("random", task, task.horizon, args)
    return rows + compare(
        "AutoTimes, hidden", task, autotimes, (32, 256), {name: (wide.width, seconds)}
    )


if __name__ == "__main__":
    main()
