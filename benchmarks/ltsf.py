"""Accuracy on long-horizon benchmarks by the published protocol, with the published errors."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import figures
import numpy as np
import pandas as pd
from measure import argument_parser, print_record, print_table, set_threads

from tsar import ARNet, DLinear, Naive, NLinear, SeasonalNaive, Training, benchmark, datasets
from tsar.forecasters.base import Forecaster

HORIZONS = (96, 192, 336, 720)
CONTEXT = 336
# The published epochs, learning rate and batch (32 windows of 7 channels) with tsar's schedule. A
# patience of all epochs lets the learning rate anneal to zero.
RECIPE = Training(epochs=10, learning_rate=5e-3, batch_size=224, patience=10)
# Mean squared errors of Zeng et al. 2023 (arXiv 2205.13504, table 2), context of 336 points. They
# drop the last, incomplete batch of test windows; here every window is scored.
PUBLISHED = {
    ("ETTh1", "NLinear"): (0.374, 0.408, 0.429, 0.440),
    ("ETTh1", "DLinear"): (0.375, 0.405, 0.439, 0.472),
}

PLOTTED = ("ARNet", "ARNet global, direct, averaged", "NLinear", "DLinear")


def main() -> None:
    """Score the models on each data set."""
    parser = argument_parser(__doc__)
    parser.add_argument("--datasets", nargs="+", default=["ETTh1"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the trained models")
    parser.add_argument(
        "--trained",
        nargs="*",
        default=["ETTh1"],
        help="data sets on which to train NLinear and DLinear",
    )
    parser.add_argument("--models", nargs="*", help="names of models; all by default")
    args = parser.parse_args()
    set_threads(args.threads)
    horizons: tuple[int, ...] = HORIZONS
    if args.quick:
        args.seeds, horizons = 1, (24,)
    rows: list[dict[str, Any]] = []
    for name in args.datasets:
        candidates = models(name, args.seed, args.seeds, trained=args.trained, quick=args.quick)
        if args.models is not None:
            candidates = {k: v for k, v in candidates.items() if k.split("#")[0] in args.models}
        table = benchmark(name, candidates, horizons).reset_index()
        rows += join_seeds(table, PUBLISHED, "published mse")
    print_table(rows)
    print_record("ltsf", args, {"context": CONTEXT, "training": asdict(RECIPE), "rows": rows})
    if args.output:
        draw(rows, args.output / "ltsf.png")


def models(
    dataset: str, seed: int, seeds: int, *, trained: list[str], quick: bool
) -> dict[str, Forecaster]:
    """Return the models by name; of a data set in `trained` also networks, as NAME#SEED."""
    context = 48 if quick else CONTEXT
    season = datasets.describe(dataset).season_length
    shared: dict[str, Any] = {"scope": "global", "device": "cpu"}
    candidates: dict[str, Forecaster] = {
        "Naive": Naive(),
        "SeasonalNaive": SeasonalNaive(season_length=season),
        "ARNet": ARNet(context, device="cpu"),
        "ARNet, all lags": ARNet(context, sparsity=None, device="cpu"),
        "ARNet global": ARNet(context, **shared),
        "ARNet global, direct": ARNet(context, strategy="direct", sparsity=None, **shared),
        "ARNet direct, averaged": ARNet(strategy="direct", device="cpu"),
        "ARNet global, direct, averaged": ARNet(strategy="direct", **shared),
    }
    if dataset not in trained:
        return candidates
    training = Training(epochs=1) if quick else RECIPE
    for k in range(seed, seed + seeds):
        for kind in (NLinear, DLinear):
            candidates[f"{kind.__name__}#{k}"] = kind(
                context, training=training, random_state=k, device="cpu"
            )
    return candidates


def join_seeds(
    table: pd.DataFrame, printed: dict[tuple[str, str], tuple[float, ...]], name: str
) -> list[dict[str, Any]]:
    """Average a model over its seeds; add the published error, in a column `name`."""
    table["model"] = table["model"].str.partition("#")[0]
    rows = []
    for (dataset, horizon, model), part in table.groupby(
        ["dataset", "horizon", "model"], sort=False
    ):
        published = printed.get((dataset, model))
        rows.append(
            {
                "dataset": dataset,
                "horizon": horizon,
                "model": model,
                "mse": part["mse"].mean(),
                "mse deviation": part["mse"].std() if len(part) > 1 else None,
                "mae": part["mae"].mean(),
                name: published[HORIZONS.index(horizon)]
                if published and horizon in HORIZONS
                else None,
                "seeds": len(part),
                "windows": part["windows"].iloc[0],
                "fit seconds": part["fit_seconds"].median(),
                "forecast seconds": part["forecast_seconds"].median(),
            }
        )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot errors by horizon, and the published ones."""
    names = list(dict.fromkeys(row["dataset"] for row in rows))
    figure, axes = figures.new(columns=len(names))
    for panel, name in zip(np.atleast_1d(axes), names, strict=True):
        for color, model in zip(figures.COLORS, PLOTTED, strict=False):
            measured = [row for row in rows if (row["dataset"], row["model"]) == (name, model)]
            if not measured:
                continue
            steps = [row["horizon"] for row in measured]
            panel.plot(steps, [row["mse"] for row in measured], "o-", color=color, label=model)
            if (name, model) in PUBLISHED:
                printed = [row["published mse"] for row in measured]
                label = f"{model} as published"
                panel.plot(steps, printed, "x:", color=color, linewidth=1, label=label)
        panel.set(title=f"{name}: mean squared error, context {CONTEXT}", xlabel="horizon")
        panel.set_xticks(steps)
    figures.save(figure, path, legend_columns=2)


if __name__ == "__main__":
    main()
