"""AR-Net's own experiment: coefficient error and time of a sparse AR(3) at orders up to 1000."""

import argparse
from pathlib import Path
from typing import Any

import arnet_baseline
import figures
import numpy as np
from measure import parser, report, set_threads, show, spread, timed
from synthetic import Floats, autoregression, sparse

from tsar import ARNet

LAGS = {1: 0.2, 2: 0.3, 3: -0.5}
SMALL = {1: 0.2, 3: 0.3, 10: -0.5}
ORDERS = (3, 5, 10, 15, 20, 25, 30, 50, 100, 200, 500, 1000)
# Read off figures 4 and 8 of arXiv 1911.12436, to about 3 %; the times are of the authors' machine.
STPE = (0.24, 0.33, 0.29, 0.36, 0.36, 0.36, 0.30, 0.42, 0.41, 0.42, 0.70, 0.78)
PAPER_STPE = dict(zip(ORDERS, STPE, strict=True))
PAPER_SECONDS = {
    **{3: 29.5, 5: 28.5, 10: 28, 15: 28.5, 20: 29, 25: 28.5},
    **{100: 28.5, 500: 29.5, 1000: 32},
}


def main() -> None:
    """Measure, print a row for each order, and draw them."""
    options = parser(__doc__)
    options.set_defaults(rounds=10)
    args = options.parse_args()
    set_threads(args.threads)
    length, small = (2500, 5) if args.quick else (125_000, 100)
    orders = ORDERS[:6:5] if args.quick else ORDERS
    args.rounds = 2 if args.quick else args.rounds
    rows = [measure(order, length, args) for order in orders]
    show(rows)
    record = {"length": length, "series": args.rounds, "rows": rows, "small": few(small, args.seed)}
    report("arnet_paper", args, record)
    if args.output:
        draw(rows, args.output / "arnet_paper.png")


def measure(order: int, length: int, args: argparse.Namespace) -> dict[str, Any]:
    """One order: tsar on `rounds` series, the baseline on the first of them.

    The baseline takes half a minute and hardly differs from series to series, so once is enough.
    """
    truth = sparse(LAGS, order)
    series = [autoregression(truth, length, args.seed + k) for k in range(args.rounds)]
    train = [values[: length * 4 // 5] for values in series]
    density = len(LAGS) / order
    ARNet(order, device="cpu").fit(train[0])  # warm
    ours = {
        "tsar": [trial(values, truth, sparsity="auto") for values in train],
        "all lags": [trial(values, truth, sparsity=None) for values in train],
        "penalty": [trial(values, truth, sparsity=density) for values in train],
    }
    row: dict[str, Any] = {"order": order}
    for name, trials in ours.items():
        row[f"{name} seconds"] = np.median([seconds for seconds, _, _ in trials])
        row[f"{name} stpe"] = np.median([error for _, error, _ in trials])
        pairs = zip(trials, series, strict=True)
        row[f"{name} mse"] = np.median([test_error(fit[2], values) for fit, values in pairs])
    for name, loader in (("adam", True), ("adam by index", False)):

        def train_by(values: Floats, loader: bool = loader) -> arnet_baseline.Fitted:
            return arnet_baseline.fit(values, order, density, seed=args.seed, loader=loader)

        train_by(train[0][: 2 * order + 100])  # warm
        seconds, fitted = timed(lambda fit=train_by: fit(train[0]))
        row[f"{name} seconds"], row[f"{name} stpe"] = seconds, stpe(fitted.coef, truth)
        row[f"{name} mse"] = test_error(fitted, series[0])
    row["times faster"] = row["adam seconds"] / row["tsar seconds"]
    row["paper seconds"], row["paper stpe"] = PAPER_SECONDS.get(order), PAPER_STPE.get(order)
    return row


def trial(
    train: Floats, truth: Floats, *, sparsity: float | str | None
) -> tuple[float, float, arnet_baseline.Fitted]:
    """Fit tsar once: seconds, sTPE and what was learned."""
    model = ARNet(len(truth), sparsity=sparsity, device="cpu")
    seconds, _ = timed(lambda: model.fit(train))
    fitted = arnet_baseline.Fitted(model.coef_[0], float(model.intercept_[0]))
    return seconds, stpe(fitted.coef, truth), fitted


def stpe(coef: Floats, truth: Floats) -> float:
    """Symmetric total percentage error of coefficients (section 3.4 of the paper)."""
    total = np.abs(coef).sum() + np.abs(truth).sum()
    return float(100 * np.abs(coef - truth).sum() / (total + 1e-8))


def test_error(fitted: arnet_baseline.Fitted, series: Floats) -> float:
    """Mean squared error one step ahead on the last fifth; the noise alone gives 1."""
    first = len(series) * 4 // 5
    past = series[first - len(fitted.coef) : -1]
    forecast = fitted.constant + np.convolve(past, fitted.coef, mode="valid")
    return float(np.square(series[first:] - forecast).mean())


def few(count: int, seed: int) -> dict[str, Any]:
    """The paper's small case: 1000 points, order 20, three lags; all series in one fit."""
    truth = sparse(SMALL, 20)
    series = [autoregression(truth, 1000, seed + 1000 + k) for k in range(count)]
    record: dict[str, Any] = {"series": count, "length": 1000, "order": 20, "lags": list(SMALL)}
    for name, sparsity in (("auto", "auto"), ("all_lags", None), ("density", 3 / 20)):
        model = ARNet(20, sparsity=sparsity, device="cpu").fit(np.stack(series, axis=1))
        errors = [stpe(coef, truth) for coef in model.coef_]
        exact = [lags == sorted(SMALL) for lags in model.lags_]
        record[name] = {"mean_stpe": np.mean(errors), "stpe": spread(errors)}
        record[name]["exactly_these_lags"] = np.mean(exact)
    return record | {"paper": {"arnet": 3.2, "least_squares": 18.3, "series": 1}}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Error and time against the order, as in figures 4 and 8 of the paper."""
    figure, (error, time) = figures.new(columns=2)
    orders = [row["order"] for row in rows]
    lines = {
        "tsar": ("o-", "tsar, lags chosen by itself"),
        "all lags": ("o-", "tsar, all lags: least squares"),
        "adam": ("o-", "AR-Net's recipe, run here: Adam, DataLoader"),
        "adam by index": ("o--", "the same without DataLoader"),
    }
    for color, (name, (style, label)) in zip(figures.COLORS, lines.items(), strict=False):
        for axes, what in ((error, "stpe"), (time, "seconds")):
            values = [row[f"{name} {what}"] for row in rows]
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
