"""SpaceTime by the published protocol of long horizons, beside NLinear, DLinear and ARNet."""

import argparse
import statistics
from dataclasses import asdict
from typing import Any

from ltsf import HORIZONS, join_seeds
from measure import argument_parser, print_record, print_table, set_threads

from tsar import ARNet, DLinear, NLinear, SpaceTime, Training, benchmark
from tsar.evaluation.benchmarking import fit_protocol, read_protocol, score_protocol
from tsar.forecasters.base import Forecaster

BEYOND = (960, 1920)  # further than any of the horizons that are trained for
CONTEXT = 336
# Chosen by the validation loss of the univariate ETTh1 at 336 alone.
RECIPE = Training(
    epochs=4,
    learning_rate=5e-3,
    batch_size=64,
    patience=4,
    epoch_windows=8192,
    ema_decay=0.99,
)
# As in ltsf.py, with as many windows a step as there.
LINEAR = Training(epochs=10, learning_rate=5e-3, batch_size=64, patience=10, epoch_windows=16384)
STATE = {"ETTm1": 96, "weather": 144}  # a day; elsewhere 64
# Mean squared errors of the SpaceTime paper (arXiv 2303.09489, univariate), as recalled: not
# verified against its tables.
RECALLED = {
    ("ETTh1", "SpaceTime"): (0.054, 0.066, 0.069, 0.076),
    ("ETTm1", "SpaceTime"): (0.026, 0.039, 0.051, 0.074),
}


def main() -> None:
    """Score the models on a data set, one channel or all."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--series", nargs="*", help="channels; none given: all of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--horizons", type=int, nargs="+", default=list(HORIZONS))
    parser.add_argument(
        "--beyond", action="store_true", help="960 and 1920 instead, trained shorter"
    )
    args = parser.parse_args()
    set_threads(args.threads)
    alone = args.series == ["OT"]
    if args.beyond:
        rows = beyond(args)
    else:
        table = benchmark(args.dataset, lineup(args), args.horizons, series=args.series)
        rows = join_seeds(table.reset_index(), RECALLED if alone else {}, "paper mse, unverified")
    print_table(rows)
    facts = {"context": CONTEXT, "training": asdict(RECIPE), "linear": asdict(LINEAR)}
    kind = "-".join(args.series) if args.series else "all"
    name = f"spacetime_{'beyond' if args.beyond else 'ltsf'}_{args.dataset}_{kind}"
    print_record(name, args, facts | {"seeds": args.seeds, "rows": rows})


def lineup(args: argparse.Namespace) -> dict[str, Forecaster]:
    """Return the models by name, the trained ones once a seed, as NAME#SEED."""
    models: dict[str, Forecaster] = {
        "ARNet global, direct": ARNet(
            CONTEXT, strategy="direct", sparsity=None, scope="global", device="cpu"
        )
    }
    for seed in range(args.seed, args.seed + args.seeds):
        shared: dict[str, Any] = {"random_state": seed, "device": "cpu"}
        linear = {**shared, "training": quick(LINEAR, args)}
        models[f"NLinear#{seed}"] = NLinear(CONTEXT, **linear)
        models[f"DLinear#{seed}"] = DLinear(CONTEXT, **linear)
        models[f"SpaceTime#{seed}"] = spacetime(args, seed)
    return models


def spacetime(args: argparse.Namespace, seed: int) -> SpaceTime:
    """Return SpaceTime as it is scored."""
    return SpaceTime(
        CONTEXT,
        state_size=STATE.get(args.dataset, 64),
        width=32,
        normalization="standardize",
        dropout=0.3,
        training=quick(RECIPE, args),
        random_state=seed,
        device="cpu",
    )


def quick(training: Training, args: argparse.Namespace) -> Training:
    """Return the training, or next to none of it for a smoke run."""
    return Training(epochs=1, epoch_windows=128) if args.quick else training


def beyond(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Forecast further than was trained, in closed loop; NLinear is trained for each horizon."""
    protocol = read_protocol(args.dataset, args.series or None)
    horizons = [h for h in BEYOND if h < len(protocol.frame) - protocol.validation]
    seeds = range(args.seed, args.seed + args.seeds)
    rows = []
    for trained in (96, 720):
        fitted = [fit_protocol(protocol, spacetime(args, seed), trained) for seed in seeds]
        for horizon in horizons:
            scores = [score_protocol(protocol, model, horizon)["mse"] for model in fitted]
            rows.append(_far(f"SpaceTime trained at {trained}", horizon, scores))
    for horizon in horizons:
        linear = [
            NLinear(CONTEXT, training=quick(LINEAR, args), random_state=seed, device="cpu")
            for seed in seeds
        ]
        scores = [
            score_protocol(protocol, fit_protocol(protocol, model, horizon), horizon)["mse"]
            for model in linear
        ]
        rows.append(_far("NLinear trained for it", horizon, scores))
    return rows


def _far(model: str, horizon: int, scores: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(scores) if len(scores) > 1 else None
    return {
        "model": model,
        "horizon": horizon,
        "mse": statistics.mean(scores),
        "mse deviation": deviation,
    }


if __name__ == "__main__":
    main()
