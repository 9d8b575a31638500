"""Time and memory of SpaceTime: training step, epoch, scaling of a layer, streamed point."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import figures
import numpy as np
import torch
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    peak_memory,
    print_record,
    print_table,
    ratios,
    run_subprocess,
    set_threads,
    summarize,
)
from spacetime_baseline import Released, parameter_count, with_parameters
from torch import Tensor, nn

from tsar import SpaceTime, Training
from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.layers import CompanionSSM
from tsar.forecasters.spacetime.module import SpaceTimeModule

SIZES = (336, 720, 50)  # context, horizon and batch size in the README of the released code
TINY = (24, 12, 5)
WINDOWS = 7585  # training windows of ETTh1 at this context and horizon
# Width, state size and depth by number of parameters: about as wide as the peers, or narrower with
# larger states.
NARROW = "SpaceTime, {} channels, state {}"
SHAPES = {
    50_000: {"SpaceTime": (120, 64, 1), NARROW: (40, 240, 1)},
    150_000: {"SpaceTime": (144, 64, 3), NARROW: (64, 240, 3)},
}
QUICK_SHAPES = {2000: {"SpaceTime": (16, 16, 1), NARROW: (8, 32, 1)}}
LENGTHS = (256, 1024, 4096, 16_384, 65_536)
STATES = (16, 64, 256, 1024)


def main() -> None:
    """Measure everything; with `--child`, only the memory of one method, in this process."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--child", help="method whose memory to measure in this process")
    args = parser.parse_args()
    set_threads(args.threads)
    if args.child:
        print(json.dumps(step_memory(args.child, args.quick)))
        return
    record = {
        "step": step(args),
        "epoch": epoch(args),
        "scaling": scaling(args),
        "stream": stream(args),
    }
    print_record("spacetime_speed", args, record)
    if args.output:
        draw(record["scaling"], args.output / "spacetime_speed.png")


# --- a training step at the released code's README configuration ---


def module(
    sizes: tuple[int, int, int],
    width: int,
    state_size: int,
    depth: int,
    *,
    auxiliary: bool = True,
) -> SpaceTimeModule:
    """Return tsar's network with the sizes of the released one."""
    weight = 0.1 if auxiliary else 0.0
    return SpaceTimeModule(
        *sizes[:2],
        state_size=state_size,
        width=width,
        depth=depth,
        normalization="mean",
        stability="reflection",
        unit_roots=0,
        init="random",
        dropout=0.25,
        past=0,
        future=0,
        groups=1,
        levels=(),
        one_step_weight=weight,
        input_weight=weight,
    )


def trainer(
    sizes: tuple[int, int, int], model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[], None]:
    """Return a function that runs one training step on a batch of noise."""
    past, horizon, batch = sizes
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(batch, past, generator=generator)
    target = torch.randn(batch, horizon, generator=generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    model.train()

    def run() -> None:
        optimizer.zero_grad()
        loss(context, target).backward()
        optimizer.step()

    return run


def tensor_loss(model: SpaceTimeModule) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of tsar's network as a function of context and target tensors."""

    def loss(context: Tensor, target: Tensor) -> Tensor:
        return model.loss(Batch(replace(Context.of(context), gapless=True), target))

    return loss


def step_makers(quick: bool) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return, by method, functions that build the network and return its training step."""
    sizes, width, state = (TINY, 16, 16) if quick else (SIZES, 128, 64)

    def released() -> Callable[[], None]:
        model = Released(sizes[1], width, state)
        return trainer(sizes, model, lambda x, y: model.loss(x, y, auxiliary=False))

    def tsar(auxiliary: bool) -> Callable[[], Callable[[], None]]:
        def make() -> Callable[[], None]:
            model = module(sizes, width, state, 1, auxiliary=auxiliary)
            return trainer(sizes, model, tensor_loss(model))

        return make

    return {
        "released code, one loss": released,
        "tsar, three losses": tsar(True),
        "tsar, one loss": tsar(False),
    }


def step(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a step of each method in this process; measure its memory in a new process."""
    steps = {name: make() for name, make in step_makers(args.quick).items()}
    released = "released code, one loss"
    for name, run in steps.items():
        if name != released:  # whose step takes half a minute
            run()  # warm-up
    candidates = {name: Candidate(run, 1 if name == released else 5) for name, run in steps.items()}
    seconds, _ = interleaved(candidates, args.rounds)
    memory = {name: _memory(name, args) for name in steps}
    rows = [
        {
            "method": name,
            "seconds per step": summarize(times),
            "speedup": ratios(seconds[released], times),
            "memory mb": memory[name] / 1e6,
            "memory ratio": memory[name] / memory[released],
        }
        for name, times in seconds.items()
    ]
    print_table(rows)
    return rows


def _memory(name: str, args: argparse.Namespace) -> float:
    quick = ["--quick"] if args.quick else []
    return run_subprocess(__file__, "--child", name, "--threads", args.threads, *quick)


def step_memory(name: str, quick: bool) -> int:
    """Return the peak memory of two training steps in bytes."""
    run = step_makers(quick)[name]()
    return peak_memory(lambda: (run(), run()))


# --- a training epoch on ETTh1: SpaceTime, LSTM and Transformer with equal parameter counts ---


def epoch(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a training step of each model, scaled to the number of steps of an ETTh1 epoch."""
    rows, sizes = [], TINY if args.quick else SIZES
    for size, shapes in (QUICK_SHAPES if args.quick else SHAPES).items():
        spacetime = {name.format(*shape): module(sizes, *shape) for name, shape in shapes.items()}
        models: dict[str, nn.Module] = dict(spacetime)
        models |= {
            kind: with_parameters(kind.lower(), size, *sizes[:2])
            for kind in ("LSTM", "Transformer")
        }
        models["LSTM, teacher forcing"] = models["LSTM"]
        steps = {name: trainer(sizes, model, error(name, model)) for name, model in models.items()}
        for run in steps.values():
            run()
        seconds, _ = interleaved({name: Candidate(run) for name, run in steps.items()}, args.rounds)
        for name, times in seconds.items():
            peers = [peer for peer in seconds if peer not in spacetime] if name in spacetime else []
            rows.append(
                {
                    "model": name,
                    "parameters": parameter_count(models[name]),
                    "seconds per epoch": summarize([t * -(-WINDOWS // sizes[2]) for t in times]),
                    "time saved": {peer: _time_saved(times, seconds[peer]) for peer in peers},
                }
            )
    print_table(rows)
    return rows


def _time_saved(times: list[float], others: list[float]) -> dict[str, float]:
    """Share of the other model's time that is saved, round by round."""
    return summarize([1 - a / b for a, b in zip(times, others, strict=True)])


def error(name: str, model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return tsar's loss, or the mean squared error of a network from contexts to targets.

    With teacher forcing an LSTM trains in one fused call, its fastest option; without it, one call
    per step of the horizon, as in forecasting.
    """
    if isinstance(model, SpaceTimeModule):
        return tensor_loss(model)
    if name.endswith("teacher forcing"):
        return lambda context, target: (model(context, target) - target).square().mean()
    return lambda context, target: (model(context) - target).square().mean()


# --- a layer by length and state size; a streamed point ---


def scaling(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Time forward and backward of a companion layer: 8 series of 16 channels."""
    lengths, states = ((64, 128), (8, 16)) if args.quick else (LENGTHS, STATES)
    by_length = [{"length": n, "seconds": layer(n, 64, args.rounds)} for n in lengths]
    long = 128 if args.quick else 4096
    by_state = [{"state": d, "seconds": layer(long, d, args.rounds)} for d in states]
    print_table(by_length)
    print_table(by_state)
    return {"by length": by_length, "by state": by_state}


def layer(length: int, state_size: int, rounds: int) -> float:
    """Return the median seconds of forward and backward through a layer."""
    ssm = CompanionSSM(16, state_size, stability="reflection")
    signal = torch.randn(8, 1, 16, length, requires_grad=True)

    def run() -> None:
        ssm(signal).square().mean().backward()

    run()
    seconds, _ = interleaved({"layer": Candidate(run, 3)}, rounds)
    return summarize(seconds["layer"])["median"]


def stream(args: argparse.Namespace) -> dict[str, Any]:
    """Time a streamed point of one series, after a warm-up of 500 points."""
    wave = np.sin(np.arange(600) * 0.3)
    model = SpaceTime(
        SIZES[0], normalization="none", training=Training(epochs=0), random_state=0, device="cpu"
    ).fit(wave)
    stream, point = model.stream(), np.array([0.5], dtype=np.float32)
    for _ in range(500):
        stream.push(point)
    seconds = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        for _ in range(1000):
            stream.push(point)
        seconds.append((time.perf_counter() - start) / 1000)
    row = {"width": model.width, "state": model.state_size, "seconds per point": summarize(seconds)}
    print_table([row])
    return row


def draw(scaled: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Plot seconds by length and by state size, both axes logarithmic."""
    figure, axes = figures.new(columns=2)
    for panel, (name, rows), title in zip(
        axes,
        scaled.items(),
        ("64 state values, by length", "4,096 points, by state size"),
        strict=True,
    ):
        key = name.removeprefix("by ")
        sizes, seconds = [row[key] for row in rows], [row["seconds"] for row in rows]
        panel.plot(sizes, seconds, "o-", color=figures.COLORS[0], label="companion layer")
        if key == "length":
            slope = [seconds[0] * size / sizes[0] for size in sizes]
            panel.plot(sizes, slope, ":", color="#555555", label="proportional to the length")
        figures.logarithmic(panel, [int(size) for size in sizes])
        panel.set(title=f"A layer, forward and backward: {title}", xlabel=key, ylabel="seconds")
    maximum = max(row["seconds"] for rows in scaled.values() for row in rows)
    for panel in axes:  # equal limits show that the state size costs little, the length much
        panel.set_ylim(1e-3, 4 * maximum)
    figures.save(figure, path, legend_columns=2)


if __name__ == "__main__":
    main()
