"""Slow and obvious versions of what tsar.autoregression computes: loops, explicit matrices."""

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


def design(channels: Array, starts: list[int], lengths: list[int], max_lag: int) -> Array:
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


def simulate(coef: list[float], length: int, seed: int, *, series: int = 1) -> Array:
    """Run the recursion y[t] = sum(coef[i] y[t-1-i]) + noise, one row a series."""
    noise = np.random.default_rng(seed).normal(size=(series, 500 + length))
    values = np.zeros((series, len(coef) + 500 + length))
    for time in range(500 + length):
        past = values[:, time : time + len(coef)][:, ::-1]
        values[:, len(coef) + time] = past @ np.array(coef) + noise[:, time]
    return values[:, -length:]


def product(*factors: list[float]) -> list[float]:
    """Return AR coefficients, lag 1 first, whose polynomial 1 - coef(z) is a product."""
    polynomial = np.ones(1)
    for factor in factors:
        polynomial = np.convolve(polynomial, factor)
    return [float(-c) for c in polynomial[1:]]


def symmetric_percentage_error(estimate: Array, truth: Array) -> float:
    """Return sTPE, the error measure of the AR-Net paper."""
    return float(100 * np.abs(estimate - truth).sum() / (np.abs(estimate) + np.abs(truth)).sum())


def best_subset(
    gram: Array, cross: Array, power: float, count: float, criterion: str
) -> tuple[float, set[int]]:
    """Try every subset of the terms and every nested order, and return the lowest criterion."""
    terms = len(cross)
    best = (math.inf, set[int]())
    for code in range(2**terms):
        chosen = [j for j in range(terms) if code >> j & 1]
        if chosen and 2 * (len(chosen) + 1) > count:
            continue
        coef = np.linalg.solve(gram[np.ix_(chosen, chosen)], cross[chosen])
        rss = power - coef @ cross[chosen]
        price = 2 if criterion == "aic" else math.log(count)
        value = count * math.log(rss / count) + price * len(chosen)
        if criterion == "ebic":
            rivals = math.comb(terms, len(chosen))
            if chosen == list(range(len(chosen))):
                rivals = min(rivals, terms)
            value += 2 * math.log(rivals)
        best = min(best, (value, set(chosen)), key=lambda pair: pair[0])
    return best


def penalty_slope(size: float) -> float:
    """Differentiate tanh(3 size^(1/3) / 2) by a central difference."""
    step = 1e-6 * size
    low, high = (math.tanh(1.5 * (size + sign * step) ** (1 / 3)) for sign in (-1, 1))
    return (high - low) / (2 * step)


def weighted_lasso(gram: Array, cross: Array, weights: Array, start: Array) -> Array:
    """Minimize b'Gb - 2c'b + sum(weights |b|) a coordinate at a time."""
    coef = start.copy()
    for _ in range(20000):
        last = coef.copy()
        for j in range(len(coef)):
            rest = cross[j] - gram[j] @ coef + gram[j, j] * coef[j]
            coef[j] = math.copysign(max(abs(rest) - weights[j] / 2, 0.0), rest) / gram[j, j]
        if np.abs(coef - last).max() < 1e-13:
            break
    return coef


def penalized(correlation: Array, cross: Array, strength: float, outer_steps: int) -> Array:
    """Linearize the AR-Net penalty again and again, from the least squares solution."""
    coef = np.linalg.solve(correlation, cross)
    for _ in range(outer_steps):
        slopes = [penalty_slope(max(abs(c), 1e-9)) for c in coef]
        coef = weighted_lasso(correlation, cross, strength / len(coef) * np.array(slopes), coef)
    return coef


def impulse_response(coef: Array, horizon: int) -> Array:
    """Feed a shock of 1 through the recursion."""
    response = np.zeros(horizon)
    response[0] = 1.0
    for time in range(1, horizon):
        for lag, weight in enumerate(coef, start=1):
            if time >= lag:
                response[time] += weight * response[time - lag]
    return response


def iterate(coef: Array, context: Array, horizon: int) -> Array:
    """Forecast a step at a time; the context has the oldest point first."""
    path = list(context)
    for _ in range(horizon):
        path.append(sum(weight * path[-lag] for lag, weight in enumerate(coef, start=1)))
    return np.array(path[len(context) :])
