"""Rollout to any horizon: against a loop that forecasts one window at a time."""

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

LENGTH, OWN = 5, 3


def context_of(batch: int, horizon: int, seed: int = 0) -> Context:
    """A context with covariates that reach over the horizon."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Context(
        values=draw(batch, LENGTH),
        past=draw(batch, LENGTH, 0),
        future=draw(batch, LENGTH + horizon, 2),
        static=draw(batch, 1),
        category=torch.zeros(batch, 0, dtype=torch.int64),
        series=torch.arange(batch),
        origin=torch.arange(batch),
    )


@pytest.mark.parametrize("horizon", (1, 2, 3, 4, 6, 7, 11))
def test_any_horizon_equals_the_slow_loop(horizon: int) -> None:
    context = context_of(4, horizon)
    context = context.to(torch.device("cpu"), torch.float64)
    module = Covariates(LENGTH, OWN)
    found = rollout(module, context, horizon)
    assert found.shape == (4, horizon, 2)
    torch.testing.assert_close(found, rollout_loop(module, context, horizon), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("short", range(1, 11))
def test_a_short_horizon_is_the_prefix_of_a_longer_one(short: int) -> None:
    module, context = Covariates(LENGTH, OWN), context_of(3, 11)
    whole = rollout(module, context, 11)
    near = replace(context, future=context.future[:, : LENGTH + short])
    assert torch.equal(rollout(module, near, short), whole[:, :short])


def test_forecasts_become_the_context_and_covariates_slide_along() -> None:
    context = context_of(2, 6)
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    later = advance(context, points)
    assert torch.equal(later.values, torch.cat([context.values[:, 2:], points], dim=1))
    assert torch.equal(later.origin, context.origin + 2)
    assert torch.equal(later.future, context.future[:, 2:])
    assert later.static is context.static
    wide = torch.arange(14.0).reshape(2, 7)  # more points than the context has
    assert torch.equal(advance(context, wide).values, wide[:, -LENGTH:])


def test_the_point_forecast_is_what_is_fed_back() -> None:
    module, context = Covariates(LENGTH, OWN), context_of(2, 6)
    first = module.forecast(context, OWN)
    second = module.forecast(advance(context, first[..., 1]), OWN)
    assert torch.equal(rollout(module, context, 6), torch.cat([first, second], dim=1))


def test_past_covariates_are_unknown_beyond_the_horizon() -> None:
    class ReadsPast(Linear):
        reads_past = True

    module, context = ReadsPast(LENGTH, OWN), context_of(2, 6)
    assert rollout(module, context, OWN).shape == (2, OWN, 1)
    with pytest.raises(
        ValueError, match=r"^horizon must be at most 3 with past covariates; got 4\."
    ):
        rollout(module, context, OWN + 1)


@pytest.fixture
def windows() -> Windows:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(40, 5)), columns=list("abcde"))
    frame["price"] = generator.normal(size=40)
    panel = Panel.from_frame(frame, Columns(future=("price",)))
    panel = replace(panel, static=torch.ones(5, 1, dtype=torch.float64))
    return Windows.sliding(panel.to("cpu", torch.float32), LENGTH, 9)


@pytest.mark.parametrize("batch_size", (1, 7, 64, 10_000))
def test_the_batch_size_changes_no_forecast(windows: Windows, batch_size: int) -> None:
    module = Covariates(LENGTH, OWN)
    expected = rollout(module, windows.batch(slice(None)).context, 9)
    found = forecast_windows(module, windows, batch_size)
    assert found.shape == (len(windows), 9, 2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def failing(most: int, error: Exception) -> Linear:
    """A module that finds no room for more than `most` contexts, and counts those it is given."""

    class Failing(Linear):
        seen: ClassVar[list[int]] = []

        def forecast(self, context: Context, horizon: int) -> torch.Tensor:
            self.seen.append(len(context))
            if len(context) > most:
                raise error
            return super().forecast(context, horizon)

    return Failing(LENGTH, OWN)


@pytest.mark.parametrize(
    "error",
    (
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ),
)
def test_fewer_windows_at_once_where_there_is_no_room(windows: Windows, error: Exception) -> None:
    module = failing(9, error)
    expected = forecast_windows(module, windows, 7)
    module.seen.clear()
    found = forecast_windows(module, windows, 64)
    assert torch.equal(found, expected)
    count = len(windows)
    sizes = [min(64, count), min(64, count) // 2]
    while sizes[-1] > 9:
        sizes.append(sizes[-1] // 2)
    assert module.seen[: len(sizes)] == sizes
    assert max(module.seen[len(sizes) :]) == sizes[-1]  # what was too much is not tried again


def test_an_allocation_that_fails_is_known() -> None:
    def run(rows: slice) -> list[int]:
        if rows.stop - rows.start > 1:
            torch.empty(1 << 60, dtype=torch.uint8)
        return list(range(rows.start, rows.stop))

    assert list(chunked(run, 3, 3)) == [[0], [1], [2]]


def test_no_room_for_one_window_is_said(windows: Windows) -> None:
    with pytest.raises(torch.OutOfMemoryError) as caught:
        forecast_windows(failing(0, torch.OutOfMemoryError("no room")), windows, 64)
    assert "shorter contexts" in caught.value.__notes__[0]


def test_other_errors_are_not_swallowed(windows: Windows) -> None:
    module = failing(9, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        forecast_windows(module, windows, 64)
    assert len(module.seen) == 1


def test_windows_are_forecast_without_dropout_and_without_gradients(windows: Windows) -> None:
    module = Linear(LENGTH, OWN, dropout=0.5).train()
    found = forecast_windows(module, windows, 16)
    assert torch.equal(found, forecast_windows(module, windows, 16))
    assert not found.requires_grad
