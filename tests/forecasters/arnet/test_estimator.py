"""ARNet against lstsq, statsmodels and scikit-learn, explicit recursions, and simulations."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import reference_autoregression as reference
import statsmodels.api as sm
import torch
from scipy.stats import t as student_t
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from statsmodels.tsa.ar_model import AutoReg

import tsar
from tsar import Columns, Training
from tsar.data.panel import Panel
from tsar.forecasters import ARNet
from tsar.forecasters.arnet.options import choose_orders

Array = np.ndarray
NAN = math.nan
QUICK = Training(epochs=3, learning_rate=1e-2)
BATCHED = Training(epochs=3, learning_rate=1e-2, batch_size=1024)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def simulate(coef: list[float], length: int, *, series: int = 1, seed: int = 0) -> Array:
    """Series of an autoregression, a column each."""
    return reference.simulate(coef, length, seed, series=series).T


SERIES = {
    "random": simulate([0.5, -0.3, 0.2], 400)[:, 0],
    "at a large level": 1e6 + simulate([0.5, -0.3, 0.2], 400)[:, 0],
    "tiny": 1e-9 * simulate([0.5, -0.3, 0.2], 400)[:, 0],
    "near unit root": simulate([0.9999], 400)[:, 0],
    "random walk at a large level": 1e6 + noise(400).cumsum(),
    "twice integrated": noise(400).cumsum().cumsum(),
    "seasonal": 100 + 5 * np.sin(np.arange(400) * np.pi / 12) + 0.1 * noise(400),
}


def design(
    series: Array,
    order: int,
    horizon: int = 1,
    *,
    step: int = 0,
    past: Array | None = None,
    future: Array | None = None,
) -> tuple[Array, Array]:
    """Regressors and target of one step, a row for each window without a gap."""
    rows = []
    for cutoff in range(order, len(series) - horizon + 1):
        row = [series[cutoff - lag] for lag in range(1, order + 1)]
        for feature in range(0 if past is None else past.shape[1]):
            row += [past[cutoff - lag, feature] for lag in range(1, order + 1)]
        row += [] if future is None else list(future[cutoff + step])
        whole = [*row, *series[cutoff : cutoff + horizon]]
        if np.isfinite(whole).all():
            rows.append([*row, series[cutoff + step]])
    table = np.array(rows)
    return table[:, :-1], table[:, -1]


def lstsq(matrix: Array, target: Array) -> tuple[Array, float]:
    """Coefficients and constant, by columns that are centred and of deviation 1."""
    mean, scale, level = matrix.mean(0), (matrix - matrix.mean(0)).std(0), target.mean()
    coef = np.linalg.lstsq((matrix - mean) / scale, target - level, rcond=None)[0] / scale
    return coef, level - mean @ coef


def assert_same(result: Any, expected: Any, tolerance: float = 1e-8) -> None:
    """Equal to a share of the largest."""
    difference = np.abs(np.asarray(result) - np.asarray(expected)).max()
    assert difference <= tolerance * np.abs(expected).max()


def long_frame(series: dict[str, Array], **features: dict[str, Array]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=len(values), freq="D"),
                "y": values,
            }
            | {feature: of[name] for feature, of in features.items()}
        )
        for name, values in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


# --- exact ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("order", [3, 24])
def test_without_sparsity_it_is_least_squares(name: str, order: int) -> None:
    model = ARNet(order, sparsity=None).fit(SERIES[name])
    coef, constant = lstsq(*design(SERIES[name], order))
    assert_same(model.coef_[0], coef)
    assert_same(model.intercept_[0], constant)
    assert model.lags_ == [list(range(1, order + 1))]


@pytest.mark.parametrize("name", SERIES)
def test_direct_is_least_squares_for_each_step(name: str) -> None:
    model = ARNet(5, horizon=3, strategy="direct", sparsity=None).fit(SERIES[name])
    assert model.coef_.shape == (1, 3, 5) and model.intercept_.shape == (1, 3)
    for step in range(3):
        coef, constant = lstsq(*design(SERIES[name], 5, 3, step=step))
        assert_same(model.coef_[0, step], coef)
        assert_same(model.intercept_[0, step], constant, 1e-7)


def ragged() -> dict[str, Array]:
    """Series of different lengths, units and gaps."""
    series = {
        "a": 50 + simulate([0.7], 90)[:, 0],
        "b": 1e-3 * simulate([0.2, 0.4], 60, seed=1)[:, 0],
        "c": 1e5 * simulate([-0.5], 130, seed=2)[:, 0],
    }
    series["a"][[20, 21, 55]] = NAN
    series["c"][:4] = NAN
    series["c"][100] = NAN
    return series


@pytest.mark.parametrize(("strategy", "horizon"), [("recursive", 4), ("direct", 2)])
def test_series_without_gaps_of_a_panel_are_fitted_by_least_squares(
    strategy: str, horizon: int
) -> None:
    series = ragged()
    series["c"] = series["c"].copy()
    series["c"][100] = 0.0  # what is missing at the start is no gap
    model = ARNet(3, horizon=horizon, strategy=strategy, sparsity=None).fit(long_frame(series))
    steps = horizon if strategy == "direct" else 1
    for row, name in ((1, "b"), (2, "c")):
        for step in range(steps):
            matrix, target = design(series[name], 3, steps, step=step)
            coef, constant = lstsq(matrix, target)
            assert_same(model.coef_.reshape(3, steps, 3)[row, step], coef)
            assert_same(model.intercept_.reshape(3, steps)[row, step], constant)
        assert model.nobs_[row] == len(target)


def test_a_gap_in_one_series_changes_no_bit_of_another() -> None:
    series = ragged()
    del series["c"]
    gappy = ARNet(3, horizon=2, sparsity=None).fit(long_frame(series))
    series["a"] = np.nan_to_num(series["a"], nan=50.0)
    complete = ARNet(3, horizon=2, sparsity=None).fit(long_frame(series))
    np.testing.assert_array_equal(gappy.coef_[1], complete.coef_[1])
    np.testing.assert_array_equal(gappy.predict(), gappy.predict())


def test_global_is_pooled_least_squares_of_the_standardized_series() -> None:
    model = ARNet(3, scope="global", sparsity=None).fit(long_frame(ragged()))
    standard = [(v - np.nanmean(v)) / np.nanstd(v) for v in ragged().values()]
    tables = [design(values, 3) for values in standard]
    matrix, target = (np.concatenate(part) for part in zip(*tables, strict=True))
    coef, constant = lstsq(matrix, target)
    assert model.coef_.shape == (1, 3)
    assert_same(model.coef_[0], coef)
    assert_same(model.intercept_[0], constant)
    assert_same(model.sigma_[0], np.sqrt(sm.OLS(target, sm.add_constant(matrix)).fit().scale))


def covariate_frame(length: int = 150) -> tuple[pd.DataFrame, Array, Array]:
    past, future = 20 + 3 * noise(length, 2, seed=4), 1e4 + 9 * noise(length, 1, seed=5)
    y = 100 + simulate([0.6], length, seed=6)[:, 0]
    y[1:] += 0.4 * past[:-1, 0]
    y += 0.05 * future[:, 0]
    frame = pd.DataFrame({"ds": np.arange(length), "y": y, "p": past[:, 0], "q": past[:, 1]})
    return frame.assign(f=future[:, 0]), past, future


@pytest.mark.parametrize(("strategy", "horizon"), [("recursive", 1), ("direct", 1), ("direct", 3)])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_covariates_enter_the_least_squares(strategy: str, horizon: int, scope: str) -> None:
    frame, past, future = covariate_frame()
    columns = Columns(past=("p", "q"), future=("f",))
    model = ARNet(
        2, horizon=horizon, strategy=strategy, scope=scope, sparsity=None, columns=columns
    ).fit(frame)
    y = frame["y"].to_numpy()
    units = (y.mean(), y.std()) if scope == "global" else (0.0, 1.0)
    for step in range(horizon):
        matrix, target = design(
            (y - units[0]) / units[1], 2, horizon, step=step, past=past, future=future
        )
        coef, constant = lstsq(matrix, target)
        pick = (0,) if strategy == "recursive" else (0, step)
        assert_same(model.coef_[pick], coef[:2])
        assert_same(model.past_coef_[pick].ravel(), coef[2:6])
        assert_same(model.future_coef_[pick], coef[6:])
        assert_same(model.intercept_[pick], constant)
        errors = sm.OLS(target - target.mean(), sm.add_constant(matrix - matrix.mean(0))).fit().bse
        result = (model.coef_std_err_, model.past_coef_std_err_, model.future_coef_std_err_)
        assert_same(np.concatenate([of[pick].ravel() for of in result]), errors[1:])


def test_ridge_is_that_of_scikit_learn_on_standardized_terms() -> None:
    frame, _, future = covariate_frame()
    y = frame["y"].to_numpy()
    model = ARNet(3, sparsity=None, ridge=0.2, columns=Columns(future=("f",))).fit(
        frame[["ds", "y", "f"]]
    )
    matrix, target = design(y, 3, future=future)
    scale = matrix.std(0)
    ridge = Ridge(alpha=0.2 * len(target)).fit((matrix - matrix.mean(0)) / scale, target)
    coef = ridge.coef_ / scale
    assert_same([*model.coef_[0], *model.future_coef_[0]], coef)
    assert_same(model.intercept_[0], ridge.intercept_ - matrix.mean(0) @ coef)


@pytest.mark.parametrize("name", ["random", "at a large level", "seasonal", "near unit root"])
def test_criteria_and_errors_are_those_of_statsmodels(name: str) -> None:
    y = SERIES[name]
    model, autoreg = ARNet(6, sparsity=None).fit(y), AutoReg(y - y.mean(), 6).fit()
    assert_same(model.aic_[0], autoreg.aic)
    assert_same(model.bic_[0], autoreg.bic)
    matrix, target = design(y - y.mean(), 6)
    slow = sm.OLS(target, sm.add_constant(matrix)).fit()
    assert_same(model.coef_std_err_[0], slow.bse[1:], 1e-7)
    assert_same(model.sigma_[0], np.sqrt(slow.scale))
    assert_same(model.sigma_[0] ** 2 * slow.df_resid, autoreg.sigma2 * autoreg.nobs)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("sparsity", [None, "auto", 0.5])
def test_a_constant_series_is_forecast_by_its_value(
    scope: str, strategy: str, sparsity: Any
) -> None:
    model = ARNet(3, horizon=2, strategy=strategy, scope=scope, sparsity=sparsity)
    frame = model.fit(np.full(40, 0.1)).predict(level=80)
    np.testing.assert_allclose(frame, 0.1, rtol=1e-12)
    assert not model.coef_.any() and not model.coef_std_err_.any()


@pytest.mark.parametrize("length", [8, 9])
def test_the_minimum_number_of_points_is_enough(length: int) -> None:
    y = noise(length).cumsum()
    model = ARNet(3, sparsity=None).fit(y)
    coef, constant = lstsq(*design(y, 3))
    assert_same(model.coef_[0], coef, 1e-7)
    assert np.isfinite(model.predict(level=95)).all() and constant == pytest.approx(
        model.intercept_[0]
    )


@pytest.mark.parametrize("options", [{"sparsity": None}, {"sparsity": 0.2}])
def test_too_few_points_are_an_error_that_states_the_minimum(options: dict[str, Any]) -> None:
    frame = long_frame({"a": noise(50), "b": noise(7)})
    with pytest.raises(ValueError, match=r"at least 8 points.*4 complete windows for series 'b'"):
        ARNet(3, **options).fit(frame)
    ARNet(3, scope="global", **options).fit(frame)
    with pytest.raises(ValueError, match=r"for all series\. Lower order"):
        ARNet(40, scope="global", **options).fit(frame)
    held = {"hidden": (2,), "training": Training(validation=45)}
    with pytest.raises(ValueError, match=r"or a smaller Training\(validation=\.\.\.\)\."):
        ARNet(3, **options, **held).fit(frame)


@pytest.mark.parametrize("options", [{"sparsity": "auto"}, {"sparsity": None, "ridge": 0.5}])
@pytest.mark.parametrize("length", [26, 30])
def test_more_lags_than_windows_give_wide_intervals(options: dict[str, Any], length: int) -> None:
    y = noise(length, 40)
    model = ARNet(24, **options).fit(y)
    low, high = np.moveaxis(model.predict(level=80)[0, :, 1:], -1, 0)
    assert np.isfinite(model.coef_).all()
    assert np.median(high - low) > 0.5


def test_dependent_lags_share_their_effect() -> None:
    wave = 3 + np.sin(np.arange(200) * np.pi / 8)
    model = ARNet(20, horizon=40, sparsity=None).fit(wave)
    np.testing.assert_allclose(
        model.predict(), 3 + np.sin(np.arange(200, 240) * np.pi / 8), atol=1e-6
    )


# --- sparse -----------------------------------------------------------------------------------

SPARSE = [0.2, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.5]


def test_the_lags_of_the_paper_are_selected() -> None:
    model = ARNet(20).fit(simulate(SPARSE, 1000, series=120, seed=1))
    truth = np.array([*SPARSE, *[0.0] * 10])
    errors = [reference.symmetric_percentage_error(row, truth) for row in model.coef_]
    assert np.mean(errors) <= 3.2  # 3.2 in the paper, of a single series; least squares: 22
    exact = np.mean([lags == [1, 3, 10] for lags in model.lags_])
    assert exact > 0.9


@pytest.mark.parametrize("sparsity", ["auto", 0.15])
def test_selected_lags_are_least_squares_and_others_exactly_zero(sparsity: Any) -> None:
    y = simulate(SPARSE, 1000, seed=2)[:, 0] + 1000
    model = ARNet(20, sparsity=sparsity, bias_correction=False).fit(y)
    lags = np.array(model.lags_[0])
    assert {1, 3, 10} <= set(lags) and len(lags) < 16
    matrix, target = design(y, 20)
    ols = sm.OLS(target, sm.add_constant(matrix[:, lags - 1])).fit()
    assert_same(model.coef_[0][lags - 1], ols.params[1:])
    assert_same(model.coef_std_err_[0][lags - 1], ols.bse[1:], 1e-7)
    assert np.count_nonzero(model.coef_[0]) == len(lags) == np.count_nonzero(model.coef_std_err_[0])
    assert model.intercept_[0] == pytest.approx(ols.params[0])


@pytest.mark.wrong_types  # numpy numbers, which searches over parameters give
def test_a_density_of_one_selects_all_lags() -> None:
    dense = ARNet(8, sparsity=None).fit(SERIES["seasonal"])
    for share in (1.0, 1, np.float32(1), np.int64(1)):
        sparse = ARNet(8, sparsity=share).fit(SERIES["seasonal"])
        np.testing.assert_array_equal(sparse.coef_, dense.coef_)


def test_each_series_of_a_panel_has_its_own_lags() -> None:
    y = np.hstack([simulate([0.0, 0.8], 500), simulate([0.0, 0.0, 0.0, -0.7], 500, seed=1)])
    assert ARNet(6).fit(y).lags_ == [[2], [4]]


def test_each_direct_step_has_its_own_lags() -> None:
    y = simulate([0.0] * 5 + [0.9], 800, seed=3)
    model = ARNet(8, horizon=3, strategy="direct").fit(y)
    assert [np.flatnonzero(row).tolist() for row in model.coef_[0]] == [[5], [4], [3]]
    assert model.lags_ == [[4, 5, 6]]


def test_irrelevant_covariates_are_not_selected() -> None:
    frame, _, _ = covariate_frame(600)
    columns = Columns(past=("p", "q"), future=("f",))
    model = ARNet(4, columns=columns).fit(frame)
    assert model.past_coef_[0, 0, 0] == pytest.approx(0.4, abs=0.1)
    assert not model.past_coef_[0, 1].any()
    assert model.future_coef_[0, 0] == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_white_noise_has_no_lags_and_is_forecast_by_its_mean(strategy: str) -> None:
    y = 7 + noise(800, 30)
    model = ARNet(15, horizon=3, strategy=strategy).fit(y)
    none = [not lags for lags in model.lags_]
    assert np.mean(none) > 0.95
    np.testing.assert_allclose(
        model.predict()[:, none], y.mean(0)[none][None].repeat(3, 0), atol=0.05
    )


# --- forecasts --------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 2, 63, 64, 65, 130])
def test_a_forecast_is_the_recursion_step_by_step(horizon: int) -> None:
    y = 30 + simulate([0.5, -0.4, 0.3], 200, series=2)
    model = ARNet(4, horizon=horizon, sparsity=None).fit(y)
    for ahead in (1, horizon, horizon + 7, 150):
        for row in range(2):
            slow = reference.iterate(model.coef_[row], y[:, row], ahead, model.intercept_[row])
            np.testing.assert_allclose(
                model.predict(horizon=ahead)[:, row], slow, rtol=1e-10, atol=1e-12
            )


def test_future_covariates_enter_the_recursion() -> None:
    frame, _, future = covariate_frame()
    model = ARNet(3, horizon=4, sparsity=None, columns=Columns(future=("f",)))
    model.fit(frame[["ds", "y", "f"]].iloc[:140])
    path = list(frame["y"].iloc[:140])
    for time in range(140, 150):
        effect = float(model.future_coef_[0] @ future[time])
        lags = sum(c * path[-lag] for lag, c in enumerate(model.coef_[0], start=1))
        path.append(model.intercept_[0] + effect + lags)
    ahead = frame[["ds", "f"]].iloc[140:]
    for horizon in (1, 4, 10):
        result = model.predict(horizon=horizon, future=ahead)["ARNet"]
        np.testing.assert_allclose(result, path[140 : 140 + horizon], rtol=1e-10)


def test_direct_forecasts_are_those_of_the_equation_of_each_step() -> None:
    frame, past, future = covariate_frame()
    columns = Columns(past=("p", "q"), future=("f",))
    model = ARNet(3, horizon=4, strategy="direct", sparsity=None, columns=columns)
    model.fit(frame.iloc[:140])
    result = model.predict(future=frame[["ds", "f"]].iloc[140:])["ARNet"]
    y = frame["y"].to_numpy()
    for step in range(4):
        expected = model.intercept_[0, step] + model.future_coef_[0, step] @ future[140 + step]
        for lag in range(1, 4):
            expected += model.coef_[0, step, lag - 1] * y[140 - lag]
            expected += model.past_coef_[0, step, :, lag - 1] @ past[140 - lag]
        assert result[step] == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="horizon must be at most 4 with past covariates; got 5"):
        model.predict(horizon=5, future=frame[["ds", "f"]].iloc[140:])


@pytest.mark.parametrize("name", ["random", "at a large level", "seasonal"])
def test_forecasts_are_those_of_statsmodels(name: str) -> None:
    y = SERIES[name]
    expected = AutoReg(y, 5).fit().predict(len(y), len(y) + 11)
    np.testing.assert_allclose(ARNet(5, horizon=12, sparsity=None).fit(y).predict(), expected, 1e-9)


def test_a_context_shorter_than_the_order_is_padded_with_the_mean() -> None:
    y = 30 + simulate([0.5, -0.4, 0.3], 200)[:, 0]
    model = ARNet(3, sparsity=None).fit(y)
    short = np.array([31.0, 29.5])
    coef, constant = model.coef_[0], model.intercept_[0]
    first = np.clip(constant + coef.sum() * y.mean(), 29.5, 31.0)
    expected = constant + coef @ np.array([29.5, 31.0, first])
    assert model.predict(short)[0] == pytest.approx(expected)
    assert np.isfinite(ARNet(3, horizon=5).fit(y).predict(np.array([31.0]), level=80)).all()


def test_newer_history_is_forecast_with_the_fitted_coefficients() -> None:
    y = 30 + simulate([0.5, -0.4], 260, series=2)
    model = ARNet(4, horizon=5, sparsity=None).fit(y[:200])
    result = model.predict(y[100:260])
    for row in range(2):
        slow = reference.iterate(model.coef_[row], y[:, row], 5, model.intercept_[row])
        np.testing.assert_allclose(result[:, row], slow)
    contexts = torch.tensor(y[:260].T.copy())
    np.testing.assert_allclose(model.forecast(contexts).T, result)
    swapped = model.forecast(contexts.flip(0), series=torch.tensor([1, 0]))
    np.testing.assert_allclose(swapped.T, result[:, ::-1])


def test_new_series_need_global_coefficients() -> None:
    frame = long_frame(ragged())
    stranger = long_frame({"z": 3 + 2 * simulate([0.5], 50, seed=9)[:, 0]})
    with pytest.raises(ValueError, match=r"must hold series that ARNet.*got series 'z'"):
        ARNet(3).fit(frame).predict(stranger)
    model = ARNet(3, horizon=2, scope="global", sparsity=None).fit(frame)
    values = stranger["y"].to_numpy()
    mean, scale = values.mean(), values.std()  # of all its points
    context = values[-3:]
    slow = reference.iterate(model.coef_[0], (context - mean) / scale, 2, model.intercept_[0])
    np.testing.assert_allclose(model.predict(stranger)["ARNet"], mean + scale * slow)
    forecast = model.predict(frame[frame["unique_id"] == "b"])["ARNet"]
    values = ragged()["b"]
    standard = (values - values.mean()) / values.std()
    slow = reference.iterate(model.coef_[0], standard, 2, model.intercept_[0])
    np.testing.assert_allclose(forecast, values.mean() + values.std() * slow)


def test_every_layout_gives_the_same_forecasts() -> None:
    y = 5 + simulate([0.6], 80, series=2)
    times = pd.date_range("2024-01-01", periods=80, freq="D")
    wide = pd.DataFrame(y, index=times, columns=["a", "b"])
    model = ARNet(3, horizon=4, sparsity=None)
    array = model.fit(y).predict()
    np.testing.assert_array_equal(model.fit(wide).predict().to_numpy(), array)
    long = model.fit(long_frame({"a": y[:, 0], "b": y[:, 1]})).predict()
    np.testing.assert_array_equal(long["ARNet"].to_numpy().reshape(2, 4).T, array)
    np.testing.assert_array_equal(model.fit(y[:, 0]).predict(), array[:, 0])


def test_the_batch_size_does_not_affect_forecasts() -> None:
    y = 5 + simulate([0.6], 80, series=5)
    for options in ({}, {"loss": "quantile", "training": QUICK, "random_state": 0}):
        model = ARNet(3, sparsity=None, **options).fit(y)
        whole = model.predict(level=80)
        for size in (1, 2, 3):
            parts = model.set_params(inference_batch_size=size).predict(level=80)
            np.testing.assert_allclose(parts, whole, rtol=1e-6)


# --- intervals --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random", "near unit root", "seasonal"])
def test_intervals_are_those_of_statsmodels_plus_coefficient_uncertainty(name: str) -> None:
    y = SERIES[name]
    autoreg = AutoReg(y, 4).fit()
    prediction = autoreg.get_prediction(len(y), len(y) + 19)
    result = ARNet(4, horizon=20, sparsity=None).fit(y).predict(level=80)
    jacobian = reference.numerical_jacobian(
        lambda params: reference.iterate(params[1:], y, 20, params[0]), autoreg.params
    )
    coefficients = np.einsum("hi,ij,hj->h", jacobian, autoreg.cov_params(), jacobian)
    # Unbiased residual variance, and the tails of Student's t.
    unbiased = autoreg.nobs / (autoreg.nobs - 5)
    deviation = np.sqrt(unbiased * (prediction.var_pred_mean + coefficients))
    half = student_t.ppf(0.9, autoreg.nobs - 5) * deviation
    np.testing.assert_allclose((result[:, 2] - result[:, 1]) / 2, half, rtol=1e-4)
    np.testing.assert_allclose((result[:, 2] + result[:, 1]) / 2, result[:, 0], rtol=1e-12)


def test_intervals_include_uncertainty_of_the_coefficients_of_covariates() -> None:
    drawn = noise(2, 43, seed=3)
    price, y = 20 + 4 * drawn[0], np.zeros(43)
    for t in range(1, 43):
        y[t] = 5 + 0.8 * y[t - 1] + price[t] + drawn[1, t]
    frame = pd.DataFrame({"ds": np.arange(43), "y": y, "price": price})
    columns = Columns(future=("price",))
    model = ARNet(1, horizon=3, sparsity=None, columns=columns).fit(frame[:40])
    result = model.predict(future=frame[["ds", "price"]][40:], level=80)
    ols = sm.OLS(y[1:40], sm.add_constant(np.column_stack([y[:39], price[1:40]]))).fit()

    def forecast(values: Array) -> Array:
        path = [y[39]]
        for t in range(40, 43):
            path.append(values @ np.array([1.0, path[-1], price[t]]))
        return np.array(path[1:])

    jacobian = reference.numerical_jacobian(forecast, ols.params)
    variance = np.einsum("hi,ij,hj->h", jacobian, ols.cov_params(), jacobian)
    variance += ols.mse_resid * np.cumsum(ols.params[1] ** (2 * np.arange(3)))
    half = student_t.ppf(0.9, ols.df_resid) * np.sqrt(variance)
    np.testing.assert_allclose((result["ARNet-hi-80"] - result["ARNet-lo-80"]) / 2, half, rtol=1e-4)


def coverage(result: Array, truth: Array, index: int) -> Array:
    """How often the truth lies inside an interval, a number for each step."""
    inside = (result[:, :, index] <= truth) & (truth <= result[:, :, index + 1])
    return np.asarray(inside.mean(axis=1))


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_one_step_intervals_from_few_points_have_their_coverage(strategy: str) -> None:
    y = noise(31, 8000)
    model = ARNet(6, sparsity=None, strategy=strategy).fit(y[:30])  # type: ignore[arg-type]
    share = coverage(model.predict(level=80), y[30:], 1)[0]
    assert share == pytest.approx(0.8, abs=0.02)


def test_intervals_of_global_direct_equations_include_the_mean_of_each_series() -> None:
    y = 10 + simulate([0.6], 18, series=2000, seed=5)
    model = ARNet(1, horizon=6, scope="global", strategy="direct").fit(y[:12])
    assert coverage(model.predict(level=80), y[12:], 1).min() > 0.63  # 0.58 without


def test_intervals_of_global_equations_include_the_mean_of_each_series() -> None:
    y = 10 + simulate([0.9], 52, series=2000, seed=5)
    model = ARNet(1, horizon=12, scope="global").fit(y[:40])
    assert coverage(model.predict(level=80), y[40:], 1).min() > 0.69  # 0.64 by the mean of all


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("length", [200, 1000])
def test_intervals_have_their_nominal_coverage(length: int, strategy: str) -> None:
    y = 10 + 3 * simulate([0.6, -0.2, 0.3], length + 12, series=3000, seed=1)
    model = ARNet(3, horizon=12, strategy=strategy, sparsity=None).fit(y[:length])  # type: ignore[arg-type]
    result = model.predict(level=[80, 95])
    loss = 0.004 if (length, strategy) == (200, "direct") else 0.002  # due to bias
    for index, share in ((1, 0.80), (3, 0.95)):
        error = math.sqrt(share * (1 - share) / 3000)
        inside = coverage(result, y[length:], index)
        assert np.abs(inside - share).max() < 4 * error + loss
        assert abs(inside.mean() - (share - loss)) < 2 * error


def test_bias_correction_improves_intervals_of_short_persistent_series() -> None:
    y = 10 + simulate([0.95], 52, series=4000, seed=2)
    short, truth = y[:40], y[40:]
    corrected, plain = (
        ARNet(1, horizon=12, sparsity=None, bias_correction=option).fit(short)
        for option in (True, False)
    )
    for model, low, high in ((corrected, 0.77, 0.80), (plain, 0.67, 0.71)):
        assert low < coverage(model.predict(level=80), truth, 1).mean() < high
    errors = [np.abs(model.predict() - truth).mean() for model in (corrected, plain)]
    assert errors[0] < errors[1]


def test_bias_correction_improves_forecasts_of_random_walks() -> None:
    y = 10 + (0.3 + noise(52, 2000, seed=3)).cumsum(axis=0)
    errors = [
        np.abs(ARNet(2, horizon=12, bias_correction=option).fit(y[:40]).predict() - y[40:]).mean()
        for option in (True, False)
    ]
    assert errors[0] < 0.95 * errors[1]


def test_bias_correction_prevents_explosive_forecasts() -> None:
    money = tsar.datasets.load("macrodata")["m1"].iloc[:123]
    plain = ARNet(24, horizon=80, bias_correction=False).fit(money)
    assert plain.coef_.sum() > 1.1 and plain.predict().iloc[-1] > 3 * money.iloc[-1]
    model = ARNet(24, horizon=80).fit(money)
    assert model.coef_.sum() == pytest.approx(1) and not model.is_stable_[0]
    assert money.iloc[-1] < model.predict().iloc[-1] < 2 * money.iloc[-1]


def test_bias_is_corrected_with_selected_lags_or_by_option() -> None:
    y = 10 + simulate([0.9], 60, seed=4)[:, 0]
    sums = {
        (sparsity, option): ARNet(1, sparsity=sparsity, bias_correction=option).fit(y).coef_.sum()
        for sparsity in ("auto", None)
        for option in ("auto", True, False)
    }
    corrected, plain = sums["auto", True], sums[None, False]
    assert corrected == pytest.approx(plain + (1 + 3 * plain) / 59)
    assert sums["auto", "auto"] == sums["auto", True] == sums[None, True]
    assert sums[None, "auto"] == sums["auto", False] == pytest.approx(plain)
    global_model = ARNet(1, scope="global").fit(np.column_stack([y, y]))
    shared = global_model.coef_.sum()
    assert plain + (1 + plain) / 59 < shared < corrected


@pytest.mark.wrong_types  # numpy's truths, which searches over parameters give
@pytest.mark.parametrize("options", [{"strategy": "direct"}, {"loss": "huber"}, {"hidden": (4,)}])
def test_bias_correction_needs_one_equation_in_closed_form(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="bias_correction must be 'auto' or False unless strategy"):
        ARNet(2, bias_correction=True, **options).fit(noise(60))
    with pytest.raises(ValueError, match="bias_correction must be 'auto' or False unless strategy"):
        ARNet(2, bias_correction=np.True_, **options).fit(noise(60))
    y = noise(60)
    truths = [ARNet(2, sparsity=None, bias_correction=yes).fit(y).coef_ for yes in (True, np.True_)]
    np.testing.assert_array_equal(*truths)
    with pytest.raises(ValueError, match="bias_correction must be one of"):
        ARNet(2, bias_correction="yes").fit(noise(60))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("freq", "order"),
    [
        *(("h", 192), ("15min", 768), ("10min", 288), ("5min", 576), ("min", 800), ("6h", 32)),
        *(("s", 61), ("D", 24), ("B", 24), ("W", 53), ("MS", 13), ("QS", 5), ("YS", 24)),
    ],
)
def test_the_default_order_is_that_of_the_frequency(freq: str, order: int) -> None:
    many = torch.tensor([10_000])
    frequency = Panel.from_frame(
        pd.Series(range(9), index=pd.date_range("2020", periods=9, freq=freq)), Columns()
    ).labels.frequency
    assert choose_orders(None, frequency, many, "local").tolist() == [order] * len(many)
    short_and_long = choose_orders(None, frequency, torch.tensor([60, 10_000]), "local")
    assert short_and_long.tolist() == [min(order, 20), order]
    assert choose_orders(7, frequency, many, "local").tolist() == [7] * len(many)


@pytest.mark.filterwarnings("ignore:series 'c' has only 5 points")
def test_a_short_series_has_its_own_order_and_changes_no_other() -> None:
    months = pd.date_range("2010", periods=120, freq="MS")
    wave = 10 + 3 * np.sin(np.arange(120) * 2 * np.pi / 12)
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": months, "y": wave + 0.3 * noise(120, seed=seed)})
        for seed, name in enumerate("ab")
    )
    short = pd.DataFrame({"unique_id": "c", "ds": months[-5:], "y": [1.0, 3.0, 2.0, 5.0, 4.0]})
    alone = ARNet(horizon=6).fit(frame).predict(level=80)
    both = ARNet(horizon=6).fit(pd.concat([frame, short])).predict(level=80)
    pd.testing.assert_frame_equal(both[both["unique_id"] != "c"], alone, check_exact=True)
    assert both.notna().all(axis=None)


@pytest.mark.parametrize(("points", "order"), [(60, 20), (499, 24), (500, 166), (9999, 200)])
def test_the_default_order_of_integers_covers_unknown_seasons(points: int, order: int) -> None:
    frequency = Panel.from_frame(pd.Series(range(9)), Columns()).labels.frequency
    assert choose_orders(None, frequency, torch.tensor([points]), "local").tolist() == [order]
    wave = pd.Series(np.sin(np.arange(700) * 2 * np.pi / 168) + 0.3 * noise(700))
    assert max(ARNet().fit(wave).lags_[0]) > 100


def test_quantiles_have_roughly_their_coverage() -> None:
    y = 10 + 3 * simulate([0.6], 312, series=60, seed=6)
    levels = (0.9, 0.1, 0.5)  # in any order
    model = ARNet(
        2,
        horizon=2,
        strategy="direct",
        scope="global",
        loss="quantile",
        quantile_levels=levels,
    ).fit(y[:300])
    windows = np.concatenate([y[300 - 2 + k : 300 + 2 + k].T for k in range(10)])
    contexts, targets = torch.tensor(windows[:, :2].copy()), windows[:, 2:]
    series = torch.arange(60).repeat(10)
    result = model.forecast(contexts, series=series, quantile_levels=[0.1, 0.5, 0.9]).numpy()
    assert (np.diff(result, axis=2) >= 0).all()
    shares = (targets[:, :, None] < result).mean(axis=(0, 1))
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.04)


@pytest.mark.parametrize("options", [{"loss": "huber"}, {"hidden": (4,)}])
def test_intervals_of_other_fits_have_roughly_their_coverage(options: dict[str, Any]) -> None:
    y = 10 + 3 * simulate([0.6], 203, series=100, seed=7)
    model = ARNet(2, horizon=3, scope="global", training=BATCHED, random_state=0, **options).fit(
        y[:200]
    )
    result = model.predict(level=80)
    inside = (result[:, :, 1] <= y[200:]) & (y[200:] <= result[:, :, 2])
    assert inside.mean() == pytest.approx(0.8, abs=0.08)


# --- training ---------------------------------------------------------------------------------


def threshold(length: int, seed: int) -> Array:
    """A threshold autoregression: its two slopes cancel, so a line explains little."""
    shocks, y = 0.5 * noise(length, seed=seed), np.zeros(length)
    for time in range(1, length):
        y[time] = (-1.5 * y[time - 1] if y[time - 1] > 0 else 0.5 * y[time - 1] + 1) + shocks[time]
    return y


@pytest.fixture(scope="module")
def deep() -> ARNet:
    training = Training(epochs=12, learning_rate=1e-2, batch_size=64)
    return ARNet(2, sparsity=None, hidden=(16,), training=training, random_state=0).fit(
        threshold(1200, 0)
    )


def one_step_error(model: ARNet, series: Array) -> float:
    windows = np.lib.stride_tricks.sliding_window_view(series, 3)
    contexts = torch.tensor(windows[:, :2].copy())
    zeros = torch.zeros(len(contexts), dtype=torch.int64)
    point = model.forecast(contexts, series=zeros)[:, 0].numpy()
    return float(((point - windows[:, 2]) ** 2).mean())


def test_a_network_forecasts_nonlinear_series(deep: ARNet) -> None:
    fresh = threshold(500, 1)
    linear = ARNet(2, sparsity=None).fit(threshold(1200, 0))
    assert one_step_error(deep, fresh) < 0.6 * one_step_error(linear, fresh)
    assert one_step_error(deep, fresh) < 1.25 * 0.25  # the variance of the shocks


def test_training_never_increases_the_validation_loss(deep: ARNet) -> None:
    losses = deep.history_["validation_loss"]
    assert math.isnan(deep.history_["train_loss"][0]) and losses.min() < 0.6 * losses[0]
    unstable = Training(epochs=3, learning_rate=3.0, gradient_clip=0)
    y = threshold(300, 2)
    for loss in ("mse", "huber"):
        options = {"sparsity": None, "hidden": (8,), "loss": loss}
        model = ARNet(2, training=unstable, random_state=0, **options).fit(y)
        start = ARNet(2, training=Training(epochs=0), **options).fit(y)
        held = y[-62:]
        if model.history_["validation_loss"].idxmin() == 0:
            np.testing.assert_allclose(model.predict(), start.predict())
        assert one_step_error(model, held) <= one_step_error(start, held) * 1.02


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
@pytest.mark.parametrize("loss", ["mse", "huber", "quantile"])
def test_training_starts_from_the_linear_fit(loss: Any, strategy: Any) -> None:
    y = 50 + simulate([0.7, -0.2], 200, series=2, seed=8)
    horizon = 2 if strategy == "direct" else 1
    none = Training(epochs=0, validation=40)
    options = {"horizon": horizon, "strategy": strategy, "sparsity": None, "loss": loss}
    linear = ARNet(3, **options).fit(y[:160])
    model = ARNet(3, hidden=(8,), training=none, **options).fit(y)
    np.testing.assert_allclose(model.coef_, linear.coef_, atol=1e-6)
    np.testing.assert_allclose(model.predict(y), linear.predict(y), rtol=1e-6)
    assert len(model.history_) == 1


def test_inactive_lags_stay_zero_in_training() -> None:
    frame, _, _ = covariate_frame(300)
    columns = Columns(past=("p", "q"), future=("f",))
    common = {"columns": columns, "training": Training(epochs=0), "random_state": 0}
    for options in ({"hidden": (4,)}, {"hidden": (4,), "loss": "huber"}):
        start = ARNet(6, **common, **options).fit(frame)
        model = ARNet(6, **(common | {"training": QUICK}), **options).fit(frame)
        for name, zeros in (("coef_", 5), ("past_coef_", 10), ("future_coef_", 0)):
            before, after = getattr(start, name), getattr(model, name)
            assert ((before == 0) == (after == 0)).all() and (before == 0).sum() == zeros
        assert model.lags_ == start.lags_


@pytest.mark.filterwarnings("ignore:series .* has a value:UserWarning")
def test_huber_loss_is_more_accurate_with_heavy_tails() -> None:
    shocks = np.random.default_rng(9).standard_t(2.5, size=(500, 25))
    y = np.zeros((500, 25))
    for time in range(1, 500):
        y[time] = 0.5 * y[time - 1] + shocks[time]
    robust = ARNet(1, sparsity=None, loss="huber").fit(y)
    squares = ARNet(1, sparsity=None, loss="mse").fit(y)
    errors = [np.abs(model.coef_[:, 0] - 0.5).mean() for model in (robust, squares)]
    assert errors[0] < 0.85 * errors[1]


@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_same_seed_gives_the_same_model_and_leaves_global_generators_alone(scope: str) -> None:
    y = 5 + simulate([0.7], 150, series=3, seed=11)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    options = {"scope": scope, "hidden": (4,), "training": QUICK}
    one, two, other = (ARNet(3, random_state=k, **options).fit(y) for k in (0, 0, 1))
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    np.testing.assert_array_equal(one.predict(), two.predict())
    assert (one.predict() != other.predict()).any()
    assert one.coef_.shape == (3 if scope == "local" else 1, 3)


def test_a_constant_covariate_has_no_effect_when_it_changes() -> None:
    y = simulate([0.7], 300, seed=12)[:, 0]  # 300 times 0.1 do not sum to 30
    frame = pd.DataFrame({"ds": np.arange(300), "y": y, "f": 0.1})
    for options in ({}, {"hidden": (4,), "training": QUICK, "random_state": 0}):
        model = ARNet(2, columns=Columns(future=("f",)), **options).fit(frame)
        ahead = [model.predict(future=pd.DataFrame({"ds": [300], "f": [f]})) for f in (0.1, 0.2)]
        assert abs(ahead[0]["ARNet"][0] - ahead[1]["ARNet"][0]) < 1


def test_a_second_fit_removes_attributes_of_the_first() -> None:
    y = SERIES["random"]
    model = ARNet(3).fit(y)
    model.set_params(hidden=(4,), training=QUICK).fit(y)
    closed = ("coef_std_err_", "sigma_", "aic_", "bic_", "nobs_")
    assert not any(hasattr(model, name) for name in closed)
    model.set_params(hidden=()).fit(y)
    assert not hasattr(model, "history_") and not hasattr(model, "calibration_")
    assert all(hasattr(model, name) for name in closed)


def test_the_number_of_parameters_counts_coefficients_and_intercepts() -> None:
    y = np.column_stack([SERIES["random"], SERIES["seasonal"]])
    dense = ARNet(4, sparsity=None).fit(y)
    assert dense.n_parameters_ == 2 * (4 + 1)
    sparse = ARNet(20).fit(y)
    assert sparse.n_parameters_ == sum(map(len, sparse.lags_)) + 2
    direct = ARNet(3, horizon=2, strategy="direct", sparsity=None).fit(y)
    assert direct.n_parameters_ == 2 * 2 * (3 + 1)
    network = ARNet(3, sparsity=None, hidden=(5,), scope="global", training=QUICK).fit(y)
    assert network.n_parameters_ == 3 + 1 + (3 * 5 + 5) + (5 + 1)


# --- errors -----------------------------------------------------------------------------------

INVALID = [
    ({"order": 0}, "order must be an integer of at least 1; got 0"),
    ({"order": 2.5}, "order must be an integer"),
    ({"horizon": 0}, "horizon must be an integer of at least 1; got 0"),
    ({"inference_batch_size": 0}, "inference_batch_size must be an integer"),
    ({"strategy": "both"}, r"strategy must be one of \['recursive', 'direct'\]; got 'both'"),
    ({"scope": "series"}, r"scope must be one of \['local', 'global'\]; got 'series'"),
    ({"loss": "mae"}, r"loss must be one of \['mse', 'huber', 'quantile'\]; got 'mae'"),
    ({"sparsity": 0}, r"sparsity must be None, 'auto' or a share in \(0, 1\]; got 0"),
    ({"sparsity": 1.5}, "sparsity must be None, 'auto' or a share"),
    ({"sparsity": NAN}, "sparsity must be None, 'auto' or a share"),
    ({"sparsity": True}, "sparsity must be None, 'auto' or a share"),
    ({"sparsity": "none"}, "sparsity must be None, 'auto' or a share"),
    ({"ridge": -1.0, "sparsity": None}, "ridge must be at least 0 and finite; got -1.0"),
    ({"ridge": NAN, "sparsity": None}, "ridge must be at least 0 and finite; got nan"),
    ({"ridge": "a", "sparsity": None}, "ridge must be at least 0 and finite; got 'a'"),
    ({"ridge": None}, "ridge must be at least 0 and finite; got None"),
    ({"ridge": 0.1}, "ridge must be 0 with a sparsity; got 0.1 and 'auto'. Set sparsity=None"),
    ({"hidden": 8}, r"hidden must be the widths of layers, such as \(32,\); got 8"),
    ({"hidden": "ab"}, "hidden must be the widths of layers"),
    ({"hidden": (0,)}, "hidden must be an integer of at least 1; got 0"),
    ({"loss": "quantile", "quantile_levels": 0.5}, "0.5 among them; got 0.5"),
    ({"loss": "quantile", "quantile_levels": ()}, r"quantile_levels must lie in \(0, 1\)"),
    ({"loss": "quantile", "quantile_levels": (0.1, 0.9)}, "0.5 among them; got"),
    ({"loss": "quantile", "quantile_levels": (0.0, 0.5)}, r"must lie in \(0, 1\)"),
    ({"loss": "quantile", "quantile_levels": ("a", 0.5)}, r"must lie in \(0, 1\)"),
    ({"loss": "quantile", "horizon": 2}, "strategy must be 'direct' with loss='quantile'"),
    ({"training": 3, "hidden": (2,)}, "training must be a tsar.Training; got 3"),
    ({"columns": "y"}, "columns must be a tsar.Columns; got 'y'"),
    ({"columns": Columns(static=("s",))}, "columns.static must be empty for ARNet"),
    ({"device": "abacus"}, "device must be 'auto' or a device of this machine; got 'abacus'"),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(("options", "message"), INVALID, ids=[str(o) for o, _ in INVALID])
def test_an_invalid_parameter_is_an_error_in_fit(options: dict[str, Any], message: str) -> None:
    model = ARNet(**({"order": 3} | options))
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(SERIES["random"])


def test_the_error_for_series_too_short_for_one_lag_does_not_advise_a_lower_order() -> None:
    short = pd.DataFrame({"unique_id": "b", "ds": [0, 1], "y": [1.0, 2.0]})
    long = pd.DataFrame({"unique_id": "a", "ds": range(40), "y": noise(40, 1)[:, 0]})
    advice = r"for series 'b'\. Give more points, drop the series, or set scope='global'\."
    with pytest.raises(ValueError, match=advice):
        ARNet().fit(pd.concat([long, short]))
    with pytest.raises(ValueError, match=r"for all series\. Give more points\."):
        ARNet(scope="global").fit(short)


def test_roots_before_fit_are_an_error() -> None:
    for ask in ("roots_", "is_stable_"):
        with pytest.raises(NotFittedError):
            getattr(ARNet(), ask)


def test_past_covariates_need_direct_steps() -> None:
    frame, _, _ = covariate_frame()
    model = ARNet(3, horizon=2, columns=Columns(past=("p", "q")))
    with pytest.raises(ValueError, match="strategy must be 'direct' with past covariates"):
        model.fit(frame.drop(columns="f"))


def test_unavailable_forecasts_are_errors() -> None:
    y = simulate([0.7], 200)
    direct = ARNet(3, horizon=2, strategy="direct").fit(y)
    assert direct.predict(horizon=3).shape == (3, 1)
    with pytest.raises(ValueError, match="at most 2 with intervals when direct; got 3"):
        direct.predict(horizon=3, level=80)
    with pytest.raises(AttributeError, match="strategy must be 'recursive' for roots"):
        _ = direct.roots_
    quantile = ARNet(3, loss="quantile", training=QUICK).fit(y)
    assert quantile.predict(horizon=3).shape == (3, 1)
    with pytest.raises(ValueError, match="horizon must be at most 1 with intervals; got 2"):
        quantile.predict(horizon=2, level=80)
    with pytest.raises(ValueError, match=r"among those fitted, .*; got 0.025"):
        quantile.predict(level=95)
    trained = ARNet(3, hidden=(4,), horizon=2, training=QUICK).fit(y)
    with pytest.raises(ValueError, match="horizon must be at most 2 with intervals"):
        trained.predict(horizon=3, level=80)


def test_methods_before_fit_are_errors() -> None:
    for name in ("summary", "plot_coefficients", "predict"):
        with pytest.raises(NotFittedError):
            getattr(ARNet(3), name)()


# --- summary and plot -------------------------------------------------------------------------

GOLDEN = """\
          ARNet (recursive, local, order 4, sparsity auto, loss mse)
==============================================================================
series                               0  AIC                              847.5
lags used                       2 of 4  BIC                              862.3
observations                       296  stable                             yes
sigma                            1.004  persistence                     0.1995
==============================================================================
                 coef    std err          z      P>|z|      [0.025      0.975]
------------------------------------------------------------------------------
const          8.0008      0.652     12.280      0.000       6.724       9.278
y.L1           0.5181      0.047     10.954      0.000       0.425       0.611
y.L3          -0.3186      0.048     -6.668      0.000      -0.412      -0.225
=============================================================================="""


def test_the_summary_is_a_table_of_coefficients() -> None:
    assert ARNet(4).fit(10 + simulate([0.5, 0.0, -0.3], 300, seed=3)[:, 0]).summary() == GOLDEN


def test_the_summary_of_a_panel_has_a_row_per_series() -> None:
    frame = long_frame({"a": simulate([0.9], 200)[:, 0], "b": simulate([1.05], 150)[:, 0]})
    model = ARNet(2).fit(frame)
    lines = model.summary().splitlines()
    assert lines[0] == "ARNet (recursive, local, order 2, sparsity auto, loss mse)"
    assert lines[1].split() == [
        "series",
        "lags",
        "used",
        "observations",
        "sigma",
        "AIC",
        "BIC",
        "stable",
        "persistence",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["a", "b"]
    assert lines[2].split()[-2:] == ["yes", f"{model.coef_[0].sum():.4f}"]
    assert lines[3].split()[-2:] == ["no", f"{model.coef_[1].sum():.4f}"]
    assert "y.L1" in model.summary("b")
    with pytest.raises(ValueError, match="series must be one of those fitted; got 'c'"):
        model.summary("c")


def test_the_summary_names_covariates_and_has_criteria_of_closed_forms() -> None:
    frame, _, _ = covariate_frame()
    columns = Columns(past=("p", "q"), future=("f",))
    model = ARNet(2, sparsity=None, columns=columns).fit(frame)
    words = [line.split()[0] for line in model.summary().splitlines()[4:]]
    names = ["const", "y.L1", "y.L2", "p.L1", "p.L2", "q.L1", "q.L2", "f"]
    assert [word for word in words if word[0].isalpha()][-8:] == names
    dashes = [line.split()[0] for line in model.summary().splitlines() if line.endswith(" -")]
    assert dashes == []  # all have an error
    for options in ({"hidden": (4,), "training": QUICK}, {"loss": "quantile"}):
        other = ARNet(2, columns=columns, **options).fit(frame).summary()
        assert "AIC" not in other and "std err" not in other
    robust = ARNet(2, columns=columns, loss="huber").fit(frame).summary()
    assert "AIC" in robust and "std err" in robust and "loss huber" in robust
    direct = ARNet(2, horizon=2, strategy="direct", sparsity=None).fit(SERIES["random"])
    assert "stable" not in direct.summary() and "y.L2" in direct.summary()
    everywhere = ARNet(2, scope="global").fit(simulate([0.5], 100, series=3)).summary()
    assert "all series" in everywhere


def test_roots_and_stability_are_those_of_the_recursion() -> None:
    y = np.column_stack([simulate([1.5, -0.7], 500)[:, 0], 1.05 ** np.arange(500.0)])
    model = ARNet(2, sparsity=None).fit(y)
    for row in range(2):
        polynomial = np.roots([1, *-model.coef_[row]])
        np.testing.assert_allclose(np.sort(np.abs(model.roots_[row])), np.sort(np.abs(polynomial)))
    assert model.is_stable_.tolist() == [True, False]


@pytest.mark.parametrize("options", [{}, {"loss": "huber"}, {"loss": "quantile"}])
def test_the_plot_has_a_stem_per_nonzero_coefficient(options: dict[str, Any]) -> None:
    y = np.hstack([noise(500, 1), simulate([0.0, 0.5, 0.0, 0.0, -0.4], 500)])
    model = ARNet(6, **options).fit(y)
    axes = model.plot_coefficients(1)
    stems = next(c for c in axes.collections if len(c.get_segments()) == len(model.lags_[1]))
    assert [float(s[0][0]) for s in stems.get_segments()] == model.lags_[1]
    assert {2, 5} <= set(model.lags_[1]) < set(range(1, 7))
    heights = [s[1][1] for s in stems.get_segments()]
    np.testing.assert_allclose(heights, model.coef_[1][np.array(model.lags_[1]) - 1])
    assert axes.get_title(loc="left") == "ARNet: 1"
    assert model.plot_coefficients(0, ax=axes) is axes


def test_the_standard_error_of_the_intercept_is_that_of_least_squares() -> None:
    y = 50 + 3 * simulate([0.6, -0.2, 0.3], 300, series=1, seed=5)[:, 0]
    price = np.random.default_rng(6).normal(20, 4, size=300)
    frame = pd.DataFrame({"ds": np.arange(300), "y": y + price, "price": price})
    model = ARNet(3, sparsity=None, columns=Columns(future=("price",))).fit(frame)
    lags = np.stack([frame.y.to_numpy()[3 - lag : 300 - lag] for lag in (1, 2, 3)], axis=1)
    ols = sm.OLS(frame.y[3:], sm.add_constant(np.column_stack([lags, price[3:]]))).fit()
    np.testing.assert_allclose(model.intercept_, ols.params.iloc[0], rtol=1e-7)
    np.testing.assert_allclose(model.intercept_std_err_, ols.bse.iloc[0], rtol=1e-7)
    np.testing.assert_allclose(model.future_coef_std_err_[0], ols.bse.iloc[-1:], rtol=1e-7)
    sparse = ARNet(
        3, sparsity="auto", bias_correction=False, columns=Columns(future=("price",))
    ).fit(frame)
    used = [lag - 1 for lag in sparse.lags_[0]]
    few = sm.OLS(frame.y[3:], sm.add_constant(np.column_stack([lags[:, used], price[3:]]))).fit()
    np.testing.assert_allclose(sparse.intercept_std_err_, few.bse.iloc[0], rtol=1e-7)
