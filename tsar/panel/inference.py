"""What frequency a run of times has, told from the times themselves."""

import numpy as np
import pandas as pd

from tsar.panel.frequency import DAY, Frequency, offset_kind, microseconds, parse_alias, wall_clock


def infer_frequency(times: pd.Index) -> Frequency | None:
    """Frequency of one series' sorted, distinct times; None where no regular step explains them.

    Gaps are allowed for: the most common step decides, and the others must be multiples of it.
    """
    if len(times) < 2:
        return None
    if not isinstance(times, pd.DatetimeIndex):
        return _integer(np.asarray(times, dtype=np.int64))
    zone = None if times.tz is None else str(times.tz)
    alias = _alias(times)
    if alias is None:
        return None
    return parse_alias(alias, timezone=zone, unit=times.unit)  # type: ignore[attr-defined]


def _integer(times: np.ndarray) -> Frequency | None:
    step = _common_step(np.diff(times))
    return Frequency(str(step), "integer", step) if step else None


def _common_step(steps: np.ndarray) -> int:
    """Most frequent step if all others are multiples of it, else 0."""
    values, counts = np.unique(steps, return_counts=True)
    step = int(values[counts.argmax()])
    return step if step > 0 and not np.any(values % step) else 0


def _alias(times: pd.DatetimeIndex) -> str | None:
    absolute = np.diff(microseconds(wall_clock(times, absolute=True)))
    step = _common_step(absolute)
    if step and step % DAY:
        return _tick_alias(step)
    local = wall_clock(times, absolute=False)
    days = np.diff(microseconds(local))
    if np.any(days % DAY):
        return None
    return _pandas_alias(local) or _calendar_alias(local, days // DAY)


def _tick_alias(step: int) -> str:
    return str(pd.tseries.frequencies.to_offset(pd.Timedelta(step, unit="us")).freqstr)


def _pandas_alias(local: pd.DatetimeIndex) -> str | None:
    alias = pd.infer_freq(local) if len(local) > 2 else None
    if alias is None:
        return None
    try:
        offset_kind(pd.tseries.frequencies.to_offset(alias))
    except ValueError:
        return None
    return str(alias)


def _calendar_alias(local: pd.DatetimeIndex, days: np.ndarray) -> str | None:
    """Alias by the most common number of days, for runs with gaps or too short for pandas."""
    values, counts = np.unique(days, return_counts=True)
    common = int(values[counts.argmax()])
    if common == 1 and 3 in values and not np.any(local.dayofweek >= 5):
        return "B"
    for shortest, longest, months in ((28, 31, "M"), (89, 92, "Q"), (365, 366, "Y")):
        if shortest <= common <= longest:
            return _anchored_alias(local, months) or _days_alias(values, common, local)
    return _days_alias(values, common, local)


def _days_alias(values: np.ndarray, common: int, local: pd.DatetimeIndex) -> str | None:
    if np.any(values % common):
        return None
    return f"W-{local[0].strftime('%a').upper()}" if common == 7 else f"{common}D"


def _anchored_alias(local: pd.DatetimeIndex, months: str) -> str | None:
    month = "" if months == "M" else f"-{local[-1].strftime('%b').upper()}"
    for place in ("S", "E"):
        for business in ("", "B"):
            alias = f"{business}{months}{place}{month}"
            offset = pd.tseries.frequencies.to_offset(alias)
            if all(offset.is_on_offset(time) for time in local):
                return alias
    return None
