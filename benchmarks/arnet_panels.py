"""ARNet's defaults on the development panels: errors, interval coverage by thirds, and time.

Nothing is tuned here. The peers are statsforecast's automatic models; they take long, so that they
forecast the series of a panel for a limited time, and ``--peers FOLDER`` keeps their forecasts.
All models are compared on the series that the peers have forecast.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import argument_parser, print_record, print_table, set_threads
from panels import END, PANELS, Panel, Split, scales
from peers import LEVELS, MODELS, read_or_forecast
from synthetic import Floats

from tsar import ARNet, Naive, SeasonalNaive
from tsar.forecasters.base import Forecaster

PEER, MEDIAN = "DOT", "median of DOT, ETS, CES"
QUICK = ("sim_trends", "sim_gaps")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of series (series, horizon), bounds by level, and seconds for each series."""

    point: Floats
    bounds: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)
    seconds: float | None = None

    def of(self, index: Any) -> "Forecasts":
        """Those of some series."""
        bounds = {level: (lo[index], hi[index]) for level, (lo, hi) in self.bounds.items()}
        return Forecasts(self.point[index], bounds, self.seconds)


def main() -> None:
    """Forecast every panel with every model; print errors, coverage and seconds."""
    parser = argument_parser(__doc__)
    names = [panel.name for panel in PANELS]
    parser.add_argument("--panels", nargs="*", default=names, help="names; all by default")
    parser.add_argument("--peers", type=Path, help="folder of kept forecasts of the peers")
    parser.add_argument("--peer-series", type=int, default=400, help="series of a panel, at most")
    parser.add_argument("--peer-seconds", type=float, default=30.0, help="for a panel, about")
    args = parser.parse_args()
    set_threads(args.threads)
    chosen = QUICK if args.quick else args.panels
    rows = [row for panel in PANELS if panel.name in chosen for row in score(panel, args)]
    print_table(rows)
    print_record("arnet_panels", args, {"rows": rows, "summary": summary(rows)})


def models(panel: Panel) -> dict[str, Callable[[], Forecaster]]:
    """Return tsar's models by name."""
    horizon = panel.horizon
    return {
        "ARNet": lambda: ARNet(horizon=horizon, device="cpu"),
        "ARNet, one equation": lambda: ARNet(horizon=horizon, combine=None, device="cpu"),
        "SeasonalNaive": lambda: SeasonalNaive(panel.season_length, horizon=horizon),
        "Naive": lambda: Naive(horizon=horizon),
    }


def score(panel: Panel, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each model."""
    split = panel.read()
    if args.quick:
        split = Split(split.train[:3], split.test[:3])
    forecasts = {name: forecast(panel, split, make) for name, make in models(panel).items()}
    index = np.arange(len(split.train))
    peers, index = _peers(panel, split, args, index)
    scale = scales(split.train, panel.season_length)
    compared = {name: values.of(index) for name, values in forecasts.items()} | peers
    rows = []
    for name, values in compared.items():
        all_series = forecasts.get(name)
        errors = None if all_series is None else mase(all_series.point, split.test, scale)
        metrics = evaluate(values, split.test[index], scale[index])
        row = {"panel": panel.name, "kind": panel.kind, "model": name, "series": len(index)}
        row |= metrics | {"mase of all series": errors, "all series": len(split.train)}
        rows.append(row | {"seconds per series": values.seconds})
    return rows


def _peers(
    panel: Panel, split: Split, args: argparse.Namespace, index: Any
) -> tuple[dict[str, Forecasts], Any]:
    """Forecasts of the peers and of their median, and the series that they have forecast."""
    try:
        folder = None if args.quick else args.peers
        stored = read_or_forecast(panel, split, folder, args.peer_series, args.peer_seconds)
    except ImportError:  # statsforecast is not installed
        return {}, index
    peers = {
        name: Forecasts(
            stored[name],
            {level: (stored[f"{name}_lo{level}"], stored[f"{name}_hi{level}"]) for level in LEVELS},
            float(stored[f"{name}_seconds"].mean()),
        )
        for name in MODELS
    }
    seconds = sum(peer.seconds or 0.0 for peer in peers.values())
    middle = np.median([peer.point for peer in peers.values()], axis=0)
    return peers | {MEDIAN: Forecasts(middle, {}, seconds)}, stored["index"]


def forecast(panel: Panel, split: Split, make: Callable[[], Forecaster]) -> Forecasts:
    """Fit and forecast all series of a panel; points that a model does not give are NaN."""
    frame = panel.frame(split)
    start = time.perf_counter()
    result = make().fit(frame).predict(level=list(LEVELS))
    seconds = (time.perf_counter() - start) / len(split.train)
    name = next(column for column in result.columns if column not in ("unique_id", "ds"))
    times = pd.date_range(start=END, periods=panel.horizon + 1, freq=panel.freq)
    times = times[times > frame["ds"].max()][: panel.horizon]

    def array(column: str) -> Floats:
        wide = result.pivot(index="unique_id", columns="ds", values=column)
        ids = frame["unique_id"].unique()
        return wide.reindex(index=ids, columns=times).to_numpy(np.float64)

    bounds = {level: (array(f"{name}-lo-{level}"), array(f"{name}-hi-{level}")) for level in LEVELS}
    return Forecasts(array(name), bounds, seconds)


def evaluate(forecasts: Forecasts, test: Floats, scale: Floats) -> dict[str, Any]:
    """Scaled and percentage errors, quantile loss, and coverage over thirds of the horizon."""
    point = forecasts.point
    row: dict[str, Any] = {"mase": mase(point, test, scale)}
    size = np.abs(point) + np.abs(test)
    row["smape"] = _mean(2 * np.abs(point - test) / np.where(size > 0, size, np.nan))
    row["quantile loss"] = quantile_loss(forecasts, test) if forecasts.bounds else None
    for level in LEVELS:
        row[f"coverage {level}"] = None
        if level in forecasts.bounds:
            low, high = forecasts.bounds[level]
            held = np.where(np.isnan(test + low), np.nan, (low <= test) & (test <= high))
            thirds = np.array_split(held, min(3, held.shape[1]), axis=1)
            row[f"coverage {level}"] = [_mean(third) for third in thirds]
    return row


def mase(point: Floats, test: Floats, scale: Floats) -> float:
    """Mean over series of the mean absolute error over that of the seasonal naive in training."""
    known = ~np.isnan(point - test)
    total = np.where(known, np.abs(point - test), 0.0).sum(axis=1)
    return _mean(total / np.where(known.any(axis=1), known.sum(axis=1), np.nan) / scale)


def quantile_loss(forecasts: Forecasts, test: Floats) -> float:
    """Twice the pinball loss over the absolute values, mean of the quantiles that are known."""
    quantiles = {0.5: forecasts.point}
    for level, (low, high) in forecasts.bounds.items():
        tail = (1 - level / 100) / 2
        quantiles |= {tail: low, 1 - tail: high}
    losses = [
        np.nansum(np.maximum(q * (test - f), (q - 1) * (test - f))) for q, f in quantiles.items()
    ]
    return float(2 * np.mean(losses) / np.nansum(np.abs(test)))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means over the panels of the error of each model over that of the peers."""
    table = pd.DataFrame(rows).pivot(index="panel", columns="model", values="mase")
    groups = {
        "all panels": table,
        "data": table[~table.index.str.startswith("sim_")],
        "simulated": table[table.index.str.startswith("sim_")],
    }
    result = []
    for group, part in groups.items():
        for reference in (PEER, MEDIAN):
            if reference in part and len(part):
                logs = np.log(part.astype(float)).sub(np.log(part[reference].astype(float)), axis=0)
                ratios = np.exp(logs.mean()).to_dict()
                result.append({"panels": group, "number": len(part), "to": reference} | ratios)
    return result


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


if __name__ == "__main__":
    main()
