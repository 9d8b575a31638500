"""Calendars with regular gaps, found in the times of a frame: closed days and closed hours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64
from numpy import ndarray

from tsar.data.panel.frequency import Frequency, microseconds, without_time_zone
from tsar.data.panel.open_times import DAY, MONDAY, SECOND, WEEK, OpenTimes, open_times

# Complete weeks in which a time of the week must be absent; days, for a time of the day.
MIN_WEEKS, MIN_DAYS = 4, 14
MIN_PRESENT = 0.9  # share of the open times that must be observed
# Expected number of open times that would be absent by chance in all weeks, at most.
MAX_BY_CHANCE = 0.01
MIN_STEP = 60 * SECOND  # a week of a minute each has 10,080 times


@dataclass(frozen=True)
class Observed:
    """Times at which the series of a frame are observed, sorted by series and time.

    Attributes
    ----------
    local
        Local times, in microseconds since 1970.
    first
        Position of the first time of each series.
    """

    local: Int64[ndarray, " time"]
    first: Int64[ndarray, " series"]

    @classmethod
    def of(
        cls,
        times: pd.DatetimeIndex,
        first: Int64[ndarray, " series"],
        observed: Bool[ndarray, " time"],
    ) -> "Observed":
        """Observed ones of the times of several series, which begin at rows `first`."""
        local = microseconds(without_time_zone(times, utc=False))[observed]
        count = np.add.reduceat(observed.astype(np.int64), first)
        begin = np.cumsum(count) - count
        return cls(local, begin[count > 0])

    @property
    def last(self) -> Int64[ndarray, " series"]:
        """Position of the last time of each series."""
        return np.append(self.first[1:], len(self.local)) - 1


def find_open_times(observed: Observed, frequency: Frequency) -> OpenTimes | None:
    """Open times that explain which times are absent; None where nothing regular does.

    A time of the week is closed where no series is observed at it, in at least `MIN_WEEKS` complete
    weeks of the longest series; with fewer weeks, a time of the day in `MIN_DAYS` days. At least
    `MIN_PRESENT` of the open times must be observed, and so many that missing points alone would
    hardly ever leave out an open time in all weeks.

    Parameters
    ----------
    observed
        Times at which the series are observed.
    frequency
        Frequency of days, or of parts of a day, without closed times.
    """
    daily = frequency.kind == "day"
    step = frequency.step * DAY if daily else frequency.step
    if frequency.kind not in ("day", "tick") or DAY % step or step < MIN_STEP:
        return None
    if not len(observed.local):
        return None
    span = int((observed.local[observed.last] - observed.local[observed.first]).max()) + step
    for period, needed in ((WEEK, MIN_WEEKS), (DAY, MIN_DAYS)):
        if span >= needed * period and not (daily and period == DAY):
            calendar = _open_in(observed.local, period, step, frequency)
            explained = calendar is not None and _explains(
                calendar, observed, frequency, step, span // period
            )
            return calendar if explained else None
    return None


def _open_in(
    local: Int64[ndarray, " time"], period: int, step: int, frequency: Frequency
) -> OpenTimes | None:
    """Open times of a period, a day or a week: those that are observed at least once."""
    shift = local.min() % step
    slot = ((local + MONDAY) % period - shift % period) % period // step
    used = np.bincount(slot, minlength=period // step) > 0
    if used.all() or used.sum() < 2:
        return None
    begins = (np.flatnonzero(used) * step + shift).tolist()
    if frequency.kind == "day":
        begins = [begin - begin % DAY for begin in begins]
    days = range(0, WEEK, period)
    intervals = [(day + begin, day + begin + step) for day in days for begin in begins]
    return open_times(frequency.name, intervals)


def _explains(
    calendar: OpenTimes, observed: Observed, frequency: Frequency, step: int, periods: int
) -> bool:
    """Whether a calendar's open times are observed, and not open by chance."""
    local = observed.local - observed.local % DAY if calendar.daily else observed.local
    ordinals, is_open = calendar.to_ordinals(local)
    if not is_open.all():
        return False
    expected = int(((ordinals[observed.last] - ordinals[observed.first]) // step + 1).sum())
    missing = 1 - len(local) / expected
    n_open = calendar.week_time // step
    by_chance = n_open * max(missing, 1 / expected) ** periods
    return missing <= 1 - MIN_PRESENT and by_chance <= MAX_BY_CHANCE
