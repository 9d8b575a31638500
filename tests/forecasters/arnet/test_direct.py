"""Direct forecasts without an order: averaged ridge maps of an ARNet."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from tsar import ARNet, load
from tsar.forecasters.arnet.direct import context_lengths

Floats = NDArray[np.float64]


def autoregression(n: int, n_series: int = 1, seed: int = 0) -> Floats:
    noise = np.random.default_rng(seed).normal(size=(n + 50, n_series))
    y = np.zeros_like(noise)
    for t in range(2, len(y)):
        y[t] = 0.6 * y[t - 1] + 0.3 * y[t - 2] + noise[t]
    return y[50:] + 10


def frame(values: Floats) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=len(values), freq="h")
    return pd.DataFrame(values, index=index, columns=[f"s{k}" for k in range(values.shape[1])])


def direct(**options: object) -> ARNet:
    return ARNet(horizon=6, strategy="direct", device="cpu", **options)


def test_a_forecast_is_linear_in_the_context() -> None:
    data = frame(autoregression(600, 2))
    model = direct().fit(data)
    context = data.to_numpy()[-model.order_ :][::-1].T
    expected = np.einsum("ghl,gl->gh", model.coef_, context) + model.intercept_
    assert np.allclose(model.predict().to_numpy().T, expected)


def test_a_shorter_horizon_is_a_prefix() -> None:
    model = direct().fit(frame(autoregression(600, 2)))
    short, long = (model.predict(horizon=steps, level=80) for steps in (3, 6))
    pd.testing.assert_frame_equal(short, long.iloc[:3], check_exact=False, check_freq=False)


def test_another_series_changes_no_local_forecast() -> None:
    values = autoregression(600, 3)
    values[:400, 1] = np.nan  # late
    values[:, 2] = 7.0  # constant
    alone = direct().fit(frame(values)[["s0"]]).predict(level=80)
    among = direct().fit(frame(values)).predict(level=80)
    pd.testing.assert_frame_equal(alone, among[alone.columns], rtol=1e-12)
    assert np.allclose(among["s2"], 7.0)


@pytest.mark.parametrize("scope", ["local", "global"])
def test_forecasts_shift_and_scale_with_the_data(scope: str) -> None:
    data = frame(autoregression(400, 2))
    plain = direct(scope=scope).fit(data).predict(level=80)
    scaled = direct(scope=scope).fit(data * 1e6 - 3e6).predict(level=80)
    assert np.allclose(scaled.to_numpy(), plain.to_numpy() * 1e6 - 3e6, rtol=1e-8)


def test_own_and_shared_maps_are_blended_and_new_series_get_the_shared_one() -> None:
    values = autoregression(500, 8)
    data = frame(values[:, :7])
    local, both = direct().fit(data), direct(scope="global").fit(data)
    assert both.n_groups_ == 8 and local.n_groups_ == 7
    # All follow one process: shared maps have smaller errors, and own ones scatter around them.
    shared = both.coef_[-1]
    spread = [np.abs(model.coef_[:7] - shared).mean() for model in (local, both)]
    assert spread[1] < 0.5 * spread[0]
    assert "other series" in both.summary()


def test_series_that_were_not_fitted_get_the_shared_map() -> None:
    data = frame(autoregression(500, 3))
    long = data.melt(ignore_index=False, var_name="unique_id", value_name="y").rename_axis("ds")
    long = long.reset_index()
    model = direct(scope="global").fit(long[long["unique_id"] != "s2"])
    new = long[long["unique_id"] == "s2"]
    y = new["y"].to_numpy()
    scaled = (y[-model.order_ :][::-1] - y.mean()) / y.std()
    expected = (model.coef_[-1] @ scaled + model.intercept_[-1]) * y.std() + y.mean()
    assert np.allclose(model.predict(new)["ARNet"], expected)


def test_errors_come_close_to_those_of_the_process() -> None:
    values = autoregression(3000, 1)
    data = frame(values)
    model = direct().fit(data.iloc[:2000])
    exact, found = [], []
    for cutoff in range(2000, 2900, 7):
        last, before = values[cutoff - 1, 0] - 10, values[cutoff - 2, 0] - 10
        path = [before, last]
        for _ in range(6):
            path.append(0.6 * path[-1] + 0.3 * path[-2])
        future = values[cutoff : cutoff + 6, 0]
        exact.append((np.array(path[2:]) + 10 - future) ** 2)
        found.append((model.predict(data.iloc[:cutoff]).to_numpy()[:, 0] - future) ** 2)
    assert np.mean(found) < 1.08 * np.mean(exact)


def test_intervals_hold() -> None:
    values = autoregression(1500, 40)
    data = frame(values)
    forecast = direct().fit(data.iloc[:-6]).predict(level=[80, 95])
    actual = data.iloc[-6:]
    for level, low, high in ((80, 0.72, 0.87), (95, 0.9, 0.98)):
        lower, upper = (
            forecast.xs(f"ARNet-{side}-{level}", axis=1, level=1).to_numpy()
            for side in ("lo", "hi")
        )
        inside = (lower <= actual.to_numpy()) & (actual.to_numpy() <= upper)
        assert low < inside.mean() < high


@pytest.mark.parametrize("scope", ["local", "global"])
def test_missing_points_cost_little(scope: str) -> None:
    data = frame(autoregression(1200, 2))
    complete = direct(scope=scope).fit(data)
    gaps = data.mask(np.random.default_rng(0).random(data.shape) < 0.1)
    gaps.iloc[-200:] = data.iloc[-200:]
    model = direct(scope=scope).fit(gaps)
    assert np.abs(model.predict() - complete.predict()).to_numpy().max() < 0.35
    assert (model.nobs_ == complete.nobs_).all()


def test_the_ridge_is_selected_on_the_newest_points() -> None:
    assert direct().holds_back and not direct(combine=None).holds_back
    assert not ARNet(3, strategy="direct").holds_back


@pytest.mark.parametrize("length", [10, 14, 20, 40])
def test_short_series_have_short_contexts(length: int) -> None:
    model = direct(scope="local").fit(autoregression(length, 1)[:, 0])
    forecast = model.predict(level=80)
    assert np.isfinite(forecast).all()
    assert model.order_ <= max(length // 3, 4)


def test_a_series_shorter_than_two_windows_is_refused_by_name() -> None:
    data = pd.DataFrame({"unique_id": ["a"] * 40 + ["b"] * 7, "y": np.arange(47.0)})
    data["ds"] = np.concatenate([np.arange(40), np.arange(7)])
    with pytest.raises(ValueError, match="series 'b'"):
        direct().fit(data)
    assert len(direct(scope="global").fit(data).predict()) == 12


def test_contexts_grow_with_the_series_and_hold_a_season() -> None:
    assert context_lengths(100_000, 96, [96]) == [336, 1440]
    assert context_lengths(100, 12, [12]) == [4, 13]
    assert context_lengths(30, 12, [12]) == [4]
    assert context_lengths(14, 12, [12]) == [1]


def test_saved_maps_forecast_alike(tmp_path: object) -> None:
    model = direct(scope="global").fit(frame(autoregression(300, 2)))
    model.save(f"{tmp_path}/model")
    again = load(f"{tmp_path}/model")
    pd.testing.assert_frame_equal(again.predict(level=80), model.predict(level=80))
    assert again.contexts_ == model.contexts_ == [[12, 25]]


def test_summary_shows_the_maps_without_standard_errors() -> None:
    model = direct().fit(frame(autoregression(300, 1)))
    text = model.summary()
    assert "direct" in text and "nan" not in text and "std err" not in text
    assert np.isnan(model.coef_std_err_).all() and np.isnan(model.aic_).all()
    assert torch.isfinite(model.error_model_.sigma).all()
