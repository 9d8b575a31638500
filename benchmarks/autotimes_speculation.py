"""Does speculation pay? What a draft's proposals are kept, what that saves, and what it costs."""

import argparse
import time
from typing import Any

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
TOLERANCES = (0.0, 0.1, 0.25, 0.5, 1.0)  # in deviations of the context


def main() -> None:
    """Fit once, then forecast the same test windows with and without speculation."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--ahead", type=int, nargs="+", default=[2, 4])
    args = parser.parse_args()
    set_threads(args.threads)
    protocol = read_protocol(args.dataset)
    start = time.perf_counter()
    fitted = fit_protocol(protocol, model(args), SEGMENT)
    spent = time.perf_counter() - start
    batch = test_batch(protocol, fitted, 16 if args.quick else args.windows)
    rows = compare(fitted.module_.eval(), batch, args)
    print_table(rows)
    name = f"autotimes_speculation_{args.dataset}"
    print_record(name, args, {"horizon": HORIZON, "depth": args.depth, "fit": spent, "rows": rows})


def model(args: argparse.Namespace) -> AutoTimes:
    """Return AutoTimes as it is fitted."""
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
    """Return test windows of all series, spread evenly, in the units of the model."""
    panel = fitted.scaling_.apply(Panel.from_frame(protocol.frame)).to("cpu", torch.float32)
    first = torch.full((len(panel),), protocol.validation)
    found = Windows.sliding(panel, CONTEXT, HORIZON, first=first).subsample(windows)
    return found.batch(slice(None))


def compare(
    module: AutoTimesModule, batch: Batch, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time each way in turn; the cached one is what the others are measured by."""
    ways = {"cached": None} | {
        f"ahead {ahead}, tolerance {tolerance:g}": Speculation(tolerance, ahead)
        for ahead in args.ahead
        for tolerance in TOLERANCES
    }
    sides = {
        name: Candidate(lambda how=how: forecast(module, batch, how)) for name, how in ways.items()
    }
    with torch.inference_mode():
        for side in list(sides.values())[:2]:
            side.call()  # warm
        taken, results = interleaved(sides, 1 if args.quick else args.rounds)
    plain = results["cached"][0]
    rows = []
    for name in ways:
        output, kept, passes = results[name]
        rows.append(
            {
                "way": name,
                "kept": kept,
                "passes": passes,
                "seconds": sorted(taken[name])[len(taken[name]) // 2],
                "speedup": ratios(taken["cached"], taken[name]),
                "mse": float((output - batch.target).square().mean()),
                "from cached": float((output - plain).square().mean().sqrt()),
            }
        )
    return rows


def forecast(
    module: AutoTimesModule, batch: Batch, how: Speculation | None
) -> tuple[torch.Tensor, float | None, int]:
    """Return point forecasts, the share of proposals kept, and passes of the module."""
    if how is None:
        output = generate(module, batch.context, HORIZON, "cached")
        return output[..., module.point], None, -(-HORIZON // SEGMENT)
    found = speculate(module, batch.context, HORIZON, how)
    return found.output[..., module.point], found.accepted / max(found.proposed, 1), found.passes


if __name__ == "__main__":
    main()
