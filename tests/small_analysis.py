"""Short series and quick complexity analyses for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar import ComplexityAnalysis

Floats = NDArray[np.float64]


def autoregression(coefficients: Sequence[float], length: int = 600, seed: int = 0) -> Floats:
    """Autoregression with standard normal noise."""
    series = np.random.default_rng(seed).normal(size=length)
    for t in range(len(coefficients), length):
        series[t] += sum(c * series[t - lag] for lag, c in enumerate(coefficients, 1))
    return series


def analysis(representation: Any = "lags", **options: Any) -> ComplexityAnalysis:
    """Analysis of few rows and few bootstrap samples."""
    quick: dict[str, Any] = {"device": "cpu", "random_state": 0, "n_train": 200, "n_bootstrap": 40}
    return ComplexityAnalysis(representation, **(quick | options))


def long_frame(series: dict[str, Any]) -> pd.DataFrame:
    """Long frame of some series that start together."""
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y})
        for name, y in series.items()
    ]
    return pd.concat(frames, ignore_index=True)


AR2 = autoregression([0.3, 0.6])
