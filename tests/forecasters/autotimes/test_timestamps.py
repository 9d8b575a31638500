"""Timestamp embeddings of AutoTimes: calendar features and text embeddings."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_autotimes import SEGMENT, SMALL, hourly, waves
from torch import Tensor

from tsar import AutoTimes, Training
from tsar.data.panel import Panel
from tsar.forecasters.autotimes.backbone import BackboneOptions
from tsar.forecasters.autotimes.timestamps import TimestampEmbedding


def test_calendar_embedding_is_for_one_frequency() -> None:
    model = AutoTimes(12, horizon=3, timestamps="calendar", **SMALL).fit(hourly())
    assert bool(model.module_.timestamps.weight.abs().sum() > 0)
    late = hourly().set_axis(hourly().index + pd.Timedelta("5h"))
    assert not np.allclose(model.predict(hourly()), model.predict(late))
    daily = hourly().set_axis(pd.date_range("2024-01-01", periods=90, freq="D"))
    with pytest.raises(ValueError, match=r"frequency"):
        model.predict(daily)


def test_timestamp_features_are_computed_for_used_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = hourly()
    model = AutoTimes(12, timestamps="calendar", **SMALL).fit(frame.iloc[:-1])
    embedding, used = model.module_.timestamps, set[int]()
    forward = TimestampEmbedding.forward

    def record(self: TimestampEmbedding, ordinals: Tensor) -> Tensor:
        used.update(ordinals.flatten().tolist())
        n_known = len(self.ordinals)
        found = forward(self, ordinals)
        assert len(self.ordinals) == n_known  # all of them were computed before
        return found

    monkeypatch.setattr(TimestampEmbedding, "forward", record)
    for prompts in ("first", "last", "nearest"):
        embedding.ordinals, embedding.features = embedding.ordinals[:0], embedding.features[:0]
        used.clear()
        model.set_params(inference_batch_size=1, prompts=prompts).predict(frame, horizon=5)
        unused = {int(Panel.from_frame(frame).end_ordinals(k)[0]) for k in range(1, 7)}
        assert set(embedding.ordinals.tolist()) - used <= unused  # of the last segment


@pytest.mark.parametrize("timestamps", ("calendar", "text"))
def test_model_with_timestamps_can_be_pickled(
    llama: Path, timestamps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(options: BackboneOptions, texts: list[str], *, seed: int) -> Tensor:
        return torch.tensor([[float(len(text))] * 32 for text in texts])

    # The model has no tokenizer.
    monkeypatch.setattr("tsar.forecasters.autotimes.timestamps.embed_texts", embed)
    options = SMALL | {"timestamps": timestamps, "backbone": str(llama)}
    model = AutoTimes(12, **options | {"training": Training(epochs=0)}).fit(hourly())
    copied = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(copied.predict(horizon=9), model.predict(horizon=9))


@pytest.mark.parametrize("generation", ("exact", "cached"))
def test_tokens_of_a_prompt_have_their_own_timestamps(
    monkeypatch: pytest.MonkeyPatch, generation: Any
) -> None:
    frame = hourly()
    options = SMALL | {"timestamps": "calendar", "prompt_length": 6}
    model = AutoTimes(12, **options).fit(frame.iloc[:-1])
    ordinals_read: list[Tensor] = []
    forward = TimestampEmbedding.forward

    def record(self: TimestampEmbedding, ordinals: Tensor) -> Tensor:
        ordinals_read.append(ordinals.clone())
        return forward(self, ordinals)

    monkeypatch.setattr(TimestampEmbedding, "forward", record)
    last = Panel.from_frame(frame).end_ordinals()
    model.set_params(generation=generation, prompts="first").predict(frame, horizon=5)
    step = SEGMENT * int(Panel.from_frame(frame).labels.frequency.step)
    start = torch.from_numpy(Panel.from_frame(frame).labels.starts)
    context = torch.from_numpy(last)[:, None] + step // SEGMENT * torch.arange(-11, 0, SEGMENT)
    expected = torch.cat([start[:, None] + step * torch.arange(2), context], dim=1)
    assert torch.equal(ordinals_read[0], expected)
    forecast = context[:, -1:] + step  # the segment that was forecast
    if generation == "exact":  # without the oldest token, the first of the prompt
        forecast = torch.cat([expected[:, 1:], forecast], dim=1)
    assert torch.equal(ordinals_read[1], forecast)
    ordinals_read.clear()
    model.set_params(prompts="last").predict(frame, horizon=5)
    before = context[:, :1] - step * torch.arange(2, 0, -1)
    assert torch.equal(ordinals_read[0], torch.cat([before, context], dim=1))


def test_timestamps_of_integer_times_raise() -> None:
    with pytest.raises(ValueError, match=r"timestamps must be None with integer times"):
        AutoTimes(12, timestamps="calendar", **SMALL).fit(waves())


def test_each_timestamp_text_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded: list[str] = []

    def embed(options: object, texts: list[str], *, seed: int) -> Tensor:
        embedded.extend(texts)
        return torch.randn(len(texts), 16, generator=torch.Generator().manual_seed(len(texts)))

    monkeypatch.setattr("tsar.forecasters.autotimes.timestamps.embed_texts", embed)
    model = AutoTimes(12, horizon=3, timestamps="text", **SMALL).fit(hourly())
    assert len(embedded) == len(set(embedded)) > 50
    assert "This is Time Series from 2024-01-01 00:00:00 to 2024-01-01 02:00:00" in embedded
    assert float(model.module_.timestamps.weight.detach().abs()) > 0
    model.predict(horizon=7)
    assert len(embedded) == len(set(embedded))


def test_text_timestamps_from_scratch_raise() -> None:
    with pytest.raises(ValueError, match=r"timestamps='text' needs a language model"):
        AutoTimes(12, timestamps="text", **SMALL).fit(hourly())


def test_forecast_of_a_tensor_with_timestamps_raises() -> None:
    model = AutoTimes(12, horizon=3, timestamps="calendar", **SMALL).fit(hourly())
    with pytest.raises(ValueError, match=r"contexts alone, and AutoTimes needs timestamps"):
        model.forecast(torch.zeros(2, 12))
