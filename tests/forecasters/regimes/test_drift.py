"""A series that drifts is no matter of levels, and HMM says so."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from tsar import HMM
from tsar.forecasters.regimes.drift import drift

Floats = NDArray[np.float64]


def normal(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=count)


def slow(count: int, share: float) -> Floats:
    found = normal(count)
    for step in range(1, count):
        found[step] += share * found[step - 1]
    return found


@pytest.mark.parametrize(
    "series",
    (0.1 * np.arange(200) + normal(200), normal(200).cumsum(), 1e6 + normal(1000).cumsum()),
    ids=("trend", "walk", "long walk"),
)
@pytest.mark.parametrize("scope", ("local", "global"))
def test_a_series_that_drifts_is_told_of(series: Floats, scope: str) -> None:
    with pytest.warns(UserWarning, match="1 of 1 series move slowly"):
        HMM(differences=0, random_state=0, scope=scope).fit(series)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "series",
    (
        normal(200),
        np.repeat(5 * normal(20), 25) + normal(500),
        slow(500, 0.5),
        slow(500, 0.9),
        np.tile([0.0, 5.0, 9.0, 1.0], 50) + normal(200),
        np.ones(100),
        np.arange(12.0),
    ),
    ids=("noise", "levels", "half", "slow", "season", "constant", "few points"),
)
def test_others_are_not(series: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HMM(random_state=0).fit(series)


def test_a_constant_among_others_is_not() -> None:
    """No level of a model for all series need be its own."""
    steps = np.repeat([0.0, 5.0, 0.0, 5.0], 25) + 0.3 * normal(100)
    frame = pd.DataFrame({"ds": np.arange(100), "a": steps, "b": np.ones(100)}).set_index("ds")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HMM(2, scope="global", random_state=0).fit(frame)


def test_the_one_that_drifts_most_is_named() -> None:
    series = {
        "flat": normal(150),
        "up": 0.5 * np.arange(150),
        "hill": 0.1 * np.arange(150) + normal(150),
    }
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(150), "y": values})
        for name, values in series.items()
    )
    with pytest.warns(UserWarning, match="2 of 3 series move slowly .* most of all 'up'"):
        HMM(1, differences=0, random_state=0).fit(frame)


def test_drift_is_the_ratio_of_two_deviations() -> None:
    """Two series, one with gaps, by a loop over points."""
    values = np.r_[normal(60).cumsum(), np.repeat([0.0, 4.0], 20) + 0.3 * normal(40, 1)]
    values[[3, 4, 30]] = np.nan
    means = np.array([[0.0, 5.0], [0.1, 4.2]])
    variances, states = np.array([[4.0, 1.0], [0.1, 0.2]]), [1, 2]
    expected = []
    for row, points in enumerate((values[:60], values[60:])):
        level, spread = means[row, : states[row]], variances[row, : states[row]]
        away = []
        for point in points[~np.isnan(points)]:
            nearest = ((point - level) ** 2 / spread + np.log(spread)).argmin()
            away.append((point - level[nearest]) ** 2)
        expected.append((2 * np.mean(away) / np.nanmean(np.diff(points) ** 2)) ** 0.5)
    found = drift(
        torch.from_numpy(values),
        torch.tensor([0, 60, 100]),
        torch.from_numpy(means),
        torch.from_numpy(variances),
        torch.tensor(states),
    )
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
