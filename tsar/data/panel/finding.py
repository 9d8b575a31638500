"""Frequency of the rows of a frame: given, inferred from their times, or a calendar with gaps."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.closed_times import Observed, find_open_times
from tsar.data.panel.columns import Columns
from tsar.data.panel.frequency import (
    OFF_CALENDAR,
    Frequency,
    parse_alias,
    period_frequency,
    usual_time_of_day,
)
from tsar.data.panel.inference import finest_frequency, infer_frequency, time_zone_of
from tsar.data.panel.open_times import OpenTimes, from_offset
from tsar.data.panel.reading import Rows
from tsar.validation import ParameterError

FREQ = {"columns.freq": "Columns(freq=...)"}  # Python source, for error messages
LONGEST = 3  # series, the longest first, whose times are tried
# A frame whose series are observed at few of its times, regularly, is read at their frequency.
MAX_OBSERVED, MIN_POINTS, MIN_REGULAR = 0.6, 12, 0.9
MAX_POINTS = 1000  # points of a series that its frequency is inferred from


def series_bounds(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows of each series."""
    first = np.concatenate([[0], np.flatnonzero(rows.codes[1:] != rows.codes[:-1]) + 1])
    return first, np.diff(first, append=len(rows.codes))


def find_frequency(rows: Rows, columns: Columns) -> Frequency:
    """Frequency of a PeriodIndex, else `columns.freq`, else inferred from the longest series.

    An index that has business days or hours as its own is taken at its word. Where times are absent
    or nothing is observed at them, closed days and hours are looked for.
    """
    times = rows.times
    if isinstance(times, pd.PeriodIndex):
        return period_frequency(times, columns.freq)
    if columns.freq is not None:
        return _parse_freq(times, columns.freq)
    if len(times) == 1 and not isinstance(times, pd.DatetimeIndex):
        return Frequency("1", "integer", 1)
    known = getattr(times, "freq", None)
    calendar = None if known is None else from_offset(known)
    if calendar is not None:  # the index says so
        return _parse_freq(times, calendar)
    first, lengths = series_bounds(rows)
    longest = [
        times[first[series] : first[series] + min(lengths[series], MAX_POINTS)]
        for series in np.argsort(-lengths, kind="stable")[:LONGEST]
    ]
    inferred = next(filter(None, map(infer_frequency, longest)), None)
    finest = inferred or next(filter(None, map(finest_frequency, longest)), None)
    found = None if finest is None else open_calendar(rows, finest)
    if found is not None:
        _warn_of_calendar(found, finest)
        return found
    if inferred is not None:
        return _coarser_frequency(rows, inferred) or inferred
    examples = ", ".join(str(time) for time in times[:4])
    raise ParameterError(
        "columns.freq",
        "be given where it can't be inferred",
        f"times such as {examples}, whose steps are irregular or too few (1 sample has no step)",
        "Pass {columns.freq}, for example 'h', 'D', 'MS'; or resample the series."
        f"{date_hint(times)}",
        FREQ,
    )


def open_calendar(rows: Rows, frequency: Frequency) -> Frequency | None:
    """Frequency of the open times that explain the gaps of a frame; None where none does."""
    if not isinstance(rows.times, pd.DatetimeIndex) or frequency.kind not in ("day", "tick"):
        return None
    by_series = ~np.isnan(rows.target.reshape(-1, len(rows.times)))
    observed = np.asarray(by_series.any(axis=0))
    first, _ = series_bounds(rows)
    ordinals = frequency.to_ordinals(rows.times)
    step_differs = np.diff(ordinals) != frequency.step
    gaps = step_differs & (rows.codes[1:] == rows.codes[:-1])
    if (ordinals == OFF_CALENDAR).any() or (observed.all() and not gaps.any()):
        return None
    found = find_open_times(Observed.of(rows.times, first, observed), frequency)
    if found is None:
        return None
    try:
        return parse_alias(
            found,
            timezone=frequency.timezone,
            unit=frequency.unit,
            time_of_day=frequency.time_of_day,
        )
    except ParameterError:  # clocks change at an open time
        return None


def _coarser_frequency(rows: Rows, frequency: Frequency) -> Frequency | None:
    """Frequency at which all series are observed, of a frame with missing values between.

    None where it is that of the frame, or where few points say so.
    """
    by_series = ~np.isnan(rows.target.reshape(-1, len(rows.times)))
    observed = np.asarray(by_series.any(axis=0))
    if observed.mean() > MAX_OBSERVED:
        return None
    times, codes = rows.times[observed], rows.codes[observed]
    points = times[codes == np.bincount(codes).argmax()][:MAX_POINTS]
    coarser = infer_frequency(points) if len(points) >= MIN_POINTS else None
    if coarser is None or coarser.name == frequency.name:
        return None
    ordinals = coarser.to_ordinals(times)
    steps = np.diff(ordinals)[codes[1:] == codes[:-1]]
    regular = not np.any(ordinals == OFF_CALENDAR) and not np.any(steps % coarser.step)
    if not regular or (steps == coarser.step).mean() < MIN_REGULAR:
        return None
    warnings.warn(
        f"nothing is observed between the times of frequency {coarser.name!r}: the frame is read "
        f"at it. Pass Columns(freq={coarser.freq!r}) to say so, or "
        f"Columns(freq={frequency.freq!r}) for forecasts at all times.",
        stacklevel=2,
    )
    return coarser


def _warn_of_calendar(calendar: Frequency, frequency: Frequency | None) -> None:
    name = frequency.name if frequency is not None else ""
    warnings.warn(
        "nothing is ever observed at some times of the week: the frame is read as the calendar "
        f"{calendar.name!r}, and forecasts lie on its times only. Pass "
        f"Columns(freq={calendar.name!r}) to say so, or Columns(freq={name!r}, fill_gaps=True) for "
        "missing values at the others.",
        stacklevel=2,
    )


def date_hint(times: pd.Index) -> str:
    """Advice for an error message where integers look like dates: 20240131."""
    if not pd.api.types.is_integer_dtype(times.dtype) or not np.all(times >= 18_000_101):
        return ""
    days = pd.to_datetime(times[:1000].astype(str), format="%Y%m%d", errors="coerce")
    if days.hasnans:
        return ""
    return " If they are days: pandas.to_datetime(times, format='%Y%m%d') converts them."


def _parse_freq(times: pd.Index, freq: str | int | OpenTimes) -> Frequency:
    has_dates = isinstance(times, pd.DatetimeIndex)
    if has_dates == isinstance(freq, int):
        kind = "dates" if has_dates else "integers"
        raise ParameterError(
            "columns.freq",
            f"fit the times, which are {kind}",
            repr(freq),
            "Use an alias such as 'h' for dates, an integer step for integers.",
        )
    if not isinstance(times, pd.DatetimeIndex):
        return parse_alias(freq)
    zone, time_of_day = time_zone_of(times), usual_time_of_day(times)
    return parse_alias(freq, timezone=zone, unit=times.unit, time_of_day=time_of_day)
