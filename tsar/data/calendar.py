"""What the calendar says of times: features of numbers, and texts for language models."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Frequency
from tsar.data.panel.days import days_of
from tsar.data.panel.frequency import DAY, HOUR, MINUTE, microseconds, wall_clock
from tsar.validation import check_integer

# The same at every frequency, so that a model's width does not depend on it.
CYCLES = ("minute", "hour", "day", "week", "month", "year")
FEATURES = 2 * len(CYCLES)
TEXT = "This is Time Series from {start} to {end}"  # of AutoTimes (arXiv 2402.02370), as its code


def calendar_features(
    frequency: Frequency, ordinals: Int[Tensor, "*shape"]
) -> Float[Tensor, "*shape feature"]:
    """Sine and cosine of the place of each time in its minute, hour, day, week, month and year.

    The clock is that on the wall, and a period stands at its start. Every distinct time is told
    once, on the host; the features lie where `ordinals` do.

    Parameters
    ----------
    ordinals
        Integers of times: point k of a series stands at ``start + k * frequency.step``.

    Raises
    ------
    ValueError
        The times are integers.

    Examples
    --------
    >>> from tsar.data.panel.frequency import parse_alias
    >>> hours = torch.tensor([0, 6]) * 3_600_000_000  # since 1970 began
    >>> calendar_features(parse_alias("h"), hours)[:, 4:6].round()  # of the day
    tensor([[0., 1.],
            [1., 0.]])
    """
    distinct, inverse = np.unique(ordinals.cpu().numpy(), return_inverse=True)
    angles = 2 * np.pi * _shares(_wall(frequency, distinct))
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    features = torch.from_numpy(pairs.reshape(-1, FEATURES).astype(np.float32))
    rows = torch.from_numpy(inverse.reshape(tuple(ordinals.shape)))
    return features.to(ordinals.device)[rows.to(ordinals.device)]


def timestamp_texts(frequency: Frequency, ordinals: NDArray[np.int64], points: int) -> list[str]:
    """Text of the span of `points` points from each time on, by the clock on the wall.

    Raises
    ------
    ValueError
        The times are integers.

    Examples
    --------
    >>> from tsar.data.panel.frequency import parse_alias
    >>> timestamp_texts(parse_alias("D"), np.array([16983]), 7)
    ['This is Time Series from 2016-07-01 00:00:00 to 2016-07-07 00:00:00']
    """
    reach = (check_integer("points", points) - 1) * frequency.step
    spans = zip(_written(frequency, ordinals), _written(frequency, ordinals + reach), strict=True)
    return [TEXT.format(start=start, end=end) for start, end in spans]


def _wall(frequency: Frequency, ordinals: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Times without their zone, as the clock on the wall shows them."""
    if frequency.kind == "integer":
        raise ValueError(
            "timestamps must be None with integer times, which have no calendar; got steps of "
            f"{frequency.step}. Do without timestamps, or give dates as times."
        )
    times = frequency.to_times(ordinals)
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp(how="start")
    return wall_clock(pd.DatetimeIndex(times), absolute=False)


def _shares(local: pd.DatetimeIndex) -> NDArray[np.float64]:
    """Share of each cycle that has passed, from 0 to below 1."""
    now, days = microseconds(local), days_of(local)
    weeks = now + 3 * DAY  # 1970 began on a Thursday
    passed = [
        now % MINUTE / MINUTE,
        now % HOUR / HOUR,
        now % DAY / DAY,
        weeks % (7 * DAY) / 7 / DAY,
    ]
    for unit in ("M", "Y"):
        months = days.astype(f"datetime64[{unit}]")
        first, following = (
            x.astype("datetime64[us]").astype(np.int64) for x in (months, months + 1)
        )
        passed.append((now - first) / (following - first))
    return np.stack(passed, axis=-1)


def _written(frequency: Frequency, ordinals: NDArray[np.int64]) -> list[str]:
    seconds = _wall(frequency, ordinals).to_numpy().astype("datetime64[s]")
    return [text.replace("T", " ") for text in np.datetime_as_string(seconds).tolist()]
