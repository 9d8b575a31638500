"""Summaries of the naive forecasters, and intervals of short series."""

import warnings

import numpy as np
import pytest

from tsar.forecasters import Naive, SeasonalNaive


def test_the_summary_of_naive_shows_its_one_step_error() -> None:
    lines = Naive(horizon=2).fit([1.0, 2.0, 4.0]).summary().splitlines()
    assert lines[0].strip() == "Naive"
    assert lines[2].split() == ["series", "1", "season", "length", "1"]
    assert lines[3].split() == ["horizon", "2", "sigma", "1.581"]  # sqrt((1 + 4) / 2)


def test_the_summary_of_seasonal_naive_shows_season_and_median_error() -> None:
    frame = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 3.0], [2.0, 4.0]])
    lines = SeasonalNaive(2, horizon=3).fit(frame).summary().splitlines()
    assert lines[0].strip() == "SeasonalNaive"
    assert lines[3].split() == ["horizon", "3", "median", "sigma", "2"]  # of 1 and 3


@pytest.mark.parametrize("n", [2, 4, 7, 8, 12])
def test_intervals_of_short_series_are_not_of_width_zero(n: int) -> None:
    values = np.random.default_rng(0).normal(10, 1, size=(n + 7, 400))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecast = SeasonalNaive(7, horizon=7).fit(values[:n]).predict(level=80)
    inside = (forecast[..., 1] <= values[n:]) & (values[n:] <= forecast[..., 2])
    assert 0.75 < inside.mean() < 0.93


def test_a_series_without_two_points_a_season_apart_is_warned_of() -> None:
    model = SeasonalNaive(7, horizon=2).fit([1.0, 2.0, 4.0])
    assert model.n_errors_.tolist() == [0] and model.df_resid_.tolist() == [2]
    assert model.sigma_[0] == pytest.approx(np.sqrt(2) * np.std([1, 2, 4], ddof=1))
    with pytest.warns(UserWarning, match="has no two observed points 7 apart"):
        model.predict(level=80)
    with pytest.warns(UserWarning, match="or NaN where only one is observed"):
        assert np.isnan(Naive().fit([3.0]).predict(level=80)[0, 1:]).all()


def test_a_constant_series_has_an_interval_of_width_zero() -> None:
    assert Naive(horizon=2).fit(np.full(9, 2.0)).predict(level=80).tolist() == [[2.0] * 3] * 2
