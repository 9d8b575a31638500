"""Days, business days and months as integers since 1970, and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ordinals = NDArray[np.int64]
Days = NDArray[Any]  # of datetime64[D], which beartype does not take for datetime64

EPOCH = np.datetime64("1970-01-01")


def days_of(local: pd.DatetimeIndex) -> Days:
    """The day of each time, by its clock."""
    return np.asarray(local.to_numpy().astype("datetime64[D]"))


def business_days(days: Days) -> Ordinals:
    """Business days since 1970; a Saturday counts as the Monday after it."""
    return np.busday_count(EPOCH, days).astype(np.int64)


def month_days(months: Ordinals, anchor: str) -> Days:
    """The day of each month that an anchor names: its start or end, of business or not."""
    first = months.astype("datetime64[M]").astype("datetime64[D]")
    following = (months + 1).astype("datetime64[M]").astype("datetime64[D]")
    last = (following.astype(np.int64) - 1).astype("datetime64[D]")
    if anchor == "start":
        return first
    if anchor == "end":
        return last
    if anchor == "business start":
        return np.busday_offset(first, 0, roll="forward")
    return np.busday_offset(last, 0, roll="backward")


# Integers of days, for each kind of frequency ...
COUNTS: dict[str, Callable[[Days], Ordinals]] = {
    "day": lambda days: days.astype(np.int64),
    "business": business_days,
    "month": lambda days: days.astype("datetime64[M]").astype(np.int64),
}
# ... and the days of integers.
DATES: dict[str, Callable[[Ordinals, str], Days]] = {
    "day": lambda numbers, _: numbers.astype("datetime64[D]"),
    "business": lambda numbers, _: np.busday_offset(EPOCH, numbers),
    "month": month_days,
}
