"""SpaceTime: components against references, properties of the module, options, and accuracy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from small_spacetime import normal, seasonal_series, small_estimator, small_module
from statsmodels.tsa.arima.estimators.hannan_rissanen import (
    hannan_rissanen as statsmodels_hannan_rissanen,
)

import tsar.forecasters.spacetime.module as spacetime_module
from tsar import Columns, Training
from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.initialization import burg, hannan_rissanen
from tsar.forecasters.spacetime.module import SpaceTimeModule
from tsar.forecasters.spacetime.preprocessing import (
    AVERAGE_WINDOWS,
    DIFFERENCE_ORDERS,
    preprocess,
)
from tsar.forecasters.spacetime.stability import constrain, step_down, step_up
from tsar.nn.normalization import instance_norm

NAN = float("nan")


def random_batch(module: SpaceTimeModule, size: int = 5, seed: int = 0) -> Batch:
    time, horizon = module.context_length, module.horizon
    future = 0 if module.head.covariates is None else module.head.covariates.in_features
    past = module.covariates.shape[2] - future
    context = replace(
        Context.of(normal(size, time, seed=seed)),
        past=normal(size, time, past, seed=1),
        future=normal(size, time + horizon, future, seed=2),
    )
    return Batch(context, normal(size, horizon, seed=3))


# --- components ---


def test_preprocessing_equals_numpy_differences_and_averages() -> None:
    series = normal(2, 40).double()
    actual = preprocess(series).numpy()
    for row, values in enumerate(series.numpy()):
        for k, order in enumerate(DIFFERENCE_ORDERS):
            change = np.diff(values, n=order)
            np.testing.assert_allclose(actual[row, k, order:], change, atol=1e-12)
            assert not actual[row, k, :order].any()
        for k, window in enumerate(AVERAGE_WINDOWS):
            for t in range(40):
                average = values[max(0, t + 1 - window) : t + 1].mean()
                expected = values[t] - average
                assert actual[row, len(DIFFERENCE_ORDERS) + k, t] == pytest.approx(
                    expected, abs=1e-12
                )


@pytest.mark.parametrize("length", (1, 2, 3, 5))
def test_preprocessing_of_contexts_shorter_than_the_filters(length: int) -> None:
    actual = preprocess(torch.arange(1.0, length + 1)[None])
    assert actual.shape == (1, len(DIFFERENCE_ORDERS) + len(AVERAGE_WINDOWS), length)
    assert actual.isfinite().all()
    assert preprocess(torch.full((1, length), 3.0))[:, 1:].abs().max() == 0


def test_burg_of_noiseless_sine_waves() -> None:
    time = torch.arange(60, dtype=torch.float64)
    waves = torch.stack([(0.7 * time + k).sin() + 0.5 * (0.2 * time).cos() for k in range(5)])
    coef = step_up(burg(waves, 4))
    forecast = sum(coef[j] * waves[:, 3 - j : 59 - j] for j in range(4))
    torch.testing.assert_close(forecast, waves[:, 4:], atol=1e-2, rtol=0)


def test_burg_estimates_the_coefficients_of_an_autoregression() -> None:
    values = np.zeros(20_000)
    for t, error in enumerate(np.random.default_rng(0).normal(size=20_000)):
        values[t] = 1.2 * values[t - 1] - 0.6 * values[t - 2] + error
    windows = torch.from_numpy(values[100:]).unfold(0, 200, 50)
    np.testing.assert_allclose(step_up(burg(windows, 2)).numpy(), [1.2, -0.6], atol=0.03)
    assert burg(torch.zeros(3, 10), 4).tolist() == [0, 0, 0, 0]
    assert burg(normal(3, 3), 6)[2:].tolist() == [0, 0, 0, 0]
    assert burg(normal(9, 50), 20).abs().max() <= 1


def test_hannan_rissanen_estimates_an_arma_process() -> None:
    """As close as statsmodels with noise, exact for the impulse response without noise."""
    errors = np.random.default_rng(0).normal(size=20_000)
    values = lfilter([1, 0.6], [1, -1.2, 0.6], errors)
    windows = torch.from_numpy(values[100:]).unfold(0, 200, 50)
    autoregression, inverse = (step_up(part).numpy() for part in hannan_rissanen(windows, 2))
    np.testing.assert_allclose(autoregression, [1.2, -0.6], atol=0.03)
    np.testing.assert_allclose(inverse, [-0.6, 0.0], atol=0.04)
    reference = statsmodels_hannan_rissanen(values, ar_order=2, ma_order=2, demean=False)[0]
    np.testing.assert_allclose(autoregression, reference.ar_params, atol=0.02)
    np.testing.assert_allclose(inverse, -reference.ma_params, atol=0.02)

    impulse = np.zeros(300)
    impulse[40] = 1
    response = lfilter([1, 0.6], [1, -2 * np.cos(0.4), 1], impulse)
    windows = torch.from_numpy(response).unfold(0, 96, 1)[:60]
    autoregression, inverse = (step_up(part).numpy() for part in hannan_rissanen(windows, 2))
    np.testing.assert_allclose(autoregression, [2 * np.cos(0.4), -1], atol=1e-5)
    np.testing.assert_allclose(inverse, [-0.6, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "time", "order"), [(3, 3, 6), (2, 50, 20), (4, 200, 64), (1, 9, 2)]
)
def test_hannan_rissanen_is_stable(rows: int, time: int, order: int) -> None:
    for windows in (normal(rows, time), torch.zeros(rows, time), normal(rows, time).cumsum(1)):
        for part in hannan_rissanen(windows, order):
            assert part.shape == (order,)
            assert part.abs().max() <= 1
            assert part[max((time - 1) // 3, 0) :].abs().sum() == 0


def test_step_down_is_the_inverse_of_step_up() -> None:
    reflection = constrain(normal(1, 12)[0].double())
    torch.testing.assert_close(step_down(step_up(reflection)), reflection, rtol=1e-8, atol=1e-10)


# --- properties of the module ---

OPTIONS = (
    {},
    {"depth": 0},
    {"normalization": "last", "unit_roots": 1},
    {"normalization": "standardize", "stability": "l1"},
    {"levels": (0.2, 0.5, 0.9)},
    {"past": 2, "future": 1},
    {"past": 2, "groups": 5},
    {"state_size": 40},  # longer than the context
)
all_options = pytest.mark.parametrize("options", OPTIONS, ids=str)


@all_options
def test_short_forecast_is_the_prefix_of_a_long_one(options: Any) -> None:
    module = small_module(**options).eval()
    context = random_batch(module).context
    long = module.forecast(context, 50)
    for horizon in (1, 7):
        torch.testing.assert_close(
            module.forecast(context, horizon), long[:, :horizon], atol=1e-4, rtol=1e-4
        )


@all_options
def test_every_parameter_has_a_gradient(options: Any) -> None:
    module = small_module(**options)
    module.loss(random_batch(module)).backward()
    for name, parameter in module.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@all_options
def test_forecast_of_a_batch_equals_its_rows_one_by_one(options: Any) -> None:
    module = small_module(**options).eval()
    context = random_batch(module).context
    expected = module.forecast(context, 9)
    for row in range(len(context)):
        single = module.forecast(context[row : row + 1], 9)
        torch.testing.assert_close(single[0], expected[row], atol=1e-5, rtol=1e-5)


def test_forecast_in_chunks_equals_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    module = small_module(unit_roots=1).eval()
    context = random_batch(module).context
    expected = module.forecast(context, 40)
    monkeypatch.setattr(spacetime_module, "MAX_STEPS", 7)
    torch.testing.assert_close(module.forecast(context, 40), expected, atol=1e-4, rtol=1e-4)


def test_last_open_loop_output_equals_the_first_closed_loop_output() -> None:
    module = small_module().eval()
    inputs = normal(3, 16, 25)
    system = module.decoder.system(25)
    open_loop = system.open_loop(inputs)
    closed_loop = system.forecast(system.state(inputs), 1)
    torch.testing.assert_close(open_loop.outputs[..., -1:], closed_loop, atol=1e-5, rtol=1e-5)


def test_closed_loop_continues_with_the_predicted_next_input() -> None:
    """The open loop with the predicted input equals the closed loop one step later."""
    module = small_module().eval()
    inputs = normal(3, 16, 25)
    system = module.decoder.system(26)
    next_input = system.open_loop(inputs).next_inputs[..., -1:]
    open_loop = system.open_loop(torch.cat([inputs, next_input], dim=-1)).outputs[..., -1]
    closed_loop = system.forecast(system.state(inputs), 2)[..., 1]
    torch.testing.assert_close(open_loop, closed_loop, atol=1e-4, rtol=1e-4)


def test_encoder_is_causal() -> None:
    module = small_module().eval()
    values = normal(1, 30)
    changed = values.clone()
    changed[0, 20] += 1
    context = Context.of(values)
    before = module._encode(values, context)
    after = module._encode(changed, context)
    torch.testing.assert_close(before[..., :20], after[..., :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[..., 20:], after[..., 20:], atol=1e-3)


@pytest.mark.parametrize("weight", (0, 1))
def test_open_loop_losses_are_active_in_every_training_epoch(weight: int) -> None:
    """In the released code two of three losses are switched off by the first validation."""
    module = small_module(one_step_weight=0.0, input_weight=0.0)
    batch = random_batch(module)
    closed_loop_loss = module.loss(batch).item()
    module.loss_weights = (1.0, 0.0) if weight == 0 else (0.0, 1.0)
    assert module.loss(batch).item() > closed_loop_loss
    module.eval()
    assert module.loss(batch).item() == pytest.approx(closed_loop_loss, rel=1e-5)
    module.train()
    assert module.loss(batch).item() > closed_loop_loss


def test_target_of_the_input_loss_is_detached() -> None:
    module = small_module(depth=1, one_step_weight=0.0)
    inputs = normal(2, 16, 30).requires_grad_()
    norm = instance_norm(normal(2, 30), "mean")
    predicted = module.decoder.system(30).open_loop(inputs)
    _, loss = module._open_loop_losses(random_batch(module, 2).context, norm, inputs, predicted)
    loss.backward()
    assert inputs.grad is not None
    assert inputs.grad[..., -1].abs().max() < 1e-7  # the last input is only a target


def test_missing_points_are_masked() -> None:
    module = small_module(normalization="last")
    batch = random_batch(module)
    values, target = batch.context.values.clone(), batch.target.clone()
    values[0, :9] = values[1, 4:6] = values[2, -3:] = target[3, 2:] = NAN
    masked = Batch(replace(batch.context, values=values), target)
    loss = module.loss(masked)
    loss.backward()
    assert loss.isfinite()
    for parameter in filter(torch.numel, module.parameters()):
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    forecast = module.eval().forecast(masked.context, 5)
    assert forecast.isfinite().all()


@pytest.mark.parametrize("init", ("burg", "arma"))
def test_initialization_forecasts_sine_waves(init: Any) -> None:
    module = small_module(init=init, width=8)
    time = torch.arange(38.0)
    waves = torch.stack([(0.4 * time + k).sin() for k in range(20)])
    batch = Batch(Context.of(waves[:, :30]), waves[:, 30:])
    before = module.eval().loss(batch)
    module.initialize(batch)
    assert module.loss(batch) < 0.3 * before


def test_arma_initialization_forecasts_an_arma_process() -> None:
    """Forecasts before training equal those of the process."""
    module = small_module(100, 30, init="arma", width=8, state_size=2, normalization="none")
    impulses = np.zeros((24, 130))
    impulses[np.arange(24), 60 + np.arange(24)] = 1
    values = torch.from_numpy(lfilter([1, 0.6], [1, -2 * np.cos(0.4), 1], impulses)).float()
    batch = Batch(Context.of(values[:, :100]), values[:, 100:])
    module.initialize(batch)
    assert module.eval().loss(batch) < 1e-6
    # After an impulse at the end of the context, which only the moving average accounts for.
    context = torch.zeros(1, 100)
    context[0, -1] = 1
    forecast = module.forecast(Context.of(context), 2)
    assert forecast[0, 0, 0].item() == pytest.approx(2 * np.cos(0.4) + 0.6, abs=1e-3)


# --- estimator ---


def test_seasonal_series_is_forecast_at_any_horizon() -> None:
    model = small_estimator().fit(seasonal_series())
    forecast = model.predict(horizon=100)
    expected = np.sin(np.arange(240, 340) * 2 * np.pi / 12) * 3 + 20
    assert np.abs(forecast[:12] - expected[:12]).mean() < 0.4
    assert np.isfinite(forecast).all()
    np.testing.assert_allclose(forecast[:6], model.predict(), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    (
        {"state_size": 60},
        {"context_length": 3},
        {"normalization": "none"},
        {"stability": "l1", "init": "random"},
        {"unit_roots": 2, "init": "random", "normalization": "last"},
        {"depth": 0},
        {"depth": 2, "one_step_weight": 0.0, "input_weight": 0.0},
    ),
    ids=str,
)
def test_forecasts_with_other_options_are_finite(options: Any) -> None:
    forecast = small_estimator(**options).fit(seasonal_series()).predict(horizon=20)
    assert np.isfinite(forecast).all()


def test_bfloat16_training_gives_a_similar_forecast() -> None:
    short = Training(epochs=3, batch_size=32, precision="bfloat16")
    forecast = small_estimator(training=short).fit(seasonal_series()).predict()
    np.testing.assert_allclose(
        forecast, small_estimator().fit(seasonal_series()).predict(), atol=0.3
    )


@pytest.mark.parametrize("kind", ("mean", "last", "standardize"))
def test_constant_series_is_forecast_to_stay_constant(kind: Any) -> None:
    model = small_estimator(normalization=kind).fit(np.full(100, 7.0))
    np.testing.assert_allclose(model.predict(horizon=30), 7.0, rtol=1e-6)
    model = small_estimator(normalization=kind).fit(seasonal_series())
    np.testing.assert_allclose(model.predict(np.full(100, 9.0), horizon=30), 9.0, rtol=1e-6)


def test_forecast_at_a_long_horizon_is_bounded() -> None:
    forecast = small_estimator().fit(seasonal_series()).predict(horizon=10_000)
    assert np.isfinite(forecast).all() and np.abs(forecast).max() < 1e3


def test_quantile_loss_gives_sorted_quantiles() -> None:
    model = small_estimator(loss="quantile").fit(seasonal_series())
    forecast = model.predict(quantile_levels=[0.1, 0.5, 0.9])
    assert (np.diff(forecast[:, 1:], axis=1) >= 0).all()
    with pytest.raises(ValueError, match="must be among those fitted"):
        model.predict(level=95)
    with pytest.raises(ValueError, match="horizon must be at most 6 with intervals"):
        model.predict(horizon=7, level=80)


def test_covariates_improve_the_forecast() -> None:
    generator = np.random.default_rng(0)
    future, past = generator.normal(size=(2, 400))
    y = np.zeros(400)
    y[1:] = 2 * future[1:] + past[:-1]
    frame = pd.DataFrame({"ds": np.arange(400), "y": y, "future": future, "past": past})
    columns = Columns(future=("future",), past=("past",))
    training = Training(epochs=30, batch_size=32, learning_rate=1e-2)
    model = small_estimator(
        columns=columns, horizon=1, training=training, dropout=0.0, context_length=8
    )
    model.fit(frame[:380])
    forecast = [
        model.predict(frame[:k], future=frame.loc[[k], ["ds", "future"]])["SpaceTime"].iloc[0]
        for k in range(380, 400)
    ]
    assert np.abs(np.array(forecast) - y[380:]).mean() < 0.5 * np.abs(y[380:]).mean()


def leaders_and_followers(length: int = 400) -> Any:
    """Two series of noise, and each of them delayed by one step."""
    leaders = np.random.default_rng(0).normal(size=(length, 2))
    delayed = np.concatenate([np.zeros((1, 2)), leaders[:-1]])
    return np.concatenate([leaders, delayed], axis=1) + np.array([0.0, 1e8, 5.0, -7.0])


def test_joint_model_forecasts_from_other_series() -> None:
    y = leaders_and_followers()
    training = Training(epochs=40, batch_size=32, learning_rate=1e-2)
    errors = {}
    for joint in (False, True):
        model = small_estimator(
            horizon=1, joint=joint, training=training, dropout=0.0, context_length=8
        )
        model.fit(y[:380])
        forecast = np.array([model.predict(y[:k])[0] for k in range(380, 400)])
        errors[joint] = np.abs(forecast - y[380:])[:, 2:].mean()
    assert errors[True] < 0.35 * errors[False]
    model.update(y[380:])
    np.testing.assert_allclose(model.predict(), model.predict(y), rtol=1e-4)


def test_joint_model_requires_all_series() -> None:
    training = Training(epochs=0)
    frame = pd.DataFrame(leaders_and_followers(60), columns=list("abcd"))
    long = frame.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    model = small_estimator(joint=True, training=training).fit(long)
    three_series = long[long["unique_id"] != "b"]
    for call in (model.predict, model.score):
        with pytest.raises(ValueError, match="must hold all 4 series that were fitted"):
            call(three_series.assign(ds=three_series["ds"] + 60))
    newer = three_series.assign(ds=three_series["ds"] + 60)
    before = model.predict()
    with pytest.raises(ValueError, match="begin and end together"):
        model.update(newer)
    pd.testing.assert_frame_equal(model.predict(), before)
    with pytest.raises(ValueError, match="SpaceTime needs all series, for joint=True"):
        model.forecast(torch.zeros(4, 8))
    with pytest.raises(ValueError, match="joint must be False where series do not begin"):
        small_estimator(joint=True).fit(seasonal_series())


def test_constant_covariate_does_not_affect_the_forecast() -> None:
    """The rounding error of its standard deviation must not become its scale."""
    y = seasonal_series()
    large = 1e30 * np.random.default_rng(3).normal(size=246)
    frame = pd.DataFrame({"ds": np.arange(240), "y": y, "flat": 0.1, "large": large[:240]})
    model = small_estimator(columns=Columns(future=("flat", "large"))).fit(frame)
    future_frame = pd.DataFrame({"ds": np.arange(240, 246), "flat": 0.2, "large": large[240:]})
    assert np.abs(model.predict(future=future_frame)["SpaceTime"] - 20).max() < 10


def test_initial_quantiles_are_distinct() -> None:
    model = small_estimator(loss="quantile", training=Training(epochs=0)).fit(seasonal_series())
    forecast = model.predict(level=80)
    assert (forecast[:, 2] - forecast[:, 1] > 0.2).all()
    assert (
        forecast.shape
        == model.set_params(quantile_levels=np.array([0.1, 0.5]))
        .fit(seasonal_series())
        .predict(quantile_levels=[0.1, 0.5])
        .shape
    )


@pytest.mark.parametrize("kind", ("line", "sine", "integers", "slow waves"))
def test_forecasts_of_noiseless_series_are_bounded(kind: str) -> None:
    time = np.arange(600.0)
    y = {
        "line": time,
        "sine": np.sin(time * 2 * np.pi / 24),
        "integers": np.round(10 * np.sin(time * 2 * np.pi / 24)),
        "slow waves": sum(np.sin(time * 2 * np.pi / p) for p in (100, 150, 210, 270, 333)),
    }[kind]
    quick = Training(epochs=2, batch_size=64, epoch_windows=256)
    model = small_estimator(context_length=144, state_size=64, horizon=24, training=quick).fit(y)
    long = model.predict(horizon=3000)
    assert np.abs(long).max() < 2 * np.abs(y).max()
    np.testing.assert_allclose(model.predict(), long[:24], atol=1e-3 * np.abs(y).max())


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"width": 12}, "width must be a multiple of 8"),
        ({"state_size": 0}, "state_size must be an integer of at least 1"),
        ({"depth": -1}, "depth must be an integer"),
        ({"normalization": "median"}, "normalization must be one of"),
        ({"stability": "l2"}, "stability must be one of"),
        ({"stability": "l1"}, "init must be 'random' with stability='l1'"),
        ({"unit_roots": 1}, "init must be 'random'"),
        ({"unit_roots": 3}, "unit_roots must be 0, 1 or 2"),
        ({"dropout": 1.0}, "dropout must be a fraction"),
        ({"one_step_weight": -1.0}, "one_step_weight must be finite and at least 0"),
        ({"loss": "mae"}, "loss must be one of"),
        ({"loss": "quantile", "quantile_levels": (0.1,)}, "quantile_levels must be"),
    ),
    ids=str,
)
def test_invalid_option_raises(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_estimator(**options).fit(seasonal_series())
