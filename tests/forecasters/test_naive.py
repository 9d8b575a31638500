"""Summaries of the naive forecasters."""

import numpy as np

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
