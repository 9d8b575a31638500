"""Normalization and moving averages of observed values, compared with loops."""

import math

import numpy as np
import pytest
import torch
from reference import mean_of_observed

from tsar.nn.normalization import (
    Normalization,
    forward_fill,
    instance_norm,
    last_observed,
    moving_average,
    moving_average_matrix,
    observed_mean,
)

NAN = math.nan


def test_last_observed_and_observed_mean_skip_missing_points() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, NAN], [4.0, NAN, NAN], [NAN, NAN, NAN]])
    assert last_observed(values).tolist() == [[3.0], [2.0], [4.0], [0.0]]
    assert observed_mean(values).tolist() == [[2.0], [1.5], [4.0], [0.0]]


@pytest.mark.parametrize("window", (1, 2, 3, 4, 25))
def test_moving_average_repeats_the_edges(window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    values[1, 4:6], values[2, 0] = NAN, NAN
    average = moving_average_matrix(12, window).double()
    found = moving_average(values, average)
    assert found.shape == values.shape
    for row in range(3):
        for time in range(12):
            first = time - (window - 1) // 2
            inside = [float(values[row, min(max(k, 0), 11)]) for k in range(first, first + window)]
            expected = mean_of_observed(inside)
            np.testing.assert_allclose(float(found[row, time]), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("normalization", ("mean", "last", "standardize", "none"))
def test_denormalize_is_the_inverse_of_normalize(normalization: Normalization) -> None:
    values = torch.tensor([[1.0, NAN, 5.0], [7.0, 7.0, 7.0], [NAN, NAN, NAN]])
    norm = instance_norm(values, normalization)
    torch.testing.assert_close(norm.denormalize(norm.normalize(values)), values, equal_nan=True)
    level = {"mean": 3.0, "standardize": 3.0, "last": 5.0, "none": 0.0}[normalization]
    assert norm.level[0].item() == level
    assert norm.scale[:, 0].tolist() == [2.0 if normalization == "standardize" else 1.0, 1.0, 1.0]


def test_forward_fill_repeats_the_last_observed_point() -> None:
    values = torch.tensor([[NAN, 1.0, NAN, NAN, 2.0], [NAN] * 5])
    assert forward_fill(values).tolist() == [[0, 1, 1, 1, 2], [0] * 5]
