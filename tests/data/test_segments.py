"""Reductions over segments, compared with NumPy for each segment."""

import math

import numpy as np
import pytest
import torch
from reference import mean_of_observed

from tsar.data.segments import broadcastable, common_length, mean, reduce, root_mean_square

NAN = math.nan
EQUAL = [[1.0, NAN, 4.0], [2.0, 8.0, -1.0], [NAN, NAN, NAN]]
RAGGED = [[1.0, NAN, 4.0, 3.0], [], [2.0], [NAN, 7.0]]


def flat(segments: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor([value for segment in segments for value in segment])
    return values, torch.tensor([0, *np.cumsum([len(segment) for segment in segments])])


def test_common_length_is_none_for_different_lengths() -> None:
    assert common_length(flat(EQUAL)[1]) == 3
    assert common_length(flat(RAGGED)[1]) is None
    assert common_length(torch.tensor([0])) is None
    assert common_length(torch.tensor([0, 0, 0])) == 0


@pytest.mark.parametrize("segments", (EQUAL, RAGGED, [[], []]))
def test_means_exclude_missing_points(segments: list[list[float]]) -> None:
    found = mean(*flat(segments))
    np.testing.assert_allclose(found.numpy(), [mean_of_observed(segment) for segment in segments])


@pytest.mark.parametrize("segments", (EQUAL, RAGGED, [[], []]))
def test_reductions_are_per_segment(segments: list[list[float]]) -> None:
    values, offsets = flat(segments)
    filled = [np.nan_to_num(segment, nan=5.0) for segment in segments]
    values = values.nan_to_num(5.0)
    expected = {
        "min": [min(segment, default=math.inf) for segment in filled],
        "max": [max(segment, default=-math.inf) for segment in filled],
        "sum": [sum(segment) for segment in filled],
    }
    assert reduce(values, offsets, "min").tolist() == expected["min"]
    assert reduce(values, offsets, "max").tolist() == expected["max"]
    assert reduce(values, offsets, "sum").tolist() == expected["sum"]


@pytest.mark.parametrize("segments", (EQUAL, RAGGED))
def test_values_of_segments_broadcast_over_their_points(segments: list[list[float]]) -> None:
    values, offsets = flat(segments)
    per_segment = torch.arange(1.0, len(segments) + 1)
    found = torch.mul(*broadcastable(values, per_segment, offsets)).reshape(-1)
    expected = [value * (row + 1) for row, segment in enumerate(segments) for value in segment]
    np.testing.assert_array_equal(found.numpy(), np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("segments", (EQUAL, EQUAL[1:2], RAGGED, [[], []]))
def test_root_mean_squares_exclude_missing_points(segments: list[list[float]]) -> None:
    found = root_mean_square(*flat(segments))
    squares = [[value**2 for value in segment] for segment in segments]
    expected = np.sqrt([mean_of_observed(segment) for segment in squares])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
