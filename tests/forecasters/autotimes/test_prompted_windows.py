"""Prompts before the windows of a forecast: backtests, ragged series, gaps, pools, memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_autotimes import SMALL, waves

import tsar
from tsar import AutoTimes, Training
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.autotimes.prompts import Strategy, prompted_windows

CONTEXT, PROMPT, HORIZON, SEASON = 10, 8, 4, 24
LENGTHS = {"a": 120, "b": 75, "c": 60}  # they begin at the same time
CUTOFFS = {"a": (116, 70, 101), "b": (71, 60), "c": (56,)}
STRATEGIES: tuple[Strategy, ...] = ("first", "last", "phase", "nearest", "auto")
UNTRAINED: dict[str, Any] = SMALL | {"training": Training(epochs=0)}


def ragged_frame() -> pd.DataFrame:
    """Hourly noise; the first 3 points of series "b" are missing."""
    generator = np.random.default_rng(0)
    frames = []
    for name, length in LENGTHS.items():
        times = pd.date_range("2024-01-01", periods=length, freq="h")
        values = generator.normal(size=length)
        frames.append(pd.DataFrame({"unique_id": name, "ds": times, "y": values}))
    frames[1].loc[:2, "y"] = np.nan
    return pd.concat(frames, ignore_index=True)


def series_values(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame.loc[frame.unique_id == name, "y"].to_numpy()


def shuffled_cutoffs() -> list[tuple[str, int]]:
    """Windows of all series, neither ordered by series nor by time."""
    pairs = [(name, point) for name, points in CUTOFFS.items() for point in points]
    return [pairs[k] for k in (3, 0, 5, 1, 4, 2)]


def backtest_windows(panel: Panel) -> Windows:
    names = list(panel.labels.ids)
    series = torch.tensor([names.index(name) for name, _ in shuffled_cutoffs()])
    points = torch.tensor([point for _, point in shuffled_cutoffs()])
    return Windows.at(panel, CONTEXT, HORIZON, series, points)


def expected_start(values: np.ndarray, cutoff: int, strategy: Strategy) -> int:
    """First point of the prompt from the same series."""
    limit = cutoff - CONTEXT
    if strategy == "first":
        return int(np.flatnonzero(~np.isnan(values))[0])
    if strategy == "last":
        return limit - PROMPT
    return cutoff - SEASON - PROMPT  # by phase, as the context is shorter than a season


@pytest.mark.parametrize("strategy", ("first", "last", "phase", "auto"))
def test_prompts_of_the_same_series_stand_before_each_window(strategy: Strategy) -> None:
    frame = ragged_frame()
    panel = Panel.from_frame(frame, Columns(freq="h"))
    result = prompted_windows(backtest_windows(panel), None, CONTEXT, PROMPT, strategy)
    assert len(result) == len(shuffled_cutoffs())
    batch, hour = result.batch(slice(None)), panel.labels.frequency.step
    for row, (name, cutoff) in enumerate(shuffled_cutoffs()):
        values = series_values(frame, name)
        start = expected_start(values, cutoff, strategy)
        expected = [*values[start : start + PROMPT], *values[cutoff - CONTEXT : cutoff]]
        np.testing.assert_array_equal(batch.context.values[row], expected)
        assert result.panel.labels.ids[row] == name
        # The horizon begins at the cutoff, and the times of the prompt are its own.
        origin = int(panel.labels.starts[0]) + cutoff * hour
        assert int(batch.context.origin[row]) == origin
        assert batch.context.time_shift is not None
        at, by = batch.context.time_shift[row].tolist()
        assert at == origin - CONTEXT * hour
        assert at - PROMPT * hour - by == int(panel.labels.starts[0]) + start * hour
    assert bool(batch.target.isnan().all())


def test_windows_hold_prompt_context_and_horizon_only() -> None:
    """The memory of a window does not depend on the length of the series."""
    panel = Panel.from_frame(ragged_frame(), Columns(freq="h"))
    result = prompted_windows(backtest_windows(panel), None, CONTEXT, PROMPT, "last")
    assert len(result.panel.values) == len(result) * (PROMPT + CONTEXT + HORIZON)


def test_default_prompt_length_is_the_context_length() -> None:
    windows = backtest_windows(Panel.from_frame(ragged_frame(), Columns(freq="h")))
    result = prompted_windows(replace(windows, gap=2), None, CONTEXT, None, "last")
    assert (result.context_length, result.horizon, result.gap) == (2 * CONTEXT, HORIZON, 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_windows_do_not_depend_on_later_points(strategy: Strategy) -> None:
    """Each series is cut as many points before its end as the series of the window is."""
    frame, generator = ragged_frame(), np.random.default_rng(1)
    panel = Panel.from_frame(frame, Columns(freq="h"))
    expected = prompted_windows(backtest_windows(panel), None, CONTEXT, PROMPT, strategy)
    for row, (name, cutoff) in enumerate(shuffled_cutoffs()):
        n_later = LENGTHS[name] - cutoff
        is_later = frame.groupby("unique_id").cumcount(ascending=False) < n_later
        changed = frame.assign(y=frame["y"].mask(is_later, generator.normal(size=len(frame))))
        windows = backtest_windows(Panel.from_frame(changed, Columns(freq="h")))
        found = prompted_windows(windows, None, CONTEXT, PROMPT, strategy)
        torch.testing.assert_close(
            found.batch(slice(row, row + 1)).context.values,
            expected.batch(slice(row, row + 1)).context.values,
        )


def fitted(**options: Any) -> AutoTimes:
    """An untrained model, whose forecasts depend on every point that it reads."""
    defaults: dict[str, Any] = {"horizon": HORIZON, "prompt_length": PROMPT}
    return AutoTimes(CONTEXT, **UNTRAINED | defaults | options).fit(ragged_frame())


@pytest.mark.parametrize("prompts", ("first", "last", "phase", "auto"))
def test_forecast_of_ragged_series_equals_that_of_each_alone(prompts: Any) -> None:
    model, frame = fitted(prompts=prompts), ragged_frame()
    together = model.predict().set_index("unique_id")["AutoTimes"]
    for name in LENGTHS:
        alone = model.predict(frame[frame.unique_id == name])["AutoTimes"]
        np.testing.assert_allclose(together[name], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prompts", STRATEGIES)
def test_missing_points_at_the_end_count_as_forecast(prompts: Any) -> None:
    """After a gap the forecast begins at the last observed point, and so do its prompts."""
    model, frame = fitted(prompts=prompts), ragged_frame()
    frame.loc[frame.index[frame.unique_id == "a"][-3:], "y"] = np.nan
    found = model.predict(frame).set_index("unique_id")["AutoTimes"]
    rest = frame.groupby("unique_id").head(-3)
    expected = model.predict(rest, horizon=HORIZON + 3).set_index("unique_id")["AutoTimes"]
    np.testing.assert_allclose(found["a"], expected["a"][3:], rtol=1e-5, atol=1e-6)
    if prompts != "nearest":  # which searches the other series too
        complete = model.predict(ragged_frame()).set_index("unique_id")["AutoTimes"]
        np.testing.assert_allclose(found["b"], complete["b"], rtol=1e-5, atol=1e-6)


def test_use_prompts_takes_earlier_points_of_the_same_series_by_time() -> None:
    model, frame = fitted(prompts="last"), ragged_frame()
    expected = model.predict(frame)
    newest = frame.groupby("unique_id").tail(CONTEXT)
    older = frame.groupby("unique_id").head(-5)  # overlaps the contexts
    with pytest.raises(ValueError, match=rf"prompts must find {PROMPT} points before"):
        model.predict(newest)
    found = model.use_prompts(older).predict(newest)
    np.testing.assert_allclose(found["AutoTimes"], expected["AutoTimes"], rtol=1e-5, atol=1e-6)


def test_update_keeps_the_history_while_prompts_come_from_another_frame() -> None:
    frame = ragged_frame()
    older, newer = frame.groupby("unique_id").head(-5), frame.groupby("unique_id").tail(5)
    options: dict[str, Any] = UNTRAINED | {"horizon": HORIZON, "prompt_length": PROMPT}
    model = AutoTimes(CONTEXT, prompts="first", **options).fit(older)
    model.use_prompts(frame).update(newer).use_prompts(None)
    np.testing.assert_allclose(
        model.predict()["AutoTimes"], model.predict(frame)["AutoTimes"], rtol=1e-5, atol=1e-6
    )


def test_prompt_pool_is_dropped_by_fit_and_kept_by_saving(tmp_path: Any) -> None:
    model, frame = fitted(), ragged_frame()
    plain = model.predict(frame)["AutoTimes"]
    prompted = model.use_prompts(frame).predict(frame)["AutoTimes"]
    assert not np.allclose(prompted, plain)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        tsar.load(tmp_path / "model").predict(frame)["AutoTimes"], prompted
    )
    np.testing.assert_array_equal(model.fit(frame).predict(frame)["AutoTimes"], plain)


def test_forecast_of_tensors_reads_prompts() -> None:
    model = AutoTimes(6, horizon=3, prompt_length=9, **UNTRAINED).fit(waves())
    contexts = torch.from_numpy(waves()[-15:].T.copy())
    expected = model.set_params(context_length=15).forecast(contexts)
    found = model.set_params(context_length=6, prompts="last").forecast(contexts)
    torch.testing.assert_close(found, expected)


def test_sample_paths_read_prompts() -> None:
    model = AutoTimes(6, horizon=3, prompt_length=9, loss="gaussian", **UNTRAINED).fit(waves())
    contexts = torch.from_numpy(waves()[-15:].T.copy())
    expected = model.set_params(context_length=15).forecast(contexts, 7, n_samples=5)
    found = model.set_params(context_length=6, prompts="last").forecast(contexts, 7, n_samples=5)
    torch.testing.assert_close(found, expected)


def test_one_long_series_does_not_pad_the_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    at = Windows.at

    def record(panel: Panel, *args: Any, **kwargs: Any) -> Windows:
        windows = at(panel, *args, **kwargs)
        sizes.append(len(windows.panel.values))
        return windows

    model = fitted(prompts="last")
    monkeypatch.setattr(Windows, "at", record)
    model.predict()
    assert max(sizes) <= sum(LENGTHS.values()) + len(LENGTHS) * (PROMPT + CONTEXT + 2 * HORIZON)
