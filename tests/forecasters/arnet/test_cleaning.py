"""Robust losses: outliers in the past and at the end of series."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import ARNet, Training, load

QUICK = Training(epochs=3)
ROBUST: list[dict[str, Any]] = [
    {"loss": "huber"},
    {"loss": "huber", "hidden": (4,)},
    {"loss": "quantile", "strategy": "direct"},
    {"loss": "huber", "scope": "global"},
]


def daily(values: Any) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2024-01-01", periods=len(values)))


def robust(**options: Any) -> ARNet:
    options = {"horizon": 7, "training": QUICK, "random_state": 0, "device": "cpu"} | options
    return ARNet(14, **options)


@pytest.mark.parametrize("options", ROBUST)
@pytest.mark.parametrize("size", [1e2, 1e6])
def test_one_absurd_reading_is_passed_over(options: dict[str, Any], size: float) -> None:
    errors = []
    for seed in range(2):
        values = 10 + np.random.default_rng(seed).normal(size=300)
        values[150] = size
        model = robust(**options).fit(daily(values))
        errors.append(np.abs(model.predict().to_numpy() - 10).mean())
        assert model.n_outliers_.tolist() == [1]
    assert np.mean(errors) < 0.3


@pytest.mark.filterwarnings("ignore:.* points of series .* lie far:UserWarning")
@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("size", [1e2, 1e8])
def test_a_tenth_of_the_points_may_be_wrong(share: float, size: float) -> None:
    rng = np.random.default_rng(0)
    noise, values = rng.normal(size=(400, 10)), np.zeros((400, 10))
    for time in range(1, 400):
        values[time] = 0.7 * values[time - 1] + noise[time]
    spoiled = np.where(rng.random(values.shape) < share, values + size, values)
    spoiled[-1] = values[-1]
    clean, dirty = (robust(loss="huber").fit(data) for data in (values, spoiled))
    assert np.abs(clean.coef_[:, 0] - dirty.coef_[:, 0]).mean() < 0.12
    assert np.abs(clean.predict() - dirty.predict()).max() < 1


@pytest.mark.parametrize("position", [-1, -2, -7, -14])
def test_an_outlier_of_the_context_is_not_echoed(position: int) -> None:
    values = 10 + np.random.default_rng(0).normal(size=300)
    model = robust(loss="huber").fit(daily(values))
    later = values.copy()
    later[position] = 1e5
    forecast = model.predict(daily(later)).to_numpy()
    assert np.abs(forecast - model.predict().to_numpy()).max() < 1


def test_an_outlier_of_last_season_is_not_echoed_in_the_next() -> None:
    season = np.sin(np.arange(280) * 2 * np.pi / 7) * 5
    values = 10 + season + np.random.default_rng(0).normal(size=280) * 0.2
    values[-7] = 1e4
    forecast = robust(loss="huber").fit(daily(values)).predict().to_numpy()
    assert np.abs(forecast - 10 - season[:7]).max() < 1


def test_a_new_level_is_followed_after_three_points() -> None:
    values = 10 + np.random.default_rng(0).normal(size=300).cumsum() * 0.3
    model = robust(loss="huber").fit(daily(values))
    values[-3:] += 100
    assert model.predict(daily(values)).iloc[0] > values[:-3].max() + 30


def test_weekly_peaks_are_learned() -> None:
    values = 10 + np.random.default_rng(0).normal(size=280)
    values[6::7] += 40
    model = robust(loss="huber").fit(daily(values))
    assert model.n_outliers_.tolist() == [0]
    assert model.predict().to_numpy()[6] > 40


def test_many_outliers_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(300) < 0.15, 1e4, rng.normal(size=300))
    with pytest.warns(UserWarning, match="of 300 points of series 'y' lie far from those around"):
        robust(loss="huber").fit(daily(values).rename("y"))


def test_least_squares_warns_of_a_value_that_it_follows() -> None:
    values = daily(10 + np.random.default_rng(0).normal(size=300)).rename("y")
    values.iloc[150] = 1e4
    with pytest.warns(UserWarning, match="series 'y' has a value, 10000, far from all others"):
        robust(loss="mse").fit(values)


def test_a_saved_model_passes_over_outliers(tmp_path: Any) -> None:
    values = daily(10 + np.random.default_rng(0).normal(size=300))
    model = robust(loss="huber").fit(values)
    model.save(f"{tmp_path}/model")
    values.iloc[-3] = 1e5
    again = load(f"{tmp_path}/model").predict(values)
    pd.testing.assert_series_equal(again, model.predict(values))
    assert np.abs(again - 10).max() < 2
