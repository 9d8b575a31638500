"""Noiseless processes, forecast ten training horizons ahead in closed loop.

The processes last for ever: sums of two and three waves (exactly AR(4) and AR(6)), a repeated
pattern (phi_24 = 1), and answers of an ARMA(2, 1) with roots on the unit circle to a single shock
somewhere in the context, before which all is zero: where that is its last point, no
autoregression knows what comes. Each side is trained on the next 32 points and runs on for 320.
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
from spacetime_baseline import LSTMRollout, S4DForecaster, count
from synthetic import Floats
from torch import Tensor

import tsar
from tsar.training.schedules import one_cycle

HORIZON, FARTHER, SEASON, PERIOD, MOVING = 32, 10, 24, 16, 0.6
SHORT, LONG = 64, 96  # contexts
LIMIT = 1e-4
BATCH, TESTS = 32, 64
COLORS = ("#0072B2", "#000000", "#56B4E9", "#009E73", "#D55E00", "#E69F00")
# Name in the table: learning rate and options of SpaceTime. What starts at random learned best with
# large rates (0.01 to 1 were tried) and without the losses of the open loop.
CLOSED = {"one_step_weight": 0.0, "input_weight": 0.0, "init": "random"}
OURS: dict[str, tuple[float, dict[str, Any]]] = {
    "SpaceTime": (0.03, {"init": "arma"}),
    "SpaceTime, Burg initialization": (0.03, {}),
    "SpaceTime, random initialization": (0.3, CLOSED),
    "SpaceTime, random initialization, l1": (0.1, CLOSED | {"stability": "l1"}),
}
PEERS = {"S4D": (0.01, 0.03, 0.1), "LSTM": (0.01, 0.03)}  # learning rates to try
CLOSED_SHARE = 0.25  # of the steps of a peer, the last, also minimize the closed loop's error


@dataclass(frozen=True)
class Process:
    """Series to train on, of unit variance; unseen stretches of a context and 320 points."""

    series: list[Floats]
    tests: Floats
    context: int
    order: int
    held: float | int  # what SpaceTime holds back of each series
    sizes: dict[str, int]  # widths of the peers that give about as many parameters as SpaceTime


def main() -> None:
    """Train every side on every process with some seeds; print a row for each, and draw them."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    args = parser.parse_args()
    set_threads(args.threads)
    steps = 8 if args.quick else 1200
    seeds = range(args.seed, args.seed + (1 if args.quick else args.rounds))
    rows, curves = [], {}
    for name, process in processes(args.seed, 1000 if args.quick else 6000).items():
        curves[name] = {}
        for side, measured in sides(process, steps, list(seeds)).items():
            errors = [error for _, error, _ in measured]
            curves[name][side] = np.median([error.mean(axis=0) for error in errors], axis=0)
            rows.append({"process": name, "method": side} | summary(measured))
            print(
                list(table_row(rows[-1]).values()), file=sys.stderr, flush=True
            )  # it takes minutes
    print_table([table_row(row) for row in rows])
    settings = {"steps": steps, "batch": BATCH, "context": SHORT, "horizon": HORIZON}
    record = settings | {"long_horizon": FARTHER * HORIZON, "threshold": LIMIT, "rows": rows}
    print_record("spacetime_expressivity", args, record)
    if args.output:
        draw(curves, args.output / "spacetime_expressivity.png")


def processes(seed: int, length: int) -> dict[str, Process]:
    """The four processes; what is tested begins behind the end of what is trained on."""
    rng = np.random.default_rng(seed)
    pattern = rng.standard_normal(SEASON)
    pattern = np.tile((pattern - pattern.mean()) / pattern.std(), 3 * length // SEASON)
    return {
        "AR(4)": _stretches(waves((12.7, 5.3), rng, 2 * length), length, SHORT, 4, (4, 4)),
        "AR(6)": _stretches(waves((17.9, 8.3, 4.6), rng, 2 * length), length, SHORT, 6, (5, 5)),
        "seasonal AR(24)": _stretches(pattern, length, LONG, SEASON, (8, 11)),
        "ARMA(2, 1)": shocks(rng),
    }


def waves(periods: tuple[float, ...], rng: np.random.Generator, length: int) -> Floats:
    """A sum of waves of equal height and random phases."""
    phases = rng.uniform(0, 2 * np.pi, len(periods))
    angles = 2 * np.pi * np.arange(length)[:, None] / periods + phases
    return np.sin(angles).sum(axis=1) * np.sqrt(2 / len(periods))


def _stretches(
    values: Floats, length: int, context: int, order: int, sizes: tuple[int, int]
) -> Process:
    span = context + FARTHER * HORIZON
    begins = np.linspace(length, len(values) - span, TESTS).astype(int)
    tests = np.stack([values[begin : begin + span] for begin in begins])
    widths = dict(zip(PEERS, sizes, strict=True))
    return Process([values[:length]], tests, context, order, 0.2, widths)


def shocks(rng: np.random.Generator) -> Process:
    """Zeros, a shock of random sign, and the answer of an ARMA(2, 1) with roots on the circle.

    ``x[t] = 2 cos(w) x[t-1] - x[t-2] + e[t] + 0.6 e[t-1]``. The first context of a series ends with
    its shock, so a context of training has it at any of its points; whole periods follow, so that
    no series has a mean.
    """
    answer = np.zeros(SHORT + FARTHER * HORIZON)
    answer[0], answer[1] = 1, 2 * np.cos(2 * np.pi / PERIOD) + MOVING
    for t in range(2, len(answer)):
        answer[t] = 2 * np.cos(2 * np.pi / PERIOD) * answer[t - 1] - answer[t - 2]
    answer /= answer[2 : 2 + PERIOD].std()
    signs = rng.choice([-1.0, 1.0], SHORT)
    answers = answer[: 2 * SHORT]  # 8 periods
    series = [sign * np.r_[np.zeros(SHORT - 1), answers] for sign in signs.tolist()]
    tests = [s * np.r_[np.zeros(k), answer][: len(answer)] for k, s in enumerate(signs.tolist())]
    return Process(series, np.stack(tests), SHORT, 2, HORIZON, {"S4D": 3, "LSTM": 3})


Measured = tuple[float, Floats, int]  # seconds, squared errors (window, step), parameters


def sides(process: Process, steps: int, seeds: list[int]) -> dict[str, list[Measured]]:
    """Train and test all sides, with each seed."""
    found: dict[str, list[Measured]] = {}
    for name, (rate, options) in OURS.items():
        found[name] = [ours(process, steps, seed, rate, options) for seed in seeds]
    for name, rates in PEERS.items():
        # Chosen by the training loss of a quarter of the steps.
        losses = [peer(name, process, steps // 4, seeds[0], rate)[0] for rate in rates]
        rate = rates[int(np.nanargmin(losses))]
        found[name] = [peer(name, process, steps, seed, rate)[1] for seed in seeds]
    return found


def ours(process: Process, steps: int, seed: int, rate: float, options: dict[str, Any]) -> Measured:
    """SpaceTime without layers before the decoder, on all series."""
    epochs = 25
    each = max(steps // epochs, 1) * BATCH
    training = tsar.Training(
        epochs=min(epochs, steps),
        learning_rate=rate,
        batch_size=BATCH,
        epoch_windows=each,
        validation=process.held,
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
    parts = [
        pd.DataFrame({"unique_id": k, "ds": np.arange(len(y)), "y": y})
        for k, y in enumerate(process.series)
    ]
    frame = pd.concat(parts)
    seconds, _ = timed(lambda: model.fit(frame))
    tests = torch.from_numpy(process.tests)
    known = torch.zeros(len(tests), dtype=torch.long)  # all in the units of the first series
    context, target = tests.split([process.context, FARTHER * HORIZON], dim=1)
    forecast = model.forecast(context, horizon=target.shape[1], series=known)
    return seconds, (forecast - target).square().numpy(), count(model.module_)


def peer(name: str, process: Process, steps: int, seed: int, rate: float) -> tuple[float, Measured]:
    """Train a one-step model, in the end also by its closed loop; the last losses' mean."""
    torch.manual_seed(seed)
    width = process.sizes[name]
    order = max(process.order, 4)
    model: Any = LSTMRollout(width) if name == "LSTM" else S4DForecaster(width, order, 1)
    span = process.context + HORIZON
    windows = torch.cat([torch.from_numpy(y).float().unfold(0, span, 1) for y in process.series])
    losses: list[float] = []
    seconds, _ = timed(lambda: losses.extend(_minimize(model, windows, process, steps, rate)))
    tests = torch.from_numpy(process.tests).float()
    context, target = tests.split([process.context, FARTHER * HORIZON], dim=1)
    with torch.no_grad():
        errors = (model.forecast(context, target.shape[1]) - target).double().square().numpy()
    return statistics.fmean(losses[-50:]), (seconds, errors, count(model))


def _minimize(
    model: Any, windows: Tensor, process: Process, steps: int, rate: float
) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    warm = process.order  # the first forecasts know too little
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * one_cycle(step, steps)
        batch = windows[torch.randint(len(windows), (BATCH,))]
        context, target = batch[:, : process.context], batch[:, process.context :]
        told = model.one_step(batch[:, :-1])[:, warm:]
        loss = (told - batch[:, warm + 1 :]).square().mean()
        if step >= (1 - CLOSED_SHARE) * steps:
            loss = loss + (model.forecast(context, HORIZON) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def summary(measured: list[Measured]) -> dict[str, Any]:
    """What the seeds gave: error over the training horizon and ten times as far, and its cost."""
    near = [float(error[:, :HORIZON].mean()) for _, error, _ in measured]
    far = [float(error.mean()) for _, error, _ in measured]
    return {
        "mse_32": summarize(near),
        "mse_320": summarize(far),
        "below_threshold": sum(error < LIMIT for error in far),
        "parameters": measured[0][2],
        "seconds": summarize([seconds for seconds, _, _ in measured]),
    }


def table_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people."""
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
    """Error against the step ahead, a panel for each process."""
    figure, panels = figures.new(columns=len(curves))
    colors = dict(zip((*OURS, *PEERS), COLORS, strict=True))
    for axes, (name, lines) in zip(panels, curves.items(), strict=True):
        for side, errors in lines.items():
            steps = np.arange(1, len(errors) + 1)
            axes.plot(steps, errors.clip(1e-13), color=colors[side], label=side, linewidth=1.2)
        axes.axvline(HORIZON, color="#888888", linewidth=0.8, linestyle=":")
        axes.axhline(LIMIT, color="#888888", linewidth=0.8, linestyle="--")
        axes.set(title=name, xlabel="steps ahead (trained on the first 32)", yscale="log")
        axes.set_ylim(1e-13, 30)
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
    panels[0].set_ylabel("mean squared error (variance 1)")
    figures.save(figure, path, legend_columns=6)


if __name__ == "__main__":
    main()
