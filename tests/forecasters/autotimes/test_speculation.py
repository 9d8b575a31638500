"""Speculative decoding: the cached forecast, or one within a tolerance of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from small_autotimes import SMALL, draw, waves

from tsar import AutoTimes
from tsar.data.batch import Context
from tsar.forecasters.autotimes.generation import generate
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation, speculate


def fitted(**options: Any) -> AutoTimesModule:
    """A module with a draft that was fitted to waves, in float64."""
    model = AutoTimes(12, horizon=3, **SMALL | options).fit(waves())
    return model.module_.double().eval()


CONTEXT = Context.of(torch.from_numpy(waves()[-12:].T.copy()))


@pytest.mark.parametrize("horizon", (1, 3, 4, 6, 7, 20))
@pytest.mark.parametrize("ahead", (1, 2, 5))
def test_without_tolerance_it_is_the_plain_forecast(horizon: int, ahead: int) -> None:
    made = fitted()
    found = speculate(made, CONTEXT, horizon, Speculation(0.0, ahead))
    expected = generate(made, CONTEXT, horizon, "cached")
    torch.testing.assert_close(found.output, expected, rtol=1e-8, atol=1e-8)
    assert found.accepted == 0


def test_a_draft_that_says_the_same_is_kept_as_a_whole() -> None:
    made = fitted()
    with torch.no_grad():  # both forecast the mean of the context
        made.project.weight.zero_()
        made.project.bias.zero_()
        made.draft.weight.zero_()
        made.draft.bias.zero_()
    found = speculate(made, CONTEXT, 30, Speculation(1e-9, 4))
    torch.testing.assert_close(found.output, generate(made, CONTEXT, 30, "cached"))
    assert found.accepted == found.proposed > 0
    assert found.passes == 3  # the context, and 9 more segments by 5 at a time


def test_what_is_kept_is_as_near_as_the_tolerance_says() -> None:
    made = fitted()
    kept = []
    for tolerance in (0.0, 0.3, 1.0, 100.0):
        found = speculate(made, CONTEXT, 30, Speculation(tolerance, 3))
        kept.append(found.accepted)
        assert bool(found.output.isfinite().all())
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] == found.proposed


def test_a_row_does_not_depend_on_the_others() -> None:
    made, values = fitted(), draw(7, 12)
    values[2, :5] = torch.nan
    how = Speculation(0.5, 3)
    together = speculate(made, Context.of(values), 24, how).output
    for row in range(7):
        alone = speculate(made, Context.of(values[row : row + 1]), 24, how).output
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-8, atol=1e-8)


def test_rows_that_are_done_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made, values, sizes = fitted(), draw(7, 12), []
    how, extend = Speculation(0.5, 3), made.extend_cache

    def watched(reading: Any, points: Any) -> Any:
        sizes.append(len(points))
        return extend(reading, points)

    with torch.no_grad():
        alone = [speculate(made, Context.of(values[[row]]), 24, how) for row in range(7)]
        monkeypatch.setattr(made, "extend_cache", watched)
        speculate(made, Context.of(values), 24, how)
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == sum(one.passes - 1 for one in alone) < 7 * len(sizes)


def test_proposals_do_not_push_out_what_is_seen(tmp_path: Path) -> None:
    """Those that are not kept take room in a sliding window, masked as they are."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "vocab_size": 9,
    }
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    body = transformers.MistralModel(
        transformers.MistralConfig(**sizes, **heads, sliding_window=8, initializer_range=0.3)
    )
    body.save_pretrained(tmp_path / "body")
    options = {"backbone": str(tmp_path / "body"), "depth": 2, "precision": "float32"}
    made = fitted(**options)
    assert made.reach == 8
    for horizon in (6, 12, 60):
        found = generate(made, CONTEXT, horizon, Speculation(0.0, 4))
        expected = generate(made, CONTEXT, horizon, "cached")
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_estimator_speculates() -> None:
    model = AutoTimes(12, horizon=3, generation="cached", **SMALL).fit(waves())
    plain = model.predict(horizon=30)
    near = model.set_params(generation="speculative", tolerance=0.0).predict(horizon=30)
    np.testing.assert_allclose(near, plain, rtol=1e-4, atol=1e-4)
    assert model.set_params(tolerance=5.0).predict(horizon=30).shape == (30, 2)
