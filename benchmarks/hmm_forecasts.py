"""HMM of levels, of differences, and selected per series, on M3 monthly and M4 hourly.

The newest horizon of each series is forecast once from the points before it; nothing was tuned.
"""

import argparse
import time
import warnings
from typing import Any

from measure import argument_parser, print_record, print_table, set_threads

from tsar import HMM, ARNet, Naive, SeasonalNaive, cross_validation, datasets, evaluate
from tsar.forecasters.base import Forecaster

SETS = {"m3_monthly": (18, 12), "m4_hourly": (48, 24)}  # horizon, season
LEVEL = 80


def main() -> None:
    """Forecast both data sets with every model; print errors and coverage."""
    args = argument_parser(__doc__).parse_args()
    set_threads(args.threads)
    rows = [row for name in SETS for row in score(name, args)]
    print_table(rows)
    print_record("hmm_forecasts", args, {"sets": SETS, "level": LEVEL, "rows": rows})


def models(season: int, seed: int) -> dict[str, Forecaster]:
    """Return the models by name."""
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
    """Return a row for each model: its errors, its coverage and its time."""
    horizon, season = SETS[name]
    frame = datasets.load(name)
    if args.quick:
        frame = frame[frame["unique_id"].isin(frame["unique_id"].unique()[:3])]
    rows = []
    for model, forecaster in models(season, args.seed).items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of drift: its effect is measured
            forecasts = cross_validation({model: forecaster}, frame, horizon=horizon, level=[LEVEL])
        seconds = time.perf_counter() - start
        metrics = ["smape", "mase", "coverage"]
        scores = evaluate(forecasts, metrics, train=frame, season_length=season).loc[model]
        rows.append(
            {
                "data": name,
                "model": model,
                "series": forecasts["unique_id"].nunique(),
                "smape": float(scores["smape"]),
                "mase": float(scores["mase"]),
                "coverage": float(scores[f"coverage-{LEVEL}"]),
                "seconds": seconds,
            }
        )
    return rows


if __name__ == "__main__":
    main()
