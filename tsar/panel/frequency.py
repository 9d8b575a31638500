"""Regular times as whole numbers: point k of a series stands at `start + k * step`.

Below a day the numbers count absolute microseconds, so that an hour is an hour across a
daylight-saving change; from a day up they count by the clock on the wall (days, months, business
days), so that a day may have 23 hours.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ordinals = NDArray[np.int64]
Kind = Literal["tick", "month", "business", "period", "integer"]

MICROSECOND, SECOND, MINUTE = 1, 1_000_000, 60_000_000
DAY = 24 * 60 * MINUTE
# Months in the step of each calendar offset of pandas, and where in the month it stands.
CALENDAR = {
    "MonthBegin": (1, "start"),
    "MonthEnd": (1, "end"),
    "BusinessMonthBegin": (1, "business start"),
    "BusinessMonthEnd": (1, "business end"),
    "QuarterBegin": (3, "start"),
    "QuarterEnd": (3, "end"),
    "BQuarterBegin": (3, "business start"),
    "BQuarterEnd": (3, "business end"),
    "YearBegin": (12, "start"),
    "YearEnd": (12, "end"),
    "BYearBegin": (12, "business start"),
    "BYearEnd": (12, "business end"),
}
EPOCH_MONTHS = 1970 * 12


@dataclass(frozen=True)
class Frequency:
    """The step between two points, and how its whole numbers become times again.

    `season_length` is the number of points in the season that is usual at this frequency (24
    hourly, 7 daily, 12 monthly, 1 where none is); `anchor` the place in the month, or the alias
    of a period; `unit` the resolution of the times that came in.
    """

    name: str
    kind: Kind
    step: int
    season_length: int = 1
    anchor: str = ""
    timezone: str | None = None
    unit: str = "ns"

    @property
    def is_absolute(self) -> bool:
        """Whether steps are counted in absolute time rather than by the clock on the wall."""
        return self.kind == "tick" and self.step % DAY != 0

    def to_ordinals(self, times: pd.Index) -> Ordinals:
        """Whole number of each time; those off the calendar (a 3rd among month starts) are -1e18."""
        if self.kind == "integer":
            return np.asarray(times, dtype=np.int64)
        if isinstance(times, pd.PeriodIndex):
            return np.asarray(times.asi8, dtype=np.int64)
        local = wall_clock(pd.DatetimeIndex(times), absolute=self.is_absolute)
        if self.kind == "tick":
            return microseconds(local)
        numbers = _months(local) if self.kind == "month" else _business_days(local)
        stray = np.asarray(self._local(numbers) != local)
        return np.where(stray, OFF_CALENDAR, numbers)

    def to_times(self, ordinals: Ordinals) -> pd.Index:
        """Times of whole numbers, with the time zone and resolution that came in."""
        if self.kind == "integer":
            return pd.Index(ordinals)
        if self.kind == "period":
            return pd.PeriodIndex.from_ordinals(ordinals, freq=self.anchor)
        local = self._local(ordinals).as_unit(self.unit)  # type: ignore[attr-defined]
        if self.timezone is None:
            return local
        if self.is_absolute:
            return local.tz_localize("UTC").tz_convert(self.timezone)
        first = np.ones(len(local), dtype=bool)  # of a repeated hour, the one in summer time
        return local.tz_localize(self.timezone, ambiguous=first, nonexistent="shift_forward")

    def _local(self, ordinals: Ordinals) -> pd.DatetimeIndex:
        if self.kind == "tick":
            return pd.DatetimeIndex(ordinals.astype("datetime64[us]"))
        if self.kind == "business":
            days = np.busday_offset(np.datetime64("1970-01-01"), ordinals)
            return pd.DatetimeIndex(days.astype("datetime64[us]"))
        return _month_days(ordinals, self.anchor)


OFF_CALENDAR = np.int64(-(10**18))


def parse_alias(alias: str | int, *, timezone: str | None = None, unit: str = "ns") -> Frequency:
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
        raise ValueError(
            f"freq must be a pandas alias; got {alias!r} ({error}). "
            "Use 's', 'min', '15min', 'h', 'D', 'B', 'W', 'MS', 'ME', 'QS', 'YS' or an integer."
        ) from error
    _check_positive(alias, offset.n)
    kind, step, anchor = offset_kind(offset)
    return Frequency(offset.freqstr, kind, step, _season(kind, step), anchor, timezone, unit)


def period_frequency(times: pd.PeriodIndex) -> Frequency:
    """Frequency of a PeriodIndex: its own, whose ordinals pandas counts."""
    kind, step, _ = offset_kind(times.freq)
    name = times.freqstr
    return Frequency(name, "period", times.freq.n, _season(kind, step), anchor=name)


def _check_positive(alias: object, step: int) -> None:
    if step < 1:
        raise ValueError(f"freq must step forward; got {alias!r}. Use a positive multiple.")


def offset_kind(offset: pd.offsets.BaseOffset) -> tuple[Kind, int, str]:
    name = type(offset).__name__
    if name in CALENDAR:
        months, anchor = CALENDAR[name]
        return "month", months * offset.n, anchor
    if name == "BusinessDay":
        return "business", offset.n, ""
    if name == "Week":
        return "tick", 7 * DAY * offset.n, ""
    if name == "Day":
        return "tick", DAY * offset.n, ""
    try:
        nanoseconds = offset.nanos
    except ValueError as error:
        raise ValueError(
            f"freq must be one of ticks, days, weeks, business days, months, quarters, years; "
            f"got {offset.freqstr!r}. Resample the series, or use integer times."
        ) from error
    return "tick", max(nanoseconds // 1000, 1), ""


def _season(kind: Kind, step: int) -> int:
    if kind != "tick":
        return max({"month": 12, "business": 5}[kind] // step, 1)
    if step % (7 * DAY) == 0:
        return max(52 // (step // (7 * DAY)), 1)
    if step % DAY == 0:
        return max(7 // (step // DAY), 1)
    return max(DAY // step, 1) if step >= MINUTE else max(MINUTE // step, 1)


def wall_clock(times: pd.DatetimeIndex, *, absolute: bool) -> pd.DatetimeIndex:
    """The same times without their zone: in UTC, or as the clock on the wall shows them."""
    if times.tz is None:
        return times
    return times.tz_convert("UTC").tz_localize(None) if absolute else times.tz_localize(None)


def microseconds(local: pd.DatetimeIndex) -> Ordinals:
    return np.asarray(local.as_unit("us").asi8, dtype=np.int64)  # type: ignore[attr-defined]


def _months(local: pd.DatetimeIndex) -> Ordinals:
    return np.asarray(local.year * 12 + local.month - 1 - EPOCH_MONTHS, dtype=np.int64)


def _business_days(local: pd.DatetimeIndex) -> Ordinals:
    days = np.asarray(local.to_numpy().astype("datetime64[D]"))
    return np.busday_count(np.datetime64("1970-01-01"), days).astype(np.int64)


def _month_days(ordinals: Ordinals, anchor: str) -> pd.DatetimeIndex:
    months = ordinals.astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    last = (months + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    days = {
        "start": lambda: first,
        "end": lambda: last,
        "business start": lambda: np.busday_offset(first, 0, roll="forward"),
        "business end": lambda: np.busday_offset(last, 0, roll="backward"),
    }[anchor]()
    return pd.DatetimeIndex(days.astype("datetime64[us]"))
