"""The AR-Net paper's experiment: coefficient error and fit time of a sparse AR(3) by order."""

import argparse
from pathlib import Path
from typing import Any

import arnet_baseline
import figures
import numpy as np
from arnet_baseline import LinearFit
from measure import argument_parser, print_record, print_table, set_threads, summarize, timed
from synthetic import Floats, autoregression, sparse

from tsar import ARNet

LAGS = {1: 0.2, 2: 0.3, 3: -0.5}
SMALL = {1: 0.2, 3: 0.3, 10: -0.5}
ORDERS = (3, 5, 10, 15, 20, 25, 30, 50, 100, 200, 500, 1000)
# Read from figures 4 and 8 of arXiv 1911.12436, to about 3 %; times on the authors' machine.
STPE = (0.24, 0.33, 0.29, 0.36, 0.36, 0.36, 0.30, 0.42, 0.41, 0.42, 0.70, 0.78)
PAPER_STPE = dict(zip(ORDERS, STPE, strict=True))
PAPER_SECONDS = {
    **{3: 29.5, 5: 28.5, 10: 28, 15: 28.5, 20: 29, 25: 28.5},
    **{100: 28.5, 500: 29.5, 1000: 32},
}


def main() -> None:
    """Measure at each order, print a row for each, and plot them."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=10)
    args = parser.parse_args()
    set_threads(args.threads)
    length, small = (2500, 5) if args.quick else (125_000, 100)
    orders = ORDERS[:6:5] if args.quick else ORDERS
    args.rounds = 2 if args.quick else args.rounds
    rows = [measure(order, length, args) for order in orders]
    print_table(rows)
    record = {
        "length": length,
        "series": args.rounds,
        "rows": rows,
        "sparse_ar_10": sparse_ar_10(small, args.seed),
    }
    print_record("arnet_paper", args, record)
    if args.output:
        draw(rows, args.output / "arnet_paper.png")


def measure(order: int, length: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one order: tsar on `rounds` series, the baseline on the first of them.

    The baseline takes half a minute and hardly varies between series: one fit is enough.
    """
    truth = sparse(LAGS, order)
    series = [autoregression(truth, length, args.seed + k) for k in range(args.rounds)]
    row: dict[str, Any] = {"order": order}
    for name, sparsity in (("tsar", "auto"), ("all lags", None), ("penalty", len(LAGS) / order)):
        fits = [closed_form(values, truth, sparsity) for values in series]
        row |= {f"{name} {key}": np.median([fit[key] for fit in fits]) for key in fits[0]}
    for name, loader in (("adam", True), ("adam by index", False)):
        fit = baseline(series[0], truth, args.seed, loader=loader)
        row |= {f"{name} {key}": value for key, value in fit.items()}
    row["speedup"] = row["adam seconds"] / row["tsar seconds"]
    row["paper seconds"], row["paper stpe"] = PAPER_SECONDS.get(order), PAPER_STPE.get(order)
    return row


def closed_form(series: Floats, truth: Floats, sparsity: float | str | None) -> dict[str, float]:
    """Fit tsar to the first 80 % of a series: seconds, sTPE and the MSE on the rest."""
    model = ARNet(len(truth), sparsity=sparsity, device="cpu")
    model.fit(series[: 2 * len(truth) + 100])  # warm-up
    seconds, _ = timed(lambda: model.fit(series[: len(series) * 4 // 5]))
    fitted = LinearFit(model.coef_[0], float(model.intercept_[0]))
    return {"seconds": seconds} | accuracy(fitted, truth, series)


def baseline(series: Floats, truth: Floats, seed: int, *, loader: bool) -> dict[str, float]:
    """Train AR-Net on the first 80 % of a series: seconds, sTPE and the MSE on the rest."""

    def train(values: Floats) -> LinearFit:
        density = len(LAGS) / len(truth)
        return arnet_baseline.fit(values, len(truth), density, seed=seed, loader=loader)

    train(series[: 2 * len(truth) + 100])  # warm-up
    seconds, fitted = timed(lambda: train(series[: len(series) * 4 // 5]))
    return {"seconds": seconds} | accuracy(fitted, truth, series)


def accuracy(fitted: LinearFit, truth: Floats, series: Floats) -> dict[str, float]:
    """Coefficient error (sTPE), and one-step MSE on the last 20 %; the noise has variance 1."""
    first = len(series) * 4 // 5
    past = series[first - len(fitted.coef) : -1]
    forecast = fitted.intercept + np.convolve(past, fitted.coef, mode="valid")
    mse = float(np.square(series[first:] - forecast).mean())
    return {"stpe": stpe(fitted.coef, truth), "mse": mse}


def stpe(coef: Floats, truth: Floats) -> float:
    """Symmetric total percentage error of coefficients (section 3.4 of the paper)."""
    total = np.abs(coef).sum() + np.abs(truth).sum()
    return float(100 * np.abs(coef - truth).sum() / (total + 1e-8))


def sparse_ar_10(count: int, seed: int) -> dict[str, Any]:
    """The paper's sparse AR(10): 1000 points, order 20, three lags; all series in one fit."""
    truth = sparse(SMALL, 20)
    series = [autoregression(truth, 1000, seed + 1000 + k) for k in range(count)]
    record: dict[str, Any] = {"series": count, "length": 1000, "order": 20, "lags": list(SMALL)}
    for name, sparsity in (("auto", "auto"), ("all_lags", None), ("density", 3 / 20)):
        model = ARNet(20, sparsity=sparsity, device="cpu").fit(np.stack(series, axis=1))
        errors = [stpe(coef, truth) for coef in model.coef_]
        exact = [lags == sorted(SMALL) for lags in model.lags_]
        record[name] = {"mean_stpe": np.mean(errors), "stpe": summarize(errors)}
        record[name]["exact_lags_rate"] = np.mean(exact)
    return record | {"paper": {"arnet": 3.2, "least_squares": 18.3, "series": 1}}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot error and time against the order, as in figures 4 and 8 of the paper."""
    figure, (error, time) = figures.new(columns=2)
    orders = [row["order"] for row in rows]
    lines = {
        "tsar": ("o-", "tsar, lags selected automatically"),
        "all lags": ("o-", "tsar, all lags: least squares"),
        "adam": ("o-", "AR-Net's recipe, run here: Adam, DataLoader"),
        "adam by index": ("o--", "the same without DataLoader"),
    }
    for color, (name, (style, label)) in zip(figures.COLORS, lines.items(), strict=False):
        for axes, key in ((error, "stpe"), (time, "seconds")):
            values = [row[f"{name} {key}"] for row in rows]
            axes.plot(orders, values, style, color=color, label=label, markersize=4)
    error.plot(PAPER_STPE.keys(), PAPER_STPE.values(), **figures.PRINTED)
    time.plot(PAPER_SECONDS.keys(), PAPER_SECONDS.values(), **figures.PRINTED)
    error.set(title="Error of the coefficients (sTPE, %)", xlabel="order p")
    time.set(title="Seconds of a fit", xlabel="order p")
    for axes in (error, time):
        figures.logarithmic(axes, (3, 10, 30, 100, 300, 1000))
    figures.save(figure, path, legend_columns=3)


if __name__ == "__main__":
    main()
