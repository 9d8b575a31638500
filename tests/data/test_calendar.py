"""Calendar features and timestamp texts, compared with pandas for each time."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from tsar.data.calendar import CYCLES, FEATURES, calendar_features, timestamp_texts
from tsar.data.panel import Columns, Frequency, Panel

BERLIN = "Europe/Berlin"
INDICES = {
    "seconds": pd.date_range("2024-02-29 23:59:30", periods=90, freq="s"),
    "milliseconds": pd.date_range("1969-12-31 23:59:59", periods=30, freq="50ms"),
    "15min": pd.date_range("2023-12-31 20:00", periods=200, freq="15min"),
    "hourly": pd.date_range("2023-12-30", periods=200, freq="h"),
    "hourly, into summer": pd.date_range("2024-03-30 20:00", periods=20, freq="h", tz=BERLIN),
    "hourly, into winter": pd.date_range("2024-10-26 20:00", periods=20, freq="h", tz=BERLIN),
    "daily": pd.date_range("1968-01-01", periods=800, freq="D"),
    "daily, into summer": pd.date_range("2024-03-25 02:30", periods=5, freq="D", tz=BERLIN),
    "weekly": pd.date_range("2024-01-03", periods=60, freq="W-WED"),
    "business": pd.date_range("2024-02-26", periods=60, freq="B"),
    "month start": pd.date_range("2023-01-01", periods=30, freq="MS"),
    "month end": pd.date_range("2023-01-31", periods=30, freq="ME"),
    "month start, zone": pd.date_range("2023-01-01", periods=30, freq="MS", tz=BERLIN),
    "quarters": pd.date_range("2023-01-01", periods=9, freq="QS"),
    "years": pd.date_range("1960-01-01", periods=70, freq="YS"),
    "monthly periods": pd.period_range("2023-01", periods=30, freq="M"),
    "hourly periods": pd.period_range("2023-12-30", periods=60, freq="h"),
    "yearly periods": pd.period_range("1960", periods=70, freq="Y"),
}


def regular(index: pd.Index) -> tuple[Frequency, np.ndarray]:
    """Frequency of times, and their ordinals."""
    series = pd.Series(np.arange(len(index), dtype=float), index=index)
    freq = None if isinstance(index, pd.PeriodIndex) else index.freqstr
    labels = Panel.from_frame(series, Columns(freq=freq)).labels
    return labels.frequency, labels.starts[0] + np.arange(len(index)) * labels.frequency.step


def reference_features(time: pd.Timestamp | pd.Period) -> list[float]:
    """Features of one time, from the attributes of its pandas Timestamp."""
    time = time.start_time if isinstance(time, pd.Period) else time
    second = time.second + time.microsecond / 1e6
    minute = time.minute + second / 60
    hour = time.hour + minute / 60
    fractions = (
        second / 60,
        minute / 60,
        hour / 24,
        (time.weekday() + hour / 24) / 7,
        (time.day - 1 + hour / 24) / time.days_in_month,
        (time.timetuple().tm_yday - 1 + hour / 24) / (366 if time.is_leap_year else 365),
    )
    return [f(2 * math.pi * fraction) for fraction in fractions for f in (math.sin, math.cos)]


def to_text(time: pd.Timestamp | pd.Period) -> str:
    time = time.start_time if isinstance(time, pd.Period) else time
    return time.strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("name", INDICES)
def test_features_equal_those_computed_with_pandas(name: str) -> None:
    frequency, ordinals = regular(INDICES[name])
    found = calendar_features(frequency, torch.from_numpy(ordinals))
    assert found.dtype == torch.float32
    expected = np.array([reference_features(time) for time in INDICES[name]])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", INDICES)
def test_texts_equal_those_formatted_by_pandas(name: str) -> None:
    index = INDICES[name]
    frequency, ordinals = regular(index)
    for points in (1, 4):
        found = timestamp_texts(frequency, ordinals[: len(index) - points + 1], points)
        ends = index[points - 1 :]
        assert found == [
            f"This is Time Series from {to_text(start)} to {to_text(end)}"
            for start, end in zip(index, ends, strict=False)
        ]


def test_text_equals_that_of_the_published_code() -> None:
    frequency, ordinals = regular(pd.date_range("2016-07-01", periods=3, freq="h"))
    assert timestamp_texts(frequency, ordinals[:1], 96) == [
        "This is Time Series from 2016-07-01 00:00:00 to 2016-07-04 23:00:00"
    ]


def test_features_have_the_shape_of_the_ordinals() -> None:
    frequency, ordinals = regular(INDICES["hourly"])
    flat = calendar_features(frequency, torch.from_numpy(ordinals))
    rows = torch.tensor([[[3, 1], [3, 3]], [[199, 0], [1, 2]]])  # in any order, and repeated
    found = calendar_features(frequency, torch.from_numpy(ordinals)[rows])
    assert found.shape == (2, 2, 2, FEATURES)
    assert torch.equal(found, flat[rows])
    assert torch.equal(calendar_features(frequency, torch.tensor(int(ordinals[5]))), flat[5])
    none = torch.empty(0, 3, dtype=torch.int64)
    assert calendar_features(frequency, none).shape == (0, 3, FEATURES)
    assert timestamp_texts(frequency, ordinals[:0], 3) == []


def test_features_and_texts_use_local_time() -> None:
    frequency, ordinals = regular(INDICES["hourly, into winter"])
    day = calendar_features(frequency, torch.from_numpy(ordinals))[:, 4:6]
    assert CYCLES[2] == "day"
    assert torch.equal(day[6], day[7])  # two o'clock in summer, and again in winter
    texts = timestamp_texts(frequency, ordinals[6:8], 1)
    assert texts[0] == texts[1]


def test_integer_times_are_refused() -> None:
    frequency, ordinals = Frequency("2", "integer", 2), np.arange(0, 20, 2)
    message = "^timestamps must be None with integer times, which have no calendar; got steps of 2"
    with pytest.raises(ValueError, match=message):
        calendar_features(frequency, torch.from_numpy(ordinals))
    with pytest.raises(ValueError, match=message):
        timestamp_texts(frequency, ordinals, 2)


def test_text_must_span_at_least_one_point() -> None:
    frequency, ordinals = regular(INDICES["daily"])
    with pytest.raises(ValueError, match=r"^points must be an integer"):
        timestamp_texts(frequency, ordinals, 0)
