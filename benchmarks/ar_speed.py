"""Time to fit one long autoregression: tsar's closed form against statsmodels' AutoReg."""

import argparse
from typing import Any

import numpy as np
import torch
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
from statsmodels.tsa.ar_model import AutoReg
from synthetic import Floats, autoregression, sparse

from tsar import ARNet
from tsar.autoregression import Design, fit_closed_form, observed_segments

PAPER = {1: 0.2, 2: 0.3, 3: -0.5}


def main() -> None:
    """Time the fits at each order and compare their coefficients."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=2)
    args = parser.parse_args()
    set_threads(args.threads)
    length, orders = (3000, (3, 20)) if args.quick else (125_000, (200, 800))
    series = autoregression(sparse(PAPER, 3), length, args.seed)
    results = [compare(series, order, args) for order in orders]
    print_table([_row(result) for result in results])
    print_record("ar_speed", args, {"length": length, "results": results})


def compare(series: Floats, order: int, args: argparse.Namespace) -> dict[str, Any]:
    """Time the estimator and the kernel against AutoReg, and compare their coefficients.

    The estimator validates and scales an array, fits, and sets its fitted attributes; AutoReg gets
    the same array. AutoReg is slow and its time hardly varies: one call per round.
    """
    candidates = {
        "statsmodels": Candidate(lambda: AutoReg(series, order).fit()),
        "estimator": Candidate(lambda: estimator(series, order), repeats=5),
        "kernel": Candidate(lambda: kernel(series, order), repeats=5),
    }
    AutoReg(series[: 4 * order + 100], order).fit()  # warm-up of both
    estimator(series, order)
    seconds, results = interleaved(candidates, args.rounds)
    peer, model = results["statsmodels"], results["estimator"]
    return {
        "order": order,
        "seconds": {name: summarize(times) for name, times in seconds.items()},
        "estimator_speedup": ratios(seconds["statsmodels"], seconds["estimator"]),
        "kernel_speedup": ratios(seconds["statsmodels"], seconds["kernel"]),
        "max_difference": {
            "coefficient": np.abs(model.coef_[0] - peer.params[1:]).max(),
            "kernel_coefficient": np.abs(results["kernel"] - peer.params[1:]).max(),
            "intercept": abs(model.intercept_[0] - peer.params[0]),
        },
    }


def estimator(series: Floats, order: int) -> ARNet:
    """Fit the estimator, as a user does."""
    return ARNet(order, sparsity=None, device="cpu").fit(series)


def kernel(series: Floats, order: int) -> Floats:
    """Fit by the closed-form function, without the estimator."""
    channels = torch.from_numpy(series)[None]
    segments = observed_segments(channels, torch.tensor([0, len(series)]))
    return fit_closed_form(channels, segments, Design(order, horizon=1)).coef[0, 0].numpy()


def _row(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "order": result["order"],
        **{f"{name} s": times["median"] for name, times in result["seconds"].items()},
        "estimator x": result["estimator_speedup"]["median"],
        "kernel x": result["kernel_speedup"]["median"],
        "largest difference": result["max_difference"]["coefficient"],
    }


if __name__ == "__main__":
    main()
