"""From sorted rows to regular series: the frequency, and no gap unseen."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.data.panel.frequency import (
    OFF_CALENDAR,
    Frequency,
    common_clock,
    parse_alias,
    period_frequency,
)
from tsar.data.panel.inference import infer_frequency, time_zone_of
from tsar.data.panel.layout import Layout
from tsar.data.panel.reading import Rows
from tsar.data.panel.values import Floats, show
from tsar.validation import ParameterError

FREQ = {"columns.freq": "Columns(freq=...)"}  # Python source, for error messages


@dataclass(frozen=True)
class RegularRows:
    """Rows without gaps: a series is its first ordinal and its length."""

    ids: pd.Index
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    frequency: Frequency
    target: Floats
    covariates: dict[str, Floats]
    static: dict[str, pd.Series]
    layout: Layout


def regularize(rows: Rows, columns: Columns) -> RegularRows:
    """Rows with their frequency, inferred or given, and with gaps refused or filled.

    Raises
    ------
    ValueError
        The frequency can't be told, times are irregular, or rows are missing.
    """
    if rows.layout.style in ("array", "vector") and columns.freq in (None, 1):
        return _of_array(rows)
    borders, lengths = _stretches(rows)
    frequency = find_frequency(rows.times, borders, lengths, columns)
    ordinals = frequency.to_ordinals(rows.times)
    _check_calendar(rows, ordinals, frequency)
    if _check_steps(rows, ordinals, frequency, columns):
        rows, ordinals = _fill(rows, ordinals, frequency.step)
        borders, lengths = _stretches(rows)
    count = len(rows.ids) if rows.shared else 1
    return _assemble(rows, np.tile(ordinals[borders], count), np.tile(lengths, count), frequency)


def _stretches(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows of each series."""
    borders = np.concatenate([[0], np.flatnonzero(rows.codes[1:] != rows.codes[:-1]) + 1])
    return borders, np.diff(borders, append=len(rows.codes))


def _of_array(rows: Rows) -> RegularRows:
    """Series whose times are 0, 1, 2, ...: there is nothing to tell, and no row of it is built."""
    count = len(rows.ids)
    lengths = np.full(count, len(rows.times), dtype=np.int64)
    return _assemble(rows, np.zeros(count, np.int64), lengths, Frequency("1", "integer", 1))


def _assemble(
    rows: Rows, starts: NDArray[np.int64], lengths: NDArray[np.int64], frequency: Frequency
) -> RegularRows:
    return RegularRows(
        rows.ids,
        starts,
        lengths.astype(np.int64),
        frequency,
        rows.target,
        rows.covariates,
        rows.static,
        rows.layout,
    )


def find_frequency(
    times: pd.Index, borders: NDArray[Any], lengths: NDArray[Any], columns: Columns
) -> Frequency:
    """Frequency by `columns.freq`, by a PeriodIndex's own, or told from the longest series."""
    if isinstance(times, pd.PeriodIndex):
        return _period_frequency(times, columns.freq)
    if columns.freq is not None:
        return _given_frequency(times, columns.freq)
    if len(times) == 1 and not isinstance(times, pd.DatetimeIndex):
        return Frequency("1", "integer", 1)
    for series in np.argsort(-lengths, kind="stable")[:3]:
        first = borders[series]
        found = infer_frequency(times[first : first + min(lengths[series], 1000)])
        if found is not None:
            return found
    few = ", ".join(str(time) for time in times[:4])
    raise ParameterError(
        "columns.freq",
        "be given where it can't be inferred",
        f"times such as {few}, whose steps are irregular or too few (1 sample has no step)",
        "Pass {columns.freq}, for example 'h', 'D', 'MS'; or resample the series."
        f"{_as_days(times)}",
        FREQ,
    )


def _as_days(times: pd.Index) -> str:
    """Advice, for an error, where integers look like days: 20240131."""
    if not pd.api.types.is_integer_dtype(times.dtype) or not np.all(times >= 18_000_101):
        return ""
    days = pd.to_datetime(times[:1000].astype(str), format="%Y%m%d", errors="coerce")
    if days.hasnans:
        return ""
    return " Numbers that are days: pandas.to_datetime(times, format='%Y%m%d') makes dates of them."


def _period_frequency(times: pd.PeriodIndex, freq: str | int | None) -> Frequency:
    if freq not in (None, times.freqstr):
        raise ParameterError(
            "columns.freq",
            f"be None with periods, which have their own, {times.freqstr!r}",
            repr(freq),
            "Use periods of that frequency, or convert them to dates.",
        )
    return period_frequency(times)


def _given_frequency(times: pd.Index, freq: str | int) -> Frequency:
    dated = isinstance(times, pd.DatetimeIndex)
    if dated == isinstance(freq, int):
        kind = "dates" if dated else "integers"
        raise ParameterError(
            "columns.freq",
            f"fit the times, which are {kind}",
            repr(freq),
            "Use an alias such as 'h' for dates, an integer step for integers.",
        )
    if not isinstance(times, pd.DatetimeIndex):
        return parse_alias(freq)
    return parse_alias(
        freq, timezone=time_zone_of(times), unit=times.unit, clock=common_clock(times)
    )


def _check_calendar(rows: Rows, ordinals: NDArray[np.int64], frequency: Frequency) -> None:
    stray = ordinals == OFF_CALENDAR
    if stray.any():
        row = int(np.flatnonzero(stray)[0])
        raise ParameterError(
            "times",
            f"lie on the frequency {frequency.name!r}",
            f"{rows.times[row]} for series {rows.name_of(row)}",
            "Correct the time, or pass another {columns.freq}.",
            FREQ,
        )


def _check_steps(
    rows: Rows, ordinals: NDArray[np.int64], frequency: Frequency, columns: Columns
) -> bool:
    """Whether rows are missing; an error where they may not be, or where times are irregular."""
    steps = np.diff(ordinals)
    within = rows.codes[1:] == rows.codes[:-1]
    if np.all((steps == frequency.step) | ~within):
        return False
    odd = within & (steps % frequency.step != 0)
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise ParameterError(
            "times",
            f"be regular, in steps of {frequency.name!r}",
            f"{rows.times[row]} then {rows.times[row + 1]} for series {rows.name_of(row)}",
            "Resample the series, pass another {columns.freq}, or forecast series of different "
            f"frequencies apart.{_as_days(rows.times)}",
            FREQ,
        )
    missing = within & (steps > frequency.step)
    if missing.any() and not columns.fill_gaps:
        row = int(np.flatnonzero(missing)[0])
        _check_one_frequency(rows, steps, row, frequency)
        count = int((steps[missing] // frequency.step - 1).sum())
        first = frequency.to_times(ordinals[row : row + 1] + frequency.step)[0]
        series = len(np.unique(rows.codes[:-1][missing]))
        fill = "Pass {columns.fill_gaps} to read them as missing values."
        raise ParameterError(
            "frame",
            f"have a row for every time (frequency {frequency.name!r})",
            f"{count} missing row(s) in {series} series, for series {rows.name_of(row)} first at "
            f"{first}",
            _as_days(rows.times).lstrip() or fill,
            {"columns.fill_gaps": "Columns(fill_gaps=True)"},
        )
    return bool(missing.any())


def _check_one_frequency(
    rows: Rows, steps: NDArray[np.int64], row: int, frequency: Frequency
) -> None:
    """Refuse a series whose every step is one larger multiple: it lacks no rows."""
    own = np.flatnonzero(rows.codes == rows.codes[row])
    inner = steps[own[:-1]]
    if len(inner) > 1 and np.all(inner == inner[0]):
        raise ParameterError(
            "frame",
            f"have series of one frequency, {frequency.name!r}",
            f"series {rows.name_of(row)} in steps of {inner[0] // frequency.step} times that",
            "Forecast series of different frequencies apart, or pass another {columns.freq}.",
            FREQ,
        )


def _fill(rows: Rows, ordinals: NDArray[np.int64], step: int) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of NaN where times are absent."""
    within = rows.codes[1:] == rows.codes[:-1]
    ahead = np.where(within, np.diff(ordinals) // step, 1)
    position = np.concatenate([[0], np.cumsum(ahead)])
    length = int(position[-1]) + 1
    source = np.zeros(length, dtype=np.intp)
    source[position] = np.arange(len(position))
    source = np.maximum.accumulate(source)  # the row before each gap
    full = ordinals[source] + (np.arange(length) - position[source]) * step

    def spread(values: Floats) -> Floats:
        several = values.reshape(-1, len(position))  # of series at the same times
        wider = np.full((len(several), length), np.nan)
        wider[:, position] = several
        return wider.reshape(-1)

    covariates = {name: spread(values) for name, values in rows.covariates.items()}
    filled = replace(
        rows,
        codes=rows.codes[source],
        target=spread(rows.target),
        covariates=covariates,
        times=rows.times[source],
    )
    return filled, full


def check_observed(rows: RegularRows) -> None:
    """Check that each series has an observed value.

    Raises
    ------
    ValueError
        One has none.
    """
    first = np.cumsum(rows.lengths) - rows.lengths
    observed = np.logical_or.reduceat(~np.isnan(rows.target), first)
    if not observed.all():
        name = show(rows.ids[int(np.flatnonzero(~observed)[0])])
        raise ValueError(
            f"each series must have an observed value; got only NaN for series {name}. Drop it."
        )
