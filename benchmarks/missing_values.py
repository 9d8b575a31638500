"""Missing values: one-step errors of fits to incomplete series, and the time that gaps cost.

The error is that of the fitted coefficients on a new, complete series of the same process, relative
to that of least squares on the complete data.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    print_record,
    print_table,
    ratios,
    set_threads,
    summarize,
    timed,
)
from numpy.typing import NDArray
from statsmodels.tsa.statespace.sarimax import SARIMAX
from synthetic import Floats, autoregression, stable

from tsar import ARNet

LENGTH, ORDER, TEST = 1000, 12, 20_000
LONG, LONG_ORDER, LONG_SHARE = 100_000, 200, 0.2
Mask = NDArray[np.bool_]


def main() -> None:
    """Compare errors by pattern of gaps, then the time of a long series."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    parser.add_argument("--seeds", type=int, default=8, help="series of each pattern")
    args = parser.parse_args()
    set_threads(args.threads)
    warnings.simplefilter("ignore")  # of many missing points, and of fits by statsmodels
    if args.quick:
        args.seeds, args.rounds = 1, 1
    patterns = dict(list(PATTERNS.items())[:2]) if args.quick else PATTERNS
    rows = [compare(name, make, args) for name, make in patterns.items()]
    print_table(rows)
    time = compare_time(*((2000, 20) if args.quick else (LONG, LONG_ORDER)), args)
    print_table([time])
    print_record("missing_values", args, {"rows": rows, "time": time})


def at_random(share: float) -> Callable[[np.random.Generator, int], Mask]:
    """Return a pattern of points that are missing at random."""
    return lambda rng, length: rng.random(length) < share


def blocks(rng: np.random.Generator, length: int) -> Mask:
    """Return a pattern of missing stretches of 24 points, a tenth of all."""
    missing = np.zeros(length, dtype=bool)
    for start in rng.choice(length // 24, size=length // 240, replace=False) * 24:
        missing[start : start + 24] = True
    return missing


def weekly(rng: np.random.Generator, length: int) -> Mask:
    """Return a pattern of one missing point in seven."""
    return (np.arange(length) + rng.integers(7)) % 7 == 0


PATTERNS: dict[str, Callable[[np.random.Generator, int], Mask]] = {
    **{f"{share:.0%} at random": at_random(share) for share in (0.01, 0.05, 0.1, 0.2, 0.4)},
    "stretches of 24, 10 %": blocks,
    "each seventh": weekly,
}


def compare(
    name: str, make: Callable[[np.random.Generator, int], Mask], args: Any
) -> dict[str, Any]:
    """Mean errors relative to complete data, and seconds, of one pattern."""
    ratio: dict[str, list[float]] = {"ARNet": [], "interpolated": [], "exact likelihood": []}
    seconds: dict[str, list[float]] = {"ARNet": [], "exact likelihood": []}
    for seed in range(args.seed, args.seed + args.seeds):
        coef = stable(ORDER, 1, seed)[0] * 1.3
        coef *= min(0.97 / np.abs(coef).sum(), 1.0)
        values, test = (autoregression(coef, n, seed) for n in (LENGTH, TEST))
        missing = make(np.random.default_rng(seed), LENGTH)
        missing[[0, -1]] = False
        gappy = np.where(missing, np.nan, values)
        base = one_step_error(fit(values), test)
        time, fitted = timed(lambda data=gappy: fit(data))
        seconds["ARNet"].append(time)
        ratio["ARNet"].append(one_step_error(fitted, test) / base)
        filled = np.interp(np.arange(LENGTH), np.flatnonzero(~missing), values[~missing])
        ratio["interpolated"].append(one_step_error(fit(filled), test) / base)
        time, fitted = timed(lambda data=gappy, start=fitted: exact(data, start[0]))
        seconds["exact likelihood"].append(time)
        ratio["exact likelihood"].append(one_step_error(fitted, test) / base)
    errors = {name: float(np.mean(each)) for name, each in ratio.items()}
    times = {f"{name} s": float(np.median(each)) for name, each in seconds.items()}
    return {"gaps": name} | errors | times


def fit(values: Floats) -> tuple[Floats, float]:
    """Coefficients, lag 1 first, and intercept by tsar."""
    model = ARNet(ORDER, sparsity=None, device="cpu").fit(values)
    return model.coef_[0], float(model.intercept_[0])


def exact(values: Floats, start: Floats) -> tuple[Floats, float]:
    """Coefficients and intercept by statsmodels' exact likelihood, started from others."""
    model = SARIMAX(values, order=(ORDER, 0, 0), trend="c", enforce_stationarity=False)
    sigma2 = float(np.nanvar(values)) / 2
    initial = np.concatenate([[float(np.nanmean(values)) * (1 - start.sum())], start, [sigma2]])
    result = model.fit(initial, disp=False, maxiter=50)
    return result.params[1:-1], float(result.params[0])


def one_step_error(equation: tuple[Floats, float], test: Floats) -> float:
    """Mean squared error of one-step forecasts."""
    coef, intercept = equation
    contexts = np.lib.stride_tricks.sliding_window_view(test, ORDER)[:-1, ::-1]
    return float(np.mean((test[ORDER:] - contexts @ coef - intercept) ** 2))


def compare_time(length: int, order: int, args: Any) -> dict[str, Any]:
    """Seconds of a fit with and without gaps."""
    values = autoregression(stable(order, 1, args.seed)[0], length, args.seed)
    missing = np.random.default_rng(args.seed).random(length) < LONG_SHARE
    gappy = np.where(missing, np.nan, values)

    def run(data: Floats) -> Callable[[], Any]:
        return lambda: ARNet(order, sparsity=None, device="cpu").fit(data)

    seconds, _ = interleaved(
        {"complete": Candidate(run(values), 3), "with gaps": Candidate(run(gappy))}, args.rounds
    )
    medians = {f"{name} s": summarize(times)["median"] for name, times in seconds.items()}
    ratio = ratios(seconds["with gaps"], seconds["complete"])["median"]
    return {"points": length, "order": order, "missing": LONG_SHARE, **medians, "ratio": ratio}


if __name__ == "__main__":
    main()
