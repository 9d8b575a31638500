"""Models of first differences: forecasts, gaps, and their selection over models of levels."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter

from tsar import HMM
from tsar.data.panel import Panel
from tsar.forecasters.regimes.differencing import first_differences

Floats = NDArray[np.float64]


def growth(length: int, seed: int = 0) -> Floats:
    """Differences of regimes of about 20 steps, with mean 1 or -0.5, and noise."""
    rng = np.random.default_rng(seed)
    state = (rng.random(length) < 0.05).cumsum() % 2
    return np.where(state == 0, 1.0, -0.5) + rng.normal(0, 0.3, length)


def test_first_differences_are_missing_at_the_start_of_a_series_and_next_to_gaps() -> None:
    frame = pd.DataFrame(
        {"unique_id": list("aaaaabb"), "ds": [0, 1, 2, 3, 4, 0, 1], "y": [1, 2, None, 5, 6, 9, 7]}
    )
    found = first_differences(Panel.from_frame(frame)).values
    np.testing.assert_array_equal(found, [np.nan, 1, np.nan, np.nan, 1, np.nan, -2])


def test_a_line_continues_with_intervals_of_zero_width() -> None:
    line = HMM(horizon=4, differences=1, random_state=0).fit(3 + 2.0 * np.arange(50))
    np.testing.assert_allclose(line.predict(level=90), np.tile([[103], [105], [107], [109]], 3))


def test_intervals_have_their_nominal_coverage_and_agree_with_sample_paths() -> None:
    horizon, series = 12, growth(12000).cumsum()
    model = HMM(2, horizon=horizon, differences=1, context_length=200, random_state=0)
    model.fit(series[:2000])
    origins = np.arange(2000, 11980, 10)
    contexts = torch.tensor(np.stack([series[k - 201 : k] for k in origins]))
    bounds = model.forecast(contexts, quantile_levels=[0.1, 0.9])
    actual = torch.tensor(np.stack([series[k : k + horizon] for k in origins]))
    covered = ((actual >= bounds[..., 0]) & (actual <= bounds[..., 1])).numpy()
    assert covered.mean() == pytest.approx(0.8, abs=0.02)
    paths = np.asarray(model.forecast(contexts[:5], n_samples=4000))
    low, high = np.moveaxis(np.asarray(bounds[:5]), -1, 0)
    max_width = (high - low).max()
    sampled = np.quantile(paths, [0.1, 0.9], axis=1)
    assert np.abs(sampled[0] - low).max() < 0.04 * max_width
    assert np.abs(sampled[1] - high).max() < 0.04 * max_width
    assert paths.mean(axis=1)[:, -1] == pytest.approx(
        np.asarray(model.forecast(contexts[:5]))[:, -1], abs=0.03 * max_width
    )


def test_a_random_walk_is_forecast_by_its_newest_value_without_a_drift_warning() -> None:
    walk = 1e6 + np.random.default_rng(0).normal(size=1000).cumsum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = HMM(horizon=5, differences=1, random_state=0).fit(walk)
        auto = HMM(horizon=5, random_state=0).fit(walk)
    assert np.abs(model.predict() - walk[-1]).max() < 1.0
    np.testing.assert_allclose(auto.predict(), model.predict())
    with pytest.warns(UserWarning, match="set differences='auto', or use another"):
        HMM(horizon=5, differences=0, random_state=0).fit(walk)


def ar1_series(coef: float, length: int, n_series: int = 20) -> Floats:
    errors = np.random.default_rng(0).normal(size=(length + 200, n_series))
    return np.asarray(lfilter([1], [1, -coef], errors, axis=0))[200:]


@pytest.mark.parametrize(
    ("series", "low", "high"),
    [
        (ar1_series(1.0, 100), 0.8, 1),
        (ar1_series(0.0, 100), 0, 0),
        (ar1_series(0.5, 200), 0, 0.3),
        (ar1_series(1.0, 200) + 50.0 * (np.arange(200)[:, None] == 100), 0.9, 1),
        (2.0 * np.arange(200)[:, None] * (np.arange(200)[:, None] != 100) + np.ones(3), 1, 1),
        (5.0 * np.arange(18)[:, None] + ar1_series(0.0, 18), 0.9, 1),
        (ar1_series(0.0, 200) + 1e6 * (np.arange(200)[:, None] == 100), 0, 0.1),
    ],
    ids=(
        "walks",
        "noise",
        "coef 0.5",
        "walks, outlier",
        "trend, outlier",
        "short trends",
        "noise, outlier",
    ),
)
def test_differences_are_selected_where_their_one_step_error_is_lower(
    series: Floats, low: float, high: float
) -> None:
    share = HMM(random_state=0, n_init=2).fit(series).differences_.mean()
    assert low <= share <= high


def test_a_season_is_forecast_on_top_of_growth() -> None:
    steps = np.arange(240)
    series = 0.5 * steps + np.tile([0.0, 3.0, 5.0, 1.0], 60)
    series = series + np.random.default_rng(0).normal(0, 0.05, 240)
    model = HMM(1, season_length=4, horizon=8, differences=1, random_state=0).fit(series[:232])
    np.testing.assert_allclose(model.predict(), series[232:], atol=0.5)


def test_missing_points_at_the_end_lengthen_the_horizon() -> None:
    series = growth(300).cumsum()
    model = HMM(2, horizon=3, differences=1, random_state=0).fit(series)
    gap = np.r_[series, np.nan, np.nan]
    late = model.update(np.array([np.nan, np.nan])).predict(level=80)
    model.fit(series)
    longer = model.predict(horizon=5, level=80)
    np.testing.assert_allclose(late, longer[2:])
    with pytest.raises(ValueError, match="context must end with an observed point"):
        model.forecast(torch.tensor(gap[None]), n_samples=3)


def test_a_global_model_forecasts_new_series_at_any_level() -> None:
    frame = pd.DataFrame({name: growth(300, k).cumsum() for k, name in enumerate("abc")})
    model = HMM(2, horizon=4, differences=1, scope="global", random_state=0).fit(frame)
    other = torch.tensor(growth(300, 7).cumsum())[None]
    new = torch.tensor([-1])
    low, high = model.forecast(other, series=new), model.forecast(1e4 + other, series=new)
    torch.testing.assert_close(high - 1e4, low, rtol=0, atol=1e-6)


def test_regimes_of_differences_are_tabulated_plotted_and_summarized() -> None:
    series = np.repeat([1.0, -0.5] * 5, 20).cumsum() + np.random.default_rng(0).normal(0, 0.05, 200)
    model = HMM(2, horizon=3, differences=1, random_state=0).fit(series)
    table = model.regimes()
    np.testing.assert_allclose(table["y"], series)
    expected = np.repeat([1, 0] * 5, 20)
    assert (table["regime"].to_numpy() == expected).mean() > 0.97
    assert "mean change" in model.summary()
    axes = model.plot_regimes()
    assert any("change" in text.get_text() for text in axes.get_legend().get_texts())


def test_series_of_one_point_and_constant_series_are_forecast() -> None:
    frame = pd.DataFrame(
        {"unique_id": ["a"] + ["b"] * 30, "ds": [0, *range(30)], "y": [5.0, *([2.0] * 30)]}
    )
    model = HMM(2, horizon=2, differences=1, random_state=0).fit(frame)
    np.testing.assert_allclose(model.predict()["HMM"], [5, 5, 2, 2])


def test_series_with_less_than_two_differences_are_modelled_by_their_levels() -> None:
    points = np.where(np.arange(60) % 2, np.nan, np.random.default_rng(0).normal(size=60))
    for differences in ("auto", 1):
        for series in (np.array([3.0]), np.array([3.0, 5.0]), points):
            model = HMM(1, differences=differences, horizon=2, random_state=0).fit(series)  # type: ignore[arg-type]
            assert model.differences_.tolist() == [0]
            assert np.isfinite(model.predict(level=80)).all()


def test_a_model_of_levels_samples_after_a_missing_end() -> None:
    model = HMM(2, horizon=3, random_state=0).fit(mixed_frame())
    context = torch.tensor(mixed_frame()["jumps"].to_numpy())[None].clone()
    context[0, -1] = torch.nan
    paths = model.forecast(context, n_samples=5, series=torch.tensor([0]))
    assert paths.isfinite().all()


@pytest.mark.wrong_types
def test_invalid_differences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differences must be one of \['auto', 0, 1\]; got 2"):
        HMM(differences=2).fit(growth(50))  # type: ignore[arg-type]


def mixed_frame() -> pd.DataFrame:
    """A level that jumps, a trend with noise, noise alone."""
    rng = np.random.default_rng(0)
    jumps = np.repeat([0.0, 8.0] * 4, 30) + rng.normal(size=240)
    trend = 0.5 * np.arange(240) + rng.normal(size=240).cumsum()
    return pd.DataFrame({"jumps": jumps, "trend": trend, "noise": rng.normal(size=240)})


def test_drifting_series_are_modelled_by_differences_and_others_by_levels() -> None:
    frame = mixed_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = HMM(horizon=6, random_state=0).fit(frame)
    assert model.differences_.tolist() == [0, 1, 0]
    joint = model.predict(level=80)
    for name, differences in (("jumps", 0), ("trend", 1), ("noise", 0)):
        alone = HMM(horizon=6, differences=differences, random_state=0).fit(frame[[name]])  # type: ignore[arg-type]
        own = alone.predict(level=80)
        columns = [column for column in joint.columns if column[0] == name]
        assert len(columns) == 3
        np.testing.assert_allclose(joint[columns], own[columns], rtol=1e-9)
        groups = model.selection_["group"] == name
        kept = model.selection_.loc[groups, ["n_components", "chosen", "log_density"]]
        mine = alone.selection_[["n_components", "chosen", "log_density"]]
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), mine)
    regimes = model.regimes()
    assert regimes.groupby("unique_id").size().tolist() == [240] * 3
    summary = model.summary()
    assert "mean change" in summary
    assert "regime mean mean change" in " ".join(summary.split())


def test_a_global_model_of_drifting_series_is_one_of_differences() -> None:
    walks = np.random.default_rng(0).normal(size=(300, 4)).cumsum(axis=0)
    model = HMM(1, horizon=3, scope="global", random_state=0).fit(walks)
    assert model.differences_.tolist() == [1]
    assert np.abs(model.predict() - walks[-1]).max() < 1.0
    white_noise = HMM(1, horizon=3, scope="global", random_state=0).fit(np.diff(walks, axis=0))
    assert white_noise.differences_.tolist() == [0]


def test_sample_paths_of_levels_and_differences_have_the_forecast_as_mean() -> None:
    model = HMM(1, horizon=2, random_state=0).fit(mixed_frame())
    contexts = torch.tensor(mixed_frame().to_numpy().T.copy())
    paths = model.forecast(contexts, n_samples=500)
    expected = model.forecast(contexts)
    torch.testing.assert_close(paths.mean(dim=1), expected, rtol=0, atol=0.6)
