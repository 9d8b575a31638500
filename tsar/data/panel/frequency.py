"""Frequency: converts between times and integers, so that point k is at `start + k * step`.

Ticks (hours and shorter) count absolute microseconds, so that an hour is an hour across a
daylight-saving change. Days, business days and months count in local time, so that a day may have
23 hours.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.records import record
from tsar.validation import ParameterError

Kind = Literal["tick", "day", "business", "month", "period", "integer"]
Ordinals = NDArray[np.int64]
Days = NDArray[Any]  # of datetime64[D], which beartype does not take for datetime64

EPOCH = np.datetime64("1970-01-01")
SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000  # in microseconds
DAY = 24 * HOUR
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
}
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
        Day of the month ("start", "business end"), or the alias of a period.
    timezone, unit
        Time zone and resolution of the times that came in.
    time_of_day
        Microseconds after midnight at which days, business days and months stand.
    """

    name: str
    kind: Kind
    step: int
    season_length: int = 1
    anchor: str = ""
    timezone: str | tzinfo | None = None
    unit: str = "ns"
    time_of_day: int = 0

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
        ordinals = TO_ORDINALS[self.kind](days_of(local))
        differs = np.asarray(self._to_local(ordinals) != local)
        if differs.any() and self.timezone is not None:
            # A local time that a clock change skips is moved by the time zone: compare moved ones.
            moved = self.to_times(ordinals[differs])
            moved = without_time_zone(pd.DatetimeIndex(moved), utc=False)
            differs[differs] = np.asarray(moved != local[differs])
        return np.where(differs, OFF_CALENDAR, ordinals)

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
        days = TO_DAYS[self.kind](ordinals, self.anchor).astype("datetime64[us]")
        return pd.DatetimeIndex(days + np.timedelta64(self.time_of_day, "us"))


def parse_alias(
    alias: str | int,
    *,
    timezone: str | tzinfo | None = None,
    unit: str = "ns",
    time_of_day: int = 0,
) -> Frequency:
    """Frequency of a pandas alias, or of the step of integer times."""
    if isinstance(alias, int):
        _check_positive(alias, alias)
        return Frequency(str(alias), "integer", alias)
    try:
        offset = pd.tseries.frequencies.to_offset(alias)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            "columns.freq",
            "be a pandas alias",
            f"{alias!r} ({error})",
            "Use 's', 'min', '15min', 'h', 'D', 'B', 'W', 'MS', 'ME', 'QS', 'YS' or an integer.",
        ) from error
    _check_positive(alias, offset.n)
    kind, step, anchor = _parse_offset(offset)
    time_of_day = 0 if kind == "tick" else time_of_day
    season_length = _season_length(kind, step)
    return Frequency(offset.freqstr, kind, step, season_length, anchor, timezone, unit, time_of_day)


def period_frequency(times: pd.PeriodIndex, freq: str | int | None) -> Frequency:
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
        return kind, multiple * offset.n, anchor
    try:
        step, nanoseconds = divmod(offset.nanos, 1000)
    except ValueError:
        step, nanoseconds = 0, 0
    if nanoseconds or not step:
        raise ParameterError(
            "columns.freq",
            "be one of ticks of whole microseconds, days, weeks, business days, months, quarters, "
            "years",
            repr(offset.freqstr),
            "Resample the series, or use integer times.",
        )
    return "tick", step, ""


def _season_length(kind: Kind, step: int) -> int:
    if kind == "tick" and step % DAY == 0:
        kind, step = "day", step // DAY
    if kind == "tick":
        return max(DAY // step, 1) if step >= MINUTE else max(MINUTE // step, 1)
    if kind == "day" and step % 7 == 0:
        return max(52 * 7 // step, 1)
    return max({"day": 7, "business": 5, "month": 12}[kind] // step, 1)


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
    """Day of each month that an anchor names: its first or last day, or business day."""
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]")
    last = (following.astype(np.int64) - 1).astype("datetime64[D]")
    if anchor == "start":
        return first
    if anchor == "end":
        return last
    if anchor == "business start":
        return np.busday_offset(first, 0, roll="forward")
    return np.busday_offset(last, 0, roll="backward")


TO_ORDINALS: dict[str, Callable[[Days], Ordinals]] = {
    "day": lambda days: days.astype(np.int64),
    "business": business_days,
    "month": lambda days: days.astype("datetime64[M]").astype(np.int64),
}
TO_DAYS: dict[str, Callable[[Ordinals, str], Days]] = {
    "day": lambda ordinals, _: ordinals.astype("datetime64[D]"),
    "business": lambda ordinals, _: np.busday_offset(EPOCH, ordinals),
    "month": month_days,
}
