"""SpaceTime: its parts against slow versions, its laws, its options, and what it must learn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from small_spacetime import make, noise, series, small
from statsmodels.tsa.arima.estimators.hannan_rissanen import (
    hannan_rissanen as hannan_rissanen_of_statsmodels,
)

import tsar.forecasters.spacetime.module as spacetime
from tsar import Columns, Training
from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.arma import hannan_rissanen
from tsar.forecasters.spacetime.burg import burg
from tsar.forecasters.spacetime.module import SpaceTimeModule
from tsar.forecasters.spacetime.stability import bounded, step_down, step_up
from tsar.forecasters.spacetime.views import AVERAGES, ORDERS, views
from tsar.nn.normalization import forward_fill, instance_norm

NAN = float("nan")


def batch_of(module: SpaceTimeModule, size: int = 5, seed: int = 0) -> Batch:
    time, horizon = module.context_length, module.horizon
    future = 0 if module.head.known is None else module.head.known.in_features
    past = module.covariates.shape[2] - future
    context = replace(
        Context.of(noise(size, time, seed=seed)),
        past=noise(size, time, past, seed=1),
        future=noise(size, time + horizon, future, seed=2),
    )
    return Batch(context, noise(size, horizon, seed=3))


# --- parts ---


def test_views_are_differences_and_distances_from_averages() -> None:
    series = noise(2, 40).double()
    found = views(series).numpy()
    for row, values in enumerate(series.numpy()):
        for k, order in enumerate(ORDERS):
            change = np.diff(values, n=order)
            np.testing.assert_allclose(found[row, k, order:], change, atol=1e-12)
            assert not found[row, k, :order].any()
        for k, window in enumerate(AVERAGES):
            for t in range(40):
                average = values[max(0, t + 1 - window) : t + 1].mean()
                expected = values[t] - average
                assert found[row, len(ORDERS) + k, t] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("length", (1, 2, 3, 5))
def test_a_context_may_be_shorter_than_any_view(length: int) -> None:
    found = views(torch.arange(1.0, length + 1)[None])
    assert found.shape == (1, len(ORDERS) + len(AVERAGES), length)
    assert found.isfinite().all()
    assert views(torch.full((1, length), 3.0))[:, 1:].abs().max() == 0


def test_burg_finds_the_waves_of_a_series_without_noise() -> None:
    time = torch.arange(60, dtype=torch.float64)
    waves = torch.stack([(0.7 * time + k).sin() + 0.5 * (0.2 * time).cos() for k in range(5)])
    coef = step_up(burg(waves, 4))
    ahead = sum(coef[j] * waves[:, 3 - j : 59 - j] for j in range(4))
    torch.testing.assert_close(ahead, waves[:, 4:], atol=1e-2, rtol=0)


def test_burg_of_an_autoregression_is_near_to_it() -> None:
    values = np.zeros(20_000)
    for t, error in enumerate(np.random.default_rng(0).normal(size=20_000)):
        values[t] = 1.2 * values[t - 1] - 0.6 * values[t - 2] + error
    windows = torch.from_numpy(values[100:]).unfold(0, 200, 50)
    np.testing.assert_allclose(step_up(burg(windows, 2)).numpy(), [1.2, -0.6], atol=0.03)
    assert burg(torch.zeros(3, 10), 4).tolist() == [0, 0, 0, 0]
    assert burg(noise(3, 3), 6)[2:].tolist() == [0, 0, 0, 0]
    assert burg(noise(9, 50), 20).abs().max() <= 1


def test_hannan_and_rissanen_find_moving_averages() -> None:
    """Exactly where one shock is answered without noise; with noise as near as statsmodels."""
    errors = np.random.default_rng(0).normal(size=20_000)
    values = lfilter([1, 0.6], [1, -1.2, 0.6], errors)
    windows = torch.from_numpy(values[100:]).unfold(0, 200, 50)
    autoregression, undone = (step_up(part).numpy() for part in hannan_rissanen(windows, 2))
    np.testing.assert_allclose(autoregression, [1.2, -0.6], atol=0.03)
    np.testing.assert_allclose(undone, [-0.6, 0.0], atol=0.04)
    told = hannan_rissanen_of_statsmodels(values, ar_order=2, ma_order=2, demean=False)[0]
    np.testing.assert_allclose(autoregression, told.ar_params, atol=0.02)
    np.testing.assert_allclose(undone, -told.ma_params, atol=0.02)

    shock = np.zeros(300)
    shock[40] = 1
    answer = lfilter([1, 0.6], [1, -2 * np.cos(0.4), 1], shock)
    windows = torch.from_numpy(answer).unfold(0, 96, 1)[:60]
    autoregression, undone = (step_up(part).numpy() for part in hannan_rissanen(windows, 2))
    np.testing.assert_allclose(autoregression, [2 * np.cos(0.4), -1], atol=1e-5)
    np.testing.assert_allclose(undone, [-0.6, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "time", "order"), [(3, 3, 6), (2, 50, 20), (4, 200, 64), (1, 9, 2)]
)
def test_hannan_and_rissanen_stay_stable(rows: int, time: int, order: int) -> None:
    for windows in (noise(rows, time), torch.zeros(rows, time), noise(rows, time).cumsum(1)):
        for part in hannan_rissanen(windows, order):
            assert part.shape == (order,)
            assert part.abs().max() <= 1
            assert part[max((time - 1) // 3, 0) :].abs().sum() == 0


def test_step_down_is_the_inverse_of_step_up() -> None:
    reflection = bounded(noise(1, 12)[0].double())
    torch.testing.assert_close(step_down(step_up(reflection)), reflection, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ("mean", "last", "standardize", "none"))
def test_what_a_normalization_takes_out_it_puts_back(kind: Any) -> None:
    values = torch.tensor([[1.0, NAN, 5.0], [7.0, 7.0, 7.0], [NAN, NAN, NAN]])
    units = instance_norm(values, kind)
    torch.testing.assert_close(units.denormalize(units.normalize(values)), values, equal_nan=True)
    level = {"mean": 3.0, "standardize": 3.0, "last": 5.0, "none": 0.0}[kind]
    assert units.level[0].item() == level
    assert units.scale[:, 0].tolist() == [2.0 if kind == "standardize" else 1.0, 1.0, 1.0]


def test_missing_points_repeat_the_last_one() -> None:
    values = torch.tensor([[NAN, 1.0, NAN, NAN, 2.0], [NAN] * 5])
    assert forward_fill(values).tolist() == [[0, 1, 1, 1, 2], [0] * 5]


# --- laws ---

KINDS = (
    {},
    {"depth": 0},
    {"normalization": "last", "unit_roots": 1},
    {"normalization": "standardize", "stability": "l1"},
    {"levels": (0.2, 0.5, 0.9)},
    {"past": 2, "future": 1},
    {"past": 2, "groups": 5},
    {"state_size": 40},  # more than the context
)
kinds = pytest.mark.parametrize("options", KINDS, ids=str)


@kinds
def test_a_short_forecast_is_the_start_of_a_long_one(options: Any) -> None:
    module = make(**options).eval()
    context = batch_of(module).context
    long = module.forecast(context, 50)
    for horizon in (1, 7):
        torch.testing.assert_close(
            module.forecast(context, horizon), long[:, :horizon], atol=1e-4, rtol=1e-4
        )


@kinds
def test_every_parameter_gets_a_gradient(options: Any) -> None:
    module = make(**options)
    module.loss(batch_of(module)).backward()
    for name, parameter in module.named_parameters():
        if parameter.numel():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@kinds
def test_a_batch_is_its_rows_one_by_one(options: Any) -> None:
    module = make(**options).eval()
    context = batch_of(module).context
    whole = module.forecast(context, 9)
    for row in range(len(context)):
        alone = module.forecast(context[row : row + 1], 9)
        torch.testing.assert_close(alone[0], whole[row], atol=1e-5, rtol=1e-5)


def test_pieces_change_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make(unit_roots=1).eval()
    context = batch_of(module).context
    whole = module.forecast(context, 40)
    monkeypatch.setattr(spacetime, "PIECE", 7)
    torch.testing.assert_close(module.forecast(context, 40), whole, atol=1e-4, rtol=1e-4)


def test_the_open_loop_ends_where_the_closed_one_begins() -> None:
    module = make().eval()
    inputs = noise(3, 16, 25)
    decoder = module.decoder.prepared(25)
    opened = decoder.read(inputs)
    closed = decoder.run(decoder.state(inputs), 1)
    torch.testing.assert_close(opened.outputs[..., -1:], closed, atol=1e-5, rtol=1e-5)


def test_the_guess_of_the_next_input_is_what_the_closed_loop_goes_on_with() -> None:
    """With the guess as its input, the open loop says what the closed one says a step later."""
    module = make().eval()
    inputs = noise(3, 16, 25)
    decoder = module.decoder.prepared(26)
    guess = decoder.read(inputs).guesses[..., -1:]
    longer = decoder.read(torch.cat([inputs, guess], dim=-1)).outputs[..., -1]
    closed = decoder.run(decoder.state(inputs), 2)[..., 1]
    torch.testing.assert_close(longer, closed, atol=1e-4, rtol=1e-4)


def test_later_points_change_no_earlier_output() -> None:
    module = make().eval()
    values = noise(1, 30)
    changed = values.clone()
    changed[0, 20] += 1
    context = Context.of(values)
    before = module._encode(values, context)
    after = module._encode(changed, context)
    torch.testing.assert_close(before[..., :20], after[..., :20], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[..., 20:], after[..., 20:], atol=1e-3)


@pytest.mark.parametrize("weight", (0, 1))
def test_each_loss_is_alive_whenever_it_is_trained(weight: int) -> None:
    """The released code lost two of three losses with the first validation."""
    module = make(one_step_weight=0.0, input_weight=0.0)
    batch = batch_of(module)
    alone = module.loss(batch).item()
    module.weights = (1.0, 0.0) if weight == 0 else (0.0, 1.0)
    assert module.loss(batch).item() > alone
    module.eval()
    assert module.loss(batch).item() == pytest.approx(alone, rel=1e-5)
    module.train()
    assert module.loss(batch).item() > alone


def test_the_target_of_the_guess_is_not_moved() -> None:
    module = make(depth=1, one_step_weight=0.0)
    inputs = noise(2, 16, 30).requires_grad_()
    units = instance_norm(noise(2, 30), "mean")
    opened = module.decoder.prepared(30).read(inputs)
    _, guess = module._open_losses(batch_of(module, 2).context, units, inputs, opened)
    guess.backward()
    assert inputs.grad is not None
    assert inputs.grad[..., -1].abs().max() < 1e-7  # it is a target only


def test_gaps_are_masked() -> None:
    module = make(normalization="last")
    batch = batch_of(module)
    values, target = batch.context.values.clone(), batch.target.clone()
    values[0, :9] = values[1, 4:6] = values[2, -3:] = target[3, 2:] = NAN
    gappy = Batch(replace(batch.context, values=values), target)
    loss = module.loss(gappy)
    loss.backward()
    assert loss.isfinite()
    for parameter in filter(torch.numel, module.parameters()):
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    forecast = module.eval().forecast(gappy.context, 5)
    assert forecast.isfinite().all()


@pytest.mark.parametrize("initial", ("burg", "arma"))
def test_it_begins_as_an_autoregression(initial: Any) -> None:
    module = make(initial=initial, width=8)
    time = torch.arange(38.0)
    waves = torch.stack([(0.4 * time + k).sin() for k in range(20)])
    batch = Batch(Context.of(waves[:, :30]), waves[:, 30:])
    before = module.eval().loss(batch)
    module.start(batch)
    assert module.loss(batch) < 0.3 * before


def test_it_begins_with_the_moving_averages() -> None:
    """The forecasts before training are those of the process itself."""
    module = make(100, 30, initial="arma", width=8, state_size=2, normalization="none")
    shocks = np.zeros((24, 130))
    shocks[np.arange(24), 60 + np.arange(24)] = 1
    answers = torch.from_numpy(lfilter([1, 0.6], [1, -2 * np.cos(0.4), 1], shocks)).float()
    batch = Batch(Context.of(answers[:, :100]), answers[:, 100:])
    module.start(batch)
    assert module.eval().loss(batch) < 1e-6
    # The shock is the last that is seen: the averages alone know of it.
    late = torch.zeros(1, 100)
    late[0, -1] = 1
    told = module.forecast(Context.of(late), 2)
    assert told[0, 0, 0].item() == pytest.approx(2 * np.cos(0.4) + 0.6, abs=1e-3)


# --- the estimator ---


def test_a_season_is_forecast_at_any_horizon() -> None:
    model = small().fit(series())
    found = model.predict(horizon=100)
    expected = np.sin(np.arange(240, 340) * 2 * np.pi / 12) * 3 + 20
    assert np.abs(found[:12] - expected[:12]).mean() < 0.4
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:6], model.predict(), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    (
        {"state_size": 60},
        {"context_length": 3},
        {"normalization": "none"},
        {"stability": "l1", "initial": "random"},
        {"unit_roots": 2, "initial": "random", "normalization": "last"},
        {"depth": 0},
        {"depth": 2, "one_step_weight": 0.0, "input_weight": 0.0},
    ),
    ids=str,
)
def test_options_that_work(options: Any) -> None:
    found = small(**options).fit(series()).predict(horizon=20)
    assert np.isfinite(found).all()


def test_bfloat16_trains_to_about_the_same_forecast() -> None:
    short = Training(epochs=3, batch_size=32, precision="bfloat16")
    found = small(training=short).fit(series()).predict()
    np.testing.assert_allclose(found, small().fit(series()).predict(), atol=0.3)


@pytest.mark.parametrize("kind", ("mean", "last", "standardize"))
def test_a_constant_series_stays_where_it_is(kind: Any) -> None:
    model = small(normalization=kind).fit(np.full(100, 7.0))
    np.testing.assert_allclose(model.predict(horizon=30), 7.0, rtol=1e-6)
    model = small(normalization=kind).fit(series())
    np.testing.assert_allclose(model.predict(np.full(100, 9.0), horizon=30), 9.0, rtol=1e-6)


def test_a_long_horizon_is_finite() -> None:
    found = small().fit(series()).predict(horizon=10_000)
    assert np.isfinite(found).all() and np.abs(found).max() < 1e3


def test_quantiles_may_be_learned() -> None:
    model = small(loss="quantile").fit(series())
    found = model.predict(quantile_levels=[0.1, 0.5, 0.9])
    assert (np.diff(found[:, 1:], axis=1) >= 0).all()
    with pytest.raises(ValueError, match="must be among those fitted"):
        model.predict(level=95)
    with pytest.raises(ValueError, match="horizon must be at most 6 with intervals"):
        model.predict(horizon=7, level=80)


def test_covariates_are_used() -> None:
    generator = np.random.default_rng(0)
    known, seen = generator.normal(size=(2, 400))
    y = np.zeros(400)
    y[1:] = 2 * known[1:] + seen[:-1]
    frame = pd.DataFrame({"ds": np.arange(400), "y": y, "known": known, "seen": seen})
    columns = Columns(future=("known",), past=("seen",))
    training = Training(epochs=30, batch_size=32, learning_rate=1e-2)
    model = small(columns=columns, horizon=1, training=training, dropout=0.0, context_length=8)
    model.fit(frame[:380])
    found = [
        model.predict(frame[:k], future=frame.loc[[k], ["ds", "known"]])["SpaceTime"].iloc[0]
        for k in range(380, 400)
    ]
    assert np.abs(np.array(found) - y[380:]).mean() < 0.5 * np.abs(y[380:]).mean()


def followers(length: int = 400) -> Any:
    """Two leaders, and two that do what their own leader did the step before."""
    leaders = np.random.default_rng(0).normal(size=(length, 2))
    late = np.concatenate([np.zeros((1, 2)), leaders[:-1]])
    return np.concatenate([leaders, late], axis=1) + np.array([0.0, 1e8, 5.0, -7.0])


def test_series_may_see_each_other() -> None:
    y = followers()
    training = Training(epochs=40, batch_size=32, learning_rate=1e-2)
    told = {}
    for joint in (False, True):
        model = small(horizon=1, joint=joint, training=training, dropout=0.0, context_length=8)
        model.fit(y[:380])
        found = np.array([model.predict(y[:k])[0] for k in range(380, 400)])
        told[joint] = np.abs(found - y[380:])[:, 2:].mean()
    assert told[True] < 0.35 * told[False]
    model.update(y[380:])
    np.testing.assert_allclose(model.predict(), model.predict(y), rtol=1e-4)


def test_series_that_see_each_other_come_together() -> None:
    training = Training(epochs=0)
    frame = pd.DataFrame(followers(60), columns=list("abcd"))
    long = frame.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    model = small(joint=True, training=training).fit(long)
    some = long[long["unique_id"] != "b"]
    for call in (model.predict, model.score):
        with pytest.raises(ValueError, match="must hold all 4 series that were fitted"):
            call(some.assign(ds=some["ds"] + 60))
    newer = some.assign(ds=some["ds"] + 60)
    before = model.predict()
    with pytest.raises(ValueError, match="begin and end together"):
        model.update(newer)
    pd.testing.assert_frame_equal(model.predict(), before)
    with pytest.raises(ValueError, match="joint must be False for forecast"):
        model.forecast(torch.zeros(4, 8))
    with pytest.raises(ValueError, match="joint must be False where series do not begin"):
        small(joint=True).fit(series())


def test_a_covariate_that_never_changed_says_nothing() -> None:
    """What rounding leaves of its deviation must not become its unit."""
    y = series()
    large = 1e30 * np.random.default_rng(3).normal(size=246)
    frame = pd.DataFrame({"ds": np.arange(240), "y": y, "flat": 0.1, "large": large[:240]})
    model = small(columns=Columns(future=("flat", "large"))).fit(frame)
    ahead = pd.DataFrame({"ds": np.arange(240, 246), "flat": 0.2, "large": large[240:]})
    assert np.abs(model.predict(future=ahead)["SpaceTime"] - 20).max() < 10


def test_quantiles_begin_apart() -> None:
    model = small(loss="quantile", training=Training(epochs=0)).fit(series())
    found = model.predict(level=80)
    assert (found[:, 2] - found[:, 1] > 0.2).all()
    assert (
        found.shape
        == model.set_params(quantile_levels=np.array([0.1, 0.5]))
        .fit(series())
        .predict(quantile_levels=[0.1, 0.5])
        .shape
    )


@pytest.mark.parametrize("kind", ("line", "sine", "integers", "slow waves"))
def test_series_without_noise_are_forecast_far(kind: str) -> None:
    time = np.arange(600.0)
    y = {
        "line": time,
        "sine": np.sin(time * 2 * np.pi / 24),
        "integers": np.round(10 * np.sin(time * 2 * np.pi / 24)),
        "slow waves": sum(np.sin(time * 2 * np.pi / p) for p in (100, 150, 210, 270, 333)),
    }[kind]
    quick = Training(epochs=2, batch_size=64, epoch_windows=256)
    model = small(context_length=144, state_size=64, horizon=24, training=quick).fit(y)
    far = model.predict(horizon=3000)
    assert np.abs(far).max() < 2 * np.abs(y).max()
    np.testing.assert_allclose(model.predict(), far[:24], atol=1e-3 * np.abs(y).max())


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"width": 12}, "width must be a multiple of 8"),
        ({"state_size": 0}, "state_size must be an integer of at least 1"),
        ({"depth": -1}, "depth must be an integer"),
        ({"normalization": "median"}, "normalization must be one of"),
        ({"stability": "l2"}, "stability must be one of"),
        ({"stability": "l1"}, "initial must be 'random' with stability='l1'"),
        ({"unit_roots": 1}, "initial must be 'random'"),
        ({"unit_roots": 3}, "unit_roots must be 0, 1 or 2"),
        ({"dropout": 1.0}, "dropout must be a fraction"),
        ({"one_step_weight": -1.0}, "one_step_weight must be finite and at least 0"),
        ({"loss": "mae"}, "loss must be one of"),
        ({"loss": "quantile", "quantile_levels": (0.1,)}, "quantile_levels must be"),
    ),
    ids=str,
)
def test_options_that_make_no_sense(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**options).fit(series())
