"""Combination of equations: each part against a slow oracle, and the laws of the whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from statsmodels.tsa.seasonal import seasonal_decompose

import tsar
from tsar import ARNet
from tsar.autoregression.nested_orders import fit_nested
from tsar.data.panel import Panel
from tsar.forecasters.arnet.combination.choice import count_origins, members_of, seasons_of
from tsar.forecasters.arnet.combination.members import Member, fit_member, forecast_member
from tsar.forecasters.arnet.combination.padded import (
    interpolate,
    length_classes,
    undo_seasonal_difference,
)
from tsar.forecasters.arnet.combination.profile import Profile
from tsar.forecasters.arnet.combination.rolling import weighted_mean
from tsar.forecasters.arnet.combination.season_search import find_seasons
from tsar.forecasters.arnet.combination.smoothing import FACTORS, smooth

Array = NDArray[np.float64]
MONTHS = pd.date_range("2010", periods=96, freq="MS")


def monthly(seed: int, points: int = 96, level: float = 20.0) -> Array:
    rng = np.random.default_rng(seed)
    wave = 4 * np.sin(np.arange(points) * 2 * np.pi / 12)
    return level + wave + 0.1 * np.arange(points) + rng.normal(size=points)


def long_frame(*series: Array, times: pd.DatetimeIndex = MONTHS) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": times[-len(y) :], "y": y})
        for i, y in enumerate(series)
    ]
    return pd.concat(parts, ignore_index=True)


def nested_oracle(y: Array, max_order: int, fit_intercept: bool) -> tuple[Array, float]:
    """Least squares of every order on the same targets; the order of the least AICc."""
    best, result = np.inf, (np.zeros(max_order), 0.0)
    target = y[max_order:]
    for order in range(max_order + 1):
        lags = [y[max_order - lag : len(y) - lag] for lag in range(1, order + 1)]
        ones = [np.ones_like(target)] if fit_intercept else []
        design = np.array([*lags, *ones]).T.reshape(len(target), -1)
        coef = np.linalg.lstsq(design, target, rcond=None)[0]
        rss = float(np.square(target - design @ coef).sum())
        k, n = design.shape[1] + 1, len(target)
        if n - k - 1 > 0 and (value := n * np.log(rss) + 2 * k * n / (n - k - 1)) < best:
            best, intercept = value, float(coef[-1]) if fit_intercept else 0.0
            result = (np.pad(coef[:order], (0, max_order - order)), intercept)
    return result


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_nested_orders_are_those_of_separate_fits(fit_intercept: bool) -> None:
    rng = np.random.default_rng(0)
    series = [rng.normal(size=n).cumsum() if n % 2 else rng.normal(size=n) for n in (20, 31, 60)]
    values = torch.full((3, 60), torch.nan, dtype=torch.float64)
    for row, y in enumerate(series):
        values[row, 60 - len(y) :] = torch.from_numpy(y)
    max_orders = torch.tensor([3, 5, 5])
    fitted = fit_nested(values, max_orders, 5, fit_intercept=fit_intercept)
    for row, y in enumerate(series):
        coef, intercept = nested_oracle(y, int(max_orders[row]), fit_intercept)
        np.testing.assert_allclose(fitted.coef[row, : len(coef)], coef, atol=1e-7)
        np.testing.assert_allclose(fitted.intercept[row], intercept, atol=1e-7)


def test_a_constant_series_has_order_0() -> None:
    fitted = fit_nested(torch.full((1, 20), 7.0, dtype=torch.float64), torch.tensor([3]), 3)
    assert not fitted.coef.any()
    assert fitted.intercept.tolist() == [7.0]


def test_smoothing_is_the_recursion() -> None:
    y = monthly(0, 75)
    values = torch.from_numpy(np.pad(y, (10, 0), constant_values=np.nan))[None]
    fitted = smooth(values)
    for column, factor in enumerate(FACTORS):
        level, sse = y[:3].mean(), 0.0
        for value in y:
            sse += (value - level) ** 2
            level += factor * (value - level)
        np.testing.assert_allclose(fitted.level[0, column], level)
        np.testing.assert_allclose(fitted.sse[0, column], sse)


@pytest.mark.parametrize("model", ["additive", "multiplicative"])
@pytest.mark.parametrize("season", [4, 7, 12])
def test_the_profile_is_the_classical_one_shrunk(model: str, season: int) -> None:
    y = monthly(1)
    multiplicative = torch.tensor([model == "multiplicative"])
    profile = Profile.of(torch.from_numpy(y)[None], season, multiplicative)
    classical = seasonal_decompose(y, model=model, period=season).seasonal
    newest_first = classical[::-1][:season]
    neutral = 1.0 if model == "multiplicative" else 0.0
    deviation, expected = profile.phases[0].numpy() - neutral, newest_first - neutral
    shrinkage = (deviation @ expected) / (expected @ expected)
    np.testing.assert_allclose(deviation, shrinkage * expected, atol=1e-12)
    assert 0 <= shrinkage <= 1
    if season == 12:
        assert shrinkage > 0.9
    values = torch.from_numpy(y)[None]
    later = profile.restore(profile.remove(values)[:, -season:])
    np.testing.assert_allclose(later, values[:, -season:])


def test_noise_has_no_profile() -> None:
    noise = torch.from_numpy(np.random.default_rng(3).normal(size=(50, 60)))
    profile = Profile.of(noise, 12, torch.zeros(50, dtype=torch.bool))
    assert float(profile.phases.square().mean()) < 0.1


def test_seasonal_differences_are_undone() -> None:
    y = torch.from_numpy(monthly(2))[None]
    changes = y[:, 12:] - y[:, :-12]
    np.testing.assert_allclose(
        undo_seasonal_difference(changes[:, -30:], y[:, :-30], 12), y[:, -30:]
    )


def test_inner_gaps_are_interpolated() -> None:
    y = pd.Series(monthly(4, 30))
    y[[5, 6, 20, 29]] = np.nan
    values = torch.from_numpy(np.pad(y.to_numpy(), (3, 0), constant_values=np.nan))[None]
    np.testing.assert_allclose(interpolate(values)[0, 3:], y.interpolate())
    assert interpolate(values)[0, :3].isnan().all()


def test_the_class_of_a_series_depends_on_its_own_length() -> None:
    lengths = torch.tensor([5, 12, 13, 100, 3000])
    classes = {int(row): width for rows, width in length_classes(lengths, 1000) for row in rows}
    assert [classes[row] for row in range(5)] == [6, 12, 16, 128, 1024]


@pytest.mark.parametrize("member", [*members_of((12,)), *members_of(()), *members_of((4, 12))])
def test_members_forecast_a_clear_pattern(member: Member) -> None:
    y = monthly(5, 108, level=40.0)
    values = torch.from_numpy(y[:96])[None]
    forecast = forecast_member(member, fit_member(member, values), values, 12)[0].numpy()
    level = np.abs(y[96:] - y[:96].mean()).mean()
    assert np.abs(forecast - y[96:]).mean() < level


def test_unknown_forecasts_have_no_weight() -> None:
    point = torch.tensor([[[1.0, 2.0], [3.0, torch.nan]]])
    np.testing.assert_allclose(weighted_mean(point, torch.tensor([[0.25, 0.75]])), [[2.5, 2.0]])


def test_origins_grow_with_the_series() -> None:
    lengths = torch.tensor([10, 40, 60, 240, 5000])
    assert count_origins(lengths, (12,), 12).tolist() == [0, 1, 2, 9, 20]


@pytest.mark.parametrize("points", [90, 130, 170, 210, 260, 310, 360])
def test_any_number_of_origins_is_compared(points: int) -> None:
    times = pd.date_range("1990", periods=points, freq="MS")
    model = ARNet(horizon=6).fit(long_frame(monthly(18, points), times=times))
    assert model.combination_ is not None
    assert model.combination_.parts[0].n_origins.tolist() == [points // 25]
    assert bool(model.combination_.parts[0].weights.isfinite().all())


def test_a_long_stationary_autoregression_keeps_its_equation() -> None:
    rng = np.random.default_rng(0)
    noise, y = rng.normal(size=(1200, 8)), np.zeros((1200, 8))
    for t in range(2, 1200):
        y[t] = 1.2 * y[t - 1] - 0.5 * y[t - 2] + noise[t]
    frame = pd.DataFrame(20 + y, index=pd.date_range("1900", periods=1200, freq="MS"))
    model = ARNet(horizon=12).fit(frame)
    assert model.combination_ is not None
    assert float(model.combination_.parts[0].weights[:, 0].mean()) > 0.7


def test_a_level_that_shifts_is_followed() -> None:
    rng = np.random.default_rng(1)
    y = np.r_[np.zeros(60), np.full(36, 50.0)] + rng.normal(size=96) + 100
    frame = long_frame(y)
    combined, one = (ARNet(horizon=12, combine=way).fit(frame) for way in ("auto", None))
    errors = [np.abs(model.predict()["ARNet"] - 150).mean() for model in (combined, one)]
    assert errors[0] < 6
    assert errors[0] <= errors[1] + 1


@pytest.mark.filterwarnings("ignore:series 'z' has only 5 points")
def test_nothing_of_another_series_matters() -> None:
    a, b = monthly(6), monthly(7)
    alone = ARNet(horizon=6).fit(long_frame(a, b)).predict(level=80)
    others = {
        "short": monthly(8)[:5],
        "constant": np.full(96, 3.0),
        "wild": 1e12 * monthly(9) ** 3,
    }
    for name, other in others.items():
        frame = pd.concat([long_frame(a, b), long_frame(other).assign(unique_id="z")])
        with_other = ARNet(horizon=6).fit(frame).predict(level=80)
        kept = with_other[with_other["unique_id"] != "z"]
        pd.testing.assert_frame_equal(kept, alone, check_exact=True, obj=name)
        assert with_other.notna().all(axis=None)
    shuffled = long_frame(a, b).sample(frac=1, random_state=0)
    again = ARNet(horizon=6).fit(shuffled).predict(level=80)
    again = again.sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(again, alone, check_exact=True)


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_scale_is_only_a_unit(scale: float) -> None:
    y = monthly(10)
    plain = ARNet(horizon=6).fit(long_frame(y)).predict(level=80).iloc[:, 2:]
    scaled = ARNet(horizon=6).fit(long_frame(scale * y)).predict(level=80).iloc[:, 2:]
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-9)


def test_weights_see_only_the_past() -> None:
    y = monthly(11)
    model = ARNet(horizon=6).fit(long_frame(y[:90], y[:90]))
    later = ARNet(horizon=6).fit(long_frame(y[:90], np.r_[y[6:84], y[84:90] + 30]))
    assert model.combination_ is not None
    assert later.combination_ is not None
    assert torch.equal(
        model.combination_.parts[0].weights[0], later.combination_.parts[0].weights[0]
    )
    assert not torch.equal(
        model.combination_.parts[0].weights[1], later.combination_.parts[0].weights[1]
    )


def test_a_saved_combination_forecasts_the_same(tmp_path: Path) -> None:
    model = ARNet(horizon=6).fit(long_frame(monthly(12), monthly(13, 50)))
    expected = model.predict(level=[80, 95])
    model.save(tmp_path / "model")
    pd.testing.assert_frame_equal(tsar.load(tmp_path / "model").predict(level=[80, 95]), expected)
    newer = model.predict(long_frame(monthly(12), monthly(13, 50)), level=[80, 95])
    pd.testing.assert_frame_equal(newer, expected)


def test_the_summary_shows_members_weights_and_equations() -> None:
    model = ARNet(horizon=6).fit(long_frame(monthly(14), monthly(15)))
    text = model.summary("s1")
    for words in ("weighted by errors at 3 earlier origins", "differences 12", "L1", "season 12"):
        assert words in text
    assert "weight of levels" in model.summary()
    assert "Combined" not in ARNet(3, horizon=6).fit(long_frame(monthly(14))).summary()


def test_the_combination_is_only_for_what_is_left_open() -> None:
    frame = long_frame(monthly(16))
    given: list[dict[str, object]] = [
        {"order": 3},
        {"sparsity": None},
        {"combine": None},
        {"strategy": "direct"},
        {"scope": "global"},
    ]
    for options in given:
        assert ARNet(horizon=3, **options).fit(frame).combination_ is None  # type: ignore[arg-type]
    assert ARNet(horizon=3).fit(frame).combination_ is not None


@pytest.mark.wrong_types
def test_an_unknown_way_to_combine_is_refused() -> None:
    with pytest.raises(ValueError, match="combine must be one of"):
        ARNet(combine="all").fit(long_frame(monthly(16)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("freq", "seasons"),
    [("h", (24, 168)), ("30min", (48, 336)), ("D", (7,)), ("W", (52,)), ("MS", (12,)), ("YS", ())],
)
def test_seasons_are_those_of_the_frequency(freq: str, seasons: tuple[int, ...]) -> None:
    times = pd.date_range("2020", periods=9, freq=freq)
    panel = tsar.data.panel.Panel.from_frame(pd.Series(range(9), index=times))
    assert seasons_of(panel.labels.frequency) == seasons


def test_seasons_can_be_given() -> None:
    y = monthly(17)
    dated = ARNet(horizon=6).fit(long_frame(y)).predict()["ARNet"]
    given = ARNet(horizon=6, season_length=12).fit(pd.Series(y)).predict()
    assert np.abs(given.to_numpy() - dated.to_numpy()).max() < 1  # the default orders differ
    with pytest.raises(ValueError, match="season_length must be an integer of at least 1"):
        ARNet(season_length=(7, 0)).fit(y)


def test_a_season_is_found_where_times_are_integers() -> None:
    wave = 8 * np.sin(np.arange(100) * 2 * np.pi / 12)
    clear, none = monthly(21, 100) + wave, np.random.default_rng(22).normal(size=100)
    frame = pd.DataFrame({"clear": clear, "none": none, "again": monthly(25, 100) + wave})
    model = ARNet(horizon=12).fit(frame[:88])
    assert model.combination_ is not None
    assert sorted(len(part.weights) for part in model.combination_.parts) == [1, 2]
    assert "season 12" in model.summary("clear")
    assert "season" not in model.summary("none").split("Combined")[1]
    result = model.predict(level=80)
    alone = ARNet(horizon=12).fit(frame[["clear"]][:88]).predict(level=80)
    pd.testing.assert_frame_equal(result[["clear"]], alone, rtol=1e-12)
    assert np.abs(result["clear"]["ARNet"] - clear[88:]).mean() < 1.5


def test_the_week_and_the_day_are_found() -> None:
    hours = np.arange(1000)
    rng = np.random.default_rng(24)
    y = 5 * np.sin(hours * 2 * np.pi / 24) * (1 + (hours // 24 % 7 < 5)) + rng.normal(size=1000) / 9
    others = [rng.normal(size=1000), rng.normal(size=1000).cumsum(), np.ones(1000)]
    wide = pd.DataFrame(np.stack([y, *others], axis=1))
    assert find_seasons(Panel.from_frame(wide)) == [(24, 168), (), (), ()]


@pytest.mark.parametrize("points", [1, 2, 3, 7])
def test_short_series_have_no_season(points: int) -> None:
    values = torch.from_numpy(np.random.default_rng(25).normal(size=(3, points)))
    assert find_seasons(Panel.from_tensor(values)) == [(), (), ()]


def test_series_too_short_to_compare_members_are_reported() -> None:
    with pytest.warns(UserWarning, match="series 's1' has only 5 points: its forecast"):
        ARNet(horizon=3).fit(long_frame(monthly(19), monthly(20)[:5]))
