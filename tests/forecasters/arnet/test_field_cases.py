"""Series on which earlier versions went wrong: gaps, short series, long flat stretches."""

import numpy as np
import pandas as pd
import pytest

from tsar import ARNet, SeasonalNaive

WEEK = np.array([0, 1, 2, 3, 8, 12, -6.0])


def daily(values: np.ndarray) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2024-01-01", periods=len(values)))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_values_that_are_missing_at_random_cost_little(share: float) -> None:
    errors: dict[str, list[float]] = {"ARNet": [], "SeasonalNaive": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y = 20 + np.tile(WEEK, 31)[:214] + rng.normal(size=214) * 0.5
        z = y[:200].copy()
        z[rng.random(200) < share] = np.nan
        for name, model in (
            ("ARNet", ARNet(horizon=14)),
            ("SeasonalNaive", SeasonalNaive(horizon=14)),
        ):
            errors[name].append(np.abs(model.fit(daily(z)).predict().to_numpy() - y[200:]).mean())
    assert np.median(errors["ARNet"]) < min(0.5, np.median(errors["SeasonalNaive"]))
    assert max(errors["ARNet"]) < 0.8


@pytest.mark.parametrize("gap", ["start", "end", "middle"])
def test_long_gaps_at_any_place_are_bridged(gap: str) -> None:
    rng = np.random.default_rng(0)
    y = 20 + np.tile(WEEK, 31)[:214] + rng.normal(size=214) * 0.5
    z = y[:200].copy()
    z[{"start": slice(0, 30), "end": slice(190, 200), "middle": slice(90, 120)}[gap]] = np.nan
    forecast = ARNet(horizon=14).fit(daily(z)).predict()
    assert np.abs(forecast.to_numpy() - y[200:]).mean() < 0.8
    assert forecast.index[0] == pd.Timestamp("2024-07-19")


@pytest.mark.parametrize("n", [12, 18, 30])
def test_intervals_of_short_series_hold(n: int) -> None:
    values = np.random.default_rng(11).normal(10, 1, (200, n + 6))
    index = pd.date_range("2020-01-01", periods=n, freq="MS")
    frame = pd.DataFrame(values[:, :n].T, index=index).rename(columns=str)
    forecast = ARNet(horizon=6).fit(frame).predict(level=[80, 95]).to_numpy()
    bounds = forecast.reshape(6, 200, 5).transpose(1, 0, 2)
    for position, low, high in ((1, 0.78, 0.9), (3, 0.93, 1.0)):
        actual = values[:, n:]
        inside = (bounds[..., position] <= actual) & (actual <= bounds[..., position + 1])
        assert low < inside.mean() < high


def test_one_short_series_changes_no_other() -> None:
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=120)
    stores = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": rng.normal(100, 10, 120)})
        for k in range(6)
    ]
    short = pd.DataFrame({"unique_id": "new", "ds": days[-5:], "y": rng.normal(100, 10, 5)})
    alone = ARNet(horizon=7).fit(pd.concat(stores)).predict(level=80)
    with pytest.warns(UserWarning, match="series 'new' has only 5 points"):
        among = ARNet(horizon=7).fit(pd.concat([*stores, short])).predict(level=80)
    same = among[among["unique_id"] != "new"].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone, check_exact=True)


def test_declining_sales_are_not_forecast_below_zero() -> None:
    forecast = ARNet(horizon=30).fit(daily(np.arange(1000.0, 150, -100))).predict(level=95)
    assert forecast.to_numpy().min() >= 0
