"""Regimes of changes: what they add up to, forecasts that run on, gaps, and their names."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor

from tsar import HMM
from tsar.data.panel import Panel
from tsar.forecasters.regimes.ahead import changes
from tsar.forecasters.regimes.increments import sum_quantiles
from tsar.forecasters.regimes.mixture import mixture_quantiles
from tsar.hmm.discrete.parameters import Parameters

Floats = NDArray[np.float64]


def growth(count: int, seed: int = 0) -> Floats:
    """Regimes of about 20 steps, up by 1 or down by 0.5, and noise."""
    rng = np.random.default_rng(seed)
    state = (rng.random(count) < 0.05).cumsum() % 2
    return np.where(state == 0, 1.0, -0.5) + rng.normal(0, 0.3, count)


def model(rows: int = 1) -> tuple[Parameters, Tensor]:
    """Two regimes that differ in all, and where each of some windows stands."""
    move, start, center, spread = (
        torch.tensor(numbers, dtype=torch.float64)
        for numbers in ([[0.9, 0.1], [0.3, 0.7]], [0.4, 0.6], [[1.0], [-2.0]], [[0.25], [4.0]])
    )
    move, start = move.expand(rows, 2, 2), start.expand(rows, 2)
    center, spread = center.expand(rows, 2, 1), spread.expand(rows, 2, 1)
    return Parameters(start, move, center, spread), start


def written_out(known: Parameters, now: Tensor, steps: int, levels: list[float]) -> Tensor:
    """Quantiles of a sum of two regimes: of the mixture over how often the second was met."""
    chances = {(state, 0): float(now[0, state]) for state in range(2)}
    for _ in range(steps):
        following: dict[tuple[int, int], float] = {}
        for (state, met), chance in chances.items():
            for other in range(2):
                key, moved = (other, met + other), float(known.transmat[0, state, other])
                following[key] = following.get(key, 0.0) + chance * moved
        chances = following
    met = torch.tensor([count for _, count in chances], dtype=torch.float64)
    weight = torch.tensor(list(chances.values()), dtype=torch.float64)
    counts = torch.stack([steps - met, met])
    mean, variance = known.center[0, :, 0] @ counts, known.spread[0, :, 0] @ counts
    return mixture_quantiles(weight, mean, variance.sqrt(), levels)


@pytest.mark.parametrize(
    "spread", [(0.25, 4.0), (0.01, 0.01), (1e-6, 1e-6), (1.0, 1e4), (1e8, 0.01)], ids=str
)
def test_quantiles_of_sums_are_those_of_the_mixture_over_all_paths(
    spread: tuple[float, float],
) -> None:
    known, now = model()
    known = replace(known, spread=torch.tensor(spread, dtype=torch.float64)[None, :, None])
    levels = [0.001, 0.1, 0.5, 0.9, 0.975]
    found = sum_quantiles(known, now > 0, now, 21, levels)
    for steps in (1, 2, 3, 7, 21):
        expected = written_out(known, now, steps, levels)
        width = expected[-1] - expected[0]
        close = 2e-6 if min(spread) > 1e-5 or steps == 1 else 3e-4  # of the span, where that is all
        torch.testing.assert_close(found[0, steps - 1], expected, rtol=0, atol=close * width)


@pytest.mark.parametrize("ratio", (1e3, 1e5))
def test_a_rare_wild_regime_widens_no_quantile_of_the_others(ratio: float) -> None:
    numbers = ([[0.999, 0.001], [0.9, 0.1]], [0.999, 0.001], [[0.0], [3.0]], [[1.0], [ratio**2]])
    move, start, center, spread = (
        torch.tensor(part, dtype=torch.float64)[None] for part in numbers
    )
    wild = Parameters(start, move, center, spread)
    levels = [0.1, 0.5, 0.9, 0.9995]
    found = sum_quantiles(wild, start > 0, start, 40, levels)
    for steps in (1, 2, 5, 40):
        expected = written_out(wild, start, steps, levels)
        torch.testing.assert_close(found[0, steps - 1, :3], expected[:3], rtol=0, atol=1e-4)
        torch.testing.assert_close(found[0, steps - 1, 3], expected[3], rtol=1e-3, atol=1e-3)


def test_regimes_without_any_width_are_found_to_a_part_of_the_span() -> None:
    known, now = model()
    known = replace(known, spread=torch.full_like(known.spread, 1e-150))
    found = sum_quantiles(known, now > 0, now, 3, [0.05, 0.3, 0.95])
    np.testing.assert_allclose(found[0, 0], [-2, -2, 1])
    np.testing.assert_allclose(found[0, 2, [0, 2]], [-6, 3], atol=5e-3)


def test_quantiles_of_sums_do_not_depend_on_the_other_windows() -> None:
    known, now = model(3)
    spread = torch.tensor([1.0, 1e-4, 100.0], dtype=torch.float64)[:, None, None] * known.spread
    known = replace(known, spread=spread)
    both = sum_quantiles(known, now > 0, now, 9, [0.1, 0.9])
    for row in range(3):
        alone = Parameters(*(part[row : row + 1] for part in vars(known).values()))
        mine = now[row : row + 1]
        torch.testing.assert_close(
            sum_quantiles(alone, mine > 0, mine, 9, [0.1, 0.9])[0], both[row], rtol=1e-12, atol=0
        )


def test_a_state_that_a_chain_does_not_have_widens_nothing() -> None:
    known, now = model()
    padded = Parameters(
        torch.nn.functional.pad(known.startprob, (0, 1)),
        torch.nn.functional.pad(known.transmat, (0, 1, 0, 1)),
        torch.nn.functional.pad(known.center, (0, 0, 0, 1), value=1e9),
        torch.nn.functional.pad(known.spread, (0, 0, 0, 1), value=1e9),
    )
    wider = torch.nn.functional.pad(now, (0, 1))
    torch.testing.assert_close(
        sum_quantiles(padded, wider > 0, wider, 5, [0.2, 0.7]),
        sum_quantiles(known, now > 0, now, 5, [0.2, 0.7]),
    )


def test_changes_begin_anew_in_each_series_and_beside_gaps() -> None:
    frame = pd.DataFrame(
        {"unique_id": list("aaaaabb"), "ds": [0, 1, 2, 3, 4, 0, 1], "y": [1, 2, None, 5, 6, 9, 7]}
    )
    found = changes(Panel.from_frame(frame)).values
    np.testing.assert_array_equal(found, [np.nan, 1, np.nan, np.nan, 1, np.nan, -2])


def test_a_line_goes_on_without_width() -> None:
    line = HMM(horizon=4, differences=1, random_state=0).fit(3 + 2.0 * np.arange(50))
    np.testing.assert_allclose(line.predict(level=90), np.tile([[103], [105], [107], [109]], 3))


def test_intervals_hold_as_often_as_they_say_and_agree_with_paths() -> None:
    horizon, series = 12, growth(12000).cumsum()
    known = HMM(2, horizon=horizon, differences=1, context_length=200, random_state=0)
    known.fit(series[:2000])
    origins = np.arange(2000, 11980, 10)
    contexts = torch.tensor(np.stack([series[k - 201 : k] for k in origins]))
    told = known.forecast(contexts, quantile_levels=[0.1, 0.9])
    truth = torch.tensor(np.stack([series[k : k + horizon] for k in origins]))
    inside = ((truth >= told[..., 0]) & (truth <= told[..., 1])).numpy()
    assert inside.mean() == pytest.approx(0.8, abs=0.02)
    paths = np.asarray(known.forecast(contexts[:5], n_samples=4000))
    far = np.asarray(told[:5])
    spread = far[..., 1] - far[..., 0]
    sampled = np.quantile(paths, [0.1, 0.9], axis=1)
    assert np.abs(sampled[0] - far[..., 0]).max() < 0.04 * spread.max()
    assert np.abs(sampled[1] - far[..., 1]).max() < 0.04 * spread.max()
    assert paths.mean(axis=1)[:, -1] == pytest.approx(
        np.asarray(known.forecast(contexts[:5]))[:, -1], abs=0.03 * spread.max()
    )


def test_a_random_walk_is_no_drift_and_is_forecast_where_it_stands() -> None:
    walk = 1e6 + np.random.default_rng(0).normal(size=1000).cumsum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = HMM(horizon=5, differences=1, random_state=0).fit(walk)
        auto = HMM(horizon=5, random_state=0).fit(walk)
    assert np.abs(found.predict() - walk[-1]).max() < 1.0
    np.testing.assert_allclose(auto.predict(), found.predict())
    with pytest.warns(UserWarning, match="set differences='auto', or take another"):
        HMM(horizon=5, differences=0, random_state=0).fit(walk)


def autoregressions(coef: float, length: int, count: int = 20) -> Floats:
    errors = np.random.default_rng(0).normal(size=(length + 200, count))
    return np.asarray(lfilter([1], [1, -coef], errors, axis=0))[200:]


@pytest.mark.parametrize(
    ("series", "least", "most"),
    [
        (autoregressions(1.0, 100), 0.8, 1),
        (autoregressions(0.0, 100), 0, 0),
        (autoregressions(0.5, 200), 0, 0.3),
        (autoregressions(1.0, 200) + 50.0 * (np.arange(200)[:, None] == 100), 0.9, 1),
        (2.0 * np.arange(200)[:, None] * (np.arange(200)[:, None] != 100) + np.ones(3), 1, 1),
        (5.0 * np.arange(18)[:, None] + autoregressions(0.0, 18), 0.9, 1),
        (autoregressions(0.0, 200) + 1e6 * (np.arange(200)[:, None] == 100), 0, 0.1),
    ],
    ids=("walks", "noise", "half", "wild walks", "a wild trend", "short trends", "wild noise"),
)
def test_changes_are_chosen_where_they_forecast_the_next_point_better(
    series: Floats, least: float, most: float
) -> None:
    found = HMM(random_state=0, n_init=2).fit(series).differences_.double().mean()
    assert least <= float(found) <= most


def test_a_season_goes_on_with_the_growth() -> None:
    steps = np.arange(240)
    series = 0.5 * steps + np.tile([0.0, 3.0, 5.0, 1.0], 60)
    series = series + np.random.default_rng(0).normal(0, 0.05, 240)
    found = HMM(1, season_length=4, horizon=8, differences=1, random_state=0).fit(series[:232])
    np.testing.assert_allclose(found.predict(), series[232:], atol=0.5)


def test_points_missing_at_the_end_are_steps_that_were_missed() -> None:
    series = growth(300).cumsum()
    known = HMM(2, horizon=3, differences=1, random_state=0).fit(series)
    gap = np.r_[series, np.nan, np.nan]
    late = known.update(np.array([np.nan, np.nan])).predict(level=80)
    known.fit(series)
    whole = known.predict(horizon=5, level=80)
    np.testing.assert_allclose(late, whole[2:])
    with pytest.raises(ValueError, match="context must end with an observed point"):
        known.forecast(torch.tensor(gap[None]), n_samples=3)


def test_one_model_of_all_series_forecasts_others_at_any_height() -> None:
    frame = pd.DataFrame({name: growth(300, k).cumsum() for k, name in enumerate("abc")})
    known = HMM(2, horizon=4, differences=1, scope="global", random_state=0).fit(frame)
    other = torch.tensor(growth(300, 7).cumsum())[None]
    new = torch.tensor([-1])
    low, high = known.forecast(other, series=new), known.forecast(1e4 + other, series=new)
    torch.testing.assert_close(high - 1e4, low, rtol=0, atol=1e-6)


def test_regimes_of_changes_are_named_drawn_and_listed(tmp_path: object) -> None:
    series = np.repeat([1.0, -0.5] * 5, 20).cumsum() + np.random.default_rng(0).normal(0, 0.05, 200)
    known = HMM(2, horizon=3, differences=1, random_state=0).fit(series)
    table = known.regimes()
    np.testing.assert_allclose(table["y"], series)
    truth = np.repeat([1, 0] * 5, 20)
    assert (table["regime"].to_numpy() == truth).mean() > 0.97
    assert "change a step" in known.summary()
    axes = known.plot_regimes()
    assert any("change" in text.get_text() for text in axes.get_legend().get_texts())


def test_series_of_a_point_and_constants_are_forecast() -> None:
    frame = pd.DataFrame(
        {"unique_id": ["a"] + ["b"] * 30, "ds": [0, *range(30)], "y": [5.0, *([2.0] * 30)]}
    )
    known = HMM(2, horizon=2, differences=1, random_state=0).fit(frame)
    np.testing.assert_allclose(known.predict()["HMM"], [5, 5, 2, 2])


def test_series_without_two_changes_are_of_their_values() -> None:
    points = np.where(np.arange(60) % 2, np.nan, np.random.default_rng(0).normal(size=60))
    for differences in ("auto", 1):
        for series in (np.array([3.0]), np.array([3.0, 5.0]), points):
            known = HMM(1, differences=differences, horizon=2, random_state=0).fit(series)  # type: ignore[arg-type]
            assert known.differences_.tolist() == [0]
            assert np.isfinite(known.predict(level=80)).all()


def test_a_missing_end_does_not_matter_to_a_series_of_levels() -> None:
    found = HMM(2, horizon=3, random_state=0).fit(some_of_each())
    context = torch.tensor(some_of_each()["jumps"].to_numpy())[None].clone()
    context[0, -1] = torch.nan
    drawn = found.forecast(context, n_samples=5, series=torch.tensor([0]))
    assert drawn.isfinite().all()


@pytest.mark.wrong_types
def test_differences_must_be_right() -> None:
    with pytest.raises(ValueError, match=r"differences must be one of \['auto', 0, 1\]; got 2"):
        HMM(differences=2).fit(growth(50))  # type: ignore[arg-type]


def some_of_each() -> pd.DataFrame:
    """A level that jumps, a trend with noise, noise alone."""
    rng = np.random.default_rng(0)
    jumps = np.repeat([0.0, 8.0] * 4, 30) + rng.normal(size=240)
    trend = 0.5 * np.arange(240) + rng.normal(size=240).cumsum()
    return pd.DataFrame({"jumps": jumps, "trend": trend, "noise": rng.normal(size=240)})


def test_series_that_drift_are_modelled_by_their_changes_and_others_are_not() -> None:
    frame = some_of_each()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = HMM(horizon=6, random_state=0).fit(frame)
    assert found.differences_.tolist() == [0, 1, 0]
    told = found.predict(level=80)
    for name, differences in (("jumps", 0), ("trend", 1), ("noise", 0)):
        alone = HMM(horizon=6, differences=differences, random_state=0).fit(frame[[name]])  # type: ignore[arg-type]
        own = alone.predict(level=80)
        columns = [column for column in told.columns if column[0] == name]
        assert len(columns) == 3
        np.testing.assert_allclose(told[columns], own[columns], rtol=1e-9)
        groups = found.selection_["group"] == name
        kept = found.selection_.loc[groups, ["n_components", "chosen", "log_density"]]
        mine = alone.selection_[["n_components", "chosen", "log_density"]]
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), mine)
    regimes = found.regimes()
    assert regimes.groupby("unique_id").size().tolist() == [240] * 3
    summary = found.summary()
    assert "change a step" in summary
    assert "level" in summary


def test_one_model_of_series_that_drift_is_of_their_changes() -> None:
    walks = np.random.default_rng(0).normal(size=(300, 4)).cumsum(axis=0)
    found = HMM(1, horizon=3, scope="global", random_state=0).fit(walks)
    assert found.differences_.tolist() == [1]
    assert np.abs(found.predict() - walks[-1]).max() < 1.0
    flat = HMM(1, horizon=3, scope="global", random_state=0).fit(np.diff(walks, axis=0))
    assert flat.differences_.tolist() == [0]


def test_paths_of_series_of_both_kinds_begin_where_they_stand() -> None:
    found = HMM(1, horizon=2, random_state=0).fit(some_of_each())
    contexts = torch.tensor(some_of_each().to_numpy().T.copy())
    paths = found.forecast(contexts, n_samples=500)
    expected = found.forecast(contexts)
    torch.testing.assert_close(paths.mean(dim=1), expected, rtol=0, atol=0.6)
