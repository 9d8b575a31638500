"""Quantile regression: against linear programming, in degenerate systems, and with a ridge."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

from tsar.autoregression.robust import Rows, fit_quantiles

Floats = NDArray[np.float64]
LEVELS = (0.01, 0.1, 0.5, 0.9)


def pinball(x: Floats, y: Floats, coef: Floats, level: float) -> float:
    error = y - x @ coef[:-1] - coef[-1]
    return float(np.maximum(level * error, (level - 1) * error).sum())


def smallest(x: Floats, y: Floats, level: float) -> float:
    rows, terms = x.shape
    design = np.column_stack([x, np.ones(rows)])
    equations = np.hstack([design, -design, np.eye(rows), -np.eye(rows)])
    cost = np.concatenate([np.zeros(2 * terms + 2), np.full(rows, level), np.full(rows, 1 - level)])
    return float(linprog(cost, A_eq=equations, b_eq=y, method="highs").fun)


def fitted(x: Floats, y: Floats, level: float, ridge: float = 0.0, padding: int = 0) -> Floats:
    mean = x.mean(axis=0)
    columns = np.pad((x - mean).T, ((0, 0), (0, padding)))
    tensors = [columns, np.pad(y, (0, padding)), np.pad(np.ones(len(y)), (0, padding)), mean]
    one = torch.ones(1, x.shape[1], dtype=torch.bool)
    rows = Rows(*(torch.from_numpy(v)[None] for v in tensors), active=one)
    fit = fit_quantiles(rows, torch.tensor([level]).double(), ridge)
    coef = fit.coef[0].numpy()
    return np.append(coef, float(fit.intercept[0]) - mean @ coef)


def lagged(y: Floats, order: int) -> tuple[Floats, Floats]:
    windows = np.lib.stride_tricks.sliding_window_view(y, order + 1)
    return windows[:, :-1].copy(), windows[:, -1].copy()


def series(kind: str) -> Floats:
    rng = np.random.default_rng(0)
    if kind == "counts":
        return rng.poisson(0.3, size=203).astype(float)
    if kind == "constant":
        return np.full(60, 3.0)
    if kind == "wave":
        return 1e4 + np.sin(np.arange(100.0))
    shocks = rng.standard_t(2, size=300) if kind == "heavy tails" else rng.normal(size=300)
    y = np.zeros(300)
    for time in range(1, 300):
        spread = 1 + abs(y[time - 1]) if kind == "changing spread" else 1
        y[time] = 0.6 * y[time - 1] + spread * shocks[time] * 0.5
    return 1e-3 * y + 5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "kind", ["noise", "heavy tails", "changing spread", "counts", "constant", "wave"]
)
def test_the_loss_is_that_of_linear_programming(kind: str, level: float) -> None:
    x, y = lagged(series(kind), 4)
    best = smallest(x, y, level)
    scale = np.abs(y - np.median(y)).sum()
    assert pinball(x, y, fitted(x, y, level), level) <= best + 1e-7 * best + 1e-9 * scale


def test_few_rows_for_each_coefficient() -> None:
    x, y = lagged(series("noise")[:40], 12)
    for level in LEVELS:
        best = smallest(x, y, level)
        assert pinball(x, y, fitted(x, y, level), level) <= best * (1 + 1e-6)


def test_a_ridge_minimizes_the_penalized_loss() -> None:
    x, y = lagged(series("heavy tails"), 3)
    y = y / np.abs(y - y.mean()).mean()  # the loss is in this unit
    for ridge in (0.01, 1.0):
        coef = fitted(x, y, 0.3, ridge)
        penalty = ridge * ((x - x.mean(axis=0)) ** 2).sum(axis=0)

        def loss(coef: Floats, penalty: Floats = penalty) -> float:
            return pinball(x, y, coef, 0.3) + float(penalty @ coef[:-1] ** 2) / 2

        options = {"maxiter": 500, "xatol": 1e-9, "fatol": 1e-12}
        best = minimize(loss, coef, method="Nelder-Mead", options=options).fun
        assert loss(coef) <= best * (1 + 1e-6)


def test_padding_does_not_affect_the_result() -> None:
    x, y = lagged(series("noise"), 3)
    np.testing.assert_allclose(fitted(x, y, 0.2), fitted(x, y, 0.2, padding=77), rtol=1e-6)
