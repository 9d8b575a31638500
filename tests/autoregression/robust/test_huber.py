"""Huber regression: against statsmodels, in degenerate systems, and alone or among others."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from statsmodels.robust.norms import HuberT
from statsmodels.robust.scale import HuberScale

from tsar.autoregression.robust import Rows, fit_huber, huber_scale

Floats = NDArray[np.float64]


def system(rows: int, terms: int, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, terms)) * rng.uniform(0.1, 10, terms) + 3
    return x, x @ rng.normal(size=terms) + 2 + rng.standard_t(2, size=rows)


def as_rows(x: Floats, y: Floats, padding: int = 0, weight: float = 1.0) -> Rows:
    mean = x.mean(axis=0)
    columns = np.pad((x - mean).T, ((0, 0), (0, padding)))
    tensors = [columns, np.pad(y, (0, padding)), np.pad(np.full(len(y), weight), (0, padding))]
    one = torch.ones(1, x.shape[1], dtype=torch.bool)
    return Rows(*(torch.from_numpy(v)[None] for v in (*tensors, mean)), active=one)


def start(x: Floats, y: Floats) -> tuple[torch.Tensor, torch.Tensor]:
    design = np.column_stack([x - x.mean(axis=0), np.ones(len(y))])
    solution = torch.from_numpy(np.linalg.lstsq(design, y, rcond=None)[0])
    return solution[None, :-1], solution[None, -1]


@pytest.mark.parametrize(("rows", "terms"), [(40, 1), (100, 3), (300, 12)])
def test_it_is_that_of_statsmodels(rows: int, terms: int) -> None:
    x, y = system(rows, terms, seed=rows)
    fit = fit_huber(as_rows(x, y), *start(x, y))
    scale = HuberScale(d=2.0, tol=1e-13, maxiter=500)
    centred = np.column_stack([x - x.mean(axis=0), np.ones(rows)])
    expected = sm.RLM(y, centred, M=HuberT(1.345)).fit(
        scale_est=scale, update_scale=False, conv="coefs", tol=1e-13, maxiter=1000
    )
    found = torch.cat([fit.coef[0], fit.intercept])
    np.testing.assert_allclose(found, expected.params, rtol=1e-7)
    residuals = y - centred @ expected.params
    np.testing.assert_allclose(fit.scale[0], scale(rows - terms - 1, rows, residuals), rtol=1e-7)
    inverse = np.linalg.inv(centred.T @ centred)
    std_err = float(fit.std_err_scale[0]) * np.sqrt(inverse.diagonal())
    np.testing.assert_allclose(std_err, expected.bse, rtol=1e-6)


def test_a_ridge_minimizes_the_penalized_loss() -> None:
    x, y = system(60, 3, seed=1)
    ridge, first = 0.3, start(x, y)
    fit = fit_huber(as_rows(x, y), *first, ridge)
    centred = x - x.mean(axis=0)
    residuals = y - centred @ first[0][0].numpy() - float(first[1])
    weight = torch.ones(1, 60, dtype=torch.float64)
    scale = huber_scale(torch.from_numpy(residuals)[None], weight, torch.tensor([56.0]).double())
    bound = 1.345 * float(scale)

    def loss(coef: Floats) -> Any:
        size = np.abs(y - centred @ coef[:3] - coef[3])
        terms = np.where(size <= bound, size**2 / 2, bound * (size - bound / 2))
        return terms.sum() + ridge * (coef[:3] ** 2 * (centred**2).sum(axis=0)).sum() / 2

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-10})
    assert loss(torch.cat([fit.coef[0], fit.intercept]).numpy()) <= best.fun * (1 + 1e-9)


def test_padding_weights_and_other_systems_do_not_affect_the_result() -> None:
    x, y = system(50, 2, seed=2)
    first = start(x, y)
    plain = fit_huber(as_rows(x, y), *first)
    padded = fit_huber(as_rows(x, y, padding=14), *first)
    twice = fit_huber(as_rows(np.tile(x, (2, 1)), np.tile(y, 2), weight=0.5), *first)
    other, both = system(50, 2, seed=3), as_rows(x, y)
    second = as_rows(*other)
    both = Rows(
        *(
            torch.cat([one, two])
            for one, two in zip(vars(both).values(), vars(second).values(), strict=True)
        )
    )
    coef, intercept = (torch.cat(pair) for pair in zip(first, start(*other), strict=True))
    among = fit_huber(both, coef, intercept)
    for fit in (padded, twice):
        for one, two in zip(plain, fit, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-7)
    np.testing.assert_allclose(plain.coef[0], among.coef[0], rtol=1e-10)


def test_exact_and_degenerate_systems_stay_finite() -> None:
    x, _ = system(40, 2, seed=4)
    exact = x @ [1.0, -2.0] + 3
    fit = fit_huber(as_rows(x, exact), *start(x, exact))
    np.testing.assert_allclose(fit.coef[0], [1, -2], atol=1e-9)
    double = np.column_stack([x[:, 0], x[:, 0], np.ones(40)])
    y = x[:, 0] + np.random.default_rng(0).normal(size=40)
    fit = fit_huber(as_rows(double, y), *start(double, y))
    assert all(bool(part.isfinite().all()) for part in fit)
    zeros = np.zeros(40)
    fit = fit_huber(as_rows(double, zeros), *start(double, zeros))
    assert float(fit.scale[0]) == 0 and bool((fit.coef == 0).all())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_the_scale_withstands_a_fifth_of_outliers(share: float) -> None:
    rng = np.random.default_rng(5)
    residuals = rng.normal(size=(20, 500))
    residuals[rng.random(residuals.shape) < share] = 1e9
    one = torch.ones(20, 500, dtype=torch.float64)
    scale = huber_scale(torch.from_numpy(residuals), one, one.sum(dim=1))
    limit = {0.0: 1.15, 0.1: 1.8, 0.2: 8.0}[share]
    assert (scale < limit).all() and (scale > 0.9).all()
