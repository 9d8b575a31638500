"""Simulated autoregressions with known coefficients, as in the AR-Net paper."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]

BURN_IN = 1000  # discarded points, so that a series starts in its stationary distribution


def autoregression(coef: Floats, length: int, seed: int) -> Floats:
    """Return ``y_t = coef_1 y_{t-1} + ... + noise`` with noise of variance 1; lag 1 first."""
    noise = np.random.default_rng(seed).normal(size=length + BURN_IN)
    return lfilter([1.0], np.concatenate([[1.0], -coef]), noise)[BURN_IN:]


def sparse(lags: dict[int, float], order: int) -> Floats:
    """Return coefficients of lags 1 to `order`: those of `lags`, and zeros."""
    coef = np.zeros(order)
    coef[np.array(list(lags)) - 1] = list(lags.values())
    return coef


def stable(order: int, count: int, seed: int) -> Floats:
    """Return random coefficients (series, order) of stationary series: absolute sums below 1."""
    generator = np.random.default_rng(seed)
    coef = generator.uniform(-1, 1, size=(count, order))
    total = np.abs(coef).sum(axis=1, keepdims=True)
    return coef / total * generator.uniform(0.5, 0.95, size=(count, 1))
