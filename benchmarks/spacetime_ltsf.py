"""SpaceTime, NLinear, DLinear and ARNet on long-horizon benchmarks by the published protocol."""

import argparse
import statistics
from dataclasses import asdict
from typing import Any

from ltsf import HORIZONS, join_seeds
from measure import argument_parser, print_record, print_table, set_threads

from tsar import ARNet, DLinear, NLinear, SpaceTime, Training, benchmark
from tsar.evaluation.benchmarking import fit_protocol, read_protocol, score_protocol
from tsar.forecasters.base import Forecaster

BEYOND = (960, 1920)  # longer than all training horizons
CONTEXT = 336
# Chosen by the validation loss of the univariate ETTh1 at horizon 336 only.
RECIPE = Training(
    epochs=4,
    learning_rate=5e-3,
    batch_size=64,
    patience=4,
    epoch_windows=8192,
    ema_decay=0.99,
)
# As in ltsf.py, with the same number of windows per step.
LINEAR = Training(epochs=10, learning_rate=5e-3, batch_size=64, patience=10, epoch_windows=16384)
STATE_SIZE = {"ETTm1": 96, "weather": 144}  # points of a day; otherwise 64
# Mean squared errors of the SpaceTime paper (arXiv 2303.09489, univariate), from memory: not
# verified against its tables.
UNVERIFIED = {
    ("ETTh1", "SpaceTime"): (0.054, 0.066, 0.069, 0.076),
    ("ETTm1", "SpaceTime"): (0.026, 0.039, 0.051, 0.074),
}


def main() -> None:
    """Score the models on a data set, one channel or all."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--series", nargs="*", help="channels; all of them by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--horizons", type=int, nargs="+", default=list(HORIZONS))
    parser.add_argument(
        "--beyond", action="store_true", help="horizons 960 and 1920, trained on shorter ones"
    )
    args = parser.parse_args()
    set_threads(args.threads)
    univariate = args.series == ["OT"]
    if args.beyond:
        rows = beyond(args)
    else:
        table = benchmark(args.dataset, models(args), args.horizons, series=args.series)
        rows = join_seeds(
            table.reset_index(), UNVERIFIED if univariate else {}, "paper mse, unverified"
        )
    print_table(rows)
    settings = {"context": CONTEXT, "training": asdict(RECIPE), "linear": asdict(LINEAR)}
    kind = "-".join(args.series) if args.series else "all"
    name = f"spacetime_{'beyond' if args.beyond else 'ltsf'}_{args.dataset}_{kind}"
    print_record(name, args, settings | {"seeds": args.seeds, "rows": rows})


def models(args: argparse.Namespace) -> dict[str, Forecaster]:
    """Return the models by name; networks once per seed, as NAME#SEED."""
    candidates: dict[str, Forecaster] = {
        "ARNet global, direct": ARNet(
            CONTEXT, strategy="direct", sparsity=None, scope="global", device="cpu"
        )
    }
    for seed in range(args.seed, args.seed + args.seeds):
        shared: dict[str, Any] = {"random_state": seed, "device": "cpu"}
        linear = {**shared, "training": quick(LINEAR, args)}
        candidates[f"NLinear#{seed}"] = NLinear(CONTEXT, **linear)
        candidates[f"DLinear#{seed}"] = DLinear(CONTEXT, **linear)
        candidates[f"SpaceTime#{seed}"] = spacetime(args, seed)
    return candidates


def spacetime(args: argparse.Namespace, seed: int) -> SpaceTime:
    """Return SpaceTime with the options that are scored."""
    return SpaceTime(
        CONTEXT,
        state_size=STATE_SIZE.get(args.dataset, 64),
        width=32,
        normalization="standardize",
        dropout=0.3,
        training=quick(RECIPE, args),
        random_state=seed,
        device="cpu",
    )


def quick(training: Training, args: argparse.Namespace) -> Training:
    """Return the training options, or those of a smoke run with `--quick`."""
    return Training(epochs=1, epoch_windows=128) if args.quick else training


def beyond(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Score SpaceTime beyond its training horizon, in closed loop; NLinear trains for each."""
    protocol = read_protocol(args.dataset, args.series or None)
    horizons = [h for h in BEYOND if h < len(protocol.frame) - protocol.validation]
    seeds = range(args.seed, args.seed + args.seeds)
    rows = []
    for trained in (96, 720):
        fitted = [fit_protocol(protocol, spacetime(args, seed), trained) for seed in seeds]
        for horizon in horizons:
            scores = [score_protocol(protocol, model, horizon)["mse"] for model in fitted]
            rows.append(_row(f"SpaceTime trained at {trained}", horizon, scores))
    for horizon in horizons:
        linear = [
            NLinear(CONTEXT, training=quick(LINEAR, args), random_state=seed, device="cpu")
            for seed in seeds
        ]
        scores = [
            score_protocol(protocol, fit_protocol(protocol, model, horizon), horizon)["mse"]
            for model in linear
        ]
        rows.append(_row("NLinear trained for it", horizon, scores))
    return rows


def _row(model: str, horizon: int, scores: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(scores) if len(scores) > 1 else None
    return {
        "model": model,
        "horizon": horizon,
        "mse": statistics.mean(scores),
        "mse deviation": deviation,
    }


if __name__ == "__main__":
    main()
