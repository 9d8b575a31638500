"""Warnings of series that drift within their regimes."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from tsar import HMM
from tsar.forecasters.regimes.drift import drift_ratio

Floats = NDArray[np.float64]


def white_noise(length: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=length)


def ar1(length: int, coef: float) -> Floats:
    found = white_noise(length)
    for step in range(1, length):
        found[step] += coef * found[step - 1]
    return found


@pytest.mark.parametrize(
    "series",
    (
        0.1 * np.arange(200) + white_noise(200),
        white_noise(200).cumsum(),
        1e6 + white_noise(1000).cumsum(),
    ),
    ids=("trend", "walk", "long walk"),
)
@pytest.mark.parametrize("scope", ("local", "global"))
def test_a_drifting_series_is_warned_of(series: Floats, scope: str) -> None:
    with pytest.warns(UserWarning, match="1 of 1 series drift"):
        HMM(differences=0, random_state=0, scope=scope).fit(series)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "series",
    (
        white_noise(200),
        np.repeat(5 * white_noise(20), 25) + white_noise(500),
        ar1(500, 0.5),
        ar1(500, 0.9),
        np.tile([0.0, 5.0, 9.0, 1.0], 50) + white_noise(200),
        np.ones(100),
        np.arange(12.0),
    ),
    ids=("noise", "levels", "coef 0.5", "coef 0.9", "season", "constant", "few points"),
)
def test_other_series_are_not_warned_of(series: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HMM(random_state=0).fit(series)


def test_a_constant_series_in_a_global_model_is_not_warned_of() -> None:
    """No regime mean of a global model has to be near its level."""
    steps = np.repeat([0.0, 5.0, 0.0, 5.0], 25) + 0.3 * white_noise(100)
    frame = pd.DataFrame({"ds": np.arange(100), "a": steps, "b": np.ones(100)}).set_index("ds")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HMM(2, scope="global", random_state=0).fit(frame)


def test_the_warning_names_the_series_of_the_largest_drift() -> None:
    series = {
        "flat": white_noise(150),
        "up": 0.5 * np.arange(150),
        "hill": 0.1 * np.arange(150) + white_noise(150),
    }
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(150), "y": values})
        for name, values in series.items()
    )
    with pytest.warns(UserWarning, match="2 of 3 series drift .* most of all 'up'"):
        HMM(1, differences=0, random_state=0).fit(frame)


def test_the_drift_ratio_equals_a_loop_over_points() -> None:
    """Two series, one with gaps."""
    values = np.r_[white_noise(60).cumsum(), np.repeat([0.0, 4.0], 20) + 0.3 * white_noise(40, 1)]
    values[[3, 4, 30]] = np.nan
    means = np.array([[0.0, 5.0], [0.1, 4.2]])
    variances, states = np.array([[4.0, 1.0], [0.1, 0.2]]), [1, 2]
    expected = []
    for row, points in enumerate((values[:60], values[60:])):
        mean, variance = means[row, : states[row]], variances[row, : states[row]]
        squared = []
        for point in points[~np.isnan(points)]:
            nearest = ((point - mean) ** 2 / variance + np.log(variance)).argmin()
            squared.append((point - mean[nearest]) ** 2)
        expected.append((2 * np.mean(squared) / np.nanmean(np.diff(points) ** 2)) ** 0.5)
    found = drift_ratio(
        torch.from_numpy(values),
        torch.tensor([0, 60, 100]),
        torch.from_numpy(means),
        torch.from_numpy(variances),
        torch.tensor(states),
    )
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
