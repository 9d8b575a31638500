"""Reference implementations of tsar.autoregression by loops and explicit matrices."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tsar.autoregression import ARResults, Design, fit_closed_form, observed_segments

Array = NDArray[np.float64]


def lag_matrix(channels: Array, start: int, length: int, max_lag: int) -> Array:
    """Columns (channel, lag) for every time of a segment that has all its lags in the segment."""
    rows = []
    for time in range(start + max_lag, start + length):
        rows.append([channel[time - lag] for channel in channels for lag in range(max_lag + 1)])
    return np.array(rows).reshape(len(rows), len(channels) * (max_lag + 1))


def design(channels: Array, starts: list[int], lengths: list[int], max_lag: int) -> Array:
    """Lag matrices of several segments, stacked."""
    segments = zip(starts, lengths, strict=True)
    return np.concatenate([lag_matrix(channels, *segment, max_lag) for segment in segments])


def moments(matrix: Array) -> tuple[Array, Array, int]:
    """Centred cross products and means of the columns of a matrix, and its number of rows."""
    mean = matrix.mean(0)
    centred = matrix - mean
    return centred.T @ centred, mean, len(matrix)


def segments(values: Array, offsets: list[int]) -> list[tuple[int, int, int]]:
    """(start, length, series) of the segments in which every channel is finite."""
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


def simulate(coef: list[float], length: int, seed: int, *, series: int = 1) -> Array:
    """Simulate the recursion y[t] = sum(coef[i] y[t-1-i]) + noise, one row per series."""
    noise = np.random.default_rng(seed).normal(size=(series, 500 + length))
    values = np.zeros((series, len(coef) + 500 + length))
    for time in range(500 + length):
        past = values[:, time : time + len(coef)][:, ::-1]
        values[:, len(coef) + time] = past @ np.array(coef) + noise[:, time]
    return values[:, -length:]


def product(*factors: list[float]) -> list[float]:
    """AR coefficients, lag 1 first, whose polynomial 1 - coef(z) is a product."""
    polynomial = np.ones(1)
    for factor in factors:
        polynomial = np.convolve(polynomial, factor)
    return [float(-c) for c in polynomial[1:]]


def symmetric_percentage_error(estimate: Array, truth: Array) -> float:
    """Symmetric total percentage error (sTPE) of the AR-Net paper."""
    return float(100 * np.abs(estimate - truth).sum() / (np.abs(estimate) + np.abs(truth)).sum())


def best_subset(
    gram: Array, cross: Array, tss: float, nobs: float, criterion: str
) -> tuple[float, set[int]]:
    """Lowest criterion of all subsets of the terms and all nested orders, and that subset."""
    terms = len(cross)
    best = (math.inf, set[int]())
    for code in range(2**terms):
        chosen = [j for j in range(terms) if code >> j & 1]
        if chosen and 2 * (len(chosen) + 1) > nobs:
            continue
        coef = np.linalg.solve(gram[np.ix_(chosen, chosen)], cross[chosen])
        rss = tss - coef @ cross[chosen]
        penalty = 2 if criterion == "aic" else math.log(nobs)
        value = nobs * math.log(rss / nobs) + penalty * len(chosen)
        if criterion == "ebic":
            candidates = math.comb(terms, len(chosen))
            if chosen == list(range(len(chosen))):
                candidates = min(candidates, terms)
            value += 2 * math.log(candidates)
        best = min(best, (value, set(chosen)), key=lambda pair: pair[0])
    return best


def penalty_slope(size: float) -> float:
    """Derivative of tanh(3 size^(1/3) / 2), by a central difference."""
    step = 1e-6 * size
    low, high = (math.tanh(1.5 * (size + sign * step) ** (1 / 3)) for sign in (-1, 1))
    return (high - low) / (2 * step)


def weighted_lasso(gram: Array, cross: Array, weights: Array, start: Array) -> Array:
    """Minimize b'Gb - 2c'b + sum(weights |b|) by coordinate descent."""
    coef = start.copy()
    for _ in range(20000):
        previous = coef.copy()
        for j in range(len(coef)):
            rest = cross[j] - gram[j] @ coef + gram[j, j] * coef[j]
            coef[j] = math.copysign(max(abs(rest) - weights[j] / 2, 0.0), rest) / gram[j, j]
        if np.abs(coef - previous).max() < 1e-13:
            break
    return coef


def penalized(correlation: Array, cross: Array, strength: float, outer_steps: int) -> Array:
    """Linearize the AR-Net penalty repeatedly, from the least squares solution."""
    coef = np.linalg.solve(correlation, cross)
    for _ in range(outer_steps):
        slopes = [penalty_slope(max(abs(c), 1e-9)) for c in coef]
        coef = weighted_lasso(correlation, cross, strength / len(coef) * np.array(slopes), coef)
    return coef


def impulse_response(coef: Array, horizon: int) -> Array:
    """Response of the recursion to a shock of 1."""
    response = np.zeros(horizon)
    response[0] = 1.0
    for time in range(1, horizon):
        for lag, weight in enumerate(coef, start=1):
            if time >= lag:
                response[time] += weight * response[time - lag]
    return response


def iterate(coef: Array, context: Array, horizon: int, intercept: float = 0.0) -> Array:
    """Forecast step by step; the context has the oldest point first."""
    path = list(context)
    for _ in range(horizon):
        lags = (weight * path[-lag] for lag, weight in enumerate(coef, start=1))
        path.append(intercept + sum(lags))
    return np.array(path[len(context) :])


def numerical_jacobian(function: Callable[[Array], Array], values: Array) -> Array:
    """Jacobian (output, value) by central differences."""
    steps = 1e-6 * np.maximum(np.abs(values), 1e-3)
    columns = [
        (function(values + step) - function(values - step)) / (2 * step.sum())
        for step in np.diag(steps)
    ]
    return np.array(columns).T


def fit_lags(
    rows: Array, order: int, *, bias_correction: bool = True, pooled: bool = False
) -> ARResults:
    """Closed form of series, a row each, with all lags."""
    flat = torch.from_numpy(rows.reshape(1, -1).copy())
    segments = observed_segments(flat, torch.arange(len(rows) + 1) * rows.shape[1])
    segments = segments.pooled() if pooled else segments
    n_series = torch.full((segments.n_groups,), len(rows) / segments.n_groups, dtype=torch.float64)
    design = Design(order=order, horizon=1)
    return fit_closed_form(
        flat, segments, design, n_series=n_series, bias_correction=bias_correction
    )


def lag_windows(row: Array, order: int) -> tuple[Array, Array]:
    """Lags, newest first, and targets of a series."""
    spans = np.lib.stride_tricks.sliding_window_view(row, order + 1)
    return spans[:, :-1][:, ::-1], spans[:, -1]
