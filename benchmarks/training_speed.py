"""Throughput of training loops in windows per second: NLinear on ETTh1, 336 points to 96."""

import importlib.util
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np
import pandas as pd
import torch
from measure import (
    argument_parser,
    print_record,
    print_table,
    ratios,
    set_threads,
    summarize,
    timed,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tsar import ARNet, Training
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.evaluation.benchmarking import read_protocol
from tsar.forecasters.linear import NLinearModule
from tsar.training import train

RATE, CLIP = 1e-3, 1.0


def main() -> None:
    """Time every training loop at every batch size."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    set_threads(args.threads)
    frame = random_walks(args.seed) if args.quick else read_etth1()
    context, horizon = (24, 6) if args.quick else (336, 96)
    panel = Panel.from_frame(frame).to(args.device, torch.float32)
    windows = Windows.sliding(panel, context, horizon)
    sizes = ((16, 2),) if args.quick else ((32, 100), (128, 100), (1024, 50))
    neural = importlib.util.find_spec("neuralforecast") is not None and args.device == "cpu"
    results = []
    for batch_size, steps in sizes:
        loops: dict[str, Callable[[], float]] = {
            "tsar": lambda b=batch_size, s=steps: train_tsar(windows, b, s, args.seed),
            "Dataset and DataLoader": lambda b=batch_size, s=steps: train_loader(windows, b, s),
            "matrix products only": lambda b=batch_size, s=steps: matrix_products(windows, b, s),
        }
        if neural:
            loops |= neuralforecast_loops(frame, windows, batch_size, steps)
        results.append(compare(loops, batch_size, steps, args.rounds))
    for result in results:
        print_table(result["rows"])
    sizes = {"windows": len(windows), "context": context, "horizon": horizon, "device": args.device}
    least_squares = closed_form(frame, windows, args.rounds)
    print_record("training_speed", args, sizes | {"results": results, "closed_form": least_squares})
    if args.output:
        draw(results, args.output / "training_speed.png")


def compare(
    loops: dict[str, Callable[[], float]], batch_size: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Time the loops in turn; each call returns the seconds of its loop, without the set-up."""
    for call in loops.values():
        call()  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, call in loops.items():
            seconds[name].append(call())
    rows = [
        {
            "method": name,
            "batch": batch_size,
            "windows per second": summarize([batch_size * steps / t for t in times]),
            "tsar speedup": ratios(times, seconds["tsar"]),
        }
        for name, times in seconds.items()
    ]
    return {"batch_size": batch_size, "steps": steps, "rows": rows}


def read_etth1() -> pd.DataFrame:
    """Return the training part of ETTh1, scaled as in the published protocol."""
    protocol = read_protocol("ETTh1")
    return protocol.frame.iloc[: protocol.train]


def random_walks(seed: int) -> pd.DataFrame:
    """Return seven short random walks."""
    steps = np.random.default_rng(seed).normal(size=(100, 7))
    return pd.DataFrame(steps.cumsum(axis=0), columns=list("abcdefg"))


def sample_cutoffs(windows: Windows, count: int, seed: int) -> Tensor:
    """Return cutoffs sampled with replacement, so that one epoch has that many windows."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(windows), (count,), generator=generator)
    return windows.cutoffs[rows.to(windows.cutoffs.device)]


def train_tsar(windows: Windows, batch_size: int, steps: int, seed: int) -> float:
    """Train one epoch by tsar's loop; without validation, as the other loops."""
    cutoffs = sample_cutoffs(windows, batch_size * steps, seed)
    chosen = Windows(windows.panel, cutoffs, windows.context_length, windows.horizon)
    none = Windows(windows.panel, cutoffs[:0], windows.context_length, windows.horizon)
    options = Training(
        epochs=1, batch_size=batch_size, learning_rate=RATE, gradient_clip=CLIP, validation=0
    )
    module = NLinearModule(windows.context_length, windows.horizon).to(cutoffs.device)
    start = time.perf_counter()
    train(module, chosen, none, options, seed=seed)
    return time.perf_counter() - start


class SlidingWindows(Dataset[tuple[Tensor, Tensor]]):
    """One window per item, as in most published code."""

    def __init__(self, values: Tensor, cutoffs: Tensor, context: int, horizon: int) -> None:
        self.values, self.cutoffs = values, cutoffs.tolist()
        self.context, self.horizon = context, horizon

    def __len__(self) -> int:
        return len(self.cutoffs)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        cutoff = self.cutoffs[item]
        return (
            self.values[cutoff - self.context : cutoff],
            self.values[cutoff : cutoff + self.horizon],
        )


class NLinearNet(nn.Module):
    """The same network without support for missing values."""

    def __init__(self, context: int, horizon: int) -> None:
        super().__init__()
        self.linear = nn.Linear(context, horizon)

    def forward(self, context: Tensor) -> Tensor:
        """Forecast."""
        last = context[:, -1:]
        return last + self.linear(context - last)


def train_loader(windows: Windows, batch_size: int, steps: int) -> float:
    """Train the same network by Dataset and DataLoader, with the same optimizer."""
    device = windows.cutoffs.device
    cutoffs = sample_cutoffs(windows, batch_size * steps, 0)
    values = windows.panel.values.cpu()
    items = SlidingWindows(values, cutoffs, windows.context_length, windows.horizon)
    net = NLinearNet(windows.context_length, windows.horizon).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    start = time.perf_counter()
    for context, target in DataLoader(items, batch_size=batch_size, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(context.to(device)), target.to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_products(windows: Windows, batch_size: int, steps: int) -> float:
    """Compute only the two matrix products of a step: a lower bound of every loop."""
    device = windows.cutoffs.device
    context = torch.randn(batch_size, windows.context_length, device=device)
    error = torch.randn(batch_size, windows.horizon, device=device)
    weight = torch.randn(windows.horizon, windows.context_length, device=device)
    start = time.perf_counter()
    for _ in range(steps):
        context @ weight.T  # the forecast
        error.T @ context  # the gradient
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def closed_form(frame: pd.DataFrame, windows: Windows, rounds: int) -> dict[str, Any]:
    """Time the closed-form least squares fit to all windows of the same points.

    It needs no epochs, so it is reported separately from the loops.
    """
    shape: dict[str, Any] = {"horizon": windows.horizon, "strategy": "direct", "scope": "global"}
    model = ARNet(windows.context_length, sparsity=None, device="cpu", **shape)
    times = [timed(lambda: model.fit(frame))[0] for _ in range(rounds + 1)][1:]
    rates = summarize([len(windows) / seconds for seconds in times])
    return {"seconds": summarize(times), "windows per second": rates}


def neuralforecast_loops(
    frame: pd.DataFrame, windows: Windows, batch_size: int, steps: int
) -> dict[str, Callable[[], float]]:
    """Return neuralforecast's NLinear: with all series per step, its default, and with one."""
    long = frame.reset_index(drop=True).melt(
        ignore_index=False, var_name="unique_id", value_name="y"
    )
    long = long.rename_axis("ds").reset_index()
    return {
        "neuralforecast, all series per step": lambda: train_neuralforecast(
            long, windows, batch_size, steps, 32
        ),
        "neuralforecast, one series per step": lambda: train_neuralforecast(
            long, windows, batch_size, steps, 1
        ),
    }


def train_neuralforecast(
    long: pd.DataFrame, windows: Windows, batch_size: int, steps: int, series: int
) -> float:
    """Train neuralforecast's NLinear; Lightning's hooks time its loop."""
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MSE
    from neuralforecast.models import NLinear
    from pytorch_lightning import Callback

    moments: list[float] = []  # neuralforecast deep-copies its callbacks, but not their closures

    class Clock(Callback):
        def on_train_start(self, *_: Any) -> None:
            moments.append(time.perf_counter())

        def on_train_end(self, *_: Any) -> None:
            moments.append(time.perf_counter())

    model = NLinear(
        h=windows.horizon,
        input_size=windows.context_length,
        loss=MSE(),
        max_steps=steps,
        learning_rate=RATE,
        batch_size=series,
        windows_batch_size=batch_size,
        callbacks=[Clock()],
        gradient_clip_val=CLIP,
        accelerator="cpu",
        **dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False),
        enable_checkpointing=False,
    )
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NeuralForecast([model], freq=1).fit(long, val_size=0)
    return moments[1] - moments[0]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Plot the windows per second of each loop against the batch size."""
    figure, axes = figures.new()
    names = [row["method"] for row in results[0]["rows"]]
    sizes = [result["batch_size"] for result in results]
    for index, (color, name) in enumerate(zip(figures.COLORS, names, strict=False)):
        rates = [result["rows"][index]["windows per second"]["median"] for result in results]
        axes.plot(sizes, rates, "o-", color=color, label=name)
    axes.set(title="Windows per second, NLinear on ETTh1, 336 to 96", xlabel="windows in a batch")
    figures.logarithmic(axes, sizes)
    figures.save(figure, path, legend_columns=2)


if __name__ == "__main__":
    main()
