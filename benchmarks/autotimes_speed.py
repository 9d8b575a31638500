"""Time of AutoTimes against the paper's procedure: a training step, a test of four horizons.

Both sides read with the same body and have the same weights; that they forecast the same is checked
before anything is timed. tsar's side is timed in float32 too: what that gains is the procedure's,
the rest is the precision's.
"""

import argparse
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from autotimes_baseline import CONTEXT, DROPOUT, HORIZONS, SEGMENT, Pairs, Paper, roll, steps, test
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    print_record,
    print_table,
    ratios,
    set_threads,
    summarize,
)
from torch import Tensor

from tsar import AutoTimes
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.evaluation.benchmarking import Protocol, read_protocol
from tsar.forecasters.autotimes.estimator import resolve_precision
from tsar.forecasters.autotimes.generation import Generation, generate
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.nn.normalization import instance_norm
from tsar.training import train

PAPER = "paper's procedure, float32"
CLOSE = 1e-3


def main() -> None:
    """Check and time both sides at every number of layers."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--backbone", default="smollm2", help="a name or a folder")
    parser.add_argument("--depth", type=int, nargs="+", default=[2], help="blocks of it")
    parser.add_argument("--hidden", type=int, default=0, help="width of an MLP; 0: linear maps")
    parser.add_argument("--windows", type=int, default=64, help="tested windows of a channel")
    args = parser.parse_args()
    set_threads(args.threads)
    task = Task.of(args)
    record: dict[str, Any] = {
        "backbone": args.backbone,
        "hidden": args.hidden,
        "batch": task.batch,
        "test batch": task.test_batch,
        "windows": {h: len(task.starts(h)) * len(task.panel) for h in task.horizons},
        "agreement": [],
        "step": [],
        "evaluation": [],
    }
    for depth in [1] if args.quick else args.depth:
        sides = Sides.of(args, depth, task)
        told = {"depth": depth, "parameters": sides.parameters}
        record["agreement"].append(told | agreement(sides, task))
        # Tested first: steps of training change the weights.
        for name, make in {"evaluation": evaluations, "step": trained}.items():
            rows = [told | row for row in measured(make(sides, task), args)]
            record[name] += rows
            print_table([{k: v for k, v in row.items() if k != "errors"} for row in rows])
    print_record("autotimes_speed", args, record)


# --- what both sides do ---


@dataclass(frozen=True)
class Task:
    """The data, as rows and as a panel, and the sizes."""

    protocol: Protocol
    segment: int
    stride: int  # from one tested window to the next
    batch: int
    test_batch: int
    steps: int  # that are timed at once

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Task":
        """ETTh1, or a few random walks."""
        if args.quick:
            return cls(walk(args.seed), 8, 40, batch=4, test_batch=8, steps=2)
        protocol = read_protocol("ETTh1")
        most = len(protocol.frame) - protocol.validation - min(HORIZONS) + 1
        return cls(protocol, SEGMENT, -(-most // args.windows), batch=64, test_batch=256, steps=4)

    @property
    def context(self) -> int:
        """Points of a context."""
        return self.segment * CONTEXT // SEGMENT

    @property
    def horizons(self) -> list[int]:
        """Points of the horizons."""
        return [self.segment * horizon // SEGMENT for horizon in HORIZONS]

    @cached_property
    def panel(self) -> Panel:
        """All rows, as tsar has them."""
        return Panel.from_frame(self.protocol.frame).to("cpu", torch.float32)

    def starts(self, horizon: int) -> range:
        """First points of the tested targets of a channel: the longer, the fewer."""
        protocol = self.protocol
        return range(protocol.validation, len(protocol.frame) - horizon + 1, self.stride)

    def reaches(self) -> dict[int, list[int]]:
        """First points of the tested targets, by the longest horizon that they are tested at."""
        found: dict[int, list[int]] = {}
        for start in self.starts(min(self.horizons)):
            longest = max(h for h in self.horizons if start in self.starts(h))
            found.setdefault(longest, []).append(start)
        return found

    def windows(self, starts: list[int] | range, horizon: int) -> Windows:
        """Windows of all channels with these targets."""
        series = torch.arange(len(self.panel)).repeat_interleave(len(starts))
        points = torch.tensor(starts).repeat(len(self.panel))
        return Windows.at(self.panel, self.context, horizon, series, points)

    def pairs(self, horizon: int) -> Pairs:
        """The same, as the paper's code has them."""
        rows = self.protocol.frame.to_numpy(copy=True)[self.protocol.validation - self.context :]
        return Pairs(rows, self.context, self.segment, horizon, self.stride)


def walk(seed: int) -> Protocol:
    """Return three short random walks."""
    values = np.random.default_rng(seed).normal(size=(400, 3)).cumsum(axis=0)
    frame = pd.DataFrame((values - values.mean(axis=0)) / values.std(axis=0), columns=list("abc"))
    return Protocol("walk", frame, 200, 260)


@dataclass(frozen=True)
class Sides:
    """The paper's model, and tsar's by precision, all with the same weights."""

    paper: Paper
    tsar: dict[str, AutoTimesModule]
    training: Windows
    parameters: int  # of the body

    @classmethod
    def of(cls, args: argparse.Namespace, depth: int, task: Task) -> "Sides":
        """Load a body for each side, and give both the weights that tsar's begins with."""
        protocol = task.protocol
        panel = Panel.from_frame(protocol.frame.iloc[: protocol.train]).to("cpu", torch.float32)
        training = Windows.sliding(panel, task.context, task.segment)
        plain = module(args, depth, task, "float32")
        # The paper's trains along, which a body that is shared could not.
        body = copy.deepcopy(plain.backbone.model)
        paper = Paper(body, plain.backbone.width, task.segment, args.hidden)
        found = {"float32": plain}
        fast = resolve_precision("auto", torch.device("cpu"))
        if fast not in found and not args.quick:  # a body from scratch is float32
            found[fast] = module(args, depth, task, fast)
        for other in (paper, *found.values()):
            other.embed.load_state_dict(plain.embed.state_dict())
            other.project.load_state_dict(plain.project.state_dict())
        return cls(paper, found, training, sum(p.numel() for p in body.parameters()))


def module(args: argparse.Namespace, depth: int, task: Task, precision: Any) -> AutoTimesModule:
    """Return tsar's module as it is before it is trained."""
    model = AutoTimes(
        task.context,
        horizon=task.segment,
        segment_length=task.segment,
        backbone=None if args.quick else args.backbone,
        depth=depth,
        width=32,
        hidden=(args.hidden,) if args.hidden else (),
        dropout=DROPOUT,
        precision=precision,
        training=replace(AutoTimes.recipe, epochs=0, validation=0),
        device="cpu",
        random_state=args.seed,
    )
    made: Any = model.fit(task.protocol.frame.iloc[: 4 * task.context]).module_
    made.backbone.requires_grad_(False)  # one from scratch would be trained
    return made


# --- that both sides forecast the same ---


@torch.inference_mode()
def agreement(sides: Sides, task: Task) -> dict[str, Any]:
    """Return the largest differences of forecasts, in deviations of a channel.

    Every segment is compared by itself, each side given tsar's forecasts of those before it: beyond
    a segment any difference grows several times a step, and that of rounding does too. For the
    check the paper's model adds nothing to the variance; what that changes is told beside.

    Raises
    ------
    RuntimeError
        tsar's exact forecasts are not the paper's, or its cached ones not those without a cache.
    """
    horizon = max(task.horizons)
    whole = math.ceil(horizon / task.segment) * task.segment
    starts, paper, plain = task.starts(horizon), sides.paper, sides.tsar["float32"]
    context = task.windows([starts[0], starts[-1]], horizon).batch(slice(None)).context
    again: dict[Generation, Callable[[Tensor], Tensor]] = {
        "exact": lambda known: reread(paper, known, task.context),
        "cached": lambda known: uncached(plain, known, task.context),
    }
    epsilon, paper.epsilon = paper.epsilon, 0.0
    found: dict[str, Any] = {}
    for precision, model in sides.tsar.items():
        model.eval()
        for generation, other in again.items():
            name = f"{generation}, {precision}"
            told = generate(model, context, whole, generation)[:, :, 0]
            error = other(torch.cat([context.values, told], dim=1)) - told
            found[name] = {
                "largest": float(error.abs().max()),
                "share": float(error.square().mean().sqrt() / told.square().mean().sqrt()),
            }
            if precision == "float32" and not found[name]["largest"] < CLOSE:
                raise RuntimeError(f"{name}: forecasts must agree to {CLOSE}; got {found[name]}.")
    paper.epsilon = epsilon
    exact = generate(plain, context, whole)[:, :, 0]
    known = torch.cat([context.values, exact], dim=1)
    rolled = roll(paper, context.values[:, :, None], whole)[:, :, 0]
    return {
        "differences": found,
        "with the paper's epsilon": float((reread(paper, known, task.context) - exact).abs().max()),
        "and each rolled by itself": float((rolled - exact).abs().max()),
    }


def reread(model: Paper, known: Tensor, context: int) -> Tensor:
    """Forecast each segment behind a context as the paper does, from what is known before it."""
    model.eval()
    windows = known.unfold(1, context, model.segment)[:, :-1]
    pieces = model(windows.flatten(0, 1)[:, :, None])[:, -model.segment :, 0]
    return pieces.unflatten(0, (len(known), -1)).flatten(1)


def uncached(model: AutoTimesModule, known: Tensor, context: int) -> Tensor:
    """Forecast each segment behind a context in its units, from all that is known before it."""
    model.eval()
    units = instance_norm(known[:, :context], "standardize")
    segments = units.normalize(known).unflatten(1, (-1, model.horizon))[:, :-1]
    hidden = model.backbone(model.embed(segments), attention_mask=None, position_ids=None)
    return units.denormalize(model.project(hidden[:, context // model.horizon - 1 :]).flatten(1))


# --- what is timed ---


@dataclass(frozen=True)
class Work:
    """What is timed, as often as it is done in a call, and the arithmetic of one."""

    call: Callable[[], Any]
    count: int
    tokens: int
    operations: float
    precision: str


def trained(sides: Sides, task: Task) -> dict[str, Work]:
    """Return steps of training; of the frozen body forth, and back to what is below it."""
    tokens = task.batch * task.context // task.segment
    operations = 4.0 * tokens * sides.parameters
    protocol = task.protocol
    rows = protocol.frame.to_numpy(copy=True)[: protocol.train]
    items = Pairs(rows, task.context, task.segment, task.segment)
    step = steps(sides.paper, items, task.batch)
    calls: dict[str, tuple[Callable[[], Any], str]] = {
        PAPER: (lambda: [step() for _ in range(task.steps)], "float32")
    }
    none = replace(sides.training, cutoffs=sides.training.cutoffs[:0])
    recipe = replace(
        AutoTimes.recipe,
        epochs=1,
        batch_size=task.batch,
        epoch_windows=task.batch * task.steps,
        validation=0,
    )
    for precision, model in sides.tsar.items():

        def run(model: AutoTimesModule = model) -> Any:
            return train(model, sides.training, none, recipe, seed=0)

        calls[f"tsar, {precision}"] = run, precision
    for call, _ in calls.values():
        call()  # warm
    return {
        name: Work(call, task.steps, tokens, operations, precision)
        for name, (call, precision) in calls.items()
    }


def evaluations(sides: Sides, task: Task) -> dict[str, Work]:
    """Return tests of all horizons: in a run each, or by prefixes of the longest forecast."""
    channels, seen = len(task.panel), task.context // task.segment

    def ahead(horizon: int) -> int:
        return math.ceil(horizon / task.segment)

    def work(call: Callable[[], Any], tokens: int, precision: str) -> Work:
        total = tokens * channels
        return Work(call, 1, total, 2.0 * total * sides.parameters, precision)

    def published() -> dict[int, dict[str, float]]:
        runs = {h: task.pairs(h) for h in task.horizons}
        return {h: test(sides.paper, items, task.test_batch) for h, items in runs.items()}

    found = {
        PAPER: work(
            published, sum(len(task.starts(h)) * seen * ahead(h) for h in task.horizons), "float32"
        )
    }
    reaches = {h: len(starts) for h, starts in task.reaches().items()}
    tokens: dict[Generation, int] = {
        "exact": sum(count * seen * ahead(h) for h, count in reaches.items()),
        "cached": sum(count * (seen + ahead(h) - 1) for h, count in reaches.items()),
    }
    for precision, model in sides.tsar.items():
        for generation, read in tokens.items():

            def run(model: AutoTimesModule = model, generation: Generation = generation) -> Any:
                return scored(model, task, generation)

            found[f"tsar, {generation}, {precision}"] = work(run, read, precision)
    return found


def scored(
    model: AutoTimesModule, task: Task, generation: Generation
) -> dict[int, dict[str, float]]:
    """Errors of all horizons: each window is rolled once, as far as it can be scored."""
    model.eval()
    totals = {horizon: torch.zeros(3, dtype=torch.float64) for horizon in task.horizons}
    for reach, starts in task.reaches().items():
        with torch.inference_mode():
            for batch in task.windows(starts, reach).batches(task.test_batch):
                error = generate(model, batch.context, reach, generation)[..., 0] - batch.target
                for horizon in (h for h in task.horizons if h <= reach):
                    part = error[:, :horizon].double()
                    squared, absolute = part.square().sum(), part.abs().sum()
                    totals[horizon] += torch.stack(
                        [squared, absolute, part.new_tensor(part.numel())]
                    )
    return {h: {"mse": float(s / n), "mae": float(a / n)} for h, (s, a, n) in totals.items()}


def measured(works: dict[str, Work], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the works, and beside them what the machine can do: a large product of matrices."""
    size = 128 if args.quick else 2048
    precisions = dict.fromkeys(work.precision for work in works.values())
    sides = {name: Candidate(work.call) for name, work in works.items()}
    taken, results = interleaved(
        sides | {precision: product(precision, size) for precision in precisions}, args.rounds
    )
    rows = []
    for name, work in works.items():
        times = [seconds / work.count for seconds in taken[name]]
        rates = [work.operations / seconds for seconds in times]
        limits = [2 * size**3 / seconds for seconds in taken[work.precision]]
        row = {
            "method": name,
            "seconds": summarize(times),
            "speedup": ratios(taken[PAPER], [t * work.count for t in times]),
            "tokens": work.tokens,
            "tokens per second": summarize([work.tokens / seconds for seconds in times]),
            "gigaflops": summarize([rate / 1e9 for rate in rates]),
            "share of the peak": ratios(rates, limits),
            "peak gigaflops": summarize([limit / 1e9 for limit in limits]),
        }
        rows.append(row | _errors(results[name], results[PAPER], name))
    return rows


def _errors(found: Any, paper: Any, name: str) -> dict[str, Any]:
    """Errors by horizon, where there are any; of one segment they must be the paper's."""
    if not isinstance(found, dict):
        return {}
    if name == "tsar, exact, float32":
        nearest = min(found)
        ours, theirs = found[nearest]["mse"], paper[nearest]["mse"]
        if not abs(ours - theirs) < CLOSE * max(theirs, 1.0):
            raise RuntimeError(f"errors must agree to {CLOSE}; got {ours} and {theirs}.")
    return {"errors": found}


def product(precision: str, size: int) -> Candidate:
    """Return a large product of matrices."""
    dtype = getattr(torch, precision)
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    result = left @ right
    return Candidate(lambda: torch.mm(left, right, out=result), 3)


if __name__ == "__main__":
    main()
