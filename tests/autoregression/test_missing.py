"""Missing points: against dense matrices, and against a Kalman smoother."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from statsmodels.tsa.statespace.sarimax import SARIMAX

from tsar.autoregression import missing as module
from tsar.autoregression.missing import complete

Array = NDArray[np.float64]
COEF = np.array([0.6, -0.3, 0.0, 0.4])


def gappy(n: int, share: float, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    y = np.zeros(n)
    noise = rng.normal(size=n)
    for t in range(n):
        lags = [y[t - lag] if t >= lag else 0.0 for lag in range(1, 5)]
        y[t] = 0.2 + COEF @ lags + noise[t]
    y[rng.random(n) < share] = np.nan
    y[[0, -1]] = 0.0
    return y


def oracle(y: Array, intercept: float) -> tuple[Array, Array]:
    """Conditional mean and covariance (innovation variance 1) by the full filter matrix."""
    n = len(y)
    filters = np.eye(n)
    for lag, coef in enumerate(COEF, start=1):
        filters -= coef * np.eye(n, k=-lag)
    gap = np.isnan(y)
    precision = filters.T @ filters
    right = filters.T @ (filters @ np.nan_to_num(y) - intercept)
    block = precision[np.ix_(gap, gap)]
    return -np.linalg.solve(block, right[gap]), np.linalg.inv(block)


def completion(series: list[Array], n_draws: int) -> module.Completion:
    lengths = torch.tensor([len(y) for y in series])
    values = torch.full((len(series), int(lengths.max())), torch.nan, dtype=torch.float64)
    for row, y in enumerate(series):
        values[row, : len(y)] = torch.from_numpy(y)
    coef = torch.from_numpy(COEF).expand(len(series), -1)
    one = torch.ones(len(series), dtype=torch.float64)
    return complete(values, lengths, coef, 0.2 * one, one, n_draws)


@pytest.mark.parametrize("dense", [256, 0])
def test_the_mean_is_that_of_the_dense_matrix(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DENSE", dense)
    series = [gappy(60, 0.3), gappy(45, 0.5, 1), gappy(80, 0.05, 2), np.zeros(5)]
    result = completion(series, 0)
    for row, y in enumerate(series):
        mean, _ = oracle(y, 0.2)
        np.testing.assert_allclose(result.mean[row, : len(y)][np.isnan(y)], mean, atol=1e-12)
        assert not result.mean[row, : len(y)][~np.isnan(y)].any()


@pytest.mark.parametrize("dense", [256, 0])
def test_draws_have_the_conditional_covariance(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DENSE", dense)
    y = gappy(30, 0.3)
    draws = completion([y], 20_000).draws[:, 0, :30][:, np.isnan(y)].numpy()
    _, expected = oracle(y, 0.2)
    np.testing.assert_allclose(draws.T @ draws / len(draws), expected, atol=0.06)


def test_the_mean_is_that_of_a_kalman_smoother() -> None:
    y = gappy(300, 0.2, 3)
    result = completion([y], 0).mean[0].numpy()
    smoother = SARIMAX(y, order=(4, 0, 0), trend="c").smooth([0.2, *COEF, 1.0])
    states = smoother.smoothed_state[0]
    gap = np.flatnonzero(np.isnan(y))
    gap = gap[gap > 40]  # the start differs: 0 here, the stationary distribution there
    np.testing.assert_allclose(result[gap], states[gap], atol=1e-3)


def test_other_series_change_no_bit() -> None:
    y, other = gappy(60, 0.3), gappy(50, 0.6, 5)
    alone, both = completion([y], 2), completion([y, other], 2)
    assert torch.equal(alone.mean[0], both.mean[0])
    assert torch.equal(alone.draws[:, 0], both.draws[:, 0])
