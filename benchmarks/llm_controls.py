"""Is the language model useful? AutoTimes against random weights and small models, tuned alike.

The learning rate of each model is selected by the validation loss, on all training rows and on the
newest tenth of them; the test rows are scored once per seed, with the selected rate. Last, the
points of each context are shuffled: how much does the error depend on their order?
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from autotimes_ltsf import CONTEXT, HORIZONS, RECIPE, SEGMENT
from measure import argument_parser, print_record, print_table, save_record, set_threads

from tsar import AutoTimes
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.evaluation.benchmarking import Protocol, read_protocol, score_horizons
from tsar.rollout import rollout

RATES = (2e-3, 5e-3)
MAX_SHUFFLED = 4096  # windows
# Width 56 with 2 blocks has 111,000 weights, as many as the maps between segments and tokens of
# SmolLM2, which are its only trained weights.
MODELS: dict[str, dict[str, Any]] = {
    "SmolLM2, frozen": {},
    "random weights, frozen": {"backbone_init": "random"},
    "no backbone": {"backbone": None, "depth": 0, "width": 576},
    "from scratch, as many trained": {"backbone": None, "depth": 2, "width": 56},
    "one block from scratch": {"backbone": None, "depth": 1, "width": 128},
}


@dataclass(frozen=True)
class Tuned:
    """A fitted model, its learning rate selected by validation, and the seconds of the search."""

    model: AutoTimes
    rate: float
    validation: float
    seconds: float


def main() -> None:
    """Tune and score each model, on all rows and on a tenth."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--depth", type=int, default=2, help="blocks of the language model")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.1])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--stride", type=int, default=1, help="step between test windows")
    args = parser.parse_args()
    set_threads(args.threads)
    protocol, rows = read_protocol(args.dataset), []
    for share in args.shares:
        for name in args.models:
            seeds = range(args.seed, args.seed + args.seeds)
            rows.append(summary([score(protocol, name, share, seed, args) for seed in seeds]))
            save_record(f"llm_controls_{args.dataset}", args, {"rates": RATES, "rows": rows})
            print_table(rows)
    print_record(f"llm_controls_{args.dataset}", args, {"rates": RATES, "rows": rows})


def summary(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, the deviation of the squared error, and the selected learning rates."""
    table = pd.DataFrame(scores)
    same = ["model", "share", "trained weights"]
    means = scores[0] | table.drop(columns=[*same, "learning rate"]).mean().to_dict()
    deviation = float(table["mse"].std()) if len(scores) > 1 else None
    rates = sorted(set(table["learning rate"]))
    return means | {"learning rate": rates, "mse deviation": deviation, "seeds": len(scores)}


def score(
    protocol: Protocol, name: str, share: float, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Tune a model on a share of the training rows, and score it on the test rows."""
    tuned = tune(protocol, name, share, seed, args)
    scores = score_horizons(protocol, tuned.model, HORIZONS, stride=args.stride)
    error, shuffled = shuffled_error(protocol, tuned.model, seed)
    trained = sum(p.numel() for p in tuned.model.module_.parameters() if p.requires_grad)
    return {
        "model": name,
        "share": share,
        "trained weights": trained,
        "learning rate": tuned.rate,
        "validation": tuned.validation,
        **{f"mse {horizon}": score["mse"] for horizon, score in scores.items()},
        "mse": statistics.mean(score["mse"] for score in scores.values()),
        "mae": statistics.mean(score["mae"] for score in scores.values()),
        "shuffled": shuffled / error,
        "seconds": tuned.seconds,
    }


def tune(protocol: Protocol, name: str, share: float, seed: int, args: argparse.Namespace) -> Tuned:
    """Fit with each learning rate, and select that with the lowest validation loss."""
    frame = newest(protocol, share)
    held_back = protocol.validation - protocol.train
    fits, start = [], time.perf_counter()
    for rate in RATES[:1] if args.quick else RATES:
        epochs: dict[str, Any] = {"epochs": 1, "epoch_windows": 128} if args.quick else {}
        training = replace(RECIPE, **epochs, learning_rate=rate, validation=float(held_back))
        options = {"depth": args.depth} | MODELS[name]
        if args.quick:
            options |= {"backbone": None, "width": 32, "depth": min(options["depth"], 1)}
        model = AutoTimes(
            CONTEXT,
            horizon=SEGMENT,
            segment_length=SEGMENT,
            training=training,
            random_state=seed,
            device="cpu",
            **options,
        )
        model.fit(frame)
        fits.append((float(model.history_["validation_loss"].min()), rate, model))
    loss, rate, model = min(fits, key=lambda fit: fit[0])
    return Tuned(model, rate, loss, time.perf_counter() - start)


def newest(protocol: Protocol, share: float) -> pd.DataFrame:
    """Training and validation rows, with a share of the training windows, the newest ones."""
    windows = int((protocol.train - CONTEXT) * share)
    return protocol.frame.iloc[protocol.train - CONTEXT - windows : protocol.validation]


def shuffled_error(protocol: Protocol, model: AutoTimes, seed: int) -> tuple[float, float]:
    """Mean squared error of the next segment, with contexts in order and shuffled."""
    panel = model.scaling_.apply(Panel.from_frame(protocol.frame))
    panel = panel.to("cpu", torch.float32)
    first = torch.full((len(panel),), protocol.validation)
    windows = Windows.sliding(panel, CONTEXT, SEGMENT, first=first).subsample(MAX_SHUFFLED)
    generator = torch.Generator().manual_seed(seed)
    squares: list[list[float]] = [[], []]
    module = model.module_.eval()
    with torch.inference_mode():
        for batch in windows.batches(256):
            order = torch.rand(batch.context.values.shape, generator=generator).argsort(dim=1)
            shuffled = batch.context.values.gather(1, order)
            for kind, values in enumerate((batch.context.values, shuffled)):
                context = replace(batch.context, values=values)
                error = rollout(module, context, SEGMENT)[..., module.point] - batch.target
                squares[kind] += error.square().mean(dim=1).tolist()
    return statistics.mean(squares[0]), statistics.mean(squares[1])


if __name__ == "__main__":
    main()
