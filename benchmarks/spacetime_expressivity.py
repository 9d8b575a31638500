"""Noiseless processes, forecast in closed loop ten times beyond the training horizon.

The processes do not decay: sums of two and three sine waves (exactly AR(4) and AR(6)), a repeated
pattern (phi_24 = 1), and impulse responses of an ARMA(2, 1) with roots on the unit circle. The
impulse is somewhere in the context and only zeros precede it; if it is the last point, no
autoregression can predict the response. Models are trained on 32 steps and forecast 320.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import LogLocator
from measure import argument_parser, print_record, print_table, set_threads, summarize, timed
from spacetime_baseline import LSTMRollout, S4DForecaster, parameter_count
from synthetic import Floats
from torch import Tensor

import tsar
from tsar.training.schedules import one_cycle

HORIZON, LONG_FACTOR, SEASON, PERIOD, MA_COEF = 32, 10, 24, 16, 0.6
SHORT, LONG = 64, 96  # context lengths
THRESHOLD = 1e-4
BATCH, TESTS = 32, 64
COLORS = ("#0072B2", "#000000", "#56B4E9", "#009E73", "#D55E00", "#E69F00")
# Name in the table: learning rate and options of SpaceTime. Random initializations learned best
# with large rates (0.01 to 1 were tried) and without the open-loop losses.
CLOSED_LOOP = {"one_step_weight": 0.0, "input_weight": 0.0, "init": "random"}
SPACETIME: dict[str, tuple[float, dict[str, Any]]] = {
    "SpaceTime": (0.03, {"init": "arma"}),
    "SpaceTime, Burg initialization": (0.03, {}),
    "SpaceTime, random initialization": (0.3, CLOSED_LOOP),
    "SpaceTime, random initialization, l1": (0.1, CLOSED_LOOP | {"stability": "l1"}),
}
PEERS = {"S4D": (0.01, 0.03, 0.1), "LSTM": (0.01, 0.03)}  # learning rates to try
CLOSED_SHARE = 0.25  # last share of a peer's steps that also minimize the closed-loop error


@dataclass(frozen=True)
class Process:
    """Training series of unit variance, and test windows of a context and 320 points."""

    series: list[Floats]
    tests: Floats
    context: int
    order: int
    validation: float | int  # of each series, for SpaceTime
    widths: dict[str, int]  # of the peers, for about as many parameters as SpaceTime


def main() -> None:
    """Train every model on every process with each seed; print a row for each and plot errors."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    args = parser.parse_args()
    set_threads(args.threads)
    steps = 8 if args.quick else 1200
    seeds = range(args.seed, args.seed + (1 if args.quick else args.rounds))
    rows, curves = [], {}
    for name, process in processes(args.seed, 1000 if args.quick else 6000).items():
        curves[name] = {}
        for method, measured in train_all(process, steps, list(seeds)).items():
            errors = [error for _, error, _ in measured]
            curves[name][method] = np.median([error.mean(axis=0) for error in errors], axis=0)
            rows.append({"process": name, "method": method} | summary(measured))
            # Progress: each row takes minutes.
            print(list(table_row(rows[-1]).values()), file=sys.stderr, flush=True)
    print_table([table_row(row) for row in rows])
    settings = {"steps": steps, "batch": BATCH, "context": SHORT, "horizon": HORIZON}
    record = settings | {
        "long_horizon": LONG_FACTOR * HORIZON,
        "threshold": THRESHOLD,
        "rows": rows,
    }
    print_record("spacetime_expressivity", args, record)
    if args.output:
        draw(curves, args.output / "spacetime_expressivity.png")


def processes(seed: int, length: int) -> dict[str, Process]:
    """Return the four processes; test windows begin after the end of the training series."""
    rng = np.random.default_rng(seed)
    pattern = rng.standard_normal(SEASON)
    pattern = np.tile((pattern - pattern.mean()) / pattern.std(), 3 * length // SEASON)
    return {
        "AR(4)": _process(sine_waves((12.7, 5.3), rng, 2 * length), length, SHORT, 4, (4, 4)),
        "AR(6)": _process(sine_waves((17.9, 8.3, 4.6), rng, 2 * length), length, SHORT, 6, (5, 5)),
        "seasonal AR(24)": _process(pattern, length, LONG, SEASON, (8, 11)),
        "ARMA(2, 1)": impulse_responses(rng),
    }


def sine_waves(periods: tuple[float, ...], rng: np.random.Generator, length: int) -> Floats:
    """Return a sum of sine waves of equal amplitude and random phases, with unit variance."""
    phases = rng.uniform(0, 2 * np.pi, len(periods))
    angles = 2 * np.pi * np.arange(length)[:, None] / periods + phases
    return np.sin(angles).sum(axis=1) * np.sqrt(2 / len(periods))


def _process(
    values: Floats, length: int, context: int, order: int, sizes: tuple[int, int]
) -> Process:
    span = context + LONG_FACTOR * HORIZON
    starts = np.linspace(length, len(values) - span, TESTS).astype(int)
    tests = np.stack([values[start : start + span] for start in starts])
    widths = dict(zip(PEERS, sizes, strict=True))
    return Process([values[:length]], tests, context, order, 0.2, widths)


def impulse_responses(rng: np.random.Generator) -> Process:
    """Zeros, an impulse of random sign, and the response of an ARMA(2, 1) with unit roots.

    ``x[t] = 2 cos(w) x[t-1] - x[t-2] + e[t] + 0.6 e[t-1]``. The first context of a series ends with
    its impulse, so a training context has it at any point; complete periods follow, so that every
    series has mean zero.
    """
    response = np.zeros(SHORT + LONG_FACTOR * HORIZON)
    response[0], response[1] = 1, 2 * np.cos(2 * np.pi / PERIOD) + MA_COEF
    for t in range(2, len(response)):
        response[t] = 2 * np.cos(2 * np.pi / PERIOD) * response[t - 1] - response[t - 2]
    response /= response[2 : 2 + PERIOD].std()
    signs = rng.choice([-1.0, 1.0], SHORT)
    training = response[: 2 * SHORT]  # 8 periods
    series = [sign * np.r_[np.zeros(SHORT - 1), training] for sign in signs.tolist()]
    tests = [
        s * np.r_[np.zeros(k), response][: len(response)] for k, s in enumerate(signs.tolist())
    ]
    return Process(series, np.stack(tests), SHORT, 2, HORIZON, {"S4D": 3, "LSTM": 3})


Measured = tuple[float, Floats, int]  # seconds, squared errors (window, step), parameters


def train_all(process: Process, steps: int, seeds: list[int]) -> dict[str, list[Measured]]:
    """Train and test all models with each seed."""
    measured: dict[str, list[Measured]] = {}
    for name, (rate, options) in SPACETIME.items():
        measured[name] = [spacetime(process, steps, seed, rate, options) for seed in seeds]
    for name, rates in PEERS.items():
        # The learning rate with the lowest training loss after a quarter of the steps.
        losses = [train_peer(name, process, steps // 4, seeds[0], rate)[0] for rate in rates]
        rate = rates[int(np.nanargmin(losses))]
        measured[name] = [train_peer(name, process, steps, seed, rate)[1] for seed in seeds]
    return measured


def spacetime(
    process: Process, steps: int, seed: int, rate: float, options: dict[str, Any]
) -> Measured:
    """Train SpaceTime with a decoder only (depth 0) on all series, and test it."""
    epochs = 25
    epoch_windows = max(steps // epochs, 1) * BATCH
    training = tsar.Training(
        epochs=min(epochs, steps),
        learning_rate=rate,
        batch_size=BATCH,
        epoch_windows=epoch_windows,
        validation=process.validation,
        patience=epochs,
    )
    model = tsar.SpaceTime(
        process.context,
        horizon=HORIZON,
        state_size=process.order,
        width=8,
        depth=0,
        normalization="none",
        dropout=0.0,
        training=training,
        device="cpu",
        random_state=seed,
        **options,
    )
    frames = [
        pd.DataFrame({"unique_id": k, "ds": np.arange(len(y)), "y": y})
        for k, y in enumerate(process.series)
    ]
    frame = pd.concat(frames)
    seconds, _ = timed(lambda: model.fit(frame))
    tests = torch.from_numpy(process.tests)
    series = torch.zeros(len(tests), dtype=torch.long)  # scaled as the first training series
    context, target = tests.split([process.context, LONG_FACTOR * HORIZON], dim=1)
    forecast = model.forecast(context, horizon=target.shape[1], series=series)
    return seconds, (forecast - target).square().numpy(), parameter_count(model.module_)


def train_peer(
    name: str, process: Process, steps: int, seed: int, rate: float
) -> tuple[float, Measured]:
    """Train a one-step model, at the end also in closed loop; return its last losses' mean."""
    torch.manual_seed(seed)
    width = process.widths[name]
    order = max(process.order, 4)
    model: Any = LSTMRollout(width) if name == "LSTM" else S4DForecaster(width, order, 1)
    span = process.context + HORIZON
    windows = torch.cat([torch.from_numpy(y).float().unfold(0, span, 1) for y in process.series])
    losses: list[float] = []
    seconds, _ = timed(lambda: losses.extend(_minimize(model, windows, process, steps, rate)))
    tests = torch.from_numpy(process.tests).float()
    context, target = tests.split([process.context, LONG_FACTOR * HORIZON], dim=1)
    with torch.no_grad():
        errors = (model.forecast(context, target.shape[1]) - target).double().square().numpy()
    return statistics.fmean(losses[-50:]), (seconds, errors, parameter_count(model))


def _minimize(
    model: Any, windows: Tensor, process: Process, steps: int, rate: float
) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    warm_up = process.order  # the first forecasts have too short a history
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * one_cycle(step, steps)
        batch = windows[torch.randint(len(windows), (BATCH,))]
        context, target = batch[:, : process.context], batch[:, process.context :]
        forecast = model.one_step(batch[:, :-1])[:, warm_up:]
        loss = (forecast - batch[:, warm_up + 1 :]).square().mean()
        if step >= (1 - CLOSED_SHARE) * steps:
            loss = loss + (model.forecast(context, HORIZON) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def summary(measured: list[Measured]) -> dict[str, Any]:
    """Summarize the seeds: errors over 32 and 320 steps, parameters and seconds."""
    near = [float(error[:, :HORIZON].mean()) for _, error, _ in measured]
    far = [float(error.mean()) for _, error, _ in measured]
    return {
        "mse_32": summarize(near),
        "mse_320": summarize(far),
        "below_threshold": sum(error < THRESHOLD for error in far),
        "parameters": measured[0][2],
        "seconds": summarize([seconds for seconds, _, _ in measured]),
    }


def table_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the printed table."""
    write: Callable[[float], str] = "{:.1e}".format
    near, far = row["mse_32"], row["mse_320"]
    return {
        "process": row["process"],
        "method": row["method"],
        "parameters": row["parameters"],
        "MSE, 32 steps": write(near["median"]),
        "MSE, 320 steps": write(far["median"]),
        "range": f"{write(far['min'])} to {write(far['max'])}",
        "below 1e-4": f"{row['below_threshold']} of {far['count']}",
        "seconds": round(row["seconds"]["median"], 1),
    }


def draw(curves: dict[str, dict[str, Floats]], path: Path) -> None:
    """Plot the error against the step ahead, a panel for each process."""
    figure, panels = figures.new(columns=len(curves))
    colors = dict(zip((*SPACETIME, *PEERS), COLORS, strict=True))
    for axes, (name, lines) in zip(panels, curves.items(), strict=True):
        for method, errors in lines.items():
            steps = np.arange(1, len(errors) + 1)
            axes.plot(steps, errors.clip(1e-13), color=colors[method], label=method, linewidth=1.2)
        axes.axvline(HORIZON, color="#888888", linewidth=0.8, linestyle=":")
        axes.axhline(THRESHOLD, color="#888888", linewidth=0.8, linestyle="--")
        axes.set(title=name, xlabel="steps ahead (trained on the first 32)", yscale="log")
        axes.set_ylim(1e-13, 30)
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
    panels[0].set_ylabel("mean squared error (variance 1)")
    figures.save(figure, path, legend_columns=6)


if __name__ == "__main__":
    main()
