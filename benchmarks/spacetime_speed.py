"""Time and memory of SpaceTime: a step, an epoch, the scaling of a layer, a streamed point."""

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
from spacetime_baseline import Released, count, sized
from torch import Tensor, nn

from tsar import SpaceTime, Training
from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.layers import CompanionSSM
from tsar.forecasters.spacetime.module import SpaceTimeModule

SIZES = (336, 720, 50)  # context, horizon, batch of the released code's README
TINY = (24, 12, 5)
WINDOWS = 7585  # training windows of ETTh1 at these
# Width, state size and depth by number of parameters: about as wide as the peers, or with the
# parameters in longer states.
NARROW = "SpaceTime, {} channels, state {}"
SHAPES = {
    50_000: {"SpaceTime": (120, 64, 1), NARROW: (40, 240, 1)},
    150_000: {"SpaceTime": (144, 64, 3), NARROW: (64, 240, 3)},
}
QUICK_SHAPES = {2000: {"SpaceTime": (16, 16, 1), NARROW: (8, 32, 1)}}
LENGTHS = (256, 1024, 4096, 16_384, 65_536)
STATES = (16, 64, 256, 1024)


def main() -> None:
    """Measure all, or in a process of its own the memory of one side."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--child", help="name of the side whose memory to measure")
    args = parser.parse_args()
    set_threads(args.threads)
    if args.child:
        print(json.dumps(growth(args.child, args.quick)))
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
    """Return our network: of as many channels and layers as the released one."""
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
    """Return one step of training on a batch of noise."""
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


def ours(model: SpaceTimeModule) -> Callable[[Tensor, Tensor], Tensor]:
    """Return our loss as one of tensors."""

    def loss(context: Tensor, target: Tensor) -> Tensor:
        return model.loss(Batch(replace(Context.of(context), gapless=True), target))

    return loss


def sides(quick: bool) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return what makes a step of each side, by its name."""
    sizes, width, state = (TINY, 16, 16) if quick else (SIZES, 128, 64)

    def released() -> Callable[[], None]:
        model = Released(sizes[1], width, state)
        return trainer(sizes, model, lambda x, y: model.loss(x, y, auxiliary=False))

    def made(auxiliary: bool) -> Callable[[], Callable[[], None]]:
        def make() -> Callable[[], None]:
            model = module(sizes, width, state, 1, auxiliary=auxiliary)
            return trainer(sizes, model, ours(model))

        return make

    return {
        "released code, one loss": released,
        "tsar, three losses": made(True),
        "tsar, one loss": made(False),
    }


def step(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a step of each side in one process; measure its memory in one of its own."""
    steps = {name: make() for name, make in sides(args.quick).items()}
    slow = "released code, one loss"
    for name, run in steps.items():
        run() if name != slow else None  # warm; the slow side takes half a minute
    candidates = {name: Candidate(run, 1 if name == slow else 5) for name, run in steps.items()}
    taken, _ = interleaved(candidates, args.rounds)
    memory = {name: _memory(name, args) for name in steps}
    rows = [
        {
            "method": name,
            "seconds per step": summarize(times),
            "speedup": ratios(taken[slow], times),
            "memory mb": memory[name] / 1e6,
            "memory ratio": memory[name] / memory[slow],
        }
        for name, times in taken.items()
    ]
    print_table(rows)
    return rows


def _memory(name: str, args: argparse.Namespace) -> float:
    quick = ["--quick"] if args.quick else []
    return run_subprocess(__file__, "--child", name, "--threads", args.threads, *quick)


def growth(name: str, quick: bool) -> int:
    """Return the bytes that the peak of two steps lies above what was resident before them."""
    run = sides(quick)[name]()
    return peak_memory(lambda: (run(), run()))


# --- a training epoch on ETTh1, beside an LSTM and a Transformer of as many parameters ---


def epoch(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a step of each; an epoch is as many steps as the windows of ETTh1 make."""
    rows, sizes = [], TINY if args.quick else SIZES
    for size, shapes in (QUICK_SHAPES if args.quick else SHAPES).items():
        mine = {name.format(*shape): module(sizes, *shape) for name, shape in shapes.items()}
        models: dict[str, nn.Module] = dict(mine)
        models |= {kind: sized(kind.lower(), size, *sizes[:2]) for kind in ("LSTM", "Transformer")}
        models["LSTM, teacher forcing"] = models["LSTM"]
        steps = {name: trainer(sizes, model, error(name, model)) for name, model in models.items()}
        for run in steps.values():
            run()
        taken, _ = interleaved({name: Candidate(run) for name, run in steps.items()}, args.rounds)
        for name, times in taken.items():
            peers = [peer for peer in taken if peer not in mine] if name in mine else []
            rows.append(
                {
                    "model": name,
                    "parameters": count(models[name]),
                    "seconds per epoch": summarize([t * -(-WINDOWS // sizes[2]) for t in times]),
                    "time saved": {peer: _less(times, taken[peer]) for peer in peers},
                }
            )
    print_table(rows)
    return rows


def _less(times: list[float], others: list[float]) -> dict[str, float]:
    """Share of the others' time that is saved, round by round."""
    return summarize([1 - a / b for a, b in zip(times, others, strict=True)])


def error(name: str, model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return our loss, or the squared error of a network that takes contexts to targets.

    An LSTM that is given the truth at each step of the horizon trains in one fused call, which is
    its fastest way; by its own forecasts it goes step by step, as it will when it forecasts.
    """
    if isinstance(model, SpaceTimeModule):
        return ours(model)
    if name.endswith("given the truth"):
        return lambda context, target: (model(context, target) - target).square().mean()
    return lambda context, target: (model(context) - target).square().mean()


# --- a layer by length and state size; a streamed point ---


def scaling(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Time a companion layer forth and back: 8 series of 16 channels."""
    lengths, states = ((64, 128), (8, 16)) if args.quick else (LENGTHS, STATES)
    by_length = [{"length": n, "seconds": layer(n, 64, args.rounds)} for n in lengths]
    long = 128 if args.quick else 4096
    by_state = [{"state": d, "seconds": layer(long, d, args.rounds)} for d in states]
    print_table(by_length)
    print_table(by_state)
    return {"by length": by_length, "by state": by_state}


def layer(length: int, state_size: int, rounds: int) -> float:
    """Return the median seconds of a layer, forth and back."""
    made = CompanionSSM(16, state_size, stability="reflection")
    signal = torch.randn(8, 1, 16, length, requires_grad=True)

    def run() -> None:
        made(signal).square().mean().backward()

    run()
    taken, _ = interleaved({"layer": Candidate(run, 3)}, rounds)
    return summarize(taken["layer"])["median"]


def stream(args: argparse.Namespace) -> dict[str, Any]:
    """Time a streamed point of one series after warming up, and that of the whole context."""
    wave = np.sin(np.arange(600) * 0.3)
    model = SpaceTime(
        SIZES[0], normalization="none", training=Training(epochs=0), random_state=0, device="cpu"
    ).fit(wave)
    read, point = model.stream(), np.array([0.5], dtype=np.float32)
    for _ in range(500):
        read.push(point)
    taken = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        for _ in range(1000):
            read.push(point)
        taken.append((time.perf_counter() - start) / 1000)
    found = {"width": model.width, "state": model.state_size, "seconds per point": summarize(taken)}
    print_table([found])
    return found


def draw(scaled: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Seconds by length and by state size, both axes logarithmic."""
    figure, axes = figures.new(columns=2)
    for one, (name, rows), title in zip(
        axes,
        scaled.items(),
        ("64 state values, by length", "4,096 points, by state size"),
        strict=True,
    ):
        key = name.removeprefix("by ")
        places, seconds = [row[key] for row in rows], [row["seconds"] for row in rows]
        one.plot(places, seconds, "o-", color=figures.COLORS[0], label="companion layer")
        if key == "length":
            slope = [seconds[0] * place / places[0] for place in places]
            one.plot(places, slope, ":", color="#555555", label="in proportion to the length")
        figures.logarithmic(one, [int(place) for place in places])
        one.set(title=f"A layer, forth and back: {title}", xlabel=key, ylabel="seconds")
    most = max(row["seconds"] for rows in scaled.values() for row in rows)
    for one in axes:  # the same scale: the states cost little beside the lengths
        one.set_ylim(1e-3, 4 * most)
    figures.save(figure, path, legend_columns=2)


if __name__ == "__main__":
    main()
