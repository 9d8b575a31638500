"""ARNet over missing points: forecasts and intervals, against a slow walk over the whole series."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

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


def bridged(y: Floats, coef: Floats, constant: float) -> Floats:
    """Every missing point is the one-step forecast of those before it; the mean stands before."""
    full = np.concatenate([np.full(len(coef), np.nanmean(y)), y])
    for place in range(len(coef), len(full)):
        if np.isnan(full[place]):
            full[place] = constant + coef @ full[place - len(coef) : place][::-1]
    return full[len(coef) :]


def recursion(y: Floats, coef: Floats, constant: float, horizon: int) -> Floats:
    points = list(y)
    for _ in range(horizon):
        points.append(constant + coef @ np.array(points[-len(coef) :])[::-1])
    return np.array(points[len(y) :])


GAPS = {"one": [-11], "several": [-3, -5, -13, -14, -20], "old": [10, 11, -25, -26, -2]}


@pytest.mark.parametrize("missing", GAPS.values(), ids=list(GAPS))
def test_a_forecast_bridges_gaps_as_a_walk_over_the_whole_series(missing: list[int]) -> None:
    y = trend(missing)
    model = ARNet(13, horizon=4).fit(y)
    coef, constant = model.coef_[0], model.intercept_[0]
    wanted = recursion(bridged(y.to_numpy(), coef, constant), coef, constant, 4)
    np.testing.assert_allclose(model.predict(), wanted, rtol=1e-10)
    np.testing.assert_allclose(model.predict(y), wanted, rtol=1e-10)


def test_direct_forecasts_bridge_gaps_by_their_first_equation() -> None:
    y = trend(GAPS["several"])
    model = ARNet(13, horizon=4, strategy="direct", sparsity=None, ridge=0.1).fit(y)
    full = bridged(y.to_numpy(), model.coef_[0, 0], model.intercept_[0, 0])
    wanted = model.intercept_[0] + model.coef_[0] @ full[-13:][::-1]
    np.testing.assert_allclose(model.predict(), wanted, rtol=1e-10)


def test_series_that_share_an_equation_are_bridged_each_in_its_own_units() -> None:
    wide = pd.DataFrame({"a": trend(GAPS["several"]), "b": 0.1 * trend([-2, -30], seed=1)})
    model = ARNet(13, horizon=3, scope="global").fit(wide)
    found = model.predict()
    for name in wide:
        y = wide[name].to_numpy()
        mean, deviation = np.nanmean(y), np.nanstd(y)
        coef, constant = model.coef_[0], model.intercept_[0]
        full = bridged((y - mean) / deviation, coef, constant)
        wanted = mean + deviation * recursion(full, coef, constant, 3)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-8)


def test_covariates_enter_what_bridges_a_gap() -> None:
    noise = np.random.default_rng(3).normal(size=(3, 200))
    past, future = noise[0], noise[1]
    y = np.zeros(200)
    for t in range(2, 200):
        y[t] = 5 + 0.6 * y[t - 1] + past[t - 1] + 2 * future[t] + 0.1 * noise[2, t]
    y[[-3, -4, -9]] = NAN
    frame = pd.DataFrame({"ds": np.arange(200), "y": y, "p": past, "f": future})
    columns = Columns(past=("p",), future=("f",))
    model = ARNet(4, sparsity=None, columns=columns).fit(frame[:-1])
    full, (behind,), ahead = y.copy(), model.past_coef_[0], model.future_coef_[0]
    for t in range(188, 200):
        if np.isnan(full[t]) or t == 199:
            lags = slice(t - 4, t)
            full[t] = model.intercept_[0] + model.coef_[0] @ full[lags][::-1]
            full[t] += behind @ past[lags][::-1] + ahead[0] * future[t]
    found = model.predict(future=frame[["ds", "f"]].iloc[-1:])
    assert found["ARNet"][0] == pytest.approx(full[199], rel=1e-8)


def test_where_no_stretch_is_complete_the_walk_begins_four_contexts_back() -> None:
    missing = np.flatnonzero(np.random.default_rng(0).random(240) < 0.2)
    y = trend(list(missing[missing < 238]))
    model = ARNet(13, scope="local", ridge=1e-3, sparsity=None).fit(trend([5]))
    coef, constant = model.coef_[0], model.intercept_[0]
    wanted = recursion(bridged(y.to_numpy(), coef, constant), coef, constant, 1)
    np.testing.assert_allclose(model.predict(y), wanted, atol=0.5)


def test_a_short_series_is_forecast_alike_beside_one_with_gaps() -> None:
    model = ARNet(13, horizon=3, scope="global").fit(trend([]))
    short = trend([]).iloc[:6].to_numpy()
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": short})
    other = pd.DataFrame({"unique_id": "b", "ds": range(240), "y": trend([-9]).to_numpy()})
    model = ARNet(13, horizon=3, scope="global").fit(other)
    both = model.predict(pd.concat([frame, other]))
    alone = model.predict(frame)
    np.testing.assert_allclose(both["ARNet"][:3], alone["ARNet"], rtol=1e-12)


def test_forecasts_over_gaps_are_as_good_and_their_intervals_as_wide_as_they_say() -> None:
    random = np.random.default_rng(1)
    errors, covered = [], []
    for seed in range(60):
        whole = trend([], seed)
        y = whole.where(random.random(len(whole)) > 0.05)
        y.iloc[-2] = whole.iloc[-2]
        found = ARNet(13).fit(y.iloc[:-1]).predict(level=80).iloc[0]
        errors.append(found["ARNet"] - whole.iloc[-1])
        covered.append(found["ARNet-lo-80"] <= whole.iloc[-1] <= found["ARNet-hi-80"])
    assert np.sqrt(np.mean(np.square(errors))) < 1.6
    assert 0.6 < np.mean(covered) < 0.9  # 71 % where nothing is missing


def width_of_shocks(coef: Floats, maps: Floats, gaps: list[int]) -> Floats:
    """What errors of bridged points, each 1 by itself, give to each step: slow and obvious."""
    length, order = max(gaps) + 1, len(coef)
    total = np.zeros(len(maps))
    for shocked in gaps:
        error = np.zeros(length + order)  # by points before the horizon, 1 the newest
        for back in range(length, 0, -1):
            if back in gaps:
                handed = sum(
                    coef[k] * error[back + k + 1] for k in range(order) if back + k < length
                )
                error[back] = handed + (back == shocked)
        seen = maps @ np.array([error[back] for back in range(1, order + 1)])
        total += seen**2
    return total


@pytest.mark.parametrize("strategy", ["recursive", "direct"])
def test_intervals_count_the_errors_of_bridged_points(strategy: str) -> None:
    gaps = [3, 4, 6, 20]
    y = trend([-back for back in gaps])
    model = ARNet(7, horizon=3, strategy=strategy, sparsity=None, ridge=1e-6).fit(y)  # type: ignore[arg-type]
    errors = model.errors_
    sigma = errors.sigma[0] * (1 + errors.estimated[0]).sqrt() * model.scaling_.deviation[0]
    sigma = sigma.numpy()
    first = sigma[0]
    if strategy == "direct":
        coef, maps, own = model.coef_[0, 0], model.coef_[0], sigma**2
    else:
        coef = model.coef_[0]
        maps = np.array([recursion(unit[::-1], coef, 0.0, 3) for unit in np.eye(7)]).T
        own = first**2 * np.cumsum([1.0, maps[0, 0] ** 2, maps[1, 0] ** 2])
    told = np.sqrt(own + first**2 * width_of_shocks(coef, maps, gaps))
    found = model.predict(level=80)
    quantile = student_t.ppf(0.9, errors.freedom[0].numpy())
    half = (found["ARNet-hi-80"] - found["ARNet-lo-80"]) / 2 / quantile
    np.testing.assert_allclose(half, told, rtol=1e-8)


def test_a_gap_that_a_forecast_does_not_see_changes_no_width() -> None:
    near, far = (ARNet(3, sparsity=None).fit(trend(gap)).predict(level=80) for gap in ([], [-9]))
    width = [float(f["ARNet-hi-80"].iloc[0] - f["ARNet-lo-80"].iloc[0]) for f in (near, far)]
    assert width[0] == pytest.approx(width[1], rel=0.05)
