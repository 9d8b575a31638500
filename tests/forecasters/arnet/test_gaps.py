"""ARNet with missing points: forecasts and intervals, against explicit imputation."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from reference_autoregression import iterate
from scipy.stats import t as student_t
from statsmodels.tsa.statespace.sarimax import SARIMAX

from tsar.data.panel import Columns
from tsar.forecasters import ARNet

NAN = np.nan
Floats = np.ndarray


def trend(missing: list[int], seed: int = 0, length: int = 240) -> pd.Series:
    """A line and a season with noise, some of whose points are missing."""
    t = np.arange(length)
    noise = np.random.default_rng(seed).normal(size=length)
    y = 100 + 2.0 * t + 20 * np.sin(2 * np.pi * t / 12) + noise
    y[missing] = NAN
    return pd.Series(y, index=pd.date_range("2000", periods=length, freq="MS"))


def impute(y: Floats, coef: Floats, intercept: float) -> Floats:
    """Replace missing points by one-step forecasts; points before the series are its mean."""
    full = np.concatenate([np.full(len(coef), np.nanmean(y)), y])
    for position in range(len(coef), len(full)):
        if np.isnan(full[position]):
            full[position] = intercept + coef @ full[position - len(coef) : position][::-1]
    return full[len(coef) :]


GAPS = {"one": [-11], "several": [-3, -5, -13, -14, -20], "old": [10, 11, -25, -26, -2]}


@pytest.mark.parametrize("missing", GAPS.values(), ids=list(GAPS))
def test_a_forecast_imputes_gaps_by_one_step_forecasts(missing: list[int]) -> None:
    y = trend(missing)
    model = ARNet(13, horizon=4).fit(y)
    coef, intercept = model.coef_[0], model.intercept_[0]
    expected = iterate(coef, impute(y.to_numpy(), coef, intercept), 4, intercept)
    np.testing.assert_allclose(model.predict(), expected, rtol=1e-10)
    np.testing.assert_allclose(model.predict(y), expected, rtol=1e-10)


def test_direct_forecasts_impute_gaps_by_their_first_equation() -> None:
    y = trend(GAPS["several"])
    model = ARNet(13, horizon=4, strategy="direct", sparsity=None, ridge=0.1).fit(y)
    full = impute(y.to_numpy(), model.coef_[0, 0], model.intercept_[0, 0])
    expected = model.intercept_[0] + model.coef_[0] @ full[-13:][::-1]
    np.testing.assert_allclose(model.predict(), expected, rtol=1e-10)


def test_gaps_of_global_equations_are_imputed_in_the_units_of_each_series() -> None:
    wide = pd.DataFrame({"a": trend(GAPS["several"]), "b": 0.1 * trend([-2, -30], seed=1)})
    model = ARNet(13, horizon=3, scope="global").fit(wide)
    result = model.predict()
    for name in wide:
        y = wide[name].to_numpy()
        mean, deviation = np.nanmean(y), np.nanstd(y)
        coef, intercept = model.coef_[0], model.intercept_[0]
        full = impute((y - mean) / deviation, coef, intercept)
        expected = mean + deviation * iterate(coef, full, 3, intercept)
        np.testing.assert_allclose(result[name], expected, rtol=1e-8)


def test_imputed_points_depend_on_covariates() -> None:
    noise = np.random.default_rng(3).normal(size=(3, 200))
    past, future = noise[0], noise[1]
    y = np.zeros(200)
    for t in range(2, 200):
        y[t] = 5 + 0.6 * y[t - 1] + past[t - 1] + 2 * future[t] + 0.1 * noise[2, t]
    y[[-3, -4, -9]] = NAN
    frame = pd.DataFrame({"ds": np.arange(200), "y": y, "p": past, "f": future})
    columns = Columns(past=("p",), future=("f",))
    model = ARNet(4, sparsity=None, columns=columns).fit(frame[:-1])
    full, (past_coef,), future_coef = y.copy(), model.past_coef_[0], model.future_coef_[0]
    for t in range(188, 200):
        if np.isnan(full[t]) or t == 199:
            lags = slice(t - 4, t)
            full[t] = model.intercept_[0] + model.coef_[0] @ full[lags][::-1]
            full[t] += past_coef @ past[lags][::-1] + future_coef[0] * future[t]
    result = model.predict(future=frame[["ds", "f"]].iloc[-1:])
    assert result["ARNet"][0] == pytest.approx(full[199], rel=1e-8)


def test_imputation_without_complete_segments_starts_four_orders_back() -> None:
    missing = np.flatnonzero(np.random.default_rng(0).random(240) < 0.2)
    y = trend(list(missing[missing < 238]))
    model = ARNet(13, scope="local", ridge=1e-3, sparsity=None).fit(trend([5]))
    coef, intercept = model.coef_[0], model.intercept_[0]
    expected = iterate(coef, impute(y.to_numpy(), coef, intercept), 1, intercept)
    np.testing.assert_allclose(model.predict(y), expected, atol=0.5)


def test_a_series_with_gaps_does_not_affect_the_forecast_of_a_short_series() -> None:
    model = ARNet(13, horizon=3, scope="global").fit(trend([]))
    short = trend([]).iloc[:6].to_numpy()
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": short})
    other = pd.DataFrame({"unique_id": "b", "ds": range(240), "y": trend([-9]).to_numpy()})
    model = ARNet(13, horizon=3, scope="global").fit(other)
    both = model.predict(pd.concat([frame, other]))
    alone = model.predict(frame)
    np.testing.assert_allclose(both["ARNet"][:3], alone["ARNet"], rtol=1e-12)


def test_forecasts_with_gaps_are_accurate_and_their_intervals_cover() -> None:
    random = np.random.default_rng(1)
    whole = pd.DataFrame({seed: trend([], seed) for seed in range(60)})
    gappy = whole.where(random.random(whole.shape) > 0.05)
    gappy.iloc[-2] = whole.iloc[-2]
    forecast = ARNet(13).fit(gappy.iloc[:-1]).predict(level=80).iloc[0].unstack()
    actual = whole.iloc[-1].to_numpy()
    inside = (forecast["ARNet-lo-80"] <= actual) & (actual <= forecast["ARNet-hi-80"])
    assert np.sqrt(np.mean((forecast["ARNet"] - actual) ** 2)) < 1.6
    assert 0.6 < inside.mean() < 0.9  # 71 % where nothing is missing


def imputation_variance(coef: Floats, maps: Floats, gaps: list[int]) -> Floats:
    """Variance of each step due to innovations of variance 1 at the imputed points."""
    length, order = max(gaps) + 1, len(coef)
    total = np.zeros(len(maps))
    for shock in gaps:
        error = np.zeros(length + order)  # by points before the horizon, 1 the newest
        for back in range(length, 0, -1):
            if back in gaps:
                propagated = sum(
                    coef[k] * error[back + k + 1] for k in range(order) if back + k < length
                )
                error[back] = propagated + (back == shock)
        total += (maps @ np.array([error[back] for back in range(1, order + 1)])) ** 2
    return total


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_intervals_include_the_errors_of_imputed_points(strategy: str) -> None:
    gaps = [3, 4, 6, 20]
    y = trend([-back for back in gaps])
    model = ARNet(7, horizon=3, strategy=strategy, sparsity=None, ridge=1e-6).fit(y)  # type: ignore[arg-type]
    errors = model.error_model_
    sigma = errors.sigma[0] * (1 + errors.estimation_share[0]).sqrt() * model.scaling_.deviation[0]
    sigma = sigma.numpy()
    first = sigma[0]
    if strategy == "direct":
        coef, maps, own = model.coef_[0, 0], model.coef_[0], sigma**2
    else:
        coef = model.coef_[0]
        maps = np.array([iterate(coef, unit[::-1], 3) for unit in np.eye(7)]).T
        own = first**2 * np.cumsum([1.0, maps[0, 0] ** 2, maps[1, 0] ** 2])
    deviation = np.sqrt(own + first**2 * imputation_variance(coef, maps, gaps))
    result = model.predict(level=80)
    quantile = student_t.ppf(0.9, errors.df_resid[0].numpy())
    half = (result["ARNet-hi-80"] - result["ARNet-lo-80"]) / 2 / quantile
    np.testing.assert_allclose(half, deviation, rtol=1e-8)


def test_a_gap_before_the_context_does_not_affect_the_interval() -> None:
    near, far = (ARNet(3, sparsity=None).fit(trend(gap)).predict(level=80) for gap in ([], [-9]))
    width = [float(f["ARNet-hi-80"].iloc[0] - f["ARNet-lo-80"].iloc[0]) for f in (near, far)]
    assert width[0] == pytest.approx(width[1], rel=0.05)


@pytest.mark.filterwarnings("ignore:.* of the points of series")
@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_the_fit_of_a_series_with_gaps_is_as_good_as_maximum_likelihood(share: float) -> None:
    rng = np.random.default_rng(3)
    noise, y = rng.normal(size=2900), np.zeros(2900)
    for t in range(3, 2900):
        y[t] = 0.5 * y[t - 1] + 0.2 * y[t - 2] - 0.4 * y[t - 3] + noise[t]
    history, test = 5 + y[100:500], 5 + y[500:]
    history[rng.random(400) < share] = np.nan
    lags = np.stack([test[2 - k : -1 - k] for k in range(3)], axis=1)

    def error(coef: NDArray[np.float64], intercept: float) -> float:
        return float(np.square(test[3:] - lags @ coef - intercept).mean())

    model = ARNet(3, sparsity=None).fit(history)
    exact = SARIMAX(history, order=(3, 0, 0), trend="c").fit(disp=False).params
    ours, theirs = error(model.coef_[0], model.intercept_[0]), error(exact[1:4], exact[0])
    assert ours < 1.01 * theirs
    observed = int(np.isfinite(history).sum())
    assert observed - 4 <= model.nobs_[0] <= observed


def test_two_percent_missing_hardly_change_a_long_fit() -> None:
    rng = np.random.default_rng(4)
    hours = np.arange(2500)
    y = 20 + 5 * np.sin(hours * 2 * np.pi / 24) + rng.normal(size=2500).cumsum() * 0.05
    y += rng.normal(size=2500)
    times = pd.date_range("2024", periods=2400, freq="h")
    complete = pd.Series(y[:2400], index=times)
    gappy = complete.where(rng.random(2400) > 0.02)
    errors = [
        np.abs(ARNet(48, horizon=100).fit(series).predict().to_numpy() - y[2400:]).mean()
        for series in (complete, gappy)
    ]
    assert errors[1] < 1.1 * errors[0]


def test_a_series_of_which_every_other_point_is_missing_is_named() -> None:
    y = pd.Series(np.random.default_rng(5).normal(size=101))
    y[1::2] = np.nan
    with pytest.warns(UserWarning, match="nothing is observed between the times"):
        assert ARNet(3, horizon=2).fit(y).nobs_.tolist() == [48]
    with pytest.warns(UserWarning, match="of the points of series .* are missing"):
        ARNet(3, horizon=2, columns=Columns(freq=1)).fit(y)


def test_random_gaps_are_never_refused() -> None:
    errors = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        y = 20 + np.tile([0, 1, 2, 3, 8, 12, -6.0], 31)[:214] + rng.normal(size=214) * 0.5
        history = pd.Series(y[:200], index=pd.date_range("2024-01-01", periods=200))
        history[rng.random(200) < 0.15] = np.nan
        forecast = ARNet(horizon=14).fit(history).predict().to_numpy()
        errors.append(np.abs(forecast - y[200:]).mean())
    assert np.median(errors) < 0.6
    assert max(errors) < 1.0


def test_few_gaps_converge_where_the_sum_of_the_coefficients_is_corrected() -> None:
    random = np.random.default_rng(1)
    for seed in range(8):  # a warning, which is an error here, would say that one does not
        whole = trend([], seed)
        ARNet(13).fit(whole.where(random.random(len(whole)) > 0.05).iloc[:-1])


@pytest.mark.parametrize("combine", ["auto", None])
def test_points_missing_before_a_series_count_for_nothing(combine: Any) -> None:
    y = np.random.default_rng(6).normal(size=15).cumsum() + 50
    padded = np.concatenate([np.full(16, NAN), y])
    alone, late = (ARNet(horizon=3, combine=combine).fit(x).predict(level=80) for x in (y, padded))
    np.testing.assert_array_equal(alone, late)


def test_points_missing_after_a_series_only_lengthen_the_horizon() -> None:
    y = np.random.default_rng(6).normal(size=40).cumsum() + 50
    early = ARNet(horizon=3).fit(np.concatenate([y, np.full(4, NAN)])).predict()
    np.testing.assert_allclose(early, ARNet(horizon=3).fit(y).predict(horizon=7)[4:], rtol=1e-12)
