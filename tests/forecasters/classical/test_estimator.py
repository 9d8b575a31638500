"""Classical against statsmodels: same numbers, newer history filtered without a refit."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing

import tsar.forecasters.classical.estimator
from tsar.evaluation.cross_validation import cross_validation
from tsar.forecasters import Classical
from tsar.forecasters.classical.smoothing import Smoothing, fit_line

Series = np.ndarray[Any, np.dtype[np.float64]]


def wave(length: int, seed: int = 0) -> Series:
    """A line, a season of 12 and AR(2) noise."""
    noise = np.random.default_rng(seed).normal(size=length)
    for t in range(2, length):
        noise[t] += 0.6 * noise[t - 1] - 0.3 * noise[t - 2]
    time = np.arange(length)
    return 20 + 0.1 * time + 3 * np.sin(2 * np.pi * time / 12) + noise


def initial_states(values: Series, season: int) -> tuple[float, float, list[float]]:
    """Level, slope and season before the first point, from one equation per point."""
    rows, right = [], []
    for t, value in enumerate(values):
        if not np.isnan(value):
            phase = [1.0 if k == t % season else 0.0 for k in range(season)] if season else []
            rows.append([1.0, t + 1.0, *phase])
            right.append(value)
    if season:
        rows.append([0.0, 0.0] + [1.0] * season)  # the effects sum to zero
        right.append(0.0)
    level, slope, *effects = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return level, slope, effects


def reference_model(values: Series, season: int, points: int) -> Any:
    level, slope, effects = initial_states(values[:points], season)
    return ExponentialSmoothing(
        values,
        trend=True,
        damped_trend=True,
        seasonal=season or None,
        initialization_method="known",
        initial_level=level,
        initial_trend=slope,
        initial_seasonal=effects[::-1] or None,
    )


@pytest.mark.parametrize("season", (0, 12))
@pytest.mark.parametrize("gaps", (False, True))
def test_smoothing_equals_statsmodels(season: int, gaps: bool) -> None:
    values = wave(60)
    if gaps:
        values[[7, 30, 31, 32]] = np.nan
    fits = [reference_model(values, season, n).fit(disp=False) for n in (60, max(10, 2 * season))]
    best = max(fits, key=lambda fit: fit.llf)
    expected = best.get_forecast(8).summary_frame(alpha=0.2)

    model = Classical(season_length=season or 1, horizon=8).fit(values)
    found = model.predict(level=80)

    rtol = 2e-3  # both optimizers stop where the likelihood is flat
    np.testing.assert_allclose(found[:, 0], expected["mean"], rtol=rtol)
    np.testing.assert_allclose(found[:, 1], expected["mean_ci_lower"], rtol=rtol)
    np.testing.assert_allclose(found[:, 2], expected["mean_ci_upper"], rtol=rtol)
    np.testing.assert_allclose(model.sigma_[0], np.sqrt(best.scale), rtol=rtol)
    np.testing.assert_allclose(model.aic_[0], best.aic, rtol=rtol)


def test_smoothing_with_given_parameters_equals_statsmodels_to_rounding() -> None:
    values = wave(50)
    values[[20, 21]] = np.nan
    model = Classical(season_length=12, horizon=6).fit(values)
    points = int(model.initial_points_[0]) or 50
    expected = reference_model(values, 12, points).filter(model.params_[0]).get_forecast(6)
    found = model.predict(quantile_levels=0.975)
    std = (found[:, 1] - found[:, 0]) / 1.959963984540054
    np.testing.assert_allclose(found[:, 0], expected.predicted_mean, rtol=1e-10)
    np.testing.assert_allclose(std, np.sqrt(expected.var_pred_mean), rtol=1e-8)


def test_the_likelihood_is_no_worse_than_that_of_ets_model() -> None:
    values = wave(72)
    model = Classical(season_length=12).fit(values)
    points = int(model.initial_points_[0]) or 72
    ours = reference_model(values, 12, points).loglike(model.params_[0])
    theirs = ETSModel(
        values,
        error="add",
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=12,
        initialization_method="heuristic",
    ).fit(disp=False)
    assert ours > theirs.llf - 1


def test_newer_history_is_filtered_with_the_fitted_parameters() -> None:
    values = wave(60)
    model = Classical(season_length=12, horizon=4).fit(values[:48])
    before = model.params_.copy()
    points = int(model.initial_points_[0]) or 60
    expected = reference_model(values, 12, points).filter(model.params_[0]).get_forecast(4)
    np.testing.assert_allclose(model.predict(values), expected.predicted_mean, rtol=1e-10)
    np.testing.assert_array_equal(model.params_, before)


def test_leading_missing_values_do_not_affect_the_forecast() -> None:
    values = wave(40)
    padded = np.concatenate([np.full(7, np.nan), values])
    short = Classical(season_length=12, horizon=3).fit(values).predict(level=80)
    np.testing.assert_array_equal(
        Classical(season_length=12, horizon=3).fit(padded).predict(level=80), short
    )


@pytest.mark.parametrize(
    ("length", "components"),
    ((3, [True, False, False, False]), (9, [True, False, False, False]),
     (10, [True, True, False, True]), (23, [True, True, False, True]), (24, [True] * 4)),
)  # fmt: skip
def test_the_length_decides_on_trend_and_season(length: int, components: list[bool]) -> None:
    model = Classical(season_length=12, horizon=2).fit(wave(length))
    assert (~np.isnan(model.params_[0])).tolist() == components
    assert np.isfinite(model.predict(level=80)).all()


@pytest.mark.parametrize("model", ("ets", "autoreg"))
def test_exact_series_are_continued_exactly(model: Any) -> None:
    pattern = np.tile([1.0, 5.0, 2.0, 3.0], 8)
    frame = np.stack([np.zeros(32), np.full(32, 7.0), 1e9 + pattern], axis=1)
    found = Classical(model, season_length=4, horizon=5).fit(frame).predict(level=80)
    expected = np.stack([np.zeros(5), np.full(5, 7.0), 1e9 + pattern[:5]], axis=1)
    np.testing.assert_allclose(found, np.repeat(expected[:, :, None], 3, axis=2), atol=1e-4)


def test_a_context_shorter_than_a_season_can_be_forecast() -> None:
    model = Classical(season_length=12, horizon=3).fit(wave(48))
    assert np.isfinite(model.predict(wave(48)[:5])).all()


@pytest.mark.parametrize("season", (0, 4))
@pytest.mark.parametrize("trend", (False, True))
def test_fit_line_recovers_a_line_with_a_season(season: int, trend: bool) -> None:
    time = np.arange(20)
    effects = np.array([2.0, -1.0, 0.5, -1.5])
    values = 3.0 + trend * 0.5 * (time + 1) + bool(season) * effects[time % 4]
    values[[3, 8]] = np.nan
    expected = [3.0, *([0.5] if trend else []), *(effects if season else [])]
    np.testing.assert_allclose(fit_line(values, trend, season), expected, atol=1e-12)


def test_one_warning_names_the_first_series_that_did_not_converge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fit(values: Series, season: int) -> Smoothing:
        params = np.array([0.5, np.nan, np.nan, np.nan])
        return Smoothing(params, 1.0, 0, np.nan, values[0] < 2)

    monkeypatch.setattr(tsar.forecasters.classical.estimator, "fit_smoothing", fit)
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0], "c": [3.0, 3.0]})
    with pytest.warns(ConvergenceWarning, match="for 2 of 3 series, first 'b'") as caught:
        Classical().fit(frame)
    assert len(caught) == 1


@pytest.mark.parametrize("order", (1, 3, 14, None))
def test_autoregression_equals_statsmodels(order: int | None) -> None:
    values = wave(80)
    lags = order or ar_select_order(values, 19, ic="bic", trend="c").ar_lags
    expected = AutoReg(values, lags=lags, trend="c").fit().get_prediction(80, 89).summary_frame(0.2)
    found = Classical("autoreg", order=order, horizon=10).fit(values).predict(level=80)
    np.testing.assert_allclose(found[:, 0], expected["mean"], rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], expected["mean_ci_lower"], rtol=1e-9)
    np.testing.assert_allclose(found[:, 2], expected["mean_ci_upper"], rtol=1e-9)


def test_order_selection_tries_a_season_and_one_lag() -> None:
    values = np.tile(np.random.default_rng(1).normal(size=30), 6)
    values = values + 0.01 * np.random.default_rng(2).normal(size=180)
    assert Classical("autoreg").fit(values).params_.shape[1] - 1 <= 22
    assert Classical("autoreg", season_length=30).fit(values).params_.shape[1] - 1 >= 30


def test_autoregressions_of_different_orders_share_params() -> None:
    noise = np.random.default_rng(3).normal(size=100)
    frame = np.stack([wave(100), noise, np.full(100, 2.0)], axis=1)
    model = Classical("autoreg", horizon=5).fit(frame)
    alone = [Classical("autoreg", horizon=5).fit(column).predict() for column in frame.T]
    np.testing.assert_allclose(model.predict(), np.stack(alone, axis=1), rtol=1e-10)
    assert model.order_[2] == 0 and np.isnan(model.aic_[2])
    assert model.params_[2].tolist() == [2.0] + [0.0] * (model.params_.shape[1] - 1)


def test_newer_history_is_forecast_with_the_fitted_coefficients() -> None:
    values = wave(80)
    model = Classical("autoreg", order=3, horizon=4).fit(values[:60])
    expected = AutoReg(values, lags=3, trend="c").predict(model.params_[0], start=80, end=83)
    np.testing.assert_allclose(model.predict(values), expected, rtol=1e-10)


def test_autoregression_names_the_first_missing_value() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"a": wave(30), "b": wave(30, seed=1)}, index=days)
    frame.iloc[[0, 1, 11, 12], 1] = np.nan
    with pytest.raises(ValueError, match=r"got 2 for series 'b', first at 2024-01-12"):
        Classical("autoreg").fit(frame)
    frame.iloc[[11, 12], 1] = 1.0
    assert np.isfinite(Classical("autoreg").fit(frame).predict()).all(axis=None)


def test_autoregression_refuses_contexts_with_missing_lags() -> None:
    model = Classical("autoreg", order=3).fit(wave(40))
    newer = wave(45)
    newer[43] = np.nan
    with pytest.raises(ValueError, match=r"must end in 3 observed points .* for series 0"):
        model.predict(newer)
    with pytest.raises(ValueError, match="must end in 3 observed points"):
        model.predict(wave(2))
    newer[[42, 43]] = np.nan, 1.0
    newer[41] = np.nan
    with pytest.raises(ValueError, match="must end in 3 observed points"):
        model.predict(newer)


def test_an_order_too_large_for_the_series_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 5 with 10 points .*Lower it to 4, or give 12"):
        Classical("autoreg", order=5).fit(wave(10))


@pytest.mark.parametrize("model", ("ets", "autoreg"))
def test_cross_validation_without_refit_equals_predict_from_each_cutoff(model: Any) -> None:
    values = wave(60)
    found = cross_validation(
        Classical(model, season_length=12), values, horizon=3, n_windows=3, step_size=4, level=80
    )
    fitted = Classical(model, season_length=12, horizon=3).fit(values[:49])
    expected = [fitted.predict(values[:cutoff], level=80) for cutoff in (49, 53, 57)]
    columns = ["Classical", "Classical-lo-80", "Classical-hi-80"]
    np.testing.assert_allclose(found[columns], np.concatenate(expected), rtol=1e-12)


@pytest.mark.parametrize("model", ("ets", "autoreg"))
def test_n_jobs_does_not_affect_the_result(model: Any) -> None:
    frame = np.stack([wave(30, seed) for seed in range(3)], axis=1)
    one = Classical(model, horizon=2).fit(frame).predict(level=80)
    two = Classical(model, horizon=2, n_jobs=2).fit(frame).predict(level=80)
    np.testing.assert_array_equal(one, two)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"model": "arima"}, "model must be 'ets' or 'autoreg'; got 'arima'"),
        ({"season_length": 0}, "season_length must be an integer of at least 1; got 0"),
        ({"model": "autoreg", "order": 0}, "order must be an integer of at least 1; got 0"),
        ({"order": 2}, "order must be None with model 'ets'"),
    ),
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classical(**options).fit(wave(20))


def test_an_unknown_series_is_refused() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(20), "y": wave(20)})
    with pytest.raises(ValueError, match="got series 'b'"):
        Classical().fit(frame).predict(frame.assign(unique_id="b"))


def test_fitting_is_silent() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Classical("autoreg").fit(np.stack([np.arange(30.0), np.ones(30)], axis=1))
        Classical().fit(np.stack([np.arange(30.0), np.ones(30)], axis=1))
    assert not [w for w in caught if not issubclass(w.category, ConvergenceWarning)]


def test_the_summary_shows_the_smoothing_model_of_each_series() -> None:
    frame = pd.DataFrame({"wave": wave(60), "short": np.append([1.0, 3.0, 2.0], [np.nan] * 57)})
    model = Classical(season_length=12).fit(frame)
    title, header, *rows = model.summary().splitlines()
    assert title == "Classical (ets, season length 12)"
    assert header.split() == ["series", "model", "alpha", "beta", "gamma", "phi", "sigma", "AIC"]
    full, short = (row.split() for row in rows)
    assert full[:2] == ["wave", "ETS(A,Ad,A)"]
    found = [float(cell) for cell in full[2:]]
    np.testing.assert_allclose(
        found, [*model.params_[0], model.sigma_[0], model.aic_[0]], rtol=1e-3
    )
    assert short[:2] == ["short", "ETS(A,N,N)"]
    assert short[3:6] == ["-"] * 3 and short[-1] == "-"


def test_the_summary_shows_the_autoregression_of_each_series() -> None:
    model = Classical("autoreg", order=2).fit(wave(60))
    fit = AutoReg(wave(60), lags=2, trend="c").fit()
    _, header, row = model.summary().splitlines()
    assert header.split() == ["series", "model", "const", "sum", "of", "coef", "sigma", "AIC"]
    name, order, *cells = row.split()
    assert [name, order] == ["0", "AR(2)"]
    expected = [fit.params[0], fit.params[1:].sum(), np.sqrt(fit.sigma2), fit.aic]
    np.testing.assert_allclose([float(cell) for cell in cells], expected, rtol=1e-3)


@pytest.mark.parametrize("level", [1e6, 1e9, 1e12])
def test_autoregression_keeps_its_digits_at_any_level(level: float) -> None:
    values = np.random.default_rng(0).normal(size=300)
    for t in range(1, 300):
        values[t] += 0.7 * values[t - 1]
    plain, shifted = (
        Classical("autoreg", order=3, horizon=3).fit(y).predict() for y in (values, values + level)
    )
    assert np.allclose(shifted - level, plain, atol=1e-15 * level + 1e-6)


def test_an_explosive_autoregression_does_not_explode() -> None:
    values = np.cumsum(np.cumsum(np.exp(0.2 * np.arange(20)) + np.arange(20)))
    model = Classical("autoreg", order=2, horizon=30).fit(values)
    roots = np.abs(np.roots(np.concatenate([[1.0], -model.params_[0, 1:]])))
    assert roots.max() == pytest.approx(1)
    forecast = model.predict(level=80)
    assert np.isfinite(forecast).all() and forecast[:, 0].max() < 3 * values.max()
