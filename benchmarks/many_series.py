"""Time to fit 10,000 short series and forecast 12 points ahead with 80 % intervals."""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
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
from scipy.signal import lfilter
from statsmodels.tsa.ar_model import AutoReg
from synthetic import BURN_IN, Floats, stable

from tsar import ARNet

ORDER, LENGTH, HORIZON, LEVEL = 12, 200, 12, 80


def main() -> None:
    """Time each method on as many series as it fits in reasonable time."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    args = parser.parse_args()
    set_threads(args.threads)
    # The others fit one series at a time: their time per series is measured on a subset.
    count, subset, small_subset = (50, 3, 2) if args.quick else (10_000, 200, 50)
    values = make_series(count, args.seed)
    frame = long_frame(values)
    methods: dict[str, tuple[int, Callable[[], Any]]] = {
        "tsar, array": (count, lambda: fit_tsar(values, None)),
        "tsar, long frame": (count, lambda: fit_tsar(frame, None)),
        "tsar, long frame, lags chosen": (count, lambda: fit_tsar(frame, "auto")),
        "statsmodels AutoReg": (subset, lambda: [fit_autoreg(row) for row in values.T[:subset]]),
    }
    if importlib.util.find_spec("statsforecast"):
        methods |= statsforecast_methods(frame[frame["unique_id"] < small_subset], small_subset)
    for _, call in methods.values():
        call()  # warm-up: the first call compiles, allocates, and reads files
    seconds, results = interleaved(
        {n: Candidate(call) for n, (_, call) in methods.items()}, args.rounds
    )
    per_series = {name: [t / methods[name][0] for t in times] for name, times in seconds.items()}
    rows: list[dict[str, Any]] = [
        {
            "method": name,
            "series": methods[name][0],
            "series per second": summarize([1 / time for time in times]),
            "tsar speedup": ratios(times, per_series["tsar, long frame"]),
        }
        for name, times in per_series.items()
    ]
    print_table(rows)
    agreement = compare(results["tsar, array"], results["statsmodels AutoReg"])
    sizes = {"order": ORDER, "length": LENGTH, "horizon": HORIZON, "level": LEVEL}
    print_record("many_series", args, sizes | {"rows": rows, "agreement": agreement})


def make_series(count: int, seed: int) -> Floats:
    """Return stable autoregressions of order 12 (time, series), each with its own level."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(count, LENGTH + BURN_IN))
    filters = np.concatenate([np.ones((count, 1)), -stable(ORDER, count, seed)], axis=1)
    pairs = zip(filters, noise, strict=True)
    values = np.stack([lfilter([1.0], coef, row)[BURN_IN:] for coef, row in pairs], axis=1)
    return values + generator.uniform(10, 100, size=count)


def long_frame(values: Floats) -> pd.DataFrame:
    """Return the series in the long layout."""
    length, count = values.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(count), length),
            "ds": np.tile(np.arange(1, length + 1), count),
            "y": values.T.reshape(-1),
        }
    )


def fit_tsar(data: Any, sparsity: str | None) -> Any:
    """Fit and forecast all series with tsar."""
    model = ARNet(ORDER, horizon=HORIZON, sparsity=sparsity, device="cpu").fit(data)
    return model.predict(level=LEVEL)


def fit_autoreg(series: Floats) -> Floats:
    """Fit and forecast one series with statsmodels: forecast, lower and upper bound."""
    fitted = AutoReg(series, ORDER).fit()
    forecast = fitted.get_prediction(LENGTH, LENGTH + HORIZON - 1)
    bounds = forecast.conf_int(alpha=1 - LEVEL / 100)
    return np.column_stack([forecast.predicted_mean, bounds])


def statsforecast_methods(
    frame: pd.DataFrame, count: int
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return statsforecast's autoregressions, which are ARIMA(p, 0, 0)."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoRegressive

    def forecast(method: str) -> Any:
        model = AutoRegressive(lags=ORDER, method=method)
        warnings.simplefilter("ignore", UserWarning)  # of an optimizer that stops early
        return StatsForecast([model], freq=1, n_jobs=1).forecast(h=HORIZON, df=frame, level=[LEVEL])

    return {
        "statsforecast AutoRegressive, CSS-ML": (count, lambda: forecast("CSS-ML")),
        "statsforecast AutoRegressive, CSS": (count, lambda: forecast("CSS")),
    }


def compare(tsar: Floats, autoreg: list[Floats]) -> dict[str, float]:
    """Return differences to AutoReg's forecasts (horizon, series, column) and ratios of widths."""
    ours, theirs = tsar[:, : len(autoreg)], np.stack(autoreg, axis=1)
    widths = (ours[..., 2] - ours[..., 1]) / (theirs[..., 2] - theirs[..., 1])
    return {
        "max_forecast_difference": np.abs(ours[..., 0] - theirs[..., 0]).max(),
        "min_width_ratio": widths.min(),
        "max_width_ratio": widths.max(),
    }


if __name__ == "__main__":
    main()
