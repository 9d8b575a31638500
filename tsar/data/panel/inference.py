"""Inference of a frequency from the times of a series, and checks of their time zone."""

from datetime import tzinfo

import numpy as np
import pandas as pd

from tsar.data.panel.frequency import (
    MINUTE,
    OFF_CALENDAR,
    Frequency,
    Ordinals,
    business_days,
    microseconds,
    month_days,
    parse_alias,
    usual_time_of_day,
    without_time_zone,
)
from tsar.data.panel.open_times import HOUR, SECOND

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
# Suffix of pandas' aliases of months, and the anchor that it stands for.
ANCHORS = {"S": "start", "E": "end", "BS": "business start", "BE": "business end"}


def infer_frequency(times: pd.Index) -> Frequency | None:
    """Frequency of one series' sorted, distinct times; None where no regular step explains them.

    Times may be absent: the most frequent step decides, and the others must be multiples of it.
    """
    if len(times) < 2:
        return None
    if not isinstance(times, pd.DatetimeIndex):
        ordinals: Ordinals = np.asarray(times, dtype=np.int64)
        step = _common_step(np.diff(ordinals))
        return Frequency(str(step), "integer", step) if step else None
    zone, time_of_day = time_zone_of(times), usual_time_of_day(times)
    daily = parse_alias("D", timezone=zone, unit=times.unit, time_of_day=time_of_day)
    days = daily.to_ordinals(times)
    has_days = not np.any(days == OFF_CALENDAR)
    alias = _month_alias(days) or _day_alias(days) if has_days else _tick_alias(times)
    alias = alias or (_day_of_month_alias(days) if has_days else None)
    if not alias:
        return None
    return parse_alias(alias, timezone=zone, unit=times.unit, time_of_day=time_of_day)


def finest_frequency(times: pd.Index) -> Frequency | None:
    """Days, or the largest part of a day that all steps are multiples of; None for integers."""
    if len(times) < 2 or not isinstance(times, pd.DatetimeIndex):
        return None
    zone, time_of_day = time_zone_of(times), usual_time_of_day(times)
    daily = parse_alias("D", timezone=zone, unit=times.unit, time_of_day=time_of_day)
    if not np.any(daily.to_ordinals(times) == OFF_CALENDAR):
        return daily
    step = np.gcd.reduce(np.diff(microseconds(without_time_zone(times, utc=True))))
    return parse_alias(_format_tick(int(step)), timezone=zone, unit=times.unit)


def time_zone_of(times: pd.DatetimeIndex) -> str | tzinfo | None:
    """Name of the time zone, or the object itself where pandas can't read it from its name."""
    if times.tz is None:
        return None
    try:
        readable = times[:0].tz_convert(str(times.tz)).dtype == times.dtype
    except (KeyError, ValueError, AttributeError):  # fixed offsets, in pandas 2.2
        readable = False
    return str(times.tz) if readable else times.tz


def check_time_zone(
    zone: str | tzinfo | None, fitted: Frequency, name: str, where: str = "fit"
) -> None:
    """Check that both times have a time zone, or neither; otherwise their order is unknown."""
    if fitted.kind in ("integer", "period") or (zone is None) == (fitted.timezone is None):
        return
    if zone is None:
        raise ValueError(
            f"{name} must have times with the zone {str(fitted.timezone)!r}, as in {where}; got "
            "times without one. Use tz_localize."
        )
    raise ValueError(
        f"{name} must have times without a zone, as in {where}; got the zone {str(zone)!r}. "
        "Use tz_convert, then tz_localize(None)."
    )


def _common_step(steps: Ordinals) -> int:
    """Most frequent step if all others are multiples of it, else 0."""
    values, counts = np.unique(steps, return_counts=True)
    step = int(values[counts.argmax()])
    return step if step > 0 and not np.any(values % step) else 0


def _tick_alias(times: pd.DatetimeIndex) -> str | None:
    step = _common_step(np.diff(microseconds(without_time_zone(times, utc=True))))
    return _format_tick(step) if step else None


def _format_tick(step: int) -> str:
    units = {"h": HOUR, "min": MINUTE, "s": SECOND, "ms": SECOND // 1000, "us": 1}
    unit = next(name for name, size in units.items() if step % size == 0)
    return f"{step // units[unit]}{unit}"


def _month_alias(days: Ordinals) -> str | None:
    """Alias where all times are the first or last day, or business day, of their month."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    for suffix, anchor in ANCHORS.items():
        if np.array_equal(month_days(months, anchor), dates):
            return _alias_of_months(months, suffix)
    return None


def _day_of_month_alias(days: Ordinals) -> str | None:
    """Alias of a day of the month, of the n-th weekday of the month, or of half months."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype(np.int64)
    of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    day, weekday, week = int(of_month.max()), int((days[0] + 3) % 7), int(of_month[0] - 1) // 7 + 1
    anchors = {
        str(day): f"MS-{day}",
        f"{week}-{weekday}": f"WOM-{week}{WEEKDAYS[weekday]}",
        f"0-{weekday}": f"LWOM-{WEEKDAYS[weekday]}",
    }
    step = _common_step(np.diff(months))
    for anchor, alias in anchors.items():
        if step and np.array_equal(month_days(months, anchor), dates):
            return alias if step == 1 else f"{step}{alias}"
    others = np.setdiff1d(of_month, [1]), of_month[month_days(months, "end") != dates]
    for name, side in zip(("SMS", "SME"), others, strict=True):
        if len(np.unique(side)) == 1 and 2 <= side[0] <= 27:
            alias = f"{name}-{side[0]}"
            ordinals = parse_alias(alias).to_ordinals(pd.DatetimeIndex(dates))
            if not np.any(ordinals == OFF_CALENDAR) and _common_step(np.diff(ordinals)):
                return alias
    return None


def _alias_of_months(months: Ordinals, suffix: str) -> str | None:
    step = _common_step(np.diff(months))
    if not step:
        return None
    business, side = suffix[:-1], suffix[-1]
    month = int(months[0] % 12)
    if step % 12 == 0:
        return f"{step // 12}{business}Y{side}-{MONTHS[month]}"
    if step == 3:  # one alias for the four months with the same quarters: QS-JAN, QE-DEC
        quarter = MONTHS[month % 3 + (0 if side == "S" else 9)]
        return f"{business}Q{side}-{quarter}"
    return f"{step}{business}M{side}"


def _day_alias(days: Ordinals) -> str | None:
    steps = np.diff(days)
    step = _common_step(steps)
    if step and step % 7 == 0:
        return f"{step // 7}W-{WEEKDAYS[(days[0] + 3) % 7]}"  # 1970 began on a Thursday
    business = np.diff(business_days(days.astype("datetime64[D]")))
    spans_weekends = steps.min() < steps.max() and np.any(business != steps)
    if spans_weekends and np.all((days + 3) % 7 < 5) and _common_step(business):
        return f"{_common_step(business)}B"
    return f"{step}D" if step else None
