"""Rollout to any horizon, against a loop that forecasts one window at a time."""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from reference import rollout_loop
from small_modules import Covariates, Linear

from tsar.data.batch import Context
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.rollout import advance, forecast_windows, rollout
from tsar.runtime.memory import chunked

LENGTH, MODULE_HORIZON = 5, 3


def context_of(batch: int, horizon: int, seed: int = 0) -> Context:
    """A context with future covariates that span the horizon."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Context(
        values=normal(batch, LENGTH),
        past=normal(batch, LENGTH, 0),
        future=normal(batch, LENGTH + horizon, 2),
        static=normal(batch, 1),
        category=torch.zeros(batch, 0, dtype=torch.int64),
        series=torch.arange(batch),
        origin=torch.arange(batch),
    )


@pytest.mark.parametrize("horizon", (1, 2, 3, 4, 6, 7, 11))
def test_any_horizon_equals_the_reference_loop(horizon: int) -> None:
    context = context_of(4, horizon)
    context = context.to(torch.device("cpu"), torch.float64)
    module = Covariates(LENGTH, MODULE_HORIZON)
    result = rollout(module, context, horizon)
    assert result.shape == (4, horizon, 2)
    torch.testing.assert_close(result, rollout_loop(module, context, horizon), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("short", range(1, 11))
def test_short_horizon_is_a_prefix_of_a_longer_one(short: int) -> None:
    module, context = Covariates(LENGTH, MODULE_HORIZON), context_of(3, 11)
    longest = rollout(module, context, 11)
    short_context = replace(context, future=context.future[:, : LENGTH + short])
    assert torch.equal(rollout(module, short_context, short), longest[:, :short])


def test_advance_appends_forecasts_and_shifts_covariates() -> None:
    context = context_of(2, 6)
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    later = advance(context, points)
    assert torch.equal(later.values, torch.cat([context.values[:, 2:], points], dim=1))
    assert torch.equal(later.origin, context.origin + 2)
    assert torch.equal(later.future, context.future[:, 2:])
    assert later.static is context.static
    wide = torch.arange(14.0).reshape(2, 7)  # more points than the context length
    assert torch.equal(advance(context, wide).values, wide[:, -LENGTH:])


def test_point_forecast_is_fed_back() -> None:
    module, context = Covariates(LENGTH, MODULE_HORIZON), context_of(2, 6)
    first = module.forecast(context, MODULE_HORIZON)
    second = module.forecast(advance(context, first[..., 1]), MODULE_HORIZON)
    assert torch.equal(rollout(module, context, 6), torch.cat([first, second], dim=1))


def test_past_covariates_limit_the_horizon() -> None:
    class ReadsPast(Linear):
        reads_past = True

    module, context = ReadsPast(LENGTH, MODULE_HORIZON), context_of(2, 6)
    assert rollout(module, context, MODULE_HORIZON).shape == (2, MODULE_HORIZON, 1)
    with pytest.raises(
        ValueError, match=r"^horizon must be at most 3 with past covariates; got 4\."
    ):
        rollout(module, context, MODULE_HORIZON + 1)


@pytest.fixture
def windows() -> Windows:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(40, 5)), columns=list("abcde"))
    frame["price"] = generator.normal(size=40)
    panel = Panel.from_frame(frame, Columns(future=("price",)))
    panel = replace(panel, static=torch.ones(5, 1, dtype=torch.float64))
    return Windows.sliding(panel.to("cpu", torch.float32), LENGTH, 9)


@pytest.mark.parametrize("batch_size", (1, 7, 64, 10_000))
def test_batch_size_does_not_affect_the_forecast(windows: Windows, batch_size: int) -> None:
    module = Covariates(LENGTH, MODULE_HORIZON)
    expected = rollout(module, windows.batch(slice(None)).context, 9)
    result = forecast_windows(module, windows, batch_size)
    assert result.shape == (len(windows), 9, 2)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch_size", (1, 7, 64, 10_000))
def test_batches_are_as_large_as_allowed(windows: Windows, batch_size: int) -> None:
    module = failing(batch_size, RuntimeError("the batch is larger than allowed"))
    windows = replace(windows, horizon=MODULE_HORIZON)  # one step, so one call per batch
    forecast_windows(module, windows, batch_size)
    assert sum(module.batch_sizes) == len(windows)
    assert len(module.batch_sizes) == math.ceil(len(windows) / batch_size)


def failing(max_contexts: int, error: Exception) -> Linear:
    """A module that raises for batches of more than `max_contexts`, and records batch sizes."""

    class Failing(Linear):
        batch_sizes: ClassVar[list[int]] = []

        def forecast(self, context: Context, horizon: int) -> torch.Tensor:
            self.batch_sizes.append(len(context))
            if len(context) > max_contexts:
                raise error
            return super().forecast(context, horizon)

    return Failing(LENGTH, MODULE_HORIZON)


@pytest.mark.parametrize(
    "error",
    (
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ),
)
def test_out_of_memory_halves_the_batch_size(windows: Windows, error: Exception) -> None:
    module = failing(9, error)
    expected = forecast_windows(module, windows, 7)
    module.batch_sizes.clear()
    result = forecast_windows(module, windows, 64)
    assert torch.equal(result, expected)
    count = len(windows)
    sizes = [min(64, count), min(64, count) // 2]
    while sizes[-1] > 9:
        sizes.append(sizes[-1] // 2)
    assert module.batch_sizes[: len(sizes)] == sizes
    assert max(module.batch_sizes[len(sizes) :]) == sizes[-1]  # larger batches are not tried again


def test_failed_allocation_halves_the_chunk() -> None:
    def run(rows: slice) -> list[int]:
        if rows.stop - rows.start > 1:
            torch.empty(1 << 60, dtype=torch.uint8)
        return list(range(rows.start, rows.stop))

    assert list(chunked(run, 3, 3)) == [[0], [1], [2]]


def test_out_of_memory_for_one_window_adds_advice(windows: Windows) -> None:
    with pytest.raises(torch.OutOfMemoryError) as caught:
        forecast_windows(failing(0, torch.OutOfMemoryError("CUDA out of memory.")), windows, 64)
    assert "shorter contexts" in caught.value.__notes__[0]


def test_other_errors_are_raised(windows: Windows) -> None:
    module = failing(9, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        forecast_windows(module, windows, 64)
    assert len(module.batch_sizes) == 1


def test_forecast_windows_disables_dropout_and_gradients(windows: Windows) -> None:
    module = Linear(LENGTH, MODULE_HORIZON, dropout=0.5).train()
    result = forecast_windows(module, windows, 16)
    assert torch.equal(result, forecast_windows(module, windows, 16))
    assert not result.requires_grad
