"""Calendars with regular gaps that are found in the times of a frame."""

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import ARNet, Columns, Naive, SeasonalNaive, cross_validation, load
from tsar.data.panel import Panel

DAYS = pd.date_range("2023-01-02", periods=420)  # from a Monday
HOURS = pd.date_range("2023-01-02", periods=24 * 60, freq="h")
FOUND = pytest.mark.filterwarnings("ignore:nothing is ever observed at some times of the week")


def series(index: pd.DatetimeIndex, keep: Any) -> pd.Series:
    values = np.random.default_rng(0).normal(size=len(index)) + 10
    return pd.Series(values, index=index, name="y")[keep]


def find(frame: Any, name: str) -> Panel:
    """Panel of a frame, whose calendar is found with a warning."""
    with pytest.warns(UserWarning, match=re.escape(f"read as the calendar {name!r}")):
        return Panel.from_frame(frame)


@pytest.mark.parametrize(
    ("weekdays", "name"),
    [
        ([0, 1, 2, 3, 4, 5], "D[Mon-Sat]"),
        ([1, 2, 3, 4, 5, 6], "D[Tue-Sun]"),
        ([0, 2, 4], "D[Mon Wed Fri]"),
        ([5, 6], "D[Sat Sun]"),
    ],
)
def test_closed_days_are_found(weekdays: list[int], name: str) -> None:
    panel = find(series(DAYS, DAYS.day_of_week.isin(weekdays)), name)
    assert panel.gapless and panel.labels.frequency.season_length == len(weekdays)


@pytest.mark.parametrize("timezone", [None, "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    ("keep", "name"),
    [
        (lambda t: (t.hour >= 9) & (t.hour < 17), "h[Mon-Sun 09:00-17:00]"),
        (lambda t: (t.hour >= 9) & (t.hour < 17) & (t.day_of_week < 5), "h[Mon-Fri 09:00-17:00]"),
        (
            lambda t: ((t.hour >= 8) & (t.hour < 18) & (t.hour != 12)) & (t.day_of_week < 6),
            "h[Mon-Sat 08:00-12:00 13:00-18:00]",
        ),
        (lambda t: (t.hour >= 20) | (t.hour < 1), "h[Mon-Sun 00:00-01:00 20:00-24:00]"),
    ],
)
def test_closed_hours_are_found_in_local_time(keep: Any, name: str, timezone: str | None) -> None:
    hours = pd.date_range("2023-02-27", periods=24 * 60, freq="h", tz=timezone)
    panel = find(series(hours, keep(hours)), name)
    assert panel.gapless
    frequency = panel.labels.frequency
    later = frequency.to_times(panel.end_ordinals(1)[0] + np.arange(50) * frequency.step)
    after = pd.date_range(hours[-1], periods=400, freq="h")[1:]
    assert list(later) == list(after[keep(after)][:50])


def test_hours_of_the_day_need_two_weeks_and_times_of_the_week_four() -> None:
    day = (HOURS.hour >= 9) & (HOURS.hour < 17)
    find(series(HOURS[: 24 * 15], day[: 24 * 15]), "h[Mon-Sun 09:00-17:00]")
    for index, keep in (
        (HOURS[: 24 * 13], day[: 24 * 13]),
        (DAYS[:27], DAYS[:27].day_of_week < 6),
        (HOURS[: 24 * 27], (day & (HOURS.day_of_week < 5))[: 24 * 27]),
    ):
        with pytest.raises(ValueError, match="have a row for every time"):
            Panel.from_frame(series(index, keep))


def test_points_that_are_missing_at_random_are_no_calendar() -> None:
    rng = np.random.default_rng(1)
    for index in (DAYS, HOURS):
        for share in (0.05, 0.2):
            keep = rng.random(len(index)) > share
            keep[[0, -1]] = True
            panel = Panel.from_frame(series(index, keep), Columns(fill_gaps=True))
            assert panel.labels.frequency.name in ("D", "h")
            assert len(panel.values) == len(index)


def test_a_day_that_is_open_once_is_not_closed() -> None:
    keep = (DAYS.day_of_week != 6) | (np.arange(len(DAYS)) == 202)
    assert DAYS[202].day_of_week == 6
    with pytest.raises(ValueError, match="have a row for every time"):
        Panel.from_frame(series(DAYS, keep))


def test_one_series_that_is_open_opens_the_panel() -> None:
    closed, open_ = series(DAYS, DAYS.day_of_week != 6), series(DAYS, DAYS.day_of_week < 7)
    frame = pd.concat({"a": closed, "b": open_}, names=["unique_id", "ds"]).reset_index()
    panel = Panel.from_frame(frame, Columns(fill_gaps=True))
    assert panel.labels.frequency.name == "D"
    find(frame[frame["unique_id"] == "a"], "D[Mon-Sat]")


def test_series_with_different_starts_share_a_calendar() -> None:
    parts = {
        name: series(DAYS, DAYS.day_of_week != 6).iloc[begin:]
        for name, begin in (("a", 0), ("b", 40), ("c", 340))
    }
    frame = pd.concat(parts, names=["unique_id", "ds"]).reset_index()
    assert find(frame, "D[Mon-Sat]").lengths.tolist() == [360, 320, 20]


@pytest.mark.parametrize("layout", ["series", "wide", "long"])
def test_days_that_are_always_missing_are_closed(layout: str) -> None:
    values = series(DAYS, DAYS.day_of_week < 7).where(DAYS.day_of_week < 6)
    frame: Any = values
    if layout == "wide":
        frame = pd.DataFrame({"a": values, "b": values.where(np.arange(len(values)) > 3)})
    if layout == "long":
        frame = values.rename_axis("ds").reset_index().assign(unique_id="a")
    panel = find(frame, "D[Mon-Sat]")
    assert set(panel.lengths.tolist()) == {360}


def test_an_absent_holiday_is_a_gap_of_the_calendar() -> None:
    keep = (DAYS.day_of_week != 6) & (np.arange(len(DAYS)) != 142)
    with (
        pytest.warns(UserWarning, match=r"D\[Mon-Sat\]"),
        pytest.raises(ValueError, match="1 missing row"),
    ):
        Panel.from_frame(series(DAYS, keep))
    with pytest.warns(UserWarning, match=r"D\[Mon-Sat\]"):
        panel = Panel.from_frame(series(DAYS, keep), Columns(fill_gaps=True))
    assert int(panel.values.isnan().sum()) == 1


def test_the_error_about_missing_rows_names_the_calendar() -> None:
    data = series(DAYS, DAYS.day_of_week != 6)
    with pytest.raises(ValueError, match=r"freq='D\[Mon-Sat\]'") as raised:
        Panel.from_frame(data, Columns(freq="D"))
    assert "Columns(freq=...)" in str(raised.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Panel.from_frame(data, Columns(freq="D[Mon-Sat]")).gapless
        assert not Panel.from_frame(data, Columns(freq="D", fill_gaps=True)).gapless


@FOUND
def test_the_calendar_is_kept_after_fit(tmp_path: Any) -> None:
    data = series(DAYS, DAYS.day_of_week != 6)
    model = SeasonalNaive(6, horizon=12).fit(data[:-12])
    model.save(f"{tmp_path}/model")
    forecast = load(f"{tmp_path}/model").predict()
    assert list(forecast.index) == list(data.index[-12:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the fitted calendar is used, not found anew
        newer = model.predict(data[-9:-3])
        updated = model.update(data[-12:]).predict()
    assert list(newer.index[:3]) == list(data.index[-3:])
    assert (updated.index.day_of_week != 6).all()
    scores = cross_validation(Naive(), data, horizon=6, n_windows=2)
    assert (pd.DatetimeIndex(scores["ds"]).day_of_week != 6).all()


@FOUND
@pytest.mark.parametrize(
    ("index", "keep", "level"),
    [
        (DAYS, DAYS.day_of_week != 6, np.array([10, 11, 12, 13, 30, 40, 0.0])[DAYS.day_of_week]),
        (HOURS, (HOURS.hour >= 9) & (HOURS.hour < 17), (HOURS.hour - 8.0) ** 2),
    ],
    ids=["closed on Sundays", "open 9 to 17"],
)
def test_forecasts_of_a_shop_stay_in_its_range(index: Any, keep: Any, level: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, len(index))
    data = pd.Series(level + noise, index=index)[keep]
    forecast = ARNet(horizon=14).fit(data).predict()
    assert data.min() - 1 < forecast.min() < forecast.max() < data.max() + 1
    season = 6 if len(index) == len(DAYS) else 8
    expected = data.iloc[-season:].to_numpy()[np.arange(14) % season]
    assert np.abs(forecast.to_numpy() - expected).max() < 2


@pytest.mark.parametrize("offset", ["C", "bh"])
def test_an_index_that_has_a_calendar_is_taken_at_its_word(offset: str) -> None:
    week: Any = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    freq = week if offset == "C" else offset
    index = pd.date_range("2024-01-01", periods=20, freq=freq)
    forecast = Naive(horizon=5).fit(pd.Series(np.arange(20.0), index=index)).predict()
    assert list(forecast.index) == list(pd.date_range(index[-1], periods=6, freq=freq)[1:])


@pytest.mark.parametrize("freq", ["SMS", "SME", "WOM-2TUE", "LWOM-FRI", "MS-15", "MS-31"])
def test_days_of_the_month_are_inferred(freq: str) -> None:
    if freq.startswith("MS-"):
        months = pd.date_range("2022-01-01", periods=30, freq="MS")
        index = months + pd.to_timedelta(
            np.minimum(int(freq[3:]), months.days_in_month) - 1, unit="D"
        )
        name = "ME" if freq == "MS-31" else freq
    else:
        index = pd.date_range("2022-01-03", periods=30, freq=freq)
        name = {"SMS": "SMS-15", "SME": "SME-15"}.get(freq, freq)
    index = pd.DatetimeIndex(index, freq=None)
    panel = Panel.from_frame(pd.Series(np.arange(20.0), index=index[:20]))
    assert panel.labels.frequency.name == name and panel.gapless
    ahead = panel.end_ordinals(1) + np.arange(10) * panel.labels.frequency.step
    assert list(panel.labels.frequency.to_times(ahead)) == list(index[20:])


@pytest.mark.parametrize(
    ("freq", "every", "name"),
    [("h", 2, "2h"), ("D", 7, "W-MON"), ("MS", 3, "QS-JAN"), ("15min", 4, "h"), (None, 2, "2")],
)
def test_a_frame_that_is_observed_at_every_few_times_is_read_at_these(
    freq: str | None, every: int, name: str
) -> None:
    index = pd.date_range("2024-01-01", periods=200, freq=freq) if freq else pd.RangeIndex(200)
    values = pd.Series(np.arange(200.0), index=index)
    gappy = values.where(np.arange(200) % every == 0)
    with pytest.warns(UserWarning, match=f"times of frequency '{name}'"):
        forecast = Naive(horizon=2).fit(gappy).predict()
    last = 199 // every * every
    assert (forecast == values.iloc[last]).all()
    columns = Columns(freq=every if freq is None else name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the warning says to do works
        pd.testing.assert_series_equal(
            Naive(horizon=2, columns=columns).fit(gappy).predict(), forecast
        )
        every_time = Naive(horizon=2, columns=Columns(freq=1 if freq is None else freq)).fit(gappy)
    assert len(every_time.predict()) == 2


def test_points_that_are_missing_at_random_do_not_change_the_frequency() -> None:
    values = series(DAYS, DAYS.day_of_week < 7)
    gappy = values.where(np.random.default_rng(0).random(len(values)) < 0.5)
    assert Panel.from_frame(gappy).labels.frequency.name == "D"
