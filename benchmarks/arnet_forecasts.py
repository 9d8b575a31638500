"""ARNet's defaults on short and long series: errors, interval coverage and time against others.

Nothing is tuned; each backtest window is forecast by models fitted to the points before it.
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from typing import Any

import pandas as pd
from measure import argument_parser, print_record, print_table, set_threads

from tsar import ARNet, Naive, SeasonalNaive, cross_validation, datasets, evaluate
from tsar.forecasters.base import Forecaster

LEVEL = 80
METRICS = ("smape", "mase", "coverage")


@dataclass(frozen=True)
class Task:
    """A data set, its forecast horizon, season length and number of backtest windows.

    `long` leaves out AutoTheta, which takes a minute for each long series.
    """

    name: str
    horizon: int
    season: int
    windows: int = 1
    long: bool = False


TASKS = (
    Task("m3_monthly", 18, 12),
    Task("m4_hourly", 48, 24),
    Task("macrodata", 8, 4, windows=8),
    Task("elnino", 12, 12, windows=15),
    Task("sunspots", 11, 11, windows=10),
    Task("co2", 52, 52, windows=10, long=True),
    Task("exchange", 30, 1, windows=20, long=True),
    Task("ETTh1", 96, 24, windows=10, long=True),
)


def main() -> None:
    """Forecast every data set with every model; print errors, coverage and seconds."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sets", nargs="*", default=[task.name for task in TASKS])
    args = parser.parse_args()
    set_threads(args.threads)
    rows = [row for task in TASKS if task.name in args.sets for row in score(task, args)]
    print_table(rows)
    print_record("arnet_forecasts", args, {"level": LEVEL, "rows": rows})


def models(task: Task) -> dict[str, Forecaster]:
    """Return tsar's models by name."""
    return {
        "ARNet": ARNet(),
        "ARNet, least squares": ARNet(bias_correction=False),
        "SeasonalNaive": SeasonalNaive(task.season),
        "Naive": Naive(),
    }


def score(task: Task, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each model."""
    frame, windows = read(task), task.windows
    if args.quick:
        frame, windows = frame[frame["unique_id"].isin(frame["unique_id"].unique()[:2])], 1
    rows = []
    for name, model in models(task).items():
        start = time.perf_counter()
        forecasts = cross_validation(
            {name: model},
            frame,
            horizon=task.horizon,
            n_windows=windows,
            refit=True,
            level=[LEVEL],
        )
        rows.append(_row(task, name, forecasts, frame, time.perf_counter() - start))
    return rows + peers(task, frame, windows, args)


def read(task: Task) -> pd.DataFrame:
    """Return a data set in the long layout; missing points are interpolated linearly."""
    frame = datasets.load(task.name)
    if "unique_id" in frame:
        return frame
    wide = frame.interpolate()  # statsforecast accepts no missing points
    long = wide.melt(ignore_index=False, var_name="unique_id", value_name="y")
    return long.rename_axis("ds").reset_index()[["unique_id", "ds", "y"]]


def peers(
    task: Task, frame: pd.DataFrame, windows: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row for each of statsforecast's automatic models, where it is installed."""
    try:
        from statsforecast import StatsForecast
        from statsforecast.models import AutoETS, AutoTheta
        from statsforecast.models import SeasonalNaive as Fallback
    except ImportError:
        return []
    # Exponential smoothing supports seasons of at most 24 points.
    season = task.season if task.season <= 24 else 1
    rows = []
    ets, theta = AutoETS(season_length=season), AutoTheta(season_length=season)
    for model in (ets,) if task.long else (ets, theta):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forecasts = StatsForecast(
                [model],
                freq=_freq(frame),
                n_jobs=args.threads,
                fallback_model=Fallback(season),  # where the model can't be fitted
            ).cross_validation(
                h=task.horizon,
                df=frame,
                n_windows=windows,
                step_size=task.horizon,
                level=[LEVEL],
                refit=True,
            )
        name = type(model).__name__
        rows.append(_row(task, name, forecasts, frame, time.perf_counter() - start))
    return rows


def _freq(frame: pd.DataFrame) -> Any:
    times = frame.loc[frame["unique_id"] == frame["unique_id"].iloc[0], "ds"]
    is_integer = pd.api.types.is_integer_dtype(times)
    return 1 if is_integer else pd.infer_freq(pd.DatetimeIndex(times))


def _row(
    task: Task, name: str, forecasts: pd.DataFrame, frame: pd.DataFrame, seconds: float
) -> dict[str, Any]:
    errors = evaluate(forecasts, METRICS, train=frame, season_length=task.season).loc[name]
    return {
        "data": task.name,
        "model": name,
        "series": forecasts["unique_id"].nunique(),
        "windows": forecasts["cutoff"].nunique() if task.windows > 1 else 1,
        "smape": float(errors["smape"]),
        "mase": float(errors["mase"]),
        "coverage": float(errors[f"coverage-{LEVEL}"]),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
