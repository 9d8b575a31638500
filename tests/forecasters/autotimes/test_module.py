"""The module of AutoTimes: encoding, loss, and exact, cached and speculative generation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_autotimes import SEGMENT, SMALL, TOKENS, module, random_values, waves
from torch import Tensor

from tsar import AutoTimes
from tsar.data.batch import Batch, Context
from tsar.forecasters.autotimes.generation import generate
from tsar.forecasters.autotimes.heads import Head
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation
from tsar.nn.normalization import instance_norm

CONSTANT = torch.tensor([[7.0], [-2e-6], [3e5]], dtype=torch.float64).expand(-1, 12)


def test_left_padding_does_not_affect_the_forecast() -> None:
    network, values = module(), random_values(5, 7)
    alone = network.forecast(Context.of(values), SEGMENT)
    for padding in (1, 2, 5, 8):
        padded = torch.nn.functional.pad(values, (padding, 0), value=torch.nan)
        found = network.forecast(Context.of(padded), SEGMENT)
        torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", (1, 2, 3, 4, 11, 12))
def test_forecast_depends_on_every_point_at_any_length(length: int) -> None:
    network, values = module(), random_values(1, 12)[:, :length]
    first = network.forecast(Context.of(values), SEGMENT)
    for point in range(length):
        changed = values.clone()
        changed[0, point] += 1
        if length > 1:  # a single point is its own mean, and normalized to 0
            assert not torch.allclose(network.forecast(Context.of(changed), SEGMENT), first)


def test_forecast_is_equivariant_to_level_and_scale() -> None:
    network, values = module(), random_values(4, 12)
    found = network.forecast(Context.of(1000 + 50 * values), SEGMENT)
    expected = 1000 + 50 * network.forecast(Context.of(values), SEGMENT)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("generation", ("exact", "cached", Speculation))
@pytest.mark.parametrize("head", (Head("mse"), Head("quantile", (0.1, 0.5, 0.9))))
def test_constant_context_is_forecast_as_constant(head: Head, generation: Any) -> None:
    network = module(head=head)
    if generation is Speculation:
        network.draft.bias.fill_(5.0)
        generation = Speculation(tolerance=1.0, draft_length=2)
    found = generate(network, Context.of(CONSTANT), 8, generation)
    torch.testing.assert_close(found[..., network.point], CONSTANT[:, :8], rtol=1e-12, atol=0.0)
    if head.levels:  # distances between quantiles are kept
        varying = network.decode(
            network.hidden(Context.of(CONSTANT))[0], instance_norm(random_values(3, 9), "mean")
        )
        distance = varying[:, :, :1] - varying[:, :, 1:2]
        torch.testing.assert_close(found[:, :SEGMENT, :1] - found[:, :SEGMENT, 1:2], distance)


@pytest.mark.parametrize("loss", ("gaussian", "student_t"))
def test_density_of_a_constant_context_is_centred_on_it(loss: Any) -> None:
    network = module(head=Head(loss))
    found = network.forecast(Context.of(CONSTANT), SEGMENT)
    torch.testing.assert_close(found[..., 0], CONSTANT[:, :SEGMENT], rtol=1e-12, atol=0.0)
    assert found[..., 1].isfinite().all()


def test_fit_and_predict_constant_series() -> None:
    model = AutoTimes(12, **SMALL).fit(np.full(100, 7.0))
    np.testing.assert_allclose(model.predict(horizon=9), 7.0, rtol=1e-6)
    model = AutoTimes(12, **SMALL).fit(waves())
    found = model.predict(np.full((30, 2), 9.0), horizon=9)
    np.testing.assert_allclose(found, 9.0, rtol=1e-6)


def test_predictions_in_training_do_not_depend_on_their_targets() -> None:
    """The official code normalizes a window by its targets too."""
    network = module().train()
    values = random_values(64, 15)
    batch = Batch(replace(Context.of(values[:, :12]), gapless=True), values[:, 12:])
    torch.manual_seed(3)
    window, n_observed = network._split_window(batch)
    assert len(n_observed.unique()) == TOKENS  # contexts of every length are trained

    tokens = network._predicting_tokens(window, n_observed)
    # From the last observed token on, of each row.
    assert tokens.tolist() == [
        row * TOKENS + token
        for row, first in enumerate(n_observed[:, 0].tolist())
        for token in range(first - 1, TOKENS)
    ]

    def outputs(points: Tensor) -> Tensor:
        hidden, norm = network._encode_window(batch.context, points, n_observed, tokens)
        return network.decode(hidden, norm.select(tokens // TOKENS))

    expected = outputs(window)
    for segment in range(1, TOKENS + 1):
        changed = window.clone()
        changed[:, segment * SEGMENT :] += random_values(
            *changed[:, segment * SEGMENT :].shape, seed=segment
        )
        rows = tokens % TOKENS == segment - 1  # the token before the segment predicts it
        assert rows.any()
        torch.testing.assert_close(outputs(changed)[rows], expected[rows], rtol=1e-9, atol=1e-9)


def test_validation_loss_is_the_error_of_the_forecast() -> None:
    network, values = module(), random_values(8, 15)
    batch = Batch(Context.of(values[:, :12]), values[:, 12:])
    forecast = network.forecast(batch.context, SEGMENT)[..., 0]
    expected = (forecast - batch.target).square().mean()
    torch.testing.assert_close(network.loss(batch), expected, rtol=1e-9, atol=1e-9)


def cached_forecast_reference(network: AutoTimesModule, context: Context, horizon: int) -> Tensor:
    """The forecast of "cached", computed without a cache."""
    values = network._pad_to_segments(context.values)
    mean = values.nanmean(dim=1, keepdim=True)
    deviation = (values - mean).square().nanmean(dim=1, keepdim=True).sqrt()
    known = ((values - mean) / deviation).nan_to_num(0.0)
    padding = values.isnan().unflatten(1, (-1, SEGMENT)).all(dim=2).sum(dim=1)
    while known.shape[1] < values.shape[1] + horizon:
        tokens = network.embed(known.unflatten(1, (-1, SEGMENT)))
        token = torch.arange(tokens.shape[1])
        hidden = network.backbone(
            tokens,
            attention_mask=token >= padding[:, None],
            position_ids=(token - padding[:, None]).clamp(min=0),
        )
        known = torch.cat([known, network.project(hidden[:, -1])], dim=1)
    return known[:, values.shape[1] :][:, :horizon] * deviation + mean


@pytest.mark.parametrize("horizon", (1, 3, 4, 10, 24))
def test_cached_forecast_matches_one_without_a_cache(horizon: int) -> None:
    network, values = module(), random_values(5, 12)
    values[1, :7] = torch.nan
    found = generate(network, Context.of(values), horizon, "cached")[..., 0]
    expected = cached_forecast_reference(network, Context.of(values), horizon)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_exact_and_cached_agree_on_the_first_segment_only() -> None:
    network, context = module(), Context.of(random_values(5, 12))
    exact, cached = (
        generate(network, context, 9, generation)[..., 0] for generation in ("exact", "cached")
    )
    torch.testing.assert_close(exact[:, :SEGMENT], cached[:, :SEGMENT], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(exact[:, SEGMENT:], cached[:, SEGMENT:])


def test_context_beyond_the_positions_of_the_backbone_raises() -> None:
    network, context = module(max_positions=6), Context.of(random_values(2, 12))
    assert generate(network, context, 9, "cached").shape == (2, 9, 1)  # 4 segments and 2 after them
    with pytest.raises(ValueError, match=r"horizon must be at most 9 .* reads 6 at most; got 10"):
        generate(network, context, 10, "cached")
    assert generate(network, context, 30, "exact").shape == (2, 30, 1)
    with pytest.raises(ValueError, match=r"context_length, .* must be at most 9 .* 3 tokens"):
        module(max_positions=3)


def test_position_ids_of_proposals_stay_within_the_limit() -> None:
    network, values = module(max_positions=6), random_values(8, 12)
    largest: list[int] = []
    forward = network.backbone.forward

    def spy(tokens: Tensor, **rest: Any) -> Tensor:
        if rest["position_ids"] is not None:
            largest.append(int(rest["position_ids"].max()))
        return forward(tokens, **rest)

    network.backbone.forward = spy  # type: ignore[method-assign]
    network.initialize(Batch(Context.of(values), random_values(8, 3, seed=1)))
    for tolerance in (0.3, 1.0, 2.0):
        generate(network.eval(), Context.of(values), 9, Speculation(tolerance, 4))
    assert max(largest) == 5
