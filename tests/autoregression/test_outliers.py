"""Outliers of series: found whatever their size, and told from shifts, seasons and heavy tails."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tsar.autoregression import find_outliers
from tsar.autoregression.outliers import local_distance

Floats = NDArray[np.float64]
RNG = np.random.default_rng


def found(values: Floats, seasons: tuple[int, ...] = ()) -> NDArray[np.bool_]:
    return find_outliers(torch.from_numpy(np.atleast_2d(values)), seasons).numpy()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_isolated_outliers_of_any_size_are_found(share: float, size: float) -> None:
    rng = RNG(0)
    values = rng.normal(size=(30, 300)) + 10
    spoiled = rng.random(values.shape) < share
    values[spoiled] += size * rng.choice([-1, 1], size=int(spoiled.sum()))
    outliers = found(values)
    assert outliers[spoiled].all()
    assert outliers[~spoiled].mean() < 1e-3


@pytest.mark.parametrize("kind", ["noise", "walk", "counts", "trend", "wave", "constant"])
def test_series_without_errors_have_no_outliers(kind: str) -> None:
    rng, time = RNG(1), np.arange(300)
    values = {
        "noise": rng.normal(size=(30, 300)),
        "walk": rng.normal(size=(30, 300)).cumsum(axis=1),
        "counts": rng.poisson(0.2, size=(30, 300)).astype(float),
        "trend": 0.5 * time + rng.normal(size=(30, 300)),
        "wave": 10 * np.sin(time / 4) + rng.normal(size=(30, 300)) * 0.1,
        "constant": np.full((3, 300), 2.0),
    }[kind]
    assert not found(values).any()


def test_few_points_of_heavy_tails_are_outliers() -> None:
    assert found(RNG(2).standard_t(3, size=(50, 300))).mean() < 0.01


def test_a_level_shift_is_no_outlier_from_its_third_point_on() -> None:
    values = RNG(3).normal(size=(20, 200))
    middle = values.copy()
    middle[:, 100:] += 50
    assert not found(middle).any()
    for points in (1, 2, 3, 5):
        shifted = values.copy()
        shifted[:, -points:] += 50
        assert found(shifted)[:, -points:].all() == (points < 3)
        assert not found(shifted)[:, :-points].any()


def test_a_patch_that_returns_is_outlying() -> None:
    values = RNG(4).normal(size=(20, 200))
    values[:, 100:102] += 80
    outliers = found(values)
    assert outliers[:, 100:102].all() and outliers.sum() == 40


def test_peaks_of_a_season_are_no_outliers() -> None:
    values = RNG(5).normal(size=(20, 420))
    values[:, 6::7] += 40
    assert not found(values, (7,)).any()
    values[:, 203] += 500
    outliers = found(values, (7,))
    assert outliers[:, 203].all() and outliers.sum() == 20


def test_so_many_that_they_are_no_errors_are_kept() -> None:
    values = RNG(6).normal(size=(5, 300))
    values[:, ::3] += 1000 * RNG(7).normal(size=(5, 100))
    assert not found(values).any()


def test_a_few_points_have_no_outliers_and_missing_ones_are_none() -> None:
    assert not found(np.array([1.0, 2.0, 1000.0, 1.0, 2.0, 1.0])).any()
    values = RNG(8).normal(size=200)
    values[50] = 1e6
    values[60:90] = np.nan
    assert np.flatnonzero(found(values)).tolist() == [50]


def test_the_result_does_not_depend_on_scale_sign_or_other_series() -> None:
    values = RNG(9).standard_t(2, size=(10, 150))
    outliers = found(values)
    assert outliers.any()
    assert (found(-3e6 * values) == outliers).all()
    assert (found(np.concatenate([values * 100, values]))[10:] == outliers).all()
    assert (found(values[3]) == outliers[3]).all()


def test_the_local_distance_is_in_robust_deviations() -> None:
    values = RNG(10).normal(size=(20, 300))
    values[:, 150] += 4
    distance = local_distance(torch.from_numpy(values)).numpy()
    assert 2.5 < np.median(distance[:, 150]) < 6
    assert np.quantile(distance, 0.9) < 2
