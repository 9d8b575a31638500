"""Regimes of values, of changes, and chosen for each series: M3 monthly and M4 hourly.

The newest horizon of each series is forecast from what is before it, once; nothing was tuned.
"""

import argparse
import time
import warnings
from typing import Any

import pandas as pd
from measure import parser, report, set_threads, show

from tsar import HMM, ARNet, Naive, SeasonalNaive, cross_validation, datasets, evaluate
from tsar.forecasters.base import Forecaster

SETS = {"m3_monthly": (18, 12), "m4_hourly": (48, 24)}  # horizon, season
LEVEL = 80


def main() -> None:
    """Forecast both sets with every model; print errors and how often intervals hold."""
    args = parser(__doc__).parse_args()
    set_threads(args.threads)
    rows = [row for name in SETS for row in score(name, args)]
    show(rows)
    report("hmm_forecasts", args, {"sets": SETS, "level": LEVEL, "rows": rows})


def models(season: int, seed: int) -> dict[str, Forecaster]:
    """Return the sides by name."""
    shared: dict[str, Any] = {"season_length": season, "random_state": seed}
    return {
        "HMM": HMM(**shared),
        "HMM(differences=0)": HMM(differences=0, **shared),
        "HMM(differences=1)": HMM(differences=1, **shared),
        "ARNet": ARNet(),
        "SeasonalNaive": SeasonalNaive(season),
        "Naive": Naive(),
    }


def score(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each model: its errors, the share of points inside, and its time."""
    horizon, season = SETS[name]
    frame = datasets.load(name)
    if args.quick:
        frame = frame[frame["unique_id"].isin(frame["unique_id"].unique()[:3])]
    rows = []
    for model, forecaster in models(season, args.seed).items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of drift, which is what is measured
            told = cross_validation({model: forecaster}, frame, horizon=horizon, level=[LEVEL])
        seconds = time.perf_counter() - start
        metrics = ["smape", "mase"]
        errors = evaluate(told, metrics, train=frame, season_length=season).loc[model]
        rows.append(
            {
                "data": name,
                "model": model,
                "series": told["unique_id"].nunique(),
                "smape": float(errors["smape"]),
                "mase": float(errors["mase"]),
                "inside": inside(told, model),
                "seconds": seconds,
            }
        )
    return rows


def inside(told: pd.DataFrame, model: str) -> float:
    """Return the share of the points inside the interval."""
    low, high = told[f"{model}-lo-{LEVEL}"], told[f"{model}-hi-{LEVEL}"]
    return float(((told["y"] >= low) & (told["y"] <= high)).mean())


if __name__ == "__main__":
    main()
