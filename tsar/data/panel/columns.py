"""Columns: the roles of a frame's columns, its frequency, and whether gaps are filled."""

from dataclasses import dataclass

import pandas as pd

from tsar.data.panel.open_times import OpenTimes, from_offset
from tsar.records import record


@record("columns")
@dataclass(frozen=True)
class Columns:
    """Roles of the columns of a frame, its frequency, and whether gaps are filled.

    In a long frame every role is a column. In a wide frame every column is a series, except those
    named in `past` or `future`, which are covariates shared by all series.

    Parameters
    ----------
    id, time, target
        Columns of a long frame with the series, the time and the value. A long frame without the
        default `id` column holds one series. Times are dates, periods, integers, or ISO 8601 text.
    past
        Numeric covariates observed up to the cutoff only (a measured temperature).
    future
        Numeric covariates known in advance (a holiday flag, a planned price): their future values
        are given in `predict(future=...)`.
    static
        Columns that are constant within a series; text is read as a category.
    freq
        An alias or offset of pandas such as ``"h"``, ``"MS"``, ``"15min"``, or the step of integer
        times. Inferred where it is None. Calendars with regular gaps have forecasts at open times
        only, and no missing values at others: ``"D[Mon-Sat]"``, ``"h[Mon-Fri 09:00-17:00]"``,
        ``"h[Mon-Fri 09:00-18:00, Sat 09:00-14:00]"``, with holidays a
        ``pandas.offsets.CustomBusinessDay`` or ``CustomBusinessHour``. They are found by
        themselves, with a warning, where days of the week or hours are always absent;
        ``freq="D"`` or ``freq="h"`` turns that off. ``"MS-15"`` is the 15th of each month.
    fill_gaps
        Insert a row with NaN where a time is absent, instead of refusing the frame. Rows at closed
        times are dropped where their target is NaN.

    Examples
    --------
    >>> from tsar import Columns
    >>> Columns(id="shop", time="day", target="sales", future=("price",)).covariates
    ('price',)
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    freq: "str | int | OpenTimes | pd.offsets.BaseOffset | None" = None
    fill_gaps: bool = False

    def __post_init__(self) -> None:
        """Check the options; lists become tuples, so that the object is hashable."""
        for role in ("id", "time", "target"):
            _check(role, isinstance(getattr(self, role), str), "a column name", getattr(self, role))
        if isinstance(self.freq, pd.offsets.BaseOffset):
            object.__setattr__(self, "freq", _as_alias(self.freq))
        is_alias = self.freq is None or isinstance(self.freq, (str, int, OpenTimes))
        _check("freq", is_alias, "an alias or offset of pandas, or an integer", self.freq)
        _check("fill_gaps", isinstance(self.fill_gaps, bool), "True or False", self.fill_gaps)
        for role in ("past", "future", "static"):
            object.__setattr__(self, role, _as_tuple(role, getattr(self, role)))
        names = [self.id, self.time, self.target, *self.past, *self.future, *self.static]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"columns must give each column one role; got {repeated[0]!r} twice. "
                "Name it in one of id, time, target, past, future, static."
            )

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that vary in time, the past ones first."""
        return self.past + self.future


def _as_alias(offset: pd.offsets.BaseOffset) -> str | OpenTimes:
    """Alias of an offset, or its open times where it has holidays."""
    times = from_offset(offset)
    if times is None:
        return str(offset.freqstr)
    return times if times.holidays else times.name


def _check(option: str, is_met: bool, condition: str, value: object) -> None:
    if not is_met:
        raise TypeError(f"columns.{option} must be {condition}; got {value!r}. Change it.")


def _as_tuple(role: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise TypeError(f"columns.{role} must be column names; got {value!r}. Give a tuple of strings.")
