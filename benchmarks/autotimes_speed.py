"""Time of AutoTimes against the paper's procedure: a training step, a test at four horizons.

Both use the same language model and weights; a check that their forecasts agree precedes the
timing. tsar is timed in float32 too, which separates the gain of the procedure from that of the
precision.
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
from autotimes_baseline import (
    CONTEXT,
    DROPOUT,
    HORIZONS,
    SEGMENT,
    PaperModel,
    WindowDataset,
    rollout,
    test,
    training_step,
)
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
TOLERANCE = 1e-3


def main() -> None:
    """Check and time both methods at each depth."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--backbone", default="smollm2", help="a name or a folder")
    parser.add_argument("--depth", type=int, nargs="+", default=[2], help="number of blocks")
    parser.add_argument("--hidden", type=int, default=0, help="width of an MLP; 0: linear maps")
    parser.add_argument("--windows", type=int, default=64, help="test windows per channel")
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
        models = Models.of(args, depth, task)
        settings = {"depth": depth, "parameters": models.parameters}
        record["agreement"].append(settings | check_agreement(models, task))
        # Tested first, as training steps change the weights.
        for name, make in {"evaluation": evaluations, "step": training_steps}.items():
            rows = [settings | row for row in time_workloads(make(models, task), args)]
            record[name] += rows
            print_table([{k: v for k, v in row.items() if k != "errors"} for row in rows])
    print_record("autotimes_speed", args, record)


@dataclass(frozen=True)
class Task:
    """Data and sizes."""

    protocol: Protocol
    segment: int
    stride: int  # step between test windows
    batch: int
    test_batch: int
    steps: int  # training steps that are timed together

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Task":
        """ETTh1, or a few random walks."""
        if args.quick:
            return cls(random_walks(args.seed), 8, 40, batch=4, test_batch=8, steps=2)
        protocol = read_protocol("ETTh1")
        n_starts = len(protocol.frame) - protocol.validation - min(HORIZONS) + 1
        return cls(
            protocol, SEGMENT, -(-n_starts // args.windows), batch=64, test_batch=256, steps=4
        )

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
        """All rows as a panel."""
        return Panel.from_frame(self.protocol.frame).to("cpu", torch.float32)

    def starts(self, horizon: int) -> range:
        """First points of the test targets of a channel; fewer for a longer horizon."""
        protocol = self.protocol
        return range(protocol.validation, len(protocol.frame) - horizon + 1, self.stride)

    def starts_by_horizon(self) -> dict[int, list[int]]:
        """First points of the test targets, by the longest horizon at which they are tested."""
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

    def dataset(self, horizon: int) -> WindowDataset:
        """The same windows for the paper's procedure."""
        rows = self.protocol.frame.to_numpy(copy=True)[self.protocol.validation - self.context :]
        return WindowDataset(rows, self.context, self.segment, horizon, self.stride)


def random_walks(seed: int) -> Protocol:
    """Return three short random walks."""
    values = np.random.default_rng(seed).normal(size=(400, 3)).cumsum(axis=0)
    frame = pd.DataFrame((values - values.mean(axis=0)) / values.std(axis=0), columns=list("abc"))
    return Protocol("random_walks", frame, 200, 260)


@dataclass(frozen=True)
class Models:
    """The paper's model, and tsar's by precision, with the same weights."""

    paper: PaperModel
    tsar: dict[str, AutoTimesModule]
    training: Windows
    parameters: int  # of the language model

    @classmethod
    def of(cls, args: argparse.Namespace, depth: int, task: Task) -> "Models":
        """Load a language model for each, and copy the initial weights of tsar's maps."""
        protocol = task.protocol
        panel = Panel.from_frame(protocol.frame.iloc[: protocol.train]).to("cpu", torch.float32)
        training = Windows.sliding(panel, task.context, task.segment)
        plain = module(args, depth, task, "float32")
        # A copy, as the paper's is in training mode.
        language_model = copy.deepcopy(plain.backbone.model)
        paper = PaperModel(language_model, plain.backbone.width, task.segment, args.hidden)
        found = {"float32": plain}
        fast = resolve_precision("auto", torch.device("cpu"))
        if fast not in found and not args.quick:  # a model from scratch is float32
            found[fast] = module(args, depth, task, fast)
        for other in (paper, *found.values()):
            other.embed.load_state_dict(plain.embed.state_dict())
            other.project.load_state_dict(plain.project.state_dict())
        return cls(paper, found, training, sum(p.numel() for p in language_model.parameters()))


def module(args: argparse.Namespace, depth: int, task: Task, precision: Any) -> AutoTimesModule:
    """Return tsar's module before training."""
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
    untrained: Any = model.fit(task.protocol.frame.iloc[: 4 * task.context]).module_
    untrained.backbone.requires_grad_(False)  # also one from scratch
    return untrained


@torch.inference_mode()
def check_agreement(models: Models, task: Task) -> dict[str, Any]:
    """Return the largest differences of forecasts, in standard deviations of a channel.

    Every segment is compared separately, given tsar's forecasts of those before it: each further
    segment multiplies any difference, those of rounding too. For the check the paper's model adds
    nothing to the variance; the effect of that is recorded as well.

    Raises
    ------
    RuntimeError
        tsar's exact forecasts differ from the paper's, or its cached ones from those without cache.
    """
    horizon = max(task.horizons)
    length = math.ceil(horizon / task.segment) * task.segment
    starts, paper, plain = task.starts(horizon), models.paper, models.tsar["float32"]
    context = task.windows([starts[0], starts[-1]], horizon).batch(slice(None)).context
    references: dict[Generation, Callable[[Tensor], Tensor]] = {
        "exact": lambda known: paper_segments(paper, known, task.context),
        "cached": lambda known: uncached_segments(plain, known, task.context),
    }
    epsilon, paper.epsilon = paper.epsilon, 0.0
    differences: dict[str, Any] = {}
    for precision, model in models.tsar.items():
        model.eval()
        for generation, reference in references.items():
            name = f"{generation}, {precision}"
            forecast = generate(model, context, length, generation)[:, :, 0]
            error = reference(torch.cat([context.values, forecast], dim=1)) - forecast
            rms, scale = (float(x.square().mean().sqrt()) for x in (error, forecast))
            difference = {"largest": float(error.abs().max()), "share": rms / scale}
            differences[name] = difference
            if precision == "float32" and not difference["largest"] < TOLERANCE:
                raise RuntimeError(
                    f"{name}: forecasts must agree to {TOLERANCE}; got {difference}."
                )
    paper.epsilon = epsilon
    exact = generate(plain, context, length)[:, :, 0]
    known = torch.cat([context.values, exact], dim=1)
    with_epsilon = paper_segments(paper, known, task.context)
    rolled = rollout(paper, context.values[:, :, None], length)[:, :, 0]
    return {
        "differences": differences,
        "with the paper's epsilon": float((with_epsilon - exact).abs().max()),
        "with separate rollouts": float((rolled - exact).abs().max()),
    }


def paper_segments(model: PaperModel, known: Tensor, context: int) -> Tensor:
    """Forecast each segment after a context as the paper does, from the known values before it."""
    model.eval()
    windows = known.unfold(1, context, model.segment)[:, :-1]
    segments = model(windows.flatten(0, 1)[:, :, None])[:, -model.segment :, 0]
    return segments.unflatten(0, (len(known), -1)).flatten(1)


def uncached_segments(model: AutoTimesModule, known: Tensor, context: int) -> Tensor:
    """Forecast each segment after a context, normalized by it, from all known values before it."""
    model.eval()
    norm = instance_norm(known[:, :context], "standardize")
    segments = norm.normalize(known).unflatten(1, (-1, model.horizon))[:, :-1]
    hidden = model.backbone(model.embed(segments), attention_mask=None, position_ids=None)
    return norm.denormalize(model.project(hidden[:, context // model.horizon - 1 :]).flatten(1))


@dataclass(frozen=True)
class Workload:
    """A timed call, how often it does the work, and tokens and operations of the work."""

    call: Callable[[], Any]
    count: int
    tokens: int
    operations: float
    precision: str


def training_steps(models: Models, task: Task) -> dict[str, Workload]:
    """Return training steps: forward and backward through the frozen language model."""
    tokens = task.batch * task.context // task.segment
    operations = 4.0 * tokens * models.parameters
    protocol = task.protocol
    rows = protocol.frame.to_numpy(copy=True)[: protocol.train]
    items = WindowDataset(rows, task.context, task.segment, task.segment)
    step = training_step(models.paper, items, task.batch)
    calls: dict[str, tuple[Callable[[], Any], str]] = {
        PAPER: (lambda: [step() for _ in range(task.steps)], "float32")
    }
    none = replace(models.training, cutoffs=models.training.cutoffs[:0])
    recipe = replace(
        AutoTimes.recipe,
        epochs=1,
        batch_size=task.batch,
        epoch_windows=task.batch * task.steps,
        validation=0,
    )
    for precision, model in models.tsar.items():

        def run(model: AutoTimesModule = model) -> Any:
            return train(model, models.training, none, recipe, seed=0)

        calls[f"tsar, {precision}"] = run, precision
    for call, _ in calls.values():
        call()  # warm up
    return {
        name: Workload(call, task.steps, tokens, operations, precision)
        for name, (call, precision) in calls.items()
    }


def evaluations(models: Models, task: Task) -> dict[str, Workload]:
    """Return tests at all horizons: one run each, or prefixes of the longest forecast."""
    channels, n_context = len(task.panel), task.context // task.segment

    def n_segments(horizon: int) -> int:
        return math.ceil(horizon / task.segment)

    def work(call: Callable[[], Any], tokens: int, precision: str) -> Workload:
        total = tokens * channels
        return Workload(call, 1, total, 2.0 * total * models.parameters, precision)

    def published() -> dict[int, dict[str, float]]:
        runs = {h: task.dataset(h) for h in task.horizons}
        return {h: test(models.paper, items, task.test_batch) for h, items in runs.items()}

    found = {
        PAPER: work(
            published,
            sum(len(task.starts(h)) * n_context * n_segments(h) for h in task.horizons),
            "float32",
        )
    }
    starts_by_horizon = {h: len(starts) for h, starts in task.starts_by_horizon().items()}
    tokens: dict[Generation, int] = {
        "exact": sum(count * n_context * n_segments(h) for h, count in starts_by_horizon.items()),
        "cached": sum(
            count * (n_context + n_segments(h) - 1) for h, count in starts_by_horizon.items()
        ),
    }
    for precision, model in models.tsar.items():
        for generation, read in tokens.items():

            def run(model: AutoTimesModule = model, generation: Generation = generation) -> Any:
                return score(model, task, generation)

            found[f"tsar, {generation}, {precision}"] = work(run, read, precision)
    return found


def score(
    model: AutoTimesModule, task: Task, generation: Generation
) -> dict[int, dict[str, float]]:
    """Errors at all horizons, from one forecast of each window."""
    model.eval()
    totals = {horizon: torch.zeros(3, dtype=torch.float64) for horizon in task.horizons}
    for longest, starts in task.starts_by_horizon().items():
        with torch.inference_mode():
            for batch in task.windows(starts, longest).batches(task.test_batch):
                error = generate(model, batch.context, longest, generation)[..., 0] - batch.target
                for horizon in (h for h in task.horizons if h <= longest):
                    part = error[:, :horizon].double()
                    squared, absolute = part.square().sum(), part.abs().sum()
                    totals[horizon] += torch.stack(
                        [squared, absolute, part.new_tensor(part.numel())]
                    )
    return {h: {"mse": float(s / n), "mae": float(a / n)} for h, (s, a, n) in totals.items()}


def time_workloads(
    workloads: dict[str, Workload], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time the workloads, and a large matrix product for the peak of the machine."""
    size = 128 if args.quick else 2048
    precisions = dict.fromkeys(work.precision for work in workloads.values())
    candidates = {name: Candidate(work.call) for name, work in workloads.items()}
    seconds, results = interleaved(
        candidates | {precision: matrix_product(precision, size) for precision in precisions},
        args.rounds,
    )
    rows = []
    for name, work in workloads.items():
        times = [elapsed / work.count for elapsed in seconds[name]]
        rates = [work.operations / elapsed for elapsed in times]
        peaks = [2 * size**3 / elapsed for elapsed in seconds[work.precision]]
        row = {
            "method": name,
            "seconds": summarize(times),
            "speedup": ratios(seconds[PAPER], seconds[name]),
            "tokens": work.tokens,
            "tokens per second": summarize([work.tokens / elapsed for elapsed in times]),
            "gigaflops": summarize([rate / 1e9 for rate in rates]),
            "share of the peak": ratios(rates, peaks),
            "peak gigaflops": summarize([peak / 1e9 for peak in peaks]),
        }
        rows.append(row | _errors(results[name], results[PAPER], name))
    return rows


def _errors(found: Any, paper: Any, name: str) -> dict[str, Any]:
    """Errors by horizon of a test; at one segment they must equal the paper's."""
    if not isinstance(found, dict):
        return {}
    if name == "tsar, exact, float32":
        shortest = min(found)
        actual, expected = found[shortest]["mse"], paper[shortest]["mse"]
        if not abs(actual - expected) < TOLERANCE * max(expected, 1.0):
            raise RuntimeError(f"errors must agree to {TOLERANCE}; got {actual} and {expected}.")
    return {"errors": found}


def matrix_product(precision: str, size: int) -> Candidate:
    """Return a large matrix product."""
    dtype = getattr(torch, precision)
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    result = left @ right
    return Candidate(lambda: torch.mm(left, right, out=result), 3)


if __name__ == "__main__":
    main()
