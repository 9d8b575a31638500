"""Slow and obvious versions of what tsar.autoregression computes, with loops and explicit matrices."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lag_matrix(channels: Array, start: int, length: int, max_lag: int) -> Array:
    """Stack (channel, lag) columns for every time of one run that has all its lags in the run."""
    rows = []
    for time in range(start + max_lag, start + length):
        rows.append([channel[time - lag] for channel in channels for lag in range(max_lag + 1)])
    return np.array(rows).reshape(len(rows), len(channels) * (max_lag + 1))


def design(
    channels: Array, starts: list[int], lengths: list[int], max_lag: int
) -> Array:
    """Stack the lag matrices of several runs."""
    parts = [lag_matrix(channels, s, n, max_lag) for s, n in zip(starts, lengths, strict=True)]
    return np.concatenate(parts)


def moments(matrix: Array, weights: Array | None = None) -> tuple[Array, Array, float]:
    """Return centred cross products, means and count of the columns of a matrix."""
    weights = np.ones(len(matrix)) if weights is None else weights
    count = weights.sum()
    mean = weights @ matrix / count
    centred = matrix - mean
    return centred.T @ (weights[:, None] * centred), mean, count


def runs(values: Array, offsets: list[int]) -> list[tuple[int, int, int]]:
    """List (start, length, series) of the stretches in which every channel is finite."""
    found = []
    for series in range(len(offsets) - 1):
        start = None
        for time in range(offsets[series], offsets[series + 1] + 1):
            inside = time < offsets[series + 1] and bool(np.isfinite(values[:, time]).all())
            if inside and start is None:
                start = time
            if not inside and start is not None:
                found.append((start, time - start, series))
                start = None
    return found
