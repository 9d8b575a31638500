"""Additive outliers given an equation: against conditional means, and told from shocks."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tsar.autoregression import Design, Segments, fit_orders
from tsar.autoregression.robust import find_additive_outliers
from tsar.autoregression.robust.additive import additive_outliers

Floats = NDArray[np.float64]
COEF = [1.2, -0.7]


def simulate(shocks: Floats) -> Floats:
    y = np.zeros_like(shocks)
    for time in range(len(COEF), shocks.shape[1]):
        y[:, time] = sum(c * y[:, time - 1 - k] for k, c in enumerate(COEF)) + shocks[:, time]
    return y


def found(values: Floats) -> NDArray[np.bool_]:
    n, length = values.shape
    one = torch.ones(n, dtype=torch.float64)
    coef = torch.tensor(COEF, dtype=torch.float64).expand(n, -1)
    lengths = torch.full((n,), length)
    return additive_outliers(torch.from_numpy(values), lengths, coef, 0 * one, one).numpy()


def series(n: int = 30) -> Floats:
    return simulate(np.random.default_rng(0).normal(size=(n, 300)))


def test_a_point_that_does_not_continue_is_outlying() -> None:
    y = series()
    assert not found(y).any()
    y[:, 150] += 15
    assert found(y)[:, 150].mean() > 0.8 and found(y).sum() == found(y)[:, 150].sum()


@pytest.mark.parametrize("kind", ["shock", "shift", "new level"])
def test_what_continues_is_no_outlier(kind: str) -> None:
    shocks = np.random.default_rng(1).normal(size=(30, 300))
    if kind == "shock":
        shocks[:, 150] += 15
    y = simulate(shocks)
    if kind != "shock":
        y[:, {"shift": 150, "new level": -4}[kind] :] += 15
    assert found(y).mean() < 1e-3


def test_missing_points_are_none_and_do_not_hide_others() -> None:
    y = series()
    y[:, 150] += 20
    y[:, [149, 153, 200]] = np.nan
    outliers = found(y)
    assert outliers[:, 150].mean() > 0.8
    assert outliers.sum() == outliers[:, 150].sum()


def test_series_of_a_panel_are_searched_by_themselves() -> None:
    y = series(4)
    y[1, 100] += 30
    y[3, 200] += 30
    lengths, values = torch.tensor([300, 300, 150, 290]), []
    values = [torch.from_numpy(row[: int(n)]) for row, n in zip(y, lengths, strict=True)]
    flat, starts = torch.cat(values), lengths.cumsum(0) - lengths
    spans = Segments(starts, lengths, torch.arange(4), 4)
    design, origin = Design(2, 1), torch.zeros(4, 1, dtype=torch.float64)
    results = fit_orders(flat[None], spans, design, torch.full((4,), 2), origin=origin)
    outliers = find_additive_outliers(flat, spans, results, [(), (7,), (), ()])
    assert outliers.nonzero()[:, 0].tolist() == [400, int(starts[3]) + 200]
