"""Time and memory of a training step of AutoTimes, with and without gradient checkpointing."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from autotimes_ltsf import CONTEXT, SEGMENT
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    peak_memory,
    print_record,
    print_table,
    run_subprocess,
    set_threads,
    summarize,
)

from tsar import AutoTimes
from tsar.data.batch import Batch, Context

METHODS = {"no checkpointing": False, "gradient checkpointing": True}


def main() -> None:
    """Time both methods in one process, and measure the memory of each in a new process."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--backbone", default="smollm2", help="a name or a folder")
    parser.add_argument("--depth", type=int, nargs="+", default=[30], help="number of blocks")
    parser.add_argument("--batch", type=int, default=64, help="windows per step")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "DEPTH"))
    args = parser.parse_args()
    set_threads(args.threads)
    if args.child:
        run = step(args.child[0], int(args.child[1]), args)
        print(json.dumps(peak_memory(lambda: (run(), run()))))
        return
    rows = [row for depth in ([1] if args.quick else args.depth) for row in compare(depth, args)]
    print_record("autotimes_memory", args, {"batch": args.batch, "context": CONTEXT, "rows": rows})


def compare(depth: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the seconds and memory of a step with both methods."""
    calls = {name: step(name, depth, args) for name in METHODS}
    for call in calls.values():
        call()  # warm up
    seconds, _ = interleaved(
        {name: Candidate(call, 3) for name, call in calls.items()}, args.rounds
    )
    rows = [
        {
            "depth": depth,
            "method": name,
            "seconds per step": summarize(times),
            "memory mb": _memory(name, depth, args) / 1e6,
        }
        for name, times in seconds.items()
    ]
    print_table(rows)
    return rows


def step(name: str, depth: int, args: argparse.Namespace) -> Callable[[], None]:
    """Return a training step on a batch of noise."""
    torch.manual_seed(args.seed)
    values = torch.randn(8 if args.quick else args.batch, CONTEXT + SEGMENT)
    model = AutoTimes(
        CONTEXT,
        segment_length=SEGMENT,
        backbone=None if args.quick else args.backbone,
        depth=depth,
        gradient_checkpointing=METHODS[name],
        training=replace(AutoTimes.recipe, epochs=0, validation=0),
        random_state=args.seed,
        device="cpu",
    )
    module: Any = model.fit(values[:4].flatten().numpy()).module_
    context = replace(Context.of(values[:, :CONTEXT]), gapless=True)
    batch = Batch(context, values[:, CONTEXT:])
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    module.train()

    def run() -> None:
        optimizer.zero_grad()
        module.loss(batch).backward()
        optimizer.step()

    return run


def _memory(name: str, depth: int, args: argparse.Namespace) -> float:
    options = ["--threads", args.threads, "--backbone", args.backbone, "--batch", args.batch]
    options += ["--seed", args.seed, *(["--quick"] if args.quick else [])]
    return run_subprocess(__file__, "--child", name, depth, *options)


if __name__ == "__main__":
    main()
