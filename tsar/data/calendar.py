"""Calendar features of times (sines and cosines), and timestamps as text for language models."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Frequency
from tsar.data.panel.frequency import MINUTE, days_of, microseconds, without_time_zone
from tsar.data.panel.open_times import DAY, HOUR
from tsar.validation import check_integer

# The same cycles at every frequency, so that a model's width does not depend on it.
CYCLES = ("minute", "hour", "day", "week", "month", "year")
FEATURES = 2 * len(CYCLES)
TEXT = "This is Time Series from {start} to {end}"  # from the code of AutoTimes (arXiv 2402.02370)


def calendar_features(
    frequency: Frequency, ordinals: Int[Tensor, "*shape"]
) -> Float[Tensor, "*shape feature"]:
    """Sine and cosine of the elapsed fraction of minute, hour, day, week, month and year.

    Times are local times; a period is represented by its start. The features of each distinct time
    are computed once, on the host, and returned on the device of `ordinals`.

    Examples
    --------
    >>> from tsar.data.panel.frequency import parse_alias
    >>> hours = torch.tensor([0, 6]) * 3_600_000_000  # since 1970 began
    >>> calendar_features(parse_alias("h"), hours)[:, 4:6].round()  # of the day
    tensor([[0., 1.],
            [1., 0.]])
    """
    distinct, inverse = np.unique(ordinals.cpu().numpy(), return_inverse=True)
    angles = 2 * np.pi * _fractions(_local_times(frequency, distinct))
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    features = torch.from_numpy(pairs.reshape(-1, FEATURES).astype(np.float32))
    rows = torch.from_numpy(inverse.reshape(tuple(ordinals.shape)))
    return features.to(ordinals.device)[rows.to(ordinals.device)]


def timestamp_texts(frequency: Frequency, ordinals: NDArray[np.int64], points: int) -> list[str]:
    """Describe the span of `points` points from each time on, in local time.

    Examples
    --------
    >>> from tsar.data.panel.frequency import parse_alias
    >>> timestamp_texts(parse_alias("D"), np.array([16983]), 7)
    ['This is Time Series from 2016-07-01 00:00:00 to 2016-07-07 00:00:00']
    """
    length = (check_integer("points", points) - 1) * frequency.step
    starts, ends = _to_text(frequency, ordinals), _to_text(frequency, ordinals + length)
    return [TEXT.format(start=start, end=end) for start, end in zip(starts, ends, strict=True)]


def _local_times(frequency: Frequency, ordinals: NDArray[np.int64]) -> pd.DatetimeIndex:
    if frequency.kind == "integer":
        raise ValueError(
            "timestamps must be None with integer times, which have no calendar; got steps of "
            f"{frequency.step}. Leave timestamps out, or give dates as times."
        )
    times = frequency.to_times(ordinals)
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp(how="start")
    return without_time_zone(pd.DatetimeIndex(times), utc=False)


def _fractions(local: pd.DatetimeIndex) -> NDArray[np.float64]:
    """Elapsed fraction of each cycle, from 0 to below 1."""
    now, days = microseconds(local), days_of(local)
    weeks = now + 3 * DAY  # 1970 began on a Thursday
    fractions = [
        now % MINUTE / MINUTE,
        now % HOUR / HOUR,
        now % DAY / DAY,
        weeks % (7 * DAY) / 7 / DAY,
    ]
    for unit in ("M", "Y"):
        cycles = days.astype(f"datetime64[{unit}]")
        start, end = (x.astype("datetime64[us]").astype(np.int64) for x in (cycles, cycles + 1))
        fractions.append((now - start) / (end - start))
    return np.stack(fractions, axis=-1)


def _to_text(frequency: Frequency, ordinals: NDArray[np.int64]) -> list[str]:
    seconds = _local_times(frequency, ordinals).to_numpy().astype("datetime64[s]")
    return [text.replace("T", " ") for text in np.datetime_as_string(seconds).tolist()]
