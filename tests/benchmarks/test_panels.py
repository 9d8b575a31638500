"""The development collection: sizes, alignment, simulations that repeat, nothing that is kept."""

import numpy as np
import pytest
from panels import PANELS, Split, filled, rolling, scales

SIMULATED = [panel for panel in PANELS if panel.name.startswith("sim_")]


def test_at_least_twenty_panels_of_different_names_without_the_closed_sets() -> None:
    names = [panel.name for panel in PANELS]
    assert len(set(names)) == len(names) >= 20
    closed = {"ETTh2", "illness", "tourism_monthly", "tourism_yearly"}
    assert not closed & set(names)


@pytest.mark.parametrize("panel", SIMULATED, ids=lambda panel: panel.name)
def test_simulated_panels_repeat_and_end_where_the_test_begins(panel) -> None:
    split, again = panel.read(), panel.read()
    assert split.test.shape == (len(split.train), panel.horizon)
    np.testing.assert_array_equal(split.padded(), again.padded())
    np.testing.assert_array_equal(split.test, again.test)
    frame = panel.frame(split)
    assert len(frame) == sum(map(len, split.train))
    assert (frame.groupby("unique_id")["ds"].max() < "2020-01-01").all()
    assert np.isfinite(scales(split.train, panel.season_length)).all()


def test_closed_days_are_sundays() -> None:
    panel = next(panel for panel in PANELS if panel.name == "sim_closed_sundays")
    frame = panel.frame(panel.read())
    np.testing.assert_array_equal(frame["y"].isna(), frame["ds"].dt.day_of_week == 6)


def test_windows_are_the_newest_and_capped() -> None:
    split = rolling([np.arange(20.0)], 3, windows=2, cap=5)
    np.testing.assert_array_equal(split.test, [[14.0, 15, 16], [17, 18, 19]])
    np.testing.assert_array_equal(split.train, [np.arange(9.0, 14), np.arange(12.0, 17)])


def test_shorter_series_are_padded_in_front() -> None:
    split = Split([np.array([1.0, 2.0]), np.array([3.0])], np.zeros((2, 1)))
    np.testing.assert_array_equal(split.padded(), [[1.0, 2.0], [np.nan, 3.0]])


def test_scale_is_seasonal_where_the_series_is_long_enough() -> None:
    series = [np.array([1.0, 2, np.nan, 8, 16]), np.array([1.0, 4]), np.array([5.0, 5, 5])]
    np.testing.assert_allclose(scales(series, 2), [6.0, 3, np.nan])


def test_gaps_are_filled_by_interpolation() -> None:
    np.testing.assert_array_equal(filled(np.array([np.nan, 2, np.nan, 4])), [2.0, 2, 3, 4])
