"""Frequency: converts between times and integers, so that point k is at `start + k * step`.

Ticks (hours and shorter) count absolute microseconds, so that an hour is an hour across a
daylight-saving change. Days, business days and months count in local time, so that a day may have
23 hours.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.open_times import DAY, HOUR, SECOND, OpenTimes, from_offset, parse_open_times
from tsar.records import record
from tsar.validation import ParameterError

Kind = Literal["tick", "day", "business", "month", "half month", "open", "period", "integer"]
Ordinals = NDArray[np.int64]
Days = NDArray[Any]  # of datetime64[D], which beartype does not take for datetime64

EPOCH = np.datetime64("1970-01-01")
MINUTE = 60 * SECOND
# Kind, multiple and anchor (day of the month) of each calendar offset of pandas.
OFFSETS: dict[str, tuple[Kind, int, str]] = {
    "Day": ("day", 1, ""),
    "Week": ("day", 7, ""),
    "BusinessDay": ("business", 1, ""),
    "MonthBegin": ("month", 1, "start"),
    "MonthEnd": ("month", 1, "end"),
    "BusinessMonthBegin": ("month", 1, "business start"),
    "BusinessMonthEnd": ("month", 1, "business end"),
    "QuarterBegin": ("month", 3, "start"),
    "QuarterEnd": ("month", 3, "end"),
    "BQuarterBegin": ("month", 3, "business start"),
    "BQuarterEnd": ("month", 3, "business end"),
    "YearBegin": ("month", 12, "start"),
    "YearEnd": ("month", 12, "end"),
    "BYearBegin": ("month", 12, "business start"),
    "BYearEnd": ("month", 12, "business end"),
    "WeekOfMonth": ("month", 1, ""),  # the anchor is in the offset's fields
    "LastWeekOfMonth": ("month", 1, ""),
    "SemiMonthBegin": ("half month", 1, ""),
    "SemiMonthEnd": ("half month", 1, ""),
}
# Months on a day of the month, which pandas has no alias for: the last day in shorter months.
MONTH_DAY = re.compile(r"(\d*)MS-(\d\d?)")
CLOCK_CHANGES = np.arange(0, 4 * 366 * DAY, HOUR // 4) + 19_723 * DAY  # four years from 2024
OFF_CALENDAR = np.int64(-(10**18))  # stands for a time that the frequency does not contain


@record("frequency")
@dataclass(frozen=True)
class Frequency:
    """The step between two points, and the conversion of times to integers and back.

    Attributes
    ----------
    name
        Alias of pandas, or the step of integer times.
    kind, step
        What the integers count, and by how much they grow from one point to the next.
    season_length
        Points in the usual season of this frequency: 24 hourly, 7 daily, 12 monthly, 1 without one.
    anchor
        Day of the month ("start", "business end", "15", "2TUE"), or the alias of a period.
    timezone, unit
        Time zone and resolution of the times that came in.
    time_of_day
        Microseconds after midnight at which days, business days and months stand.
    open_times
        Days and hours of a calendar with regular gaps, whose integers count open microseconds.
    """

    name: str
    kind: Kind
    step: int
    season_length: int = 1
    anchor: str = ""
    timezone: str | tzinfo | None = None
    unit: str = "ns"
    time_of_day: int = 0
    open_times: OpenTimes | None = None

    @property
    def freq(self) -> "str | int | OpenTimes":
        """What `Columns(freq=...)` takes for this frequency."""
        if self.open_times is not None:
            return self.open_times
        return self.step if self.kind == "integer" else self.name

    @property
    def week_length(self) -> int:
        """Points of a week, where they are parts of a day; else 0."""
        if self.open_times is not None and not self.open_times.daily:
            return self.open_times.week_time // self.step
        is_part = self.kind == "tick" and self.season_length * self.step == DAY
        return 7 * self.season_length if is_part else 0

    @property
    def offset(self) -> "str | pd.offsets.BaseOffset":
        """Offset or alias of pandas; not all calendars have one."""
        offset = None
        if self.open_times is not None and self.open_times.daily:
            offset = self.open_times.offset(self.step // DAY)
        return self.name if offset is None else offset

    def to_ordinals(self, times: pd.Index) -> Ordinals:
        """Integer of each time; `OFF_CALENDAR` for others (a 3rd among month starts)."""
        if self.kind == "integer":
            return np.asarray(times, dtype=np.int64)
        if self.kind == "period":
            return np.asarray(pd.PeriodIndex(times).asi8, dtype=np.int64)
        local = without_time_zone(pd.DatetimeIndex(times), utc=self.kind == "tick")
        if self.kind == "tick":
            nanoseconds = local.asi8 % 1000 if local.unit == "ns" else 0
            return np.where(nanoseconds, OFF_CALENDAR, microseconds(local))
        is_open = np.ones(len(local), dtype=bool)
        if self.open_times is not None:
            since_1970 = microseconds(local)
            if self.open_times.daily:
                since_1970 -= since_1970 % DAY
            ordinals, is_open = self.open_times.to_ordinals(since_1970)
        else:
            ordinals = TO_ORDINALS[self.kind](days_of(local), self.anchor)
        differs = np.asarray(self._to_local(ordinals) != local)
        if differs.any() and self.timezone is not None:
            # A local time that a clock change skips is moved by the time zone: compare moved ones.
            moved = self.to_times(ordinals[differs])
            moved = without_time_zone(pd.DatetimeIndex(moved), utc=False)
            differs[differs] = np.asarray(moved != local[differs])
        return np.where(differs | ~is_open, OFF_CALENDAR, ordinals)

    def to_times(self, ordinals: Ordinals) -> pd.Index:
        """Times of integers, with the time zone and resolution that came in."""
        if self.kind == "integer":
            return pd.Index(ordinals)
        if self.kind == "period":
            return pd.PeriodIndex.from_ordinals(ordinals, freq=self.anchor)
        local = self._to_local(ordinals)
        with suppress(pd.errors.OutOfBoundsDatetime):  # nanoseconds end in 2262, microseconds later
            local = local.as_unit(self.unit)
        if self.timezone is None:
            return local
        if self.kind == "tick":
            return local.tz_localize("UTC").tz_convert(self.timezone)
        summer = np.ones(len(local), dtype=bool)  # of a repeated hour, the one in summer time
        return local.tz_localize(self.timezone, ambiguous=summer, nonexistent="shift_forward")

    def _to_local(self, ordinals: Ordinals) -> pd.DatetimeIndex:
        """Times without a time zone: UTC for ticks, local time for the others."""
        if self.kind == "tick":
            return pd.DatetimeIndex(ordinals.astype("datetime64[us]"))
        if self.open_times is not None:
            since_1970 = self.open_times.to_local(ordinals).astype("datetime64[us]")
            return pd.DatetimeIndex(since_1970 + np.timedelta64(self.time_of_day, "us"))
        days = TO_DAYS[self.kind](ordinals, self.anchor).astype("datetime64[us]")
        return pd.DatetimeIndex(days + np.timedelta64(self.time_of_day, "us"))


def parse_alias(
    alias: str | int | OpenTimes,
    *,
    timezone: str | tzinfo | None = None,
    unit: str = "ns",
    time_of_day: int = 0,
) -> Frequency:
    """Frequency of a pandas alias, of open times, or of the step of integer times."""
    if isinstance(alias, int):
        _check_positive(alias, alias)
        return Frequency(str(alias), "integer", alias)
    calendar = alias if isinstance(alias, OpenTimes) else parse_open_times(alias)
    if calendar is not None:
        return _open_frequency(calendar, timezone, unit, time_of_day)
    month_day = MONTH_DAY.fullmatch(str(alias))
    if month_day is not None and 2 <= int(month_day[2]) <= 31:
        step, anchor = int(month_day[1] or 1), str(int(month_day[2]))
        _check_positive(alias, step)
        season = _season_length("month", step)
        return Frequency(str(alias), "month", step, season, anchor, timezone, unit, time_of_day)
    offset = _to_offset(alias)
    _check_positive(alias, offset.n)
    calendar = from_offset(offset)
    if calendar is not None:
        return _open_frequency(calendar, timezone, unit, time_of_day)
    kind, step, anchor = _parse_offset(offset)
    time_of_day = 0 if kind == "tick" else time_of_day
    season_length = _season_length(kind, step)
    return Frequency(offset.freqstr, kind, step, season_length, anchor, timezone, unit, time_of_day)


def _to_offset(alias: object) -> pd.offsets.BaseOffset:
    try:
        return pd.tseries.frequencies.to_offset(alias)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            "columns.freq",
            "be a pandas alias",
            f"{alias!r} ({error})",
            "Use 's', 'min', '15min', 'h', 'D', 'B', 'W', 'MS', 'ME', 'QS', 'YS' or an integer; "
            "'D[Mon-Sat]' or 'h[Mon-Fri 09:00-17:00]' for open days or hours, 'MS-15' for the "
            "15th of each month.",
        ) from error


def _open_frequency(
    calendar: OpenTimes, timezone: str | tzinfo | None, unit: str, time_of_day: int
) -> Frequency:
    """Frequency of open days or hours; Monday to Friday without holidays is that of pandas."""
    offset = _to_offset(calendar.alias)
    kind, step, _ = _parse_offset(offset)
    if kind not in ("day", "tick") or (kind == "day") != calendar.daily or step < 1:
        raise ParameterError(
            "columns.freq",
            "have steps of days, hours or parts of them where it names open times",
            repr(calendar.name),
            "Use 'D[...]', 'h[...]', '15min[...]'.",
        )
    if calendar.daily:
        if calendar.name == f"{calendar.alias}[Mon-Fri]":
            alias = calendar.alias.replace("D", "B")
            return parse_alias(alias, timezone=timezone, unit=unit, time_of_day=time_of_day)
        step *= DAY
        season = calendar.week_time // step
    else:
        time_of_day = 0
        _check_clock_changes(calendar, timezone)
        season = (calendar.day_time or calendar.week_time) // step
    season = max(season, 1)
    name = calendar.name
    return Frequency(name, "open", step, season, "", timezone, unit, time_of_day, calendar)


@lru_cache(maxsize=16)
def _check_clock_changes(calendar: OpenTimes, timezone: str | tzinfo | None) -> None:
    """Check that no open time is skipped or repeated where clocks change."""
    if timezone is None:
        return
    _, is_open = calendar.to_ordinals(CLOCK_CHANGES)
    local = pd.DatetimeIndex(CLOCK_CHANGES[is_open].astype("datetime64[us]"))
    changes = local.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").isna()
    if changes.any():
        raise ParameterError(
            "columns.freq",
            f"leave out the hours at which the clocks of {str(timezone)!r} change",
            f"{calendar.name!r}, open on {local[changes][0]}",
            "Convert the times to UTC by tz_convert('UTC'), or give an alias such as 'h' and "
            "{columns.fill_gaps}.",
            {"columns.fill_gaps": "fill_gaps=True"},
        )


def period_frequency(times: pd.PeriodIndex, freq: str | int | OpenTimes | None) -> Frequency:
    """Frequency of a PeriodIndex, whose ordinals are those of pandas; `freq` can't change it."""
    name = times.freqstr
    if freq not in (None, name):
        raise ParameterError(
            "columns.freq",
            f"be None with periods, which have their own, {name!r}",
            repr(freq),
            "Use periods of that frequency, or convert them to dates.",
        )
    kind, step, _ = _parse_offset(times.freq)
    return Frequency(name, "period", times.freq.n, _season_length(kind, step), anchor=name)


def _check_positive(alias: object, step: int) -> None:
    if step < 1:
        raise ParameterError(
            "columns.freq", "step forward", repr(alias), "Use a positive multiple."
        )


def _parse_offset(offset: pd.offsets.BaseOffset) -> tuple[Kind, int, str]:
    name = type(offset).__name__
    if name in OFFSETS:
        kind, multiple, anchor = OFFSETS[name]
        if name == "WeekOfMonth":
            anchor = f"{offset.week + 1}-{offset.weekday}"
        elif name == "LastWeekOfMonth":
            anchor = f"0-{offset.weekday}"
        elif kind == "half month":
            anchor = f"{name[9:].lower()}-{offset.day_of_month}"
        return kind, multiple * offset.n, anchor
    try:
        step, nanoseconds = divmod(offset.nanos, 1000)
    except ValueError:
        step, nanoseconds = 0, 0
    if nanoseconds or not step:
        raise ParameterError(
            "columns.freq",
            "be one of ticks of whole microseconds, days, weeks, open days or hours, half months, "
            "months, quarters, years",
            repr(offset.freqstr),
            "Use another one, or number the points of each series by integers.",
        )
    return "tick", step, ""


def _season_length(kind: Kind, step: int) -> int:
    if kind == "tick" and step % DAY == 0:
        kind, step = "day", step // DAY
    if kind == "tick":
        return max(DAY // step, 1) if step >= MINUTE else max(MINUTE // step, 1)
    if kind == "day" and step % 7 == 0:
        return max(52 * 7 // step, 1)
    return max({"day": 7, "business": 5, "month": 12, "half month": 24}[kind] // step, 1)


def without_time_zone(times: pd.DatetimeIndex, *, utc: bool) -> pd.DatetimeIndex:
    """The same times without their time zone: in UTC, or in local time."""
    if times.tz is None:
        return times
    return times.tz_convert("UTC").tz_localize(None) if utc else times.tz_localize(None)


def microseconds(local: pd.DatetimeIndex) -> Ordinals:
    """Microseconds since 1970, rounded down."""
    return np.asarray(local.as_unit("us").asi8, dtype=np.int64)


def usual_time_of_day(times: pd.DatetimeIndex) -> int:
    """Most frequent local time of day, in microseconds after midnight."""
    # A thousand times suffice: few of them fall on a clock change.
    of_day = microseconds(without_time_zone(times[:1000], utc=False)) % DAY
    values, counts = np.unique(of_day, return_counts=True)
    return int(values[counts.argmax()])


def days_of(local: pd.DatetimeIndex) -> Days:
    """Day of each local time."""
    return np.asarray(local.to_numpy().astype("datetime64[D]"))


def business_days(days: Days) -> Ordinals:
    """Business days since 1970; a Saturday counts as the Monday after it."""
    return np.busday_count(EPOCH, days).astype(np.int64)


def month_days(months: Ordinals, anchor: str) -> Days:
    """Day of each month that an anchor names: its first or last day, or business day.

    "15" is the 15th, or the last day of a shorter month; "2-1" the second Tuesday, "0-4" the last
    Friday.
    """
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]")
    last = (following.astype(np.int64) - 1).astype("datetime64[D]")
    if anchor == "start":
        return first
    if anchor == "end":
        return last
    if anchor == "business start":
        return np.busday_offset(first, 0, roll="forward")
    if anchor == "business end":
        return np.busday_offset(last, 0, roll="backward")
    week, _, weekday = anchor.partition("-")
    if not weekday:
        return np.minimum(first + (int(anchor) - 1), last)
    if week == "0":
        return last - ((last.astype(np.int64) + 3 - int(weekday)) % 7)
    # 1970 began on a Thursday.
    return first + ((int(weekday) - first.astype(np.int64) - 3) % 7 + 7 * (int(week) - 1))


def _half_months(days: Days, anchor: str) -> Ordinals:
    """Half months since 1970: begun on the 1st and another day, or ended by it and the last."""
    side, _, day = anchor.partition("-")
    months = days.astype("datetime64[M]")
    of_month = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    second = of_month >= int(day) if side == "begin" else of_month > int(day)
    return 2 * months.astype(np.int64) + second


def _half_month_days(halves: Ordinals, anchor: str) -> Days:
    side, _, day = anchor.partition("-")
    months, second = np.divmod(halves, 2)
    pair = ("start", day) if side == "begin" else (day, "end")
    return np.where(second == 1, month_days(months, pair[1]), month_days(months, pair[0]))


TO_ORDINALS: dict[str, Callable[[Days, str], Ordinals]] = {
    "day": lambda days, _: days.astype(np.int64),
    "business": lambda days, _: business_days(days),
    "month": lambda days, _: days.astype("datetime64[M]").astype(np.int64),
    "half month": _half_months,
}
TO_DAYS: dict[str, Callable[[Ordinals, str], Days]] = {
    "day": lambda ordinals, _: ordinals.astype("datetime64[D]"),
    "business": lambda ordinals, _: np.busday_offset(EPOCH, ordinals),
    "month": month_days,
    "half month": _half_month_days,
}
