"""Speculative decoding: equal to the cached forecast, or within a tolerance of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from small_autotimes import SMALL, random_values, waves

from tsar import AutoTimes
from tsar.data.batch import Context
from tsar.forecasters.autotimes.generation import generate
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation, speculate


def fitted(**options: Any) -> AutoTimesModule:
    """A fitted module in float64, with a fitted draft."""
    model = AutoTimes(12, horizon=3, **SMALL | options).fit(waves())
    return model.module_.double().eval()


CONTEXT = Context.of(torch.from_numpy(waves()[-12:].T.copy()))


@pytest.mark.parametrize("horizon", (1, 3, 4, 6, 7, 20))
@pytest.mark.parametrize("draft_length", (1, 2, 5))
def test_without_tolerance_it_equals_the_cached_forecast(horizon: int, draft_length: int) -> None:
    network = fitted()
    found = speculate(network, CONTEXT, horizon, Speculation(0.0, draft_length))
    expected = generate(network, CONTEXT, horizon, "cached")
    torch.testing.assert_close(found.output, expected, rtol=1e-8, atol=1e-8)
    assert found.accepted == 0


def test_equal_proposals_are_all_accepted() -> None:
    network = fitted()
    with torch.no_grad():  # both forecast the mean of the context
        network.project.weight.zero_()
        network.project.bias.zero_()
        network.draft.weight.zero_()
        network.draft.bias.zero_()
    found = speculate(network, CONTEXT, 30, Speculation(1e-9, 4))
    torch.testing.assert_close(found.output, generate(network, CONTEXT, 30, "cached"))
    assert found.accepted == found.proposed > 0
    assert found.passes == 3  # the context, and 9 more segments by 5 at a time


def test_acceptance_grows_with_the_tolerance() -> None:
    network = fitted()
    accepted = []
    for tolerance in (0.0, 0.3, 1.0, 100.0):
        found = speculate(network, CONTEXT, 30, Speculation(tolerance, 3))
        accepted.append(found.accepted)
        assert bool(found.output.isfinite().all())
    assert accepted == sorted(accepted)
    assert accepted[0] == 0
    assert accepted[-1] == found.proposed


def test_rows_do_not_depend_on_each_other() -> None:
    network, values = fitted(), random_values(7, 12)
    values[2, :5] = torch.nan
    options = Speculation(0.5, 3)
    together = speculate(network, Context.of(values), 24, options).output
    for row in range(7):
        alone = speculate(network, Context.of(values[row : row + 1]), 24, options).output
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-8, atol=1e-8)


def test_finished_rows_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, values, sizes = fitted(), random_values(7, 12), []
    options, extend = Speculation(0.5, 3), network.extend_cache

    def record(state: Any, points: Any) -> Any:
        sizes.append(len(points))
        return extend(state, points)

    with torch.no_grad():
        alone = [speculate(network, Context.of(values[[row]]), 24, options) for row in range(7)]
        monkeypatch.setattr(network, "extend_cache", record)
        speculate(network, Context.of(values), 24, options)
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == sum(one.passes - 1 for one in alone) < 7 * len(sizes)


def test_rejected_tokens_in_a_sliding_window(tmp_path: Path) -> None:
    """Rejected tokens, though masked, count towards a sliding attention window."""
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
    network = fitted(**options)
    assert network.attention_window == 8
    for horizon in (6, 12, 60):
        found = generate(network, CONTEXT, horizon, Speculation(0.0, 4))
        expected = generate(network, CONTEXT, horizon, "cached")
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_speculative_generation_of_the_estimator() -> None:
    model = AutoTimes(12, horizon=3, generation="cached", **SMALL).fit(waves())
    cached = model.predict(horizon=30)
    speculative = model.set_params(generation="speculative", tolerance=0.0).predict(horizon=30)
    np.testing.assert_allclose(speculative, cached, rtol=1e-4, atol=1e-4)
    assert model.set_params(tolerance=5.0).predict(horizon=30).shape == (30, 2)
