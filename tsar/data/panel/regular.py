"""Regular series from sorted rows: infers the frequency, and refuses or fills gaps."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.data.panel.finding import FREQ, date_hint, find_frequency, open_calendar, series_bounds
from tsar.data.panel.frequency import OFF_CALENDAR, Frequency, Ordinals
from tsar.data.panel.reading import Rows
from tsar.data.panel.values import Floats, format_value
from tsar.validation import ParameterError


@dataclass(frozen=True)
class RegularRows:
    """Rows without gaps: the times of a series are its first ordinal and its length."""

    rows: Rows
    starts: Ordinals
    lengths: NDArray[np.int64]
    frequency: Frequency


def regularize(rows: Rows, columns: Columns) -> RegularRows:
    """Find the frequency of rows, and refuse or fill gaps."""
    if not rows.layout.has_times and columns.freq in (None, 1):  # times 0, 1, 2, ...
        lengths = np.full(len(rows.ids), len(rows.times), dtype=np.int64)
        return RegularRows(rows, np.zeros_like(lengths), lengths, Frequency("1", "integer", 1))
    frequency = find_frequency(rows, columns)
    ordinals = frequency.to_ordinals(rows.times)
    rows, ordinals = _drop_closed(rows, ordinals, frequency.step)
    _check_calendar(rows, ordinals, frequency)
    first, lengths = series_bounds(rows)
    if _check_steps(rows, ordinals, frequency, columns):
        rows, ordinals = _fill_gaps(rows, ordinals, frequency.step)
        first, lengths = series_bounds(rows)
    copies = len(rows.ids) if rows.shared else 1
    lengths = np.tile(lengths, copies).astype(np.int64)
    return RegularRows(rows, np.tile(ordinals[first], copies), lengths, frequency)


def _drop_closed(rows: Rows, ordinals: Ordinals, step: int) -> tuple[Rows, Ordinals]:
    """Drop rows at times that the frequency does not contain and at which nothing is observed."""
    by_series = rows.target.reshape(-1, len(ordinals))  # one row unless the times are shared
    missing = np.asarray(np.isnan(by_series).all(axis=0))
    if not missing.any():
        return rows, ordinals
    first, _ = series_bounds(rows)
    count = np.add.reduceat((~missing).astype(np.int64), first)
    phase = np.zeros(len(first), dtype=np.int64)  # that of the first observed time of a series
    phase[count > 0] = ordinals[~missing][(np.cumsum(count) - count)[count > 0]]
    lengths = np.diff(first, append=len(ordinals))
    between = (ordinals - np.repeat(phase, lengths)) % step != 0
    off_calendar = (ordinals == OFF_CALENDAR) | between
    keep = ~(off_calendar & missing)
    if keep.all():
        return rows, ordinals
    if len(np.unique(rows.codes[keep])) < len(np.unique(rows.codes)):
        return rows, ordinals  # a series has closed times only, which is reported

    def select(values: Floats) -> Floats:
        return values.reshape(by_series.shape)[:, keep].reshape(-1)

    kept = replace(
        rows,
        codes=rows.codes[keep],
        times=rows.times[keep],
        target=select(rows.target),
        covariates={name: select(values) for name, values in rows.covariates.items()},
    )
    return kept, ordinals[keep]


def _check_calendar(rows: Rows, ordinals: Ordinals, frequency: Frequency) -> None:
    off_calendar = ordinals == OFF_CALENDAR
    if off_calendar.any():
        row = int(np.flatnonzero(off_calendar)[0])
        raise ParameterError(
            "times",
            f"lie on the frequency {frequency.name!r}",
            f"{rows.times[row]} for series {rows.series_name(row)}",
            "Correct the time, or pass another {columns.freq}.",
            FREQ,
        )


def _check_steps(
    rows: Rows, ordinals: NDArray[np.int64], frequency: Frequency, columns: Columns
) -> bool:
    """Whether rows are missing; an error if `columns` forbids it, or if times are irregular."""
    steps = np.diff(ordinals)
    within = rows.codes[1:] == rows.codes[:-1]
    if np.all((steps == frequency.step) | ~within):
        return False
    irregular = within & (steps % frequency.step != 0)
    if irregular.any():
        row = int(np.flatnonzero(irregular)[0])
        raise ParameterError(
            "times",
            f"be regular, in steps of {frequency.name!r}",
            f"{rows.times[row]} then {rows.times[row + 1]} for series {rows.series_name(row)}",
            "Resample the series, pass another {columns.freq}, or forecast series of each "
            f"frequency separately.{date_hint(rows.times)}",
            FREQ,
        )
    missing = within & (steps > frequency.step)
    if missing.any() and not columns.fill_gaps:
        row = int(np.flatnonzero(missing)[0])
        _check_one_frequency(rows, steps, row, frequency)
        n_missing = int((steps[missing] // frequency.step - 1).sum())
        first = frequency.to_times(ordinals[row : row + 1] + frequency.step)[0]
        n_series = len(np.unique(rows.codes[:-1][missing]))
        fill = "Pass {columns.fill_gaps} to read them as missing values."
        calendar = open_calendar(rows, frequency)
        if calendar is not None:
            fill = f"Pass {{columns.freq}} with freq={calendar.name!r}, whose times they miss."
        raise ParameterError(
            "frame",
            f"have a row for every time (frequency {frequency.name!r})",
            f"{n_missing} missing row(s) in {n_series} series, for series "
            f"{rows.series_name(row)} first at {first}",
            date_hint(rows.times).lstrip() or fill,
            {"columns.fill_gaps": "Columns(fill_gaps=True)", **FREQ},
        )
    return bool(missing.any())


def _check_one_frequency(
    rows: Rows, steps: NDArray[np.int64], row: int, frequency: Frequency
) -> None:
    """Refuse a series whose steps are all the same larger multiple: it has another frequency."""
    own = np.flatnonzero(rows.codes == rows.codes[row])
    inner = steps[own[:-1]]
    if len(inner) > 1 and np.all(inner == inner[0]):
        raise ParameterError(
            "frame",
            f"have series of one frequency, {frequency.name!r}",
            f"series {rows.series_name(row)} in steps of {inner[0] // frequency.step} times that",
            "Forecast series of each frequency separately, or pass another {columns.freq}.",
            FREQ,
        )


def _fill_gaps(rows: Rows, ordinals: Ordinals, step: int) -> tuple[Rows, Ordinals]:
    """Insert rows of NaN where times are absent."""
    within = rows.codes[1:] == rows.codes[:-1]
    n_steps = np.where(within, np.diff(ordinals) // step, 1)
    position = np.concatenate([[0], np.cumsum(n_steps)])
    length = int(position[-1]) + 1
    source = np.zeros(length, dtype=np.intp)
    source[position] = np.arange(len(position))
    source = np.maximum.accumulate(source)  # the row before each gap
    full = ordinals[source] + (np.arange(length) - position[source]) * step

    def fill(values: Floats) -> Floats:
        by_series = values.reshape(-1, len(position))  # rows only where the times are shared
        filled = np.full((len(by_series), length), np.nan)
        filled[:, position] = by_series
        return filled.reshape(-1)

    filled = replace(
        rows,
        codes=rows.codes[source],
        times=rows.times[source],
        target=fill(rows.target),
        covariates={name: fill(values) for name, values in rows.covariates.items()},
    )
    return filled, full


def check_observed(regular: RegularRows) -> None:
    """Check that each series has an observed value."""
    first = np.cumsum(regular.lengths) - regular.lengths
    observed = np.logical_or.reduceat(~np.isnan(regular.rows.target), first)
    if not observed.all():
        name = format_value(regular.rows.ids[int(np.flatnonzero(~observed)[0])])
        raise ValueError(
            f"each series must have an observed value; got only NaN for series {name}. Drop it."
        )
