"""AutoTimes by the published protocol, one model for all horizons, against linear models."""

import argparse
import statistics
import time
from dataclasses import asdict
from typing import Any, Literal

from ltsf import HORIZONS
from measure import argument_parser, print_record, print_table, save_record, set_threads

from tsar import AutoTimes, DLinear, NLinear, Training
from tsar.evaluation.benchmarking import Protocol, fit_protocol, read_protocol, score_horizons

SEGMENT, CONTEXT = 96, 672
# Selected by the validation loss of ETTh1 at 96 only (see RESULTS.md).
RECIPE = AutoTimes.recipe
LINEAR = Training(epochs=5, learning_rate=5e-3, batch_size=64, patience=5, epoch_windows=16384)
LINEAR_SEEDS = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "from scratch": {"backbone": None, "depth": 1},
    "random weights": {"backbone_init": "random"},
    "calendar": {"timestamps": "calendar"},
    "text": {"timestamps": "text"},
    "LoRA": {"lora": 4},
}
# Mean squared errors printed in the paper: one model for all horizons, GPT-2 without and LLaMA-7B
# with timestamps, on GPUs.
PRINTED = {
    ("ETTh1", "GPT-2 (paper)"): (0.360, 0.391, 0.408, 0.429),
    ("ETTh1", "LLaMA-7B (paper)"): (0.360, 0.388, 0.401, 0.406),
    ("weather", "GPT-2 (paper)"): (0.158, 0.207, 0.262, 0.342),
}


def main() -> None:
    """Fit each variant once per seed and score it at all horizons; fit linear models for each."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument(
        "--variants", nargs="*", default=list(VARIANTS), help="variants of AutoTimes"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--depth", type=int, help="number of blocks of the backbone")
    parser.add_argument("--stride", type=int, default=1, help="step between test windows")
    args = parser.parse_args()
    set_threads(args.threads)
    args.stride = 50 if args.quick else args.stride
    protocol = read_protocol(args.dataset)
    printed = [
        _row(name, [dict(zip(HORIZONS, values, strict=True))], [], [])
        for (dataset, name), values in PRINTED.items()
        if dataset == args.dataset
    ]
    rows: list[dict[str, Any]] = []
    name = f"autotimes_ltsf_{args.dataset}"
    settings = {"segment": SEGMENT, "context": CONTEXT, "stride": args.stride}
    record = settings | {
        "training": asdict(RECIPE),
        "linear": asdict(LINEAR),
        "rows": rows + printed,
    }
    for variant in args.variants:
        rows += score_variant(protocol, variant, args)
        record |= {"rows": rows + printed}
        save_record(name, args, record)  # a long run may be interrupted
        print_table(rows + printed)
    print_record(name, args, record | {"rows": rows + score_linear(protocol, args) + printed})


def score_variant(protocol: Protocol, name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Fit a variant of AutoTimes once per seed; score exact and cached generation."""
    generations: tuple[Literal["exact", "cached"], ...] = ("exact", "cached")
    squared: dict[str, list[dict[int, float]]] = {name: [] for name in generations}
    absolute: dict[str, list[dict[int, float]]] = {name: [] for name in generations}
    seconds, validation = [], []
    for seed in range(args.seed, args.seed + args.seeds):
        start = time.perf_counter()
        fitted = fit_protocol(protocol, make_model(VARIANTS[name], seed, args), SEGMENT)
        seconds.append(time.perf_counter() - start)
        validation.append(float(fitted.history_["validation_loss"].min()))
        for generation in generations:
            fitted.set_params(generation=generation)
            scores = score_horizons(protocol, fitted, HORIZONS, stride=args.stride)
            squared[generation].append({horizon: score["mse"] for horizon, score in scores.items()})
            absolute[generation].append(
                {horizon: score["mae"] for horizon, score in scores.items()}
            )
    return [
        _row(f"AutoTimes {name}, {generation}", squared[generation], absolute[generation], seconds)
        | {"validation": statistics.mean(validation)}
        for generation in generations
    ]


def make_model(variant: dict[str, Any], seed: int, args: argparse.Namespace) -> AutoTimes:
    """Return a variant of AutoTimes before it is fitted."""
    options: dict[str, Any] = {"random_state": seed, "device": "cpu"} | variant
    if args.depth and "depth" not in variant:
        options["depth"] = args.depth
    if args.quick:
        options |= {"training": Training(epochs=1, epoch_windows=128), "backbone": None}
        options |= {"timestamps": None, "lora": None, "depth": 1, "backbone_init": "pretrained"}
    return AutoTimes(CONTEXT, segment_length=SEGMENT, **options)


def score_linear(protocol: Protocol, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Fit linear models for each horizon, and score them."""
    rows = []
    for model_class in (NLinear, DLinear):
        squared, absolute, seconds = [], [], []
        for seed in range(args.seed, args.seed + min(args.seeds, LINEAR_SEEDS)):
            scores, start = {}, time.perf_counter()
            training = Training(epochs=1, epoch_windows=128) if args.quick else LINEAR
            for horizon in HORIZONS:
                model = model_class(CONTEXT, training=training, random_state=seed, device="cpu")
                fitted = fit_protocol(protocol, model, horizon)
                scores |= score_horizons(protocol, fitted, [horizon], stride=args.stride)
            seconds.append(time.perf_counter() - start)
            squared.append({horizon: score["mse"] for horizon, score in scores.items()})
            absolute.append({horizon: score["mae"] for horizon, score in scores.items()})
        rows.append(_row(f"{model_class.__name__}, one for each", squared, absolute, seconds))
    return rows


def _row(
    name: str,
    squared: list[dict[int, float]],
    absolute: list[dict[int, float]],
    seconds: list[float],
) -> dict[str, Any]:
    means = {h: statistics.mean(scores[h] for scores in squared) for h in HORIZONS}
    averages = [statistics.mean(scores.values()) for scores in squared]
    deviation = statistics.stdev(averages) if len(averages) > 1 else None
    maes = [statistics.mean(scores.values()) for scores in absolute]
    return {
        "model": name,
        **{f"mse {horizon}": value for horizon, value in means.items()},
        "mse": statistics.mean(averages),
        "mse deviation": deviation,
        "mae": statistics.mean(maes) if maes else None,
        "seeds": len(seconds),
        "fit seconds": statistics.median(seconds) if seconds else None,
        "validation": None,
    }


if __name__ == "__main__":
    main()
