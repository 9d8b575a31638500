"""Calendars with regular gaps: their integers and times, compared with pandas."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import tsar
from tsar import Columns
from tsar.data.panel import Panel
from tsar.data.panel.frequency import OFF_CALENDAR, parse_alias
from tsar.data.panel.open_times import DAY, parse_open_times

HOLIDAYS = ["2024-01-01", "2024-01-02", "2024-03-29", "2024-04-01", "2023-12-25", "2024-02-04"]
WEEKMASKS = ("1111110", "0111110", "1111001", "1010100", "1111111", "0000011", "1000000")
HOURS = (
    (["09:00"], ["17:00"]),
    (["09:30"], ["16:00"]),
    (["08:00", "13:30"], ["12:00", "18:00"]),
    (["22:00"], ["06:00"]),
)


def panel_of(index: pd.Index, freq: object = None, **options: bool) -> Panel:
    series = pd.Series(np.arange(len(index), dtype=float), index=index)
    return Panel.from_frame(series, Columns(freq=freq, **options))


def check_continues(index: pd.DatetimeIndex, freq: object, split: int) -> Panel:
    panel = panel_of(index[:split], freq)
    frequency = panel.labels.frequency
    ordinals = frequency.to_ordinals(index)
    assert np.array_equal(np.diff(ordinals), np.full(len(index) - 1, frequency.step))
    assert frequency.to_times(ordinals).equals(index)
    assert panel.future_times(len(index) - split).equals(index[split:])
    return panel


@pytest.mark.parametrize("zone", (None, "UTC", "Europe/Berlin", "America/New_York"))
@pytest.mark.parametrize("weekmask", WEEKMASKS)
@pytest.mark.parametrize("holidays", ([], HOLIDAYS), ids=("plain", "holidays"))
@pytest.mark.parametrize("step", (1, 3))
def test_business_days_continue_as_date_range(
    weekmask: str, holidays: list[str], zone: str | None, step: int
) -> None:
    freq = pd.offsets.CustomBusinessDay(step, weekmask=weekmask, holidays=holidays)
    for start in ("1969-11-20", "2023-12-20 08:30"):
        index = pd.date_range(start, periods=120, freq=freq, tz=zone)
        check_continues(index, freq, 40)


@pytest.mark.parametrize("zone", (None, "Europe/Berlin"))
@pytest.mark.parametrize("weekmask", WEEKMASKS[:5])
@pytest.mark.parametrize("holidays", ([], HOLIDAYS), ids=("plain", "holidays"))
@pytest.mark.parametrize("hours", HOURS, ids=("day", "half hours", "lunch", "night"))
@pytest.mark.parametrize("step", (1, 2))
def test_business_hours_continue_as_date_range(
    weekmask: str, holidays: list[str], hours: tuple[list[str], list[str]], step: int, zone: str
) -> None:
    freq = pd.offsets.CustomBusinessHour(
        step, weekmask=weekmask, holidays=holidays, start=hours[0], end=hours[1]
    )
    index = pd.date_range("2023-12-21 07:00", periods=90, freq=freq, tz=zone)
    if zone is not None and hours[0] == ["22:00"] and weekmask[5] == "1":
        with pytest.raises(ValueError, match="leave out the hours at which the clocks"):
            panel_of(index, freq)
        index = index.tz_localize(None)
    check_continues(index, freq, 40)


@pytest.mark.parametrize(
    ("alias", "name", "season"),
    (
        ("C", "B", 5),
        ("2C", "2B", 2),
        ("bh", "h[Mon-Fri 09:00-17:00]", 8),
        ("cbh", "h[Mon-Fri 09:00-17:00]", 8),
        ("2bh", "2h[Mon-Fri 09:00-17:00]", 4),
        ("SMS", "SMS-15", 24),
        ("SME-20", "SME-20", 24),
        ("WOM-2TUE", "WOM-2TUE", 12),
        ("LWOM-FRI", "LWOM-FRI", 12),
        ("3WOM-4MON", "3WOM-4MON", 4),
    ),
)
def test_aliases_of_pandas_continue_as_date_range(alias: str, name: str, season: int) -> None:
    for zone in (None, "Europe/Berlin"):
        index = pd.date_range("2023-12-29", periods=60, freq=alias, tz=zone)
        panel = check_continues(index, alias, 20)
        assert panel.labels.frequency.name == name
        assert panel.labels.frequency.season_length == season
        check_continues(index, pd.tseries.frequencies.to_offset(alias), 20)
        check_continues(index, name, 20)


@pytest.mark.parametrize("day", (2, 15, 28, 30, 31))
@pytest.mark.parametrize("step", (1, 3, 12))
def test_months_on_a_day_have_it_or_their_last_one(day: int, step: int) -> None:
    first = pd.date_range("2023-01-01", periods=30, freq=f"{step}MS")
    index = first + pd.to_timedelta(np.minimum(day, first.days_in_month) - 1, unit="D")
    panel = check_continues(index, f"{step}MS-{day}", 20)
    assert panel.labels.frequency.season_length == 12 // step


@pytest.mark.parametrize(
    ("name", "season"),
    (
        ("D[Mon-Sat]", 6),
        ("D[Sun-Thu]", 5),
        ("D[Mon Wed Fri]", 3),
        ("2D[Mon-Sat]", 3),
        ("h[Mon-Sat]", 24),
        ("h[Mon-Sun 09:00-17:00]", 8),
        ("30min[Mon-Fri 09:00-12:00 13:00-18:00, Sat 09:00-14:00]", 90),
        ("15min[Mon-Fri 09:30-16:00]", 26),
    ),
)
def test_names_are_read_and_written_alike(name: str, season: int) -> None:
    frequency = parse_alias(name)
    assert frequency.name == name
    assert frequency.season_length == season
    assert parse_alias(frequency.freq) == frequency


def test_nights_are_the_same_from_a_name_and_from_pandas() -> None:
    night = pd.offsets.CustomBusinessHour(weekmask="1111100", start="22:00", end="06:00")
    frequency = parse_alias(Columns(freq=night).freq)
    assert frequency.season_length == 8
    assert frequency == parse_alias("h[Mon-Fri 22:00-06:00]") == parse_alias(frequency.name)


@pytest.mark.parametrize(
    ("name", "reason"),
    (
        ("D[Mon-Sam]", "'Sam' is none of Mon"),
        ("D[]", "no weekday"),
        ("D[Mon 09:00-17:00]", "days have no hours"),
        ("h[Mon 9-17]", "'9-17' is none of|'9' is none of"),
        ("h[Mon 09:00-25:00]", "beyond 24:00"),
        ("D[Mon-Sat; 3 holidays]", "holidays can't be told"),
        ("W[Mon-Sat]", "steps of days, hours"),
        ("-1D[Mon-Sat]", "be a pandas alias"),
    ),
)
def test_other_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_alias(name)


def test_closed_times_are_off_the_calendar() -> None:
    days = pd.date_range("2023-11-20", periods=800)
    frequency = parse_alias(
        Columns(freq=pd.offsets.CustomBusinessDay(weekmask="1111010", holidays=HOLIDAYS)).freq
    )
    is_open = np.is_busday(days.to_numpy().astype("datetime64[D]"), "1111010", HOLIDAYS)
    assert np.array_equal(frequency.to_ordinals(days) != OFF_CALENDAR, is_open)
    hours = pd.date_range("2024-01-01", periods=24 * 14, freq="h")
    office = parse_alias("h[Mon-Fri 09:00-17:00]").to_ordinals(hours) != OFF_CALENDAR
    assert np.array_equal(office, (hours.day_of_week < 5) & (hours.hour >= 9) & (hours.hour < 17))


def test_any_time_has_the_open_time_before_it() -> None:
    week = parse_open_times("h[Mon-Fri 09:00-12:00 13:00-18:00, Sat 22:00-03:00]")
    assert week is not None
    local = np.arange(-15 * DAY, 15 * DAY, DAY // 24)
    ordinals, is_open = week.to_ordinals(local)
    count = np.cumsum(is_open) - is_open
    assert np.array_equal(ordinals - ordinals[0], count * (DAY // 24))
    assert np.array_equal(week.to_local(ordinals[is_open]), local[is_open])


def test_forecasts_are_those_of_the_same_values_without_dates() -> None:
    values = np.random.default_rng(0).normal(size=90).cumsum()
    freq = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=HOLIDAYS)
    index = pd.date_range("2024-01-01", periods=97, freq=freq)
    series = pd.Series(values, index=index[:90])
    for make in (partial(tsar.ARNet, 3, horizon=7), partial(tsar.Naive, horizon=7)):
        forecast = make(columns=Columns(freq=freq)).fit(series).predict()
        assert forecast.index.equals(index[90:])
        again = pd.date_range(index[0], periods=97, freq=forecast.index.freq)
        assert again.equals(index)
        plain = make().fit(values).predict()
        np.testing.assert_array_equal(forecast.to_numpy(), plain)
    season = tsar.SeasonalNaive(horizon=7, columns=Columns(freq=freq)).fit(series).predict()
    np.testing.assert_array_equal(season.to_numpy()[:6], values[-6:])


def test_models_with_open_times_are_saved_and_backtested(tmp_path) -> None:
    freq = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=HOLIDAYS)
    index = pd.date_range("2024-01-01", periods=60, freq=freq)
    frame = pd.DataFrame({"ds": index, "y": np.arange(60.0), "price": 1.0})
    columns = Columns(freq=freq, future=("price",))
    model = tsar.ARNet(2, horizon=3, columns=columns).fit(frame[:50])
    model.save(tmp_path / "model")
    loaded = tsar.load(tmp_path / "model")
    future = tsar.make_future(frame[:50], 3, columns=columns)
    assert future["ds"].tolist() == index[50:53].tolist()
    future["price"] = 1.0
    pd.testing.assert_frame_equal(loaded.predict(future=future), model.predict(future=future))
    loaded.update(frame[50:55])
    future["ds"] = index[55:58]
    assert loaded.predict(future=future)["ds"].tolist() == index[55:58].tolist()
    naive = tsar.Naive(horizon=3, columns=Columns(freq=freq))
    result = tsar.cross_validation(naive, frame, horizon=3, n_windows=2)
    assert set(result["ds"]) <= set(index)
