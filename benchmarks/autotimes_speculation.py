"""Speculative generation against cached: proposals accepted, speed, difference of forecasts."""

import argparse
import statistics
import time
from functools import partial
from typing import Any, NamedTuple

import torch
from autotimes_ltsf import CONTEXT, RECIPE, SEGMENT
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    print_record,
    print_table,
    ratios,
    set_threads,
)

from tsar import AutoTimes, Training
from tsar.data.batch import Batch
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.evaluation.benchmarking import Protocol, fit_protocol, read_protocol
from tsar.forecasters.autotimes.generation import generate
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation, speculate

HORIZON = 720
TOLERANCES = (0.0, 0.1, 0.25, 0.5, 1.0)  # in standard deviations of the context


class Forecast(NamedTuple):
    """Point forecasts, the share of proposals accepted, and the passes of the backbone."""

    point: torch.Tensor
    accepted: float | None
    passes: int


def main() -> None:
    """Fit once, then forecast the same test windows with and without speculation."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--draft-length", type=int, nargs="+", default=[2, 4])
    args = parser.parse_args()
    set_threads(args.threads)
    protocol = read_protocol(args.dataset)
    start = time.perf_counter()
    fitted = fit_protocol(protocol, make_model(args), SEGMENT)
    seconds = time.perf_counter() - start
    batch = test_batch(protocol, fitted, 16 if args.quick else args.windows)
    rows = compare(fitted.module_.eval(), batch, args)
    print_table(rows)
    record = {"horizon": HORIZON, "depth": args.depth, "fit seconds": seconds, "rows": rows}
    print_record(f"autotimes_speculation_{args.dataset}", args, record)


def make_model(args: argparse.Namespace) -> AutoTimes:
    """Return AutoTimes before it is fitted."""
    quick = {"backbone": None, "depth": 1, "training": Training(epochs=1, epoch_windows=128)}
    full = {"depth": args.depth, "training": RECIPE}
    return AutoTimes(
        CONTEXT,
        segment_length=SEGMENT,
        random_state=args.seed,
        device="cpu",
        **quick if args.quick else full,
    )


def test_batch(protocol: Protocol, fitted: AutoTimes, windows: int) -> Batch:
    """Return evenly spaced test windows of all series, in scaled units."""
    panel = fitted.scaling_.apply(Panel.from_frame(protocol.frame)).to("cpu", torch.float32)
    first = torch.full((len(panel),), protocol.validation)
    test_windows = Windows.sliding(panel, CONTEXT, HORIZON, first=first).subsample(windows)
    return test_windows.batch(slice(None))


def compare(
    module: AutoTimesModule, batch: Batch, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time each method in turn, relative to cached generation."""
    methods: dict[str, Speculation | None] = {"cached": None} | {
        f"draft length {length}, tolerance {tolerance:g}": Speculation(tolerance, length)
        for length in args.draft_length
        for tolerance in TOLERANCES
    }
    candidates = {
        name: Candidate(partial(forecast, module, batch, options))
        for name, options in methods.items()
    }
    with torch.inference_mode():
        for candidate in list(candidates.values())[:2]:
            candidate.call()  # warm up
        seconds, results = interleaved(candidates, 1 if args.quick else args.rounds)
    cached: torch.Tensor = results["cached"].point
    return [
        {
            "method": name,
            "accepted": results[name].accepted,
            "passes": results[name].passes,
            "seconds": statistics.median(seconds[name]),
            "speedup": ratios(seconds["cached"], seconds[name]),
            "mse": float((results[name].point - batch.target).square().mean()),
            "rms from cached": float((results[name].point - cached).square().mean().sqrt()),
        }
        for name in methods
    ]


def forecast(module: AutoTimesModule, batch: Batch, options: Speculation | None) -> Forecast:
    """Forecast with cached or speculative generation."""
    if options is None:
        output = generate(module, batch.context, HORIZON, "cached")
        return Forecast(output[..., module.point], None, -(-HORIZON // SEGMENT))
    found = speculate(module, batch.context, HORIZON, options)
    accepted = found.accepted / max(found.proposed, 1)
    return Forecast(found.output[..., module.point], accepted, found.passes)


if __name__ == "__main__":
    main()
