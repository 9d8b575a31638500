"""Peak memory of a closed-form fit relative to the size of its data."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from ar_speed import estimator, kernel
from measure import (
    argument_parser,
    peak_memory,
    print_record,
    print_table,
    run_subprocess,
    set_threads,
    summarize,
)
from statsmodels.tsa.ar_model import AutoReg
from synthetic import Floats, autoregression, sparse

from tsar import ARNet

OURS = ("tsar", "tsar, lags chosen", "tsar, kernel only")
PEER = "statsmodels AutoReg"


def main() -> None:
    """Measure each case in a new process, so that no allocation of an earlier case is reused."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--child", nargs=3, metavar=("METHOD", "POINTS", "ORDER"))
    args = parser.parse_args()
    set_threads(args.threads)
    if args.child:
        method, points, order = args.child
        print(json.dumps(fit_memory(method, int(points), int(order), args.seed)))
        return
    sizes = (20_000,) if args.quick else (1_000_000, 4_000_000)
    orders = (3,) if args.quick else (24, 200)
    cases = [(method, n, p) for method in OURS for n in sizes for p in orders]
    # AutoReg keeps matrices of n rows and p columns: the larger cases do not fit most machines.
    cases.append((PEER, sizes[0], orders[0]))
    rows = [measure(*case, args) for case in cases]
    print_table(rows)
    print_record("memory", args, {"rows": rows})


def measure(method: str, points: int, order: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return the peak memory of a fit divided by the size of the data."""
    options = ("--child", method, points, order, "--threads", args.threads, "--seed", args.seed)
    peaks = [run_subprocess(__file__, *options) for _ in range(1 if args.quick else args.rounds)]
    data = points * 8
    return {
        "method": method,
        "points": points,
        "order": order,
        "data_mb": data / 1e6,
        "peak memory / data": summarize([peak / data for peak in peaks]),
    }


def fit_memory(method: str, points: int, order: int, seed: int) -> int:
    """Return the peak memory of a fit in bytes, without its data.

    A fit of a few points comes first, so that loaded code and the threads' memory do not count.
    """
    fit = fitter(method, order)
    series = autoregression(sparse({1: 0.2, 2: 0.3, 3: -0.5}, 3), points, seed)
    fit(series[: 10 * order + 100])
    return peak_memory(lambda: fit(series))


def fitter(method: str, order: int) -> Callable[[Floats], Any]:
    """Return the fit function of a method."""
    calls: tuple[Callable[[Floats], Any], ...] = (
        lambda series: estimator(series, order),
        lambda series: ARNet(order, device="cpu").fit(series),
        lambda series: kernel(series, order),
        lambda series: AutoReg(series, order).fit(),
    )
    return dict(zip((*OURS, PEER), calls, strict=True))[method]


if __name__ == "__main__":
    main()
