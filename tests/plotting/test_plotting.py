"""Plots: the data, labels and number of points that they draw."""

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tsar
from tsar.forecasters import Naive, SeasonalNaive
from tsar.plotting import new_axes, plot_coefficients, plot_forecast, plot_forecasts

DAYS = pd.date_range("2024-01-01", periods=40)
FRAME = pd.concat(
    [
        pd.DataFrame({"unique_id": name, "ds": DAYS, "y": np.arange(40.0) + shift})
        for name, shift in (("a", 0), ("b", 100))
    ],
    ignore_index=True,
)


def lines(ax: Any, label: str) -> list[Any]:
    return [line for line in ax.lines if line.get_label() == label]


def has_ink(figure: Any) -> bool:
    figure.canvas.draw()
    return bool(np.asarray(figure.canvas.buffer_rgba())[..., :3].min() < 100)


# --- one series -------------------------------------------------------------------------------


def test_coefficients_are_stems_and_zeros_are_dots() -> None:
    coef, std_err = np.array([0.5, 0.0, -0.25]), np.array([0.1, np.nan, 0.05])
    ax = plot_coefficients(coef, std_err, title="lags")
    by_marker = {line.get_marker(): line for line in ax.lines}
    assert list(by_marker["."].get_xdata()) == [2]
    assert list(by_marker["o"].get_xdata()) == [1, 3]
    assert list(by_marker["o"].get_ydata()) == [0.5, -0.25]
    stems, errors = ax.collections
    spans = [segment[:, 1].tolist() for segment in stems.get_segments()]
    assert spans == [[0.0, 0.5], [0.0, -0.25]]
    spans = [segment[:, 1].tolist() for segment in errors.get_segments()]
    np.testing.assert_allclose(spans, [[0.304, 0.696], [-0.348, -0.152]])
    assert ax.get_title(loc="left") == "lags"
    assert has_ink(ax.figure)


def test_forecast_is_connected_to_the_history() -> None:
    history = (DAYS.to_numpy()[:30], np.arange(30.0))
    forecast = (DAYS.to_numpy()[30:], np.arange(10.0))
    bands = {"95 %": (forecast[1] - 2, forecast[1] + 2), "80 %": (forecast[1] - 1, forecast[1] + 1)}
    actual = (forecast[0], forecast[1] + 5)
    ax = plot_forecast(history, forecast, bands=bands, actual=actual, label="model")
    [past], [model], [observed] = (lines(ax, label) for label in ("history", "model", "actual"))
    np.testing.assert_array_equal(past.get_ydata(), history[1])
    np.testing.assert_array_equal(model.get_ydata(), [29.0, *forecast[1]])
    np.testing.assert_array_equal(observed.get_ydata(), [29.0, *actual[1]])
    assert [band.get_label() for band in ax.collections] == ["95 %", "80 %"]
    heights = [band.get_paths()[0].vertices[:, 1].max() for band in ax.collections]
    assert heights == [29.0, 29.0]  # both start at the end of the history
    lows = [band.get_paths()[0].vertices[:, 1].min() for band in ax.collections]
    assert lows == [-2.0, -1.0]
    assert has_ink(ax.figure)


def test_forecast_after_a_missing_value_is_not_connected() -> None:
    history = (np.arange(3), np.array([1.0, 2.0, np.nan]))
    ax = plot_forecast(history, (np.arange(3, 5), np.array([4.0, 5.0])))
    [line] = lines(ax, "forecast")
    assert list(line.get_xdata()) == [3, 4]


# --- a frame ----------------------------------------------------------------------------------


def test_each_series_has_one_panel_with_its_intervals() -> None:
    forecast = SeasonalNaive(7, horizon=5).fit(FRAME).predict(level=[80, 95])
    figure = plot_forecasts(FRAME, forecast)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b"]
    for ax, name in zip(figure.axes, "ab", strict=True):
        rows = forecast[forecast["unique_id"] == name]
        [line] = lines(ax, "SeasonalNaive")
        np.testing.assert_array_equal(line.get_ydata()[1:], rows["SeasonalNaive"])
        wide, narrow = (band.get_paths()[0].vertices[:, 1] for band in ax.collections)
        assert wide.min() == rows["SeasonalNaive-lo-95"].min()
        assert narrow.min() == rows["SeasonalNaive-lo-80"].min()
        assert line.get_xdata()[-1] == rows["ds"].max().to_datetime64()
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "observed",
        "95 % interval",
        "80 % interval",
        "SeasonalNaive",
        "last observation",
    ]
    assert has_ink(figure)


@pytest.mark.parametrize(("horizon", "n_points"), ((1, 24), (10, 40), (500, 400)))
def test_history_is_limited_relative_to_the_horizon(horizon: int, n_points: int) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(1000), "y": np.arange(1000.0)})
    figure = plot_forecasts(frame, Naive(horizon=horizon).fit(frame).predict())
    [past] = lines(figure.axes[0], "observed")
    np.testing.assert_array_equal(past.get_xdata(), np.arange(1000 - n_points, 1000))


def test_backtest_forecasts_are_drawn_after_each_cutoff() -> None:
    models = {"one": Naive(), "two": SeasonalNaive(7)}
    cv = tsar.cross_validation(models, FRAME, horizon=4, n_windows=3, level=80)
    figure = plot_forecasts(FRAME, cv, titles={"b": "the second"})
    [ax] = figure.axes
    assert ax.get_title(loc="left") == "the second"
    assert len(lines(ax, "one")) == len(lines(ax, "two")) == len(ax.collections) == 3
    starts = [line.get_ydata()[0] for line in lines(ax, "one")]
    assert starts == [100.0 + 40 - 13, 100.0 + 40 - 9, 100.0 + 40 - 5]
    [past] = lines(ax, "observed")
    assert past.get_ydata()[-1] == 139.0
    assert has_ink(figure)


def test_intervals_of_a_model_whose_name_ends_another_name() -> None:
    models = [Naive(horizon=4), SeasonalNaive(7, horizon=4)]
    cv = tsar.cross_validation(models, FRAME, horizon=4, level=80)
    ax = plot_forecasts(FRAME, cv).axes[0]
    assert [band.get_label() for band in ax.collections] == ["80 % interval"]


def test_quantiles_are_drawn_as_lines() -> None:
    forecast = Naive(horizon=3).fit(FRAME).predict(quantile_levels=[0.1, 0.9])
    ax = plot_forecasts(FRAME, forecast).axes[0]
    [low], [high] = lines(ax, "q-0.1"), lines(ax, "q-0.9")
    assert (low.get_ydata()[1:] < high.get_ydata()[1:]).all()


def test_first_six_of_many_series_are_drawn_and_named_in_the_title() -> None:
    ids = np.repeat([f"series {k}" for k in range(9)], 5)
    frame = pd.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(5), 9), "y": 1.0})
    figure = plot_forecasts(frame, Naive().fit(frame).predict())
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"series {k}" for k in range(6)]
    assert figure.get_suptitle() == "6 of 9 series"


@pytest.mark.parametrize("count", range(1, 7))
def test_panels_fill_the_figure_without_overlap(count: int) -> None:
    ids = np.repeat([f"series {k}" for k in range(count)], 5)
    frame = pd.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(5), count), "y": 1.0})
    figure = plot_forecasts(frame, Naive().fit(frame).predict())
    figure.canvas.draw()
    boxes = [ax.get_position() for ax in figure.axes]
    assert len(boxes) == count
    rows = {round(box.y0, 2) for box in boxes}
    for row in rows:
        assert sum(box.width for box in boxes if round(box.y0, 2) == row) > 0.75
    assert all(not a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_times_with_a_zone_are_drawn_in_local_time() -> None:
    hours = pd.date_range("2024-06-01", periods=30, freq="h", tz="Asia/Tokyo")
    frame = pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.arange(30.0)})
    ax = plot_forecasts(frame, Naive(horizon=2).fit(frame).predict()).axes[0]
    [past] = lines(ax, "observed")
    assert past.get_xdata()[-1] == np.datetime64("2024-06-02T05:00:00")


def test_axis_labels_have_a_separator_of_thousands() -> None:
    ax = plot_forecast((np.arange(3), np.array([1e6, 2e6, 3e6])), (np.array([3]), np.array([3e6])))
    ax.figure.canvas.draw()
    assert "2,000,000" in [label.get_text() for label in ax.get_yticklabels()]


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'tsar\[plot\]'"):
        new_axes(figsize=(3, 2))
