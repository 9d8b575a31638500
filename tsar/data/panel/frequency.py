"""Regular times as integers: point k of a series stands at `start + k * step`.

Ticks count absolute microseconds, so that an hour is an hour across a daylight-saving change;
days, business days and months count by the clock on the wall, so that a day may have 23 hours.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.days import COUNTS, DATES, Ordinals, days_of
from tsar.records import record
from tsar.validation import ParameterError

Kind = Literal["tick", "day", "business", "month", "period", "integer"]

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
DAY = 24 * HOUR
# Kind, multiple and place in the month of each calendar offset of pandas.
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
OFF_CALENDAR = np.int64(-(10**18))


@record("frequency")
@dataclass(frozen=True)
class Frequency:
    """The step between two points, and how its integers become times again.

    `season_length` is the number of points in the season that is usual at this frequency (24
    hourly, 7 daily, 12 monthly, 1 where none is); `anchor` the place in the month, or the alias
    of a period; `clock` the microseconds after midnight at which days, business days and months
    stand; `unit` the resolution of the times that came in.
    """

    name: str
    kind: Kind
    step: int
    season_length: int = 1
    anchor: str = ""
    timezone: str | tzinfo | None = None
    unit: str = "ns"
    clock: int = 0

    def to_ordinals(self, times: pd.Index) -> Ordinals:
        """Whole number of each time; those off the calendar (a 3rd among month starts): -1e18."""
        if self.kind == "integer":
            return np.asarray(times, dtype=np.int64)
        if self.kind == "period":
            return np.asarray(pd.PeriodIndex(times).asi8, dtype=np.int64)
        local = wall_clock(pd.DatetimeIndex(times), absolute=self.kind == "tick")
        if self.kind == "tick":
            numbers = microseconds(local)
            return np.where(_finer_than_microseconds(local), OFF_CALENDAR, numbers)
        numbers = COUNTS[self.kind](days_of(local))
        stray = np.asarray(self._local(numbers) != local)
        if stray.any() and self.timezone is not None:
            # Through the time zone and back: a time that a clock change moved is where it must be.
            moved = wall_clock(pd.DatetimeIndex(self.to_times(numbers[stray])), absolute=False)
            stray[stray] = np.asarray(moved != local[stray])
        return np.where(stray, OFF_CALENDAR, numbers)

    def to_times(self, ordinals: Ordinals) -> pd.Index:
        """Times of integers, with the time zone and resolution that came in."""
        if self.kind == "integer":
            return pd.Index(ordinals)
        if self.kind == "period":
            return pd.PeriodIndex.from_ordinals(ordinals, freq=self.anchor)
        local = self._local(ordinals)
        with suppress(pd.errors.OutOfBoundsDatetime):  # nanoseconds end in 2262, microseconds go on
            local = local.as_unit(self.unit)
        if self.timezone is None:
            return local
        if self.kind == "tick":
            return local.tz_localize("UTC").tz_convert(self.timezone)
        first = np.ones(len(local), dtype=bool)  # of a repeated hour, the one in summer time
        return local.tz_localize(self.timezone, ambiguous=first, nonexistent="shift_forward")

    def _local(self, ordinals: Ordinals) -> pd.DatetimeIndex:
        """Times without their zone: in UTC those of ticks, by the clock on the wall the others."""
        if self.kind == "tick":
            return pd.DatetimeIndex(ordinals.astype("datetime64[us]"))
        days = DATES[self.kind](ordinals, self.anchor).astype("datetime64[us]")
        return pd.DatetimeIndex(days + np.timedelta64(self.clock, "us"))


def parse_alias(
    alias: str | int,
    *,
    timezone: str | tzinfo | None = None,
    unit: str = "ns",
    clock: int = 0,
) -> Frequency:
    """Frequency of a pandas alias, or of the step of integer times.

    Raises
    ------
    ValueError
        The alias is unknown, not positive, or one that no regular step describes.
    """
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
    season, clock = _season(kind, step), 0 if kind == "tick" else clock
    return Frequency(offset.freqstr, kind, step, season, anchor, timezone, unit, clock)


def period_frequency(times: pd.PeriodIndex) -> Frequency:
    """Frequency of a PeriodIndex: its own, whose ordinals pandas counts."""
    kind, step, _ = _parse_offset(times.freq)
    name = times.freqstr
    return Frequency(name, "period", times.freq.n, _season(kind, step), anchor=name)


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
        step, rest = divmod(offset.nanos, 1000)
    except ValueError:
        step, rest = 0, 0
    if rest or not step:
        raise ParameterError(
            "columns.freq",
            "be one of ticks of whole microseconds, days, weeks, business days, months, quarters, "
            "years",
            repr(offset.freqstr),
            "Resample the series, or use integer times.",
        )
    return "tick", step, ""


def _season(kind: Kind, step: int) -> int:
    if kind == "tick" and step % DAY == 0:
        kind, step = "day", step // DAY
    if kind == "tick":
        return max(DAY // step, 1) if step >= MINUTE else max(MINUTE // step, 1)
    if kind == "day" and step % 7 == 0:
        return max(52 * 7 // step, 1)
    return max({"day": 7, "business": 5, "month": 12}[kind] // step, 1)


def wall_clock(times: pd.DatetimeIndex, *, absolute: bool) -> pd.DatetimeIndex:
    """The same times without their zone: in UTC, or as the clock on the wall shows them."""
    if times.tz is None:
        return times
    return times.tz_convert("UTC").tz_localize(None) if absolute else times.tz_localize(None)


def microseconds(local: pd.DatetimeIndex) -> Ordinals:
    """Microseconds since 1970; what is finer is cut off."""
    return np.asarray(local.as_unit("us").asi8, dtype=np.int64)


def common_clock(times: pd.DatetimeIndex) -> int:
    """Microseconds after midnight, by the clock on the wall, at which most of the times stand."""
    # A thousand tell: few of them fall on a clock change.
    clocks, counts = np.unique(
        microseconds(wall_clock(times[:1000], absolute=False)) % DAY, return_counts=True
    )
    return int(clocks[counts.argmax()])


def _finer_than_microseconds(local: pd.DatetimeIndex) -> NDArray[np.bool_]:
    if local.unit != "ns":
        return np.zeros(len(local), dtype=bool)
    return np.asarray(local.asi8 % 1000 != 0)
