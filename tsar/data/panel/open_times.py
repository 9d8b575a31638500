"""Open times: the days of the week, the hours and the holidays of a calendar with regular gaps.

A point's ordinal is the open time before it since 1970, in microseconds, so that the points of a
shop that is closed on Sundays, or at night, follow each other without a gap.
"""

import datetime
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64
from numpy import ndarray

from tsar.records import record
from tsar.validation import ParameterError

SECOND = 1_000_000  # microseconds
HOUR = 3600 * SECOND
DAY = 24 * HOUR
WEEK = 7 * DAY
MONDAY = 3 * DAY  # from the Monday before 1970, a Thursday, to 1970
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NAME = re.compile(r"(\d*[A-Za-z]+)\[([^;]*)(;.*)?\]")
Interval = tuple[int, int]


@record("open_times")
@dataclass(frozen=True)
class OpenTimes:
    """Times of the week at which a series has points, and days without any.

    Attributes
    ----------
    alias
        Step between two points: an alias of days (``"D"``) or of ticks (``"h"``, ``"30min"``).
    intervals
        Open times of a week, in microseconds since Monday 0:00, from the first to before the
        second number; sorted and apart from each other.
    holidays
        Closed days, in days since 1970, sorted.

    Examples
    --------
    >>> import numpy as np
    >>> week = parse_open_times("D[Mon-Sat]")
    >>> friday = np.array([19723 + 4]) * DAY  # 5 January 2024
    >>> ordinals, is_open = week.to_ordinals(friday + np.array([0, 1, 2, 3]) * DAY)
    >>> is_open.tolist(), (np.diff(ordinals[is_open]) // DAY).tolist()
    ([True, True, False, True], [1, 1])
    """

    alias: str
    intervals: tuple[Interval, ...]
    holidays: tuple[int, ...] = ()

    @property
    def daily(self) -> bool:
        """Whether the points are days, which stand at a time of day, rather than hours."""
        return self.alias.endswith("D")

    @property
    def week_time(self) -> int:
        """Open microseconds of a week without holidays."""
        return sum(end - start for start, end in self.intervals)

    @property
    def day_time(self) -> int:
        """Open microseconds of an open day; 0 where they differ between days of the week."""
        sizes = set(self._day_times.tolist()) - {0}
        return sizes.pop() if len(sizes) == 1 else 0

    @property
    def name(self) -> str:
        """Text that `parse_open_times` reads again where there are no holidays."""
        holidays = f"; {len(self.holidays)} holidays" if self.holidays else ""
        return f"{self.alias}[{_format_week(self.intervals)}{holidays}]"

    def to_ordinals(
        self, local: Int64[ndarray, " time"]
    ) -> tuple[Int64[ndarray, " time"], Bool[ndarray, " time"]]:
        """Open microseconds before each local time (in microseconds), and whether it is open."""
        raw = self._open_before(local)
        starts, ends, removed = self._holidays
        k = np.searchsorted(starts, raw, side="right")
        in_week = (local + MONDAY) % WEEK
        interval = np.searchsorted(self._starts, in_week, side="right") - 1
        is_open = (interval >= 0) & (in_week < self._ends[interval])
        if len(ends):
            is_open &= (k == 0) | (raw >= ends[k - 1])
        return raw - removed[k], is_open

    def to_local(self, ordinals: Int64[ndarray, " time"]) -> Int64[ndarray, " time"]:
        """Local time, in microseconds since 1970, of each ordinal."""
        starts, _, removed = self._holidays
        k = np.searchsorted(starts - removed[:-1], ordinals, side="right")
        week, rest = np.divmod(ordinals + removed[k], self.week_time)
        interval = np.searchsorted(self._before, rest, side="right") - 1
        in_week = self._starts[interval] + rest - self._before[interval]
        local: Int64[ndarray, " time"] = week * WEEK + in_week - MONDAY
        return local

    def offset(self, step: int) -> pd.offsets.BaseOffset | None:
        """The offset of pandas for `step` days; None for hours."""
        if not self.daily:
            return None
        weekmask = " ".join(np.array(WEEKDAYS)[self._day_times > 0])
        days = [str(day) for day in np.array(self.holidays, dtype="datetime64[D]")]
        return pd.offsets.CustomBusinessDay(step, weekmask=weekmask, holidays=days)

    def _open_before(self, local: Int64[ndarray, " time"]) -> Int64[ndarray, " time"]:
        """Open microseconds before each local time, as if there were no holidays."""
        week, in_week = np.divmod(local + MONDAY, WEEK)
        interval = np.searchsorted(self._starts, in_week, side="right") - 1
        elapsed = np.minimum(in_week, self._ends[interval]) - self._starts[interval]
        within = np.where(interval >= 0, self._before[interval] + elapsed, 0)
        before: Int64[ndarray, " time"] = week * self.week_time + within
        return before

    @cached_property
    def _day_start(self) -> int:
        """Microseconds after midnight at which a day begins: a night belongs to the day before."""
        first, last = self.intervals[0][0], self.intervals[-1][1]
        wraps = first == 0 and last == WEEK  # one interval, from Sunday to Monday
        if all(start // DAY == (end - 1) // DAY for start, end in self.intervals) and not wraps:
            return 0
        return min([start % DAY for start, _ in self.intervals[wraps:]], default=0)

    @cached_property
    def _day_times(self) -> Int64[ndarray, "7"]:
        """Open time of each day of the week, Monday first."""
        return np.diff(self._open_before(np.arange(8) * DAY + self._day_start - MONDAY))

    @cached_property
    def _starts(self) -> Int64[ndarray, " interval"]:
        return np.array([start for start, _ in self.intervals], dtype=np.int64)

    @cached_property
    def _ends(self) -> Int64[ndarray, " interval"]:
        return np.array([end for _, end in self.intervals], dtype=np.int64)

    @cached_property
    def _before(self) -> Int64[ndarray, " interval"]:
        """Open time of the week before each interval."""
        return np.cumsum(self._ends - self._starts) - (self._ends - self._starts)

    @cached_property
    def _holidays(
        self,
    ) -> tuple[
        Int64[ndarray, " holiday"], Int64[ndarray, " holiday"], Int64[ndarray, " holiday+1"]
    ]:
        """First and last open time that each holiday removes, and what those before it remove."""
        days = np.array(self.holidays, dtype=np.int64) * DAY + self._day_start
        starts, ends = self._open_before(days), self._open_before(days + DAY)
        starts, ends = starts[ends > starts], ends[ends > starts]
        return starts, ends, np.concatenate([[0], np.cumsum(ends - starts)])


def open_times(alias: str, intervals: list[Interval], holidays: tuple[int, ...] = ()) -> OpenTimes:
    """Open times of intervals in any order, which may overlap or reach into the next week."""
    parts = []
    for start, end in intervals:
        start, end = start % WEEK, start % WEEK + end - start
        parts += [(start, min(end, WEEK))] + ([(0, end - WEEK)] if end > WEEK else [])
    merged: list[Interval] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged[-1][1])
            merged.pop()
        merged.append((start, end))
    return OpenTimes(alias, tuple(merged), tuple(sorted(set(holidays))))


def from_offset(offset: pd.offsets.BaseOffset) -> OpenTimes | None:
    """Open times of business days or business hours of pandas; None for other offsets."""
    kind = type(offset).__name__
    if kind not in ("CustomBusinessDay", "BusinessHour", "CustomBusinessHour"):
        return None
    weekmask = np.array([1, 1, 1, 1, 1, 0, 0], dtype=bool)
    holidays: tuple[int, ...] = ()
    if kind != "BusinessHour":
        weekmask = np.asarray(offset.calendar.weekmask, dtype=bool)
        days = np.asarray(offset.calendar.holidays, dtype="datetime64[D]")
        holidays = tuple(days.astype(np.int64).tolist())
    weekdays = np.flatnonzero(weekmask).tolist()
    count = "" if offset.n == 1 else str(offset.n)
    if kind == "CustomBusinessDay":
        whole = [(day * DAY, (day + 1) * DAY) for day in weekdays]
        return open_times(f"{count}D", whole, holidays)
    starts = [_time_of_day(time) for time in offset.start]
    ends = [_time_of_day(time) for time in offset.end]
    hours = [(a, b if b > a else b + DAY) for a, b in zip(starts, ends, strict=True)]
    intervals = [(day * DAY + a, day * DAY + b) for day in weekdays for a, b in hours]
    return open_times(f"{count}h", intervals, holidays)


def parse_open_times(name: str) -> OpenTimes | None:
    """Open times of a name such as ``h[Mon-Fri 09:00-17:00]``; None for other text.

    Examples
    --------
    >>> parse_open_times("30min[Mon-Fri 09:00-12:00 13:00-18:00, Sat 09:00-14:00]").name
    '30min[Mon-Fri 09:00-12:00 13:00-18:00, Sat 09:00-14:00]'
    """
    match = NAME.fullmatch(name)
    if match is None:
        return None
    try:
        if match[3]:
            raise ValueError("dates of holidays can't be told from a name")
        intervals = [part for group in match[2].split(",") for part in _parse_group(group)]
        if match[1].endswith("D") and any(start % DAY or end % DAY for start, end in intervals):
            raise ValueError("days have no hours")
    except ValueError as error:
        raise ParameterError(
            "columns.freq",
            "name weekdays and hours, as 'D[Mon-Sat]', 'h[Mon-Fri 09:00-17:00, Sat 09:00-14:00]'",
            f"{name!r} ({error})",
            "Correct it, or give a pandas.offsets.CustomBusinessDay or CustomBusinessHour.",
        ) from error
    return open_times(match[1], intervals)


def _time_of_day(time: datetime.time) -> int:
    return (time.hour * 3600 + time.minute * 60 + time.second) * SECOND + time.microsecond


def _parse_group(group: str) -> list[Interval]:
    """Intervals of weekdays and their hours: ``Mon-Fri 09:00-12:00 13:00-17:00``."""
    words = group.split()
    days = [day for word in words if ":" not in word for day in _parse_weekdays(word)]
    hours = [_parse_hours(word) for word in words if ":" in word] or [(0, DAY)]
    if not days:
        raise ValueError(f"no weekday in {group.strip()!r}")
    return [(day * DAY + start, day * DAY + end) for day in days for start, end in hours]


def _parse_weekdays(word: str) -> list[int]:
    first, _, last = word.title().partition("-")
    for name in (first, last or first):
        if name not in WEEKDAYS:
            raise ValueError(f"{name!r} is none of {' '.join(WEEKDAYS)}")
    start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
    return [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]


def _parse_hours(word: str) -> Interval:
    match = re.fullmatch(r"(\d\d?):(\d\d)(?::(\d\d))?-(\d\d?):(\d\d)(?::(\d\d))?", word)
    if match is None:
        raise ValueError(f"{word!r} is not like 09:00-17:00")
    numbers = [int(part or 0) for part in match.groups()]
    start, end = (
        (hour * 3600 + minute * 60 + second) * SECOND
        for hour, minute, second in (numbers[:3], numbers[3:])
    )
    if max(start, end) > DAY:
        raise ValueError(f"{word!r} is beyond 24:00")
    return start, end if end > start else end + DAY


def _format_week(intervals: tuple[Interval, ...]) -> str:
    hours = [_format_day(intervals, day) for day in range(7)]
    groups = []
    for text in dict.fromkeys(hours):
        if text is not None:
            days = _format_weekdays([day for day in range(7) if hours[day] == text])
            groups.append(f"{days} {text}".rstrip())
    return ", ".join(groups)


def _format_day(intervals: tuple[Interval, ...], day: int) -> str | None:
    """Hours of a weekday, empty for the whole day; None where it is closed."""
    begin = day * DAY
    parts = [(max(a - begin, 0), min(b - begin, DAY)) for a, b in intervals]
    parts = [(a, b) for a, b in parts if a < b]
    if not parts:
        return None
    return "" if parts == [(0, DAY)] else " ".join(f"{_clock(a)}-{_clock(b)}" for a, b in parts)


def _clock(time: int) -> str:
    minutes, seconds = divmod(time // SECOND, 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{text}:{seconds:02d}" if seconds else text


def _format_weekdays(days: list[int]) -> str:
    """Names of weekdays; those that follow each other as a range, also across Sunday."""
    if len(days) == 7:
        return "Mon-Sun"
    first = [day for day in days if (day - 1) % 7 not in days]
    texts = []
    for start in first:
        length = next(n for n in range(1, 8) if (start + n) % 7 not in days)
        run = [WEEKDAYS[(start + n) % 7] for n in range(length)]
        texts.append(f"{run[0]}-{run[-1]}" if length > 2 else " ".join(run))
    return " ".join(texts)
