"""Training of AutoTimes: validation error and time of each change to the recipe."""

import argparse
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from autotimes_ltsf import CONTEXT, SEGMENT
from measure import argument_parser, print_record, print_table, save_record, set_threads

from tsar import AutoTimes, Training
from tsar.data.batch import Batch
from tsar.evaluation.benchmarking import Protocol, fit_protocol, read_protocol, score_protocol
from tsar.forecasters.autotimes.module import AutoTimesModule

RECIPE = AutoTimes.recipe
# Changed parameters of the estimator, and of its training.
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the recipe": ({}, {}),
    "normalized by the whole window, loss on all segments (as the paper)": (
        {"paper_training": True},
        {},
    ),
    "no moving average of the weights": ({}, {"ema_decay": 0.0}),
    "initialized by ridge regression": ({"init": "ridge"}, {}),
    "learning rate 0.001": ({}, {"learning_rate": 1e-3}),
    "learning rate 0.002": ({}, {"learning_rate": 2e-3}),
    "learning rate 0.01": ({}, {"learning_rate": 1e-2}),
    "all windows, 2 epochs": ({}, {"epochs": 2, "epoch_windows": None}),
    "horizon of three segments": ({"horizon": 3 * SEGMENT}, {}),
    "a hidden layer of 512": ({"hidden": (512,)}, {"learning_rate": 2e-3}),
    "float32": ({"precision": "float32"}, {}),
    "6 blocks": ({"depth": 6}, {}),
    "12 blocks": ({"depth": 12}, {}),
}


class PaperTraining(AutoTimesModule):
    """Trained as in the paper's code: normalized by the whole context, a loss at every segment."""

    def _split_window(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        values, n_observed = super()._split_window(batch)
        return values, torch.full_like(n_observed, -(-self.context_length // self.horizon))

    def _predicting_tokens(self, values: torch.Tensor, n_observed: torch.Tensor) -> torch.Tensor:
        first = torch.ones_like(n_observed) if self.training else n_observed
        return super()._predicting_tokens(values, first)


def main() -> None:
    """Fit with each change, and record the validation error and the time."""
    parser = argument_parser(__doc__)
    parser.add_argument("--dataset", default="ETTh1")
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    set_threads(args.threads)
    protocol, rows = read_protocol(args.dataset), []
    for name in args.choices:
        rows.append(score_choice(protocol, name, args))
        # A long run may be interrupted.
        save_record(f"autotimes_training_{args.dataset}", args, {"rows": rows})
        print_table(rows)
    print_record(f"autotimes_training_{args.dataset}", args, {"rows": rows})


def score_choice(protocol: Protocol, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Fit with one change, once per seed."""
    options, training = CHOICES[name]
    options = dict(options)
    module = PaperTraining if options.pop("paper_training", False) else AutoTimesModule
    horizon = options.pop("horizon", SEGMENT)
    errors, seconds = [], []
    for seed in range(args.seed, args.seed + args.seeds):
        model = AutoTimes(
            CONTEXT,
            segment_length=SEGMENT,
            training=quick(replace(RECIPE, **training), args),
            random_state=seed,
            device="cpu",
            **options | ({"backbone": None, "depth": 1} if args.quick else {}),
        )
        start = time.perf_counter()
        with patch("tsar.forecasters.autotimes.estimator.AutoTimesModule", module):
            fitted = fit_protocol(protocol, model, horizon)
        seconds.append(time.perf_counter() - start)
        errors.append(validation_error(protocol, fitted))
    return {
        "choice": name,
        "validation": sum(errors) / len(errors),
        "seeds": len(errors),
        "epochs": len(fitted.history_) - 1,
        "best epoch": int(fitted.history_["validation_loss"].idxmin()),
        "seconds": sum(seconds) / len(seconds),
    }


def validation_error(protocol: Protocol, fitted: AutoTimes) -> float:
    """Mean squared error of the next segment on the validation rows, in the protocol's units."""
    frame = protocol.frame.iloc[: protocol.validation]
    known = Protocol(protocol.name, frame, protocol.train, protocol.train)
    return float(score_protocol(known, fitted, SEGMENT)["mse"])


def quick(training: Training, args: argparse.Namespace) -> Training:
    """Return the options of the training, or minimal ones for a smoke run."""
    return Training(epochs=1, epoch_windows=128) if args.quick else training


if __name__ == "__main__":
    main()
