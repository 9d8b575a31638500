"""Huber and quantile loss without hidden layers: other libraries, coverage, breakdown, gaps."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.robust.norms import HuberT
from statsmodels.robust.scale import HuberScale

from tsar import ARNet, Columns

Floats = NDArray[np.float64]


def simulate(coef: list[float], length: int, series: int, seed: int, tails: float = 0) -> Floats:
    rng = np.random.default_rng(seed)
    shape = (length + 100, series)
    shocks = rng.standard_t(tails, size=shape) if tails else rng.normal(size=shape)
    y = np.zeros(shape)
    for time in range(len(coef), len(y)):
        y[time] = sum(c * y[time - 1 - k] for k, c in enumerate(coef)) + shocks[time]
    return y[100:]


def covariate_frame(length: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    past, future = rng.normal(size=(2, length))
    y = 40 + 5 * simulate([0.5], length, 1, seed=1, tails=3)[:, 0]
    y[1:] += 4 * past[:-1]
    y += 3 * future
    return pd.DataFrame({"ds": np.arange(length), "y": y, "p": past, "f": future})


def regression(frame: pd.DataFrame, step: int) -> tuple[Floats, Floats]:
    """Targets, and lags 1 and 2 of y and p, f at the time of the forecast, and ones."""
    y, p, f = (frame[name].to_numpy() for name in "ypf")
    n, first = len(y), 2 + step
    lags = [x[2 - lag : n - lag - step] for x in (y, p) for lag in (1, 2)]
    return y[first:], np.column_stack([*lags, f[first:], np.ones(n - first)])


def coefficients(model: ARNet, step: int | None = None) -> Floats:
    row = (0,) if step is None else (0, step)
    parts = (model.coef_[row], model.past_coef_[row].ravel(), model.future_coef_[row])
    return np.concatenate([*parts, [model.intercept_[row]]])


def fit(frame: Any, **options: Any) -> ARNet:
    return ARNet(2, sparsity=None, columns=Columns(past=("p",), future=("f",)), **options).fit(
        frame
    )


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    """Frame with covariates in which no point is outlying."""
    frame = covariate_frame()
    frame["y"] = frame["y"].clip(*frame["y"].quantile([0.02, 0.98]))
    return frame


def test_huber_coefficients_and_standard_errors_are_those_of_statsmodels(
    clean: pd.DataFrame,
) -> None:
    model = fit(clean, loss="huber")
    assert model.n_outliers_.tolist() == [0]
    target, design = regression(clean, 0)
    scale = HuberScale(d=2.0, tol=1e-13, maxiter=500)
    expected = sm.RLM(target, design, M=HuberT(1.345)).fit(
        scale_est=scale, update_scale=False, conv="coefs", tol=1e-13, maxiter=1000
    )
    np.testing.assert_allclose(coefficients(model), expected.params, rtol=1e-6)
    np.testing.assert_allclose(model.coef_std_err_[0], expected.bse[:2], rtol=1e-5)
    np.testing.assert_allclose(model.intercept_std_err_[0], expected.bse[-1], rtol=1e-5)
    residuals = target - design @ expected.params
    np.testing.assert_allclose(model.sigma_[0], scale(len(target) - 6, len(target), residuals))


@pytest.mark.parametrize("scope", ["local", "global"])
def test_quantiles_minimize_their_loss(clean: pd.DataFrame, scope: Any) -> None:
    levels = [0.5, 0.1, 0.9]
    options = {"loss": "quantile", "strategy": "direct", "horizon": 2, "scope": scope}
    model = fit(clean, quantile_levels=levels, **options)
    result = model.predict(
        quantile_levels=[0.1, 0.5, 0.9], future=pd.DataFrame({"ds": [300, 301], "f": [0.5, -0.5]})
    )
    for step in range(2):
        target, design = regression(clean, step)
        y, p = (clean[name].to_numpy() for name in "yp")
        newest = np.array([y[-1], y[-2], p[-1], p[-2], [0.5, -0.5][step], 1.0])
        for level in levels:
            params = sm.QuantReg(target, design).fit(q=level, max_iter=5000).params
            spread = np.abs(target - design @ params).mean()
            found = result[f"ARNet-q-{level}"][step]
            assert abs(found - newest @ params) < 0.1 * spread
        error = target - design @ coefficients(model, step) if scope == "local" else None
        if error is not None:
            best = np.abs(target - design @ sm.QuantReg(target, design).fit(q=0.5).params).sum()
            assert np.abs(error).sum() <= best * (1 + 1e-6)


@pytest.mark.parametrize(("loss", "tails"), [("huber", 0), ("huber", 4), ("quantile", 4)])
def test_intervals_have_roughly_their_coverage(loss: Any, tails: float) -> None:
    y = 10 + 3 * simulate([0.6, -0.3], 201, 400, seed=2, tails=tails)
    result = ARNet(4, loss=loss, quantile_levels=(0.1, 0.5, 0.9)).fit(y[:200]).predict(level=80)
    inside = (result[0, :, 1] <= y[200]) & (y[200] <= result[0, :, 2])
    assert inside.mean() == pytest.approx(0.8, abs=0.06)


def test_quantiles_do_not_cross() -> None:
    y = simulate([0.6], 40, 50, seed=3)
    levels = [0.05, 0.2, 0.25, 0.5, 0.75, 0.8]
    model = ARNet(6, sparsity=None, loss="quantile", quantile_levels=levels).fit(y)
    assert (np.diff(model.predict(quantile_levels=levels)[0, :, 1:], axis=1) >= 0).all()


@pytest.mark.filterwarnings("ignore:.* points of series .* lie far:UserWarning")
@pytest.mark.parametrize("loss", ["huber", "quantile"])
@pytest.mark.parametrize(("share", "size"), [(0.01, 30), (0.05, 1e2), (0.1, 1e4), (0.15, 1e8)])
def test_outliers_of_any_size_cost_little(share: float, size: float, loss: Any) -> None:
    processes = ([0.7], [-0.6], [1.2, -0.7], [0.95])
    y = np.hstack([simulate(coef, 600, 5, seed=4) for coef in processes])
    rng = np.random.default_rng(5)
    wrong = rng.random((300, 20)) < share
    spoiled = np.where(
        wrong, y[:300] + rng.choice([-1, 1], wrong.shape) * size * y.std(axis=0), y[:300]
    )
    errors = []
    for data in (y[:300], spoiled):
        model = ARNet(3, loss=loss, quantile_levels=[0.5], device="cpu").fit(data)
        fitted = sum(model.coef_[:, k] * y[299 - k : -1 - k] for k in range(3)) + model.intercept_
        errors.append(np.sqrt(np.square(y[300:] - fitted).mean(axis=0)))
    assert errors[1].mean() < 1.03 * errors[0].mean()
    assert (errors[1] < 1.3 * errors[0]).all()


def test_gaps_are_fitted_by_all_that_is_observed() -> None:
    y = simulate([0.6, 0.0, -0.4], 300, 15, seed=6, tails=4)
    gappy = np.where(np.random.default_rng(7).random(y.shape) < 0.2, np.nan, y)
    for loss in ("huber", "quantile"):
        full, some = (ARNet(3, sparsity=None, loss=loss).fit(data).coef_ for data in (y, gappy))
        errors = [np.abs(coef - [0.6, 0, -0.4]).mean() for coef in (full, some)]
        assert errors[1] < 1.6 * errors[0]
        assert np.abs(some.mean(axis=0) - [0.6, 0, -0.4]).max() < 0.06


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_other_series_do_not_affect_the_result(loss: Any) -> None:
    y = simulate([0.6, 0.2], 150, 12, seed=8, tails=3)
    y[100, 4], y[50, 5] = 1e6, np.nan
    together = ARNet(5, loss=loss).fit(y).predict(level=80 if loss == "huber" else 50)
    for series in range(3, 7):
        alone = ARNet(5, loss=loss).fit(y[:, series])
        own = alone.predict(level=80 if loss == "huber" else 50)
        np.testing.assert_allclose(own, together[:, series], rtol=1e-7)


def test_outliers_of_moderate_size_cost_little() -> None:
    y = simulate([1.2, -0.7], 600, 20, seed=9)
    wrong = np.random.default_rng(10).random((300, 20)) < 0.03
    spoiled = y[:300] + 6 * y.std() * wrong
    clean, robust = (ARNet(3, loss="huber").fit(data) for data in (y[:300], spoiled))
    squares = ARNet(3, combine=None).fit(spoiled)
    assert (robust.n_outliers_ > 0.5 * wrong.sum(axis=0)).all()
    errors = [np.abs(m.coef_[:, 0] - 1.2).mean() for m in (clean, robust, squares)]
    assert errors[1] < 4 * errors[0] and errors[2] > 3 * errors[1]
