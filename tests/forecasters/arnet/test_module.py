"""AutoregressionModule: linear map, losses and imputation of gaps, against loops."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tsar.data.batch import Batch, Context
from tsar.forecasters.arnet.module import AutoregressionModule, Loss, grouped_linear

NAN = float("nan")
LEVELS = (0.1, 0.5, 0.9)
ORDER = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    n_groups: int = 1,
    horizon: int = 3,
    *,
    past: int = 0,
    future: int = 0,
    hidden: tuple[int, ...] = (),
    loss: Loss = "mse",
    levels: tuple[float, ...] = LEVELS,
) -> AutoregressionModule:
    module = AutoregressionModule(
        n_groups,
        ORDER,
        horizon,
        n_past=past,
        n_future=future,
        hidden=hidden,
        loss=loss,
        quantile_levels=levels,
        huber_delta=0.7,
    ).double()
    with torch.no_grad():
        for parameter in (
            *(module.lag_weight, module.past_weight),
            *(module.future_weight, module.intercept),
        ):
            parameter.copy_(torch.randn(parameter.shape, generator=generator(1)) / 3)
        for name in ("past_mean", "future_mean"):
            buffer = getattr(module, name)
            buffer.copy_(torch.randn(buffer.shape, generator=generator(2)))
            getattr(module, name.replace("mean", "scale")).copy_(1 + buffer.square())
    return module


def contexts(groups: list[int], horizon: int = 3, *, past: int = 0, future: int = 0) -> Context:
    batch = len(groups)
    tensors = [
        torch.randn(shape, generator=generator(3 + k), dtype=torch.float64)
        for k, shape in enumerate(
            [(batch, ORDER), (batch, ORDER, past), (batch, ORDER + horizon, future)]
        )
    ]
    none = torch.empty(batch, 0, dtype=torch.float64)
    rows = torch.tensor(groups)
    return Context(*tensors, none, none.long(), rows, torch.zeros_like(rows))


@torch.no_grad()
def forecast_by_loop(
    module: AutoregressionModule, context: Context, row: int, step: int, output: int
) -> float:
    """A forecast by its definition, one product at a time."""
    group = int(context.series[row]) if len(module.lag_weight) > 1 else 0
    line = step * module.n_outputs + output
    total = float(module.intercept[group, line])
    for lag in range(1, ORDER + 1):
        if bool(module.active_lags[group, line, -lag]):
            total += float(module.lag_weight[group, line, -lag] * context.values[row, -lag])
    for kind in range(context.past.shape[2]):
        weights = module.past_weight[group, line, kind * ORDER : (kind + 1) * ORDER]
        for lag in range(1, ORDER + 1):
            value = context.past[row, -lag, kind] - module.past_mean[kind]
            total += float(weights[-lag] * value / module.past_scale[kind])
    for kind in range(context.future.shape[2]):
        value = context.future[row, ORDER + step, kind] - module.future_mean[kind]
        weight = module.future_weight[group, step, output, kind]
        total += float(weight * value / module.future_scale[kind])
    return total


@pytest.mark.parametrize("loss", ["mse", "quantile"])
@pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 2], [2, 0, 2, 1, 2], [1, 1]])
@pytest.mark.parametrize(("past", "future"), [(0, 0), (2, 1)])
def test_a_forecast_is_the_linear_map_of_its_group(
    groups: list[int], past: int, future: int, loss: Loss
) -> None:
    module = build(3, past=past, future=future, loss=loss)
    module.active_lags[:, :, 1] = False
    context = contexts(groups, past=past, future=future)
    result = module.forecast(context, 3).detach()
    for row in range(len(groups)):
        for step in range(3):
            for output in range(module.n_outputs):
                expected = forecast_by_loop(module, context, row, step, output)
                assert float(result[row, step, output]) == pytest.approx(expected, abs=1e-12)


def test_contexts_of_any_series_go_to_the_only_group() -> None:
    module = build(1)
    apart, same = contexts([5, 0, 7]), contexts([0, 0, 0])
    assert_close(module.forecast(apart, 3), module.forecast(same, 3))


def randomize_network(module: AutoregressionModule) -> AutoregressionModule:
    """Set random weights, also in the last layer, which is zero at first."""
    with torch.no_grad():
        for parameter in module.network.parameters():  # type: ignore[union-attr]
            parameter.copy_(torch.randn(parameter.shape, generator=generator(4)) / 2)
    return module


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_a_shorter_forecast_is_the_prefix_of_a_longer_one(hidden: tuple[int, ...]) -> None:
    module = build(2, future=1, hidden=hidden)
    module = randomize_network(module) if hidden else module
    context = contexts([0, 1, 1], future=1)
    near = replace(context, future=context.future[:, : ORDER + 2])
    assert_close(module.forecast(near, 2), module.forecast(context, 3)[:, :2])


@pytest.mark.parametrize("loss", ["mse", "quantile"])
@pytest.mark.parametrize(("past", "future"), [(0, 0), (1, 0), (1, 2)])
def test_the_network_adds_a_function_of_the_lags_and_of_the_covariates_of_the_step(
    past: int, future: int, loss: Loss
) -> None:
    module = randomize_network(build(past=past, future=future, hidden=(6, 5), loss=loss))
    context = contexts([0, 0], past=past, future=future)
    result = module.forecast(context, 3).detach()
    first, _, second, _ = module.network.trunk  # type: ignore[union-attr,misc]
    last = module.network.last  # type: ignore[union-attr]
    for row in range(2):
        covariates = (context.past[row] - module.past_mean) / module.past_scale
        for step in range(3):
            future = context.future[row, ORDER + step]
            future = (future - module.future_mean) / module.future_scale
            inputs = torch.cat([context.values[row], covariates.T.reshape(-1), future])
            inner = torch.nn.functional.gelu(first.weight @ inputs + first.bias)
            inner = torch.nn.functional.gelu(second.weight @ inner + second.bias)
            for output in range(module.n_outputs):
                line = step * module.n_outputs + output
                expected = forecast_by_loop(module, context, row, step, output)
                expected += float((last.weight[line] @ inner + last.bias[line]).detach())
                assert float(result[row, step, output]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("groups", [[0] * 5, [0, 1, 2], [2, 1, 0], [1, 1, 0, 1], [3]])
def test_grouped_linear_equals_the_product_of_each_row(groups: list[int]) -> None:
    inputs = torch.randn(len(groups), 6, generator=generator())
    weight, constant = torch.randn(4, 5, 6, generator=generator(1)), torch.randn(4, 5)
    result = grouped_linear(inputs, weight, constant, torch.tensor(groups))
    for row, group in enumerate(groups):
        assert_close(result[row], weight[group] @ inputs[row] + constant[group])


def bounded(forecast: float, observed: list[float]) -> float:
    """A forecast within the range of observed values, extended by its width on both sides."""
    if not observed:
        return 0.0
    margin = max(observed) - min(observed)
    return min(max(forecast, min(observed) - margin), max(observed) + margin)


def impute_by_loop(module: AutoregressionModule, context: Context, row: int) -> list[float]:
    """Reposition each gap of a context by the one-step forecast from the points before it."""
    imputed = [float(v) for v in context.values[row]]
    observed = [v for v in imputed if v == v]
    for position in range(ORDER):
        if imputed[position] == imputed[position]:
            continue
        # Points before the context are the mean, which is zero in standardized units.
        shift = ORDER - position
        values = torch.tensor([0.0] * shift + imputed[:position]).double()
        past = torch.cat([module.past_mean.expand(shift, -1), context.past[row, :position]])
        future = context.future[row, position : position + 1].expand(ORDER + 3, -1)
        moved = Context(
            values[None],
            past[None],
            future[None],
            context.static[:1],
            context.category[:1],
            context.series[row : row + 1],
            context.origin[row : row + 1],
        )
        forecast = forecast_by_loop(module, moved, 0, 0, module.point)
        imputed[position] = bounded(forecast, observed)
    return imputed


@pytest.mark.parametrize("levels", [LEVELS, (0.5, 0.9), (0.1, 0.2, 0.5)])
@pytest.mark.parametrize(("loss", "past", "future"), [("mse", 0, 0), ("quantile", 1, 2)])
def test_gaps_of_a_context_are_imputed_by_one_step_forecasts(
    loss: Loss, past: int, future: int, levels: tuple[float, ...]
) -> None:
    module = build(2, past=past, future=future, loss=loss, levels=levels)
    context = contexts([0, 1, 0, 1, 1], past=past, future=future)
    context.values[0, :2] = NAN  # a short series
    context.values[1, 2] = NAN
    context.values[2, [1, 3]] = NAN
    context.values[3] = NAN
    imputed = [impute_by_loop(module, context, row) for row in range(5)]
    whole = replace(context, values=torch.tensor(imputed).double())
    assert_close(module.forecast(context, 3), module.forecast(whole, 3))


def test_imputed_values_of_an_explosive_map_are_bounded() -> None:
    module = build(1)
    with torch.no_grad():
        module.lag_weight.fill_(5.0)
    context = contexts([0])
    context.values[0] = torch.tensor([1.0, NAN, NAN, NAN])
    # The only observed value is 1, so that the gaps are 1, too.
    assert_close(module.forecast(context, 1)[0, 0, 0], module.intercept[0, 0] + 5.0 * 4)


@pytest.mark.parametrize(("past", "future"), [(0, 0), (1, 2)])
def test_gaps_are_imputed_from_points_before_the_context(past: int, future: int) -> None:
    module = build(2, past=past, future=future)
    noise = torch.randn(2, 3 * ORDER + 3, 4, generator=generator(8)).double()
    values = noise[:, :-3, 0]
    values[0, ORDER + 2], values[1, [ORDER + 1, 2 * ORDER + 2]] = NAN, NAN
    rows = torch.arange(2)
    long = Context(
        values, noise[:, :-3, 1 : past + 1], noise[:, :, 2 : future + 2], values[:, :0],
        values[:, :0].long(), rows, rows,
    )  # fmt: skip
    imputed = values.clone()
    for row, position in values.isnan().nonzero().tolist():
        near = slice(position - ORDER, position)
        before = replace(
            long,
            values=imputed[:, near],
            past=long.past[:, near],
            future=long.future[:, near.start :],
        )
        forecast = forecast_by_loop(module, before, row, 0, module.point)
        imputed[row, position] = bounded(forecast, [v for v in values[row].tolist() if v == v])
    near = slice(2 * ORDER, 3 * ORDER)
    whole = replace(
        long, values=imputed[:, near], past=long.past[:, near], future=long.future[:, near.start :]
    )
    assert_close(module.forecast(long, 3), module.forecast(whole, 3))
    prepared = module.prepare(long)
    assert_close(prepared.values, whole.values)
    assert_close(module.forecast(prepared, 3), module.forecast(whole, 3))


def loss_by_definition(kind: str, error: float, level: float, delta: float) -> float:
    if kind == "mse":
        return error**2
    if kind == "huber":
        size = abs(error)
        return error**2 / 2 if size <= delta else delta * (size - delta / 2)
    return level * error if error > 0 else (level - 1) * error


@pytest.mark.parametrize("kind", ["mse", "huber", "quantile"])
def test_the_loss_is_the_mean_over_observed_targets(kind: Loss) -> None:
    module = build(2, loss=kind)
    context = contexts([0, 1, 1])
    target = torch.randn(3, 3, generator=generator(9)).double()
    target[0, 1] = target[2] = NAN
    forecast = module.forecast(context, 3).detach()
    losses = [
        loss_by_definition(kind, float(target[r, s] - forecast[r, s, k]), LEVELS[k], 0.7)
        for r in range(3)
        for s in range(3)
        for k in range(module.n_outputs)
        if target[r, s] == target[r, s]
    ]
    result = module.loss(Batch(context, target))
    assert result.item() == pytest.approx(sum(losses) / len(losses))
    result.backward()
    gradients = [p.grad for p in module.parameters() if p.numel()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


def test_gaps_of_a_context_are_the_mean_in_the_loss() -> None:
    module = build(1, past=1, future=1)
    context = contexts([0, 0], past=1, future=1)
    mean = module.past_mean
    context.values[0, 1], context.past[1, 2], context.future[0, ORDER + 1] = NAN, NAN, NAN
    whole = replace(
        context,
        values=context.values.nan_to_num(0.0),
        past=torch.where(context.past.isnan(), mean, context.past),
        future=torch.where(context.future.isnan(), module.future_mean, context.future),
    )
    target = torch.ones(2, 3).double()
    assert_close(module.loss(Batch(context, target)), module.loss(Batch(whole, target)))


@pytest.mark.parametrize("loss", ["mse", "huber", "quantile"])
def test_an_untrained_network_does_not_affect_the_forecast(loss: Loss) -> None:
    plain, deep = build(2, loss=loss), build(2, loss=loss, hidden=(8, 3))
    context = contexts([1, 0])
    assert_close(deep.forecast(context, 3), plain.forecast(context, 3), rtol=0, atol=0)


def test_inactive_weights_stay_zero_in_training() -> None:
    module = build(2, past=1, future=1, hidden=(3,))
    for name in ("active_lags", "active_past", "active_future"):
        getattr(module, name)[..., 0] = False
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.1)
    before = module.lag_weight.detach().clone()
    batch = Batch(contexts([0, 1], past=1, future=1), torch.ones(2, 3).double())
    for _ in range(3):
        optimizer.zero_grad()
        module.loss(batch).backward()
        assert not module.lag_weight.grad[..., 0].any()
        assert (
            not module.past_weight.grad[..., 0].any()
            and not module.future_weight.grad[..., 0].any()
        )
        optimizer.step()
    weights = module.weights()
    assert not weights.lags[..., 0].any() and not weights.future.any()
    assert not torch.equal(weights.lags[..., 1], before[..., 1])


def test_the_point_forecast_is_the_median() -> None:
    assert build(loss="quantile", levels=(0.5, 0.9)).point == 0
    assert build(loss="quantile", levels=(0.9, 0.2, 0.5)).point == 2
    assert build(loss="mse", levels=(0.2, 0.5)).point == 0


def test_a_module_with_past_covariates_reads_past() -> None:
    assert build(past=1).reads_past and not build(future=1).reads_past


def test_forecast_with_gaps_works_in_inference_mode() -> None:
    module = build(1)
    context: Tensor = contexts([0]).values
    context[0, 2] = NAN
    with torch.inference_mode():
        assert bool(module.forecast(Context.of(context), 3).isfinite().all())
