"""Forecasts of statsforecast's automatic models for the panels, kept in a folder: they take long.

``python benchmarks/peers.py FOLDER`` writes NAME.npz for each panel.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from panels import PANELS, Panel, Split, filled
from synthetic import Floats

MODELS = ("DOT", "ETS", "CES")
LEVELS = (80, 95)
LONGEST_SEASON = 24  # of exponential smoothing in statsforecast; the theta method takes any


def chosen_series(count: int, limit: int) -> list[int]:
    """Positions of at most `limit` evenly spaced series, in an order that spreads early ones."""
    positions = np.unique(np.linspace(0, count - 1, min(limit, count)).round().astype(int))
    order: list[int] = np.random.default_rng(0).permutation(positions).tolist()
    return order


def peer_forecasts(panel: Panel, split: Split, limit: int, seconds: float) -> dict[str, Any]:
    """Forecasts of all models, one series after the other, until the time is over.

    Returns
    -------
    dict
        ``index``, the series; for each model NAME (series, horizon), NAME_lo80 and so on,
        NAME_seconds (series,).
    """
    rows: dict[str, list[Any]] = {"index": []}
    models = _models(panel)
    for model in models.values():
        _forecast(model, filled(split.train[0])[-200:], panel.horizon)  # compiles
    start = time.perf_counter()
    for position in chosen_series(len(split.train), limit):
        if time.perf_counter() - start > seconds and len(rows["index"]) >= 5:
            break
        rows["index"].append(position)
        for name, model in models.items():
            for key, value in _timed(model, filled(split.train[position]), panel.horizon).items():
                rows.setdefault(f"{name}{key}", []).append(value)
    order = np.argsort(rows["index"])
    return {name: np.asarray(values)[order] for name, values in rows.items()}


def read_or_forecast(
    panel: Panel, split: Split, folder: Path | None, limit: int, seconds: float
) -> dict[str, Any]:
    """Read the forecasts of a panel from the folder, or make them and write them there."""
    path = folder / f"peers_{panel.name}.npz" if folder else None
    if path and path.exists():
        with np.load(path) as stored:
            return dict(stored)
    result = peer_forecasts(panel, split, limit, seconds)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **result)
    return result


def _models(panel: Panel) -> dict[str, Any]:
    from statsforecast.models import AutoCES, AutoETS, DynamicOptimizedTheta

    season = panel.season_length
    short = season if season <= LONGEST_SEASON else 1
    return {
        "DOT": DynamicOptimizedTheta(season_length=season),
        "ETS": AutoETS(season_length=short),
        "CES": AutoCES(season_length=short),
    }


def _timed(model: Any, values: Floats, horizon: int) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        result = _forecast(model, values, horizon)
    except Exception as error:  # these raise whatever comes; then the seasonal naive forecast
        print(f"{type(model).__name__}: {error}", file=sys.stderr)
        result = _fallback(model, values, horizon)
    seconds = time.perf_counter() - start
    bounds = {
        f"_{side}{level}": result[f"{side}-{level}"] for level in LEVELS for side in ("lo", "hi")
    }
    return {"": result["mean"], "_seconds": seconds} | bounds


def _forecast(model: Any, values: Floats, horizon: int) -> dict[str, Floats]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: dict[str, Floats] = model.forecast(values, horizon, level=list(LEVELS))
    if not np.isfinite(result["mean"]).all():
        return _fallback(model, values, horizon)
    return result


def _fallback(model: Any, values: Floats, horizon: int) -> dict[str, Floats]:
    from statsforecast.models import SeasonalNaive

    season = min(model.season_length, len(values) - 1)
    naive = SeasonalNaive(season_length=season)
    result: dict[str, Floats] = naive.forecast(values, horizon, level=list(LEVELS))
    return result


def main() -> None:
    """Write the forecasts of every panel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--panels", nargs="*", help="names; all by default")
    parser.add_argument("--series", type=int, default=100, help="series of a panel, at most")
    parser.add_argument("--seconds", type=float, default=45.0, help="for a panel, about")
    args = parser.parse_args()
    for panel in PANELS:
        if not args.panels or panel.name in args.panels:
            start = time.perf_counter()
            result = read_or_forecast(panel, panel.read(), args.folder, args.series, args.seconds)
            seconds = " ".join(f"{m} {result[f'{m}_seconds'].sum():.1f}" for m in MODELS)
            print(panel.name, len(result["index"]), seconds, f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
