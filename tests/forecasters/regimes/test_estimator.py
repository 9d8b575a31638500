"""The HMM forecaster on simulated regimes: parameters, forecasts, intervals, tables."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tsar import HMM

MEANS, STDS = np.array([0.0, 5.0]), np.array([0.5, 1.5])
TRANSMAT = np.array([[0.95, 0.05], [0.1, 0.9]])
Floats = np.ndarray[Any, Any]


def regimes(length: int, seed: int = 0) -> tuple[Floats, Floats]:
    """A series that switches between two levels, and the regime at each point."""
    generator = np.random.default_rng(seed)
    state = np.zeros(length, dtype=int)
    for step in range(1, length):
        state[step] = generator.random() < TRANSMAT[state[step - 1], 1]
    return MEANS[state] + STDS[state] * generator.normal(size=length), state


def test_a_season_is_forecast_on_top_of_the_regimes() -> None:
    series, _ = regimes(600)
    season = np.tile([2.0, 0.0, -2.0], 200)
    seasonal = HMM(2, season_length=3, horizon=6, random_state=0).fit(series + season)
    plain = HMM(2, season_length=1, horizon=6, random_state=0).fit(series)
    np.testing.assert_allclose(
        seasonal.predict() - np.tile([2.0, 0.0, -2.0], 2), plain.predict(), atol=0.4
    )


# --- forecasts --------------------------------------------------------------------------------


def test_simulated_parameters_and_regimes_are_recovered() -> None:
    series, state = regimes(3000)
    model = HMM(2, random_state=0).fit(series)
    np.testing.assert_allclose(model.means_[0], MEANS, atol=0.2)
    np.testing.assert_allclose(model.covars_[0], STDS**2, rtol=0.1)
    assert model.n_parameters_.tolist() == [7]
    np.testing.assert_allclose(model.transmat_[0], TRANSMAT, atol=0.03)
    found = model.regimes()["regime"].to_numpy()
    assert (found == state[-len(found) :]).mean() > 0.98


def test_the_number_of_regimes_is_selected_for_each_series() -> None:
    flat = np.random.default_rng(1).normal(size=1000)
    model = HMM(max_components=3, random_state=0).fit(np.stack([flat, regimes(1000)[0]], axis=1))
    assert model.n_components_.tolist() == [1, 2]
    table = model.selection_
    assert table.loc[table["chosen"]].set_index("group")["n_components"].to_dict() == {
        "0": 1,
        "1": 2,
    }
    alone = HMM(max_components=3, random_state=0).fit(flat)
    np.testing.assert_allclose(model.predict()[0, 0], alone.predict()[0], rtol=1e-9)


def test_the_forecast_is_the_mean_of_the_true_mixture() -> None:
    series, state = regimes(5000)
    model = HMM(2, horizon=5, random_state=0).fit(series)
    share = np.eye(2)[state[-1]]
    for step in range(5):
        share = share @ TRANSMAT
        assert model.predict()[step] == pytest.approx(share @ MEANS, abs=0.2)


def test_quantiles_have_their_nominal_coverage() -> None:
    """Of a model that was fitted to the past of the series, over 1500 later forecasts."""
    series, _ = regimes(5000, seed=3)
    model = HMM(2, horizon=4, context_length=60, random_state=0).fit(series[:2000])
    starts = np.arange(2000, 4990, 2)
    contexts = torch.from_numpy(np.stack([series[start - 60 : start] for start in starts]))
    actual = np.stack([series[start : start + 4] for start in starts])
    levels = [0.05, 0.1, 0.5, 0.9, 0.95]
    found = model.forecast(contexts, quantile_levels=levels, series=torch.zeros(len(starts)).long())
    below = (actual[:, :, None] < found.numpy()).mean(axis=0)
    np.testing.assert_allclose(below, np.tile(levels, (4, 1)), atol=0.035)


def test_sample_paths_have_the_quantiles_and_mean_of_the_forecast() -> None:
    series, _ = regimes(500)
    model = HMM(2, horizon=3, random_state=0).fit(series)
    context = torch.from_numpy(series[None])
    paths = model.forecast(context, n_samples=20_000)[0]
    assert paths.shape == (20_000, 3)
    expected = model.forecast(context, quantile_levels=[0.1, 0.5, 0.9])[0]
    sampled = paths.quantile(torch.tensor([0.1, 0.5, 0.9]).double(), dim=0).T
    torch.testing.assert_close(sampled, expected, atol=0.15, rtol=0)
    torch.testing.assert_close(paths.mean(0), model.forecast(context)[0], atol=0.05, rtol=0)
    again = model.forecast(context, n_samples=20_000)[0]
    assert torch.equal(paths, again)
    with pytest.raises(ValueError, match="quantile_levels must be None with n_samples"):
        model.forecast(context, n_samples=5, quantile_levels=[0.5])


def test_missing_points_are_marginalized() -> None:
    series, _ = regimes(400)
    series[50:80] = np.nan
    frame = np.stack([series, regimes(400, seed=1)[0]], axis=1)
    found = HMM(2, horizon=2, random_state=0).fit(frame).predict(level=80)
    assert np.isfinite(found).all()
    alone = HMM(2, horizon=2, random_state=0).fit(series).predict(level=80)
    np.testing.assert_allclose(found[:, 0], alone, rtol=1e-9)


def test_a_global_model_forecasts_new_series() -> None:
    frame = np.stack([regimes(400, seed=seed)[0] * 10**seed for seed in range(3)], axis=1)
    model = HMM(2, scope="global", horizon=1, random_state=0).fit(frame)
    assert model.transmat_.shape == (1, 2, 2)
    np.testing.assert_allclose(model.means_[2], 100 * model.means_[0], rtol=0.3)
    other = regimes(400, seed=7)[0]
    found = model.forecast(
        torch.from_numpy(np.stack([other, other * 100])), series=torch.tensor([-1, -1])
    )
    assert float(found[1, 0]) == pytest.approx(100 * float(found[0, 0]))
    assert float(found[0, 0]) == pytest.approx(
        float(HMM(2, random_state=0).fit(other).predict()[0]), abs=0.5
    )


def test_constant_and_short_series_are_forecast() -> None:
    model = HMM(horizon=2, random_state=0).fit([3.0] * 30)
    np.testing.assert_allclose(model.predict(), 3.0)
    assert np.isfinite(HMM(3, horizon=2, random_state=0).fit([1.0, 2.0]).predict(level=80)).all()


def test_an_outlier_leaves_the_other_regimes_unchanged() -> None:
    series = np.repeat([0.0, 5.0] * 3, 50) + np.random.default_rng(0).normal(size=300)
    outlier = series.copy()
    outlier[10] = 1e6
    options: dict[str, Any] = {"season_length": 1, "horizon": 2, "random_state": 0}
    model = HMM(**options).fit(np.stack([outlier, series], axis=1))
    assert model.n_components_.tolist() == [3, 2]
    np.testing.assert_allclose(model.means_[0], [0.0, 4.9, 1e6], atol=0.1)
    assert np.isnan(model.means_[1, 2]) and np.isnan(model.covars_[1, 2])
    bounds = model.predict(level=80)[..., 1:]
    np.testing.assert_allclose(bounds[:, 0], bounds[:, 1], atol=0.3)
    alone = HMM(**options).fit(series)
    np.testing.assert_array_equal(alone.means_[0], model.means_[1, :2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_components": 0}, "n_components must be an integer of at least 1"),
        ({"scope": "both"}, "scope must be one of"),
        ({"season_length": 0}, "season_length must be an integer"),
        ({"criterion": "r2"}, "criterion must be one of"),
        ({"max_components": 0}, "max_components must be an integer"),
        ({"verbose": -1}, "verbose must be an integer of at least 0"),
    ],
)
def test_invalid_parameters_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HMM().set_params(**change).fit(regimes(50)[0])


def panel(*lengths: int) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame({"unique_id": k, "ds": np.arange(n), "y": regimes(n, seed=k)[0]})
            for k, n in enumerate(lengths)
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_series_of_different_lengths_are_fitted_as_if_alone(seed: int) -> None:
    frame = panel(60, 200, 33, 410, 7)
    model = HMM(2, horizon=2, n_init=2, random_state=seed).fit(frame)
    one = HMM(2, horizon=2, n_init=2, random_state=seed).fit(frame[frame["unique_id"] == 3])
    found = model.predict().set_index("unique_id").loc[3, "HMM"]
    np.testing.assert_allclose(found, one.predict()["HMM"], rtol=1e-9)


def test_padded_states_explain_no_point() -> None:
    """A point between the regimes of the first series, near a mean of the second one's."""
    narrow = np.where(np.arange(200) % 2, 1.0, -1.0)
    narrow = narrow + 0.001 * np.random.default_rng(0).normal(size=200)
    steps = np.repeat([0.0, 5.0, 10.0, 15.0] * 5, 10)
    steps = steps + 0.3 * np.random.default_rng(1).normal(size=200)
    both = np.stack([narrow, steps], axis=1)
    options: dict[str, Any] = {"season_length": 1, "horizon": 2, "n_init": 3, "random_state": 0}
    model = HMM(**options).fit(both)
    assert model.n_components_[0] < model.n_components_[1]
    surprised = both.copy()
    surprised[198, 0] = 0.0
    alone = HMM(int(model.n_components_[0]), **options).fit(narrow)
    np.testing.assert_allclose(
        model.predict(surprised)[:, 0], alone.predict(surprised[:, 0]), atol=1e-6
    )
    assert model.regimes(surprised).query("unique_id == 0")["regime"].max() < model.n_components_[0]


def test_short_series_have_fewer_regimes() -> None:
    assert HMM(random_state=0).fit([1.0, 2.0]).n_components_.tolist() == [1]
    model = HMM(4, random_state=0).fit([1.0, 2.0, 5.0])
    assert model.n_components_.tolist() == [3]
    assert (model.covars_ < 10 * 26 / 9).all()  # the variance of the series is 26 / 9


def test_regimes_are_tabulated_plotted_and_summarized() -> None:
    series, _ = regimes(300)
    times = pd.date_range("2024-01-01", periods=300, freq="D")
    frame = pd.DataFrame({"unique_id": "shop", "ds": times, "y": series})
    model = HMM(2, random_state=0).fit(frame)
    table = model.regimes()
    assert list(table.columns) == ["unique_id", "ds", "y", "regime", "regime-0", "regime-1"]
    assert table["ds"].tolist() == list(times)
    np.testing.assert_allclose(table[["regime-0", "regime-1"]].sum(axis=1), 1)
    ax = model.plot_regimes("shop")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == 2
    assert labels[0].startswith("regime 0 (level ")
    with pytest.raises(ValueError, match="series must be one of those fitted; got 'nobody'"):
        model.plot_regimes("nobody")
    lines = model.summary().splitlines()
    assert lines[1].split() == [
        "series",
        "regime",
        "mean",
        "std",
        "%",
        "of",
        "time",
        "duration",
    ]
    assert lines[2].split()[:2] == ["shop", "0"]


def test_shares_of_time_do_not_depend_on_other_series() -> None:
    rng = np.random.default_rng(0)
    two = np.repeat([0.0, 5.0] * 6, 50) + rng.normal(size=600)
    three = np.repeat([0.0, 8.0, 16.0] * 4, 50) + rng.normal(size=600)
    options: dict[str, Any] = {"season_length": 1, "n_init": 2, "random_state": 0}
    both = HMM(**options).fit(pd.DataFrame({"two": two, "three": three}))
    assert both.n_components_.tolist() == [2, 3]
    alone = HMM(**options).fit(pd.DataFrame({"two": two}))
    cells = [line.split() for line in both.summary().splitlines()]
    assert [row for row in cells if row[0] == "two"] == [
        line.split() for line in alone.summary().splitlines()[2:]
    ]
    for name in ("two", "three"):
        assert sum(float(row[4]) for row in cells if row[0] == name) == pytest.approx(100)


def test_the_summary_shows_infinite_durations_and_zero_standard_deviations() -> None:
    steps = np.repeat([0.0, 8.0, 16.0] * 4, 25) + 0.3 * np.random.default_rng(0).normal(size=300)
    noise = np.random.default_rng(1).normal(size=300)
    frame = pd.DataFrame({"flat": np.full(300, 3.0), "noise": noise, "steps": steps})
    lines = HMM(season_length=1, n_init=2, random_state=0).fit(frame).summary().splitlines()
    rows = {cells[0]: cells for cells in map(str.split, lines)}
    assert rows["flat"] == ["flat", "0", "3", "0", "100", "inf"]
    assert rows["noise"][1] == "0" and rows["noise"][-2:] == ["100", "inf"]


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0, -1e6])
def test_a_constant_series_has_intervals_of_zero_width_in_any_unit(level: float) -> None:
    model = HMM(horizon=2, random_state=0).fit(np.full(60, level))
    np.testing.assert_allclose(
        model.predict(level=80), np.full((2, 3), level), rtol=1e-12, atol=1e-70
    )
    moved = model.update(np.append(np.full(60, level), level + 5.0))
    assert np.isfinite(moved.predict(level=80)).all()
