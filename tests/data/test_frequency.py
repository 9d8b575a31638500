"""Given and inferred frequencies, compared with pandas.date_range and period_range."""

import datetime
import zoneinfo

import dateutil.tz
import numpy as np
import pandas as pd
import pytest

from tsar.data.panel import Columns, Frequency, Panel

TICKS = ("s", "30s", "min", "15min", "h", "2h", "36h")
BUSINESS = ("B", "2B", "BMS", "BME", "BQS", "BQE", "BYS", "BYE", "BYE-MAR")
CALENDAR = (
    *("D", "2D", "W", "W-WED", "2W", "2W-FRI", "MS", "ME", "2MS", "3MS", "6MS", "12MS"),
    *("QS", "QE", "QS-NOV", "QE-FEB", "2QE", "YS", "YE", "YE-JUN", "2YS"),
)
# Both change the clock at 2 o'clock: one night has no half past two, the other has two of them.
CHANGES = ("2024-03-31 03:00", "2024-10-27 03:00")
ZONES = (None, "UTC", "Europe/Berlin", "Asia/Kathmandu")


def around(change: str, alias: str, zone: str | None, before: int, after: int) -> pd.DatetimeIndex:
    """Times of a frequency, `before` of them up to a clock change."""
    start = pd.Timestamp(change, tz=zone if alias in TICKS else None)
    start = start - before * pd.tseries.frequencies.to_offset(alias)
    tick = zone if alias not in TICKS else None
    return pd.date_range(start, periods=before + after, freq=alias, tz=tick)


def panel_of(index: pd.Index, freq: str | int | None = None, *, fill_gaps: bool = False) -> Panel:
    series = pd.Series(np.arange(len(index), dtype=float), index=index)
    return Panel.from_frame(series, Columns(freq=freq, fill_gaps=fill_gaps))


def check_continues(panel: Panel, expected: pd.Index) -> None:
    found = panel.future_times(len(expected))
    assert found.dtype == expected.dtype
    assert found.equals(expected), (panel.labels.frequency, found, expected)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("alias", TICKS + CALENDAR + BUSINESS)
def test_given_frequencies_continue_as_date_range(alias: str, zone: str | None) -> None:
    for change in CHANGES:
        index = around(change, alias, zone, 6, 7)
        for points in (1, 6):
            panel = panel_of(index[:points], alias)
            check_continues(panel, index[points:])
            assert panel.labels.frequency.to_ordinals(index).tolist() == [
                int(panel.labels.starts[0]) + k * panel.labels.frequency.step
                for k in range(len(index))
            ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("alias", TICKS + CALENDAR + BUSINESS)
def test_inferred_frequencies_continue_as_date_range(alias: str, zone: str | None) -> None:
    for change in CHANGES:
        index = around(change, alias, zone, 40, 7)
        check_continues(panel_of(index[:40]), index[40:])


@pytest.mark.parametrize("zone", (None, "Europe/Berlin"))
@pytest.mark.parametrize("alias", TICKS + CALENDAR)
def test_a_frequency_is_inferred_from_two_points(alias: str, zone: str | None) -> None:
    for change in CHANGES:
        index = around(change, alias, zone, 1, 4)
        check_continues(panel_of(index[:2]), index[2:])


@pytest.mark.parametrize("zone", (None, "Europe/Berlin"))
@pytest.mark.parametrize("alias", TICKS + CALENDAR + BUSINESS)
def test_a_frequency_is_inferred_through_gaps(alias: str, zone: str | None) -> None:
    index = around(CHANGES[0], alias, zone, 60, 7)
    there = np.random.default_rng(0).random(60) > 0.2
    there[[0, -1]] = True
    panel = panel_of(index[:60][there], fill_gaps=True)
    assert panel.lengths.tolist() == [60]
    assert np.array_equal(panel.values.isnan().numpy(), ~there)
    check_continues(panel, index[60:])


@pytest.mark.parametrize("step", (1, 2, 7))
def test_integers_are_times(step: int) -> None:
    index = pd.RangeIndex(-3, -3 + 20 * step, step)
    check_continues(panel_of(index[:15]), pd.Index(np.asarray(index[15:])))
    there = np.delete(index[:15].to_numpy(), [1, 4, 5])
    filled = panel_of(pd.Index(there), fill_gaps=True)
    assert filled.values.isnan().nonzero()[:, 0].tolist() == [1, 4, 5]
    assert panel_of(index[:1], step).future_times(2).tolist() == [-3 + step, -3 + 2 * step]


@pytest.mark.parametrize("alias", ("M", "2M", "Q", "Q-NOV", "Y", "Y-JUN", "D", "h", "W", "W-WED"))
def test_periods_continue_as_period_range(alias: str) -> None:
    index = pd.period_range("2023-11-04", periods=12, freq=alias)
    check_continues(panel_of(index[:5]), index[5:])
    check_continues(panel_of(index[:1], index.freqstr), index[1:])
    check_continues(panel_of(index[[0, 1, 4]], fill_gaps=True), index[5:])


@pytest.mark.parametrize(
    ("first", "zone"),
    (("2024-09-04", "America/Santiago"), ("2024-03-28 02:30", "Europe/Berlin")),
)
def test_days_whose_time_a_clock_change_skips_are_regular(first: str, zone: str) -> None:
    naive = pd.date_range(first, periods=9, freq="D")
    index = naive.tz_localize(zone, nonexistent="shift_forward")
    assert len({time.time() for time in index}) == 2  # one was moved
    for points in (4, 5, 6):
        check_continues(panel_of(index[:points]), index[points:])
    for start in range(6):
        check_continues(panel_of(index[start:7], "D"), index[7:])


def test_both_occurrences_of_a_repeated_hour_are_accepted() -> None:
    naive = pd.date_range("2024-10-25 02:30", periods=4, freq="D")
    summer = naive.tz_localize("Europe/Berlin", ambiguous=np.ones(4, dtype=bool))
    winter = naive.tz_localize("Europe/Berlin", ambiguous=np.zeros(4, dtype=bool))
    assert summer[2] != winter[2]
    check_continues(panel_of(winter[:3]), winter[3:])
    check_continues(panel_of(summer[:2]), summer[2:])


def test_24_hours_differ_from_a_day_across_a_clock_change() -> None:
    hours = pd.date_range("2024-03-29", periods=6, freq="24h", tz="Europe/Berlin")
    assert hours[-1].hour == 1
    for panel in (panel_of(hours[:4]), panel_of(hours[:4], "24h")):
        assert panel.labels.frequency.name == "24h"
        assert panel.labels.frequency.season_length == 7
        check_continues(panel, hours[4:])
    with pytest.raises(ValueError, match="must lie on the frequency 'D'"):
        panel_of(hours, "D")


@pytest.mark.parametrize(
    "zone",
    (
        datetime.UTC,
        datetime.timezone(datetime.timedelta(hours=5, minutes=30)),
        zoneinfo.ZoneInfo("Europe/Berlin"),
        dateutil.tz.tzoffset(None, 3600),
        "Europe/Berlin",
    ),
    ids=("utc", "offset", "zoneinfo", "dateutil", "name"),
)
@pytest.mark.parametrize("alias", ("h", "D"))
def test_time_zones_of_every_type_are_kept(zone: object, alias: str) -> None:
    naive = pd.date_range("2024-03-30 12:00", periods=6, freq=alias)
    index = naive.tz_localize(zone)
    check_continues(panel_of(index[:4]), index[4:])


@pytest.mark.parametrize("unit", ("s", "ms", "us", "ns"))
@pytest.mark.parametrize("alias", ("h", "D", "B", "ME"))
def test_the_resolution_is_kept(unit: str, alias: str) -> None:
    for zone in (None, "Europe/Berlin"):
        index = pd.date_range("2024-02-05", periods=15, freq=alias, tz=zone).as_unit(unit)
        check_continues(panel_of(index[:12]), index[12:])


@pytest.mark.parametrize("alias", ("B", "MS", "BQE", "W"))
def test_the_time_of_day_is_kept(alias: str) -> None:
    index = pd.date_range("2024-01-02 16:15", periods=20, freq=alias, tz="America/New_York")
    check_continues(panel_of(index[:14]), index[14:])


@pytest.mark.parametrize("alias", ("h", "D", "B", "W-WED", "MS", "BQE"))
def test_times_before_1970_are_regular(alias: str) -> None:
    index = pd.date_range("1968-12-20", periods=40, freq=alias)
    check_continues(panel_of(index[:30]), index[30:])


@pytest.mark.parametrize(
    ("alias", "season"),
    (
        *(("s", 60), ("30s", 2), ("min", 1440), ("15min", 96), ("h", 24), ("2h", 12), ("36h", 1)),
        *(("D", 7), ("24h", 7), ("B", 5), ("W", 52), ("2W", 26), ("MS", 12), ("ME", 12)),
        *(("3MS", 4), ("QS", 4), ("BQE", 4), ("YS", 1), ("2YS", 1), ("5D", 1)),
    ),
)
def test_the_season_length_depends_on_the_frequency(alias: str, season: int) -> None:
    index = pd.date_range("2024-01-01", periods=4, freq=alias)
    assert panel_of(index, alias).labels.frequency.season_length == season


@pytest.mark.parametrize(("alias", "season"), (("M", 12), ("Q", 4), ("Y", 1), ("W", 52), ("h", 24)))
def test_the_season_length_of_periods_depends_on_their_frequency(alias: str, season: int) -> None:
    index = pd.period_range("2024-01-01", periods=4, freq=alias)
    assert panel_of(index).labels.frequency.season_length == season


def test_the_name_of_an_inferred_frequency_is_its_alias() -> None:
    for alias in (*TICKS, *CALENDAR, *BUSINESS):
        index = around(CHANGES[0], alias, None, 40, 0)
        inferred = panel_of(index).labels.frequency
        assert panel_of(index, inferred.name).labels.frequency == inferred


def test_quarters_have_the_same_alias_from_any_month() -> None:
    index = pd.date_range("2020-01-01", periods=20, freq="QS-NOV")
    names = {
        panel_of(index[first:last]).labels.frequency.name
        for first in range(4)
        for last in range(10, 14)
    }
    assert names == {"QS-FEB"}


def test_business_days_are_inferred_despite_holidays() -> None:
    days = pd.bdate_range("2024-04-22", "2024-05-31")
    worked = days.drop(["2024-05-01", "2024-05-09", "2024-05-20"])
    panel = panel_of(worked, fill_gaps=True)
    assert panel.labels.frequency.name == "B"
    assert panel.lengths.tolist() == [len(days)]


def test_a_frequency_is_inferred_from_another_series_than_the_longest() -> None:
    sparse = pd.DataFrame({"unique_id": "a", "ds": [0, 2, 5, 7, 10, 12], "y": 1.0})
    dense = pd.DataFrame({"unique_id": "b", "ds": [4, 5, 6], "y": 1.0})
    panel = Panel.from_frame(pd.concat([sparse, dense]), Columns(fill_gaps=True))
    assert panel.labels.frequency.step == 1
    assert panel.lengths.tolist() == [13, 3]


def test_irregular_times_have_no_frequency() -> None:
    for index in (
        pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04 07:00"]),
        pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-03-16", "2024-04-15"]),
        pd.DatetimeIndex(["2024-01-01", "2024-01-03", "2024-01-06", "2024-01-08"]),
        pd.Index([0, 2, 4, 5, 7]),
        pd.DatetimeIndex(["2024-01-01"]),
    ):
        with pytest.raises(ValueError, match="freq must be given where it can't be inferred"):
            panel_of(index)


def test_times_and_ordinals_are_inverse() -> None:
    frequency = Frequency("1", "integer", 1)
    assert frequency.to_times(np.array([3, 4])).tolist() == [3, 4]
    assert frequency.to_ordinals(pd.Index([3, 4])).tolist() == [3, 4]
