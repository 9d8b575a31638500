"""Streaming forecasts against forecasts of the whole context."""

from typing import Any

import numpy as np
import pytest
import torch
from small_spacetime import normal, seasonal_series, small_estimator, small_module

from tsar import Training
from tsar.data.batch import Context
from tsar.forecasters.spacetime.stream import Stream


@pytest.mark.parametrize(
    "options",
    ({}, {"depth": 0}, {"unit_roots": 1}, {"levels": (0.1, 0.5)}, {"state_size": 40}, {"width": 8}),
    ids=str,
)
@pytest.mark.parametrize("length", (1, 2, 5, 31, 32, 33, 80))
def test_points_read_one_by_one_equal_a_context(options: Any, length: int) -> None:
    module = small_module(length, normalization="none", **options).eval()
    values = normal(3, length)
    stream = Stream(module, torch.zeros(3), torch.ones(3))
    for points in values.T.numpy():
        output = stream.push(points)
    with torch.inference_mode():
        expected = module.forecast(Context.of(values), 12)
    np.testing.assert_allclose(output, expected[:, 0].numpy(), atol=2e-4)
    np.testing.assert_allclose(stream.forecast(12).numpy(), expected.numpy(), atol=5e-4)


def test_missing_point_is_replaced_by_the_one_before() -> None:
    module = small_module(6, normalization="none").eval()
    values = normal(1, 6)
    values[0, 3] = torch.nan
    stream = Stream(module, torch.zeros(1), torch.ones(1))
    for points in values.T.numpy():
        output = stream.push(points)
    expected = module.forecast(Context.of(values), 1)
    np.testing.assert_allclose(output, expected[:, 0].detach().numpy(), atol=1e-4)


def test_forecast_does_not_change_the_stream() -> None:
    stream = Stream(small_module(6, normalization="none").eval(), torch.zeros(2), torch.ones(2))
    stream.push(np.ones(2, dtype=np.float32))
    first = stream.forecast(5)
    assert torch.equal(stream.forecast(5), first)


@pytest.mark.wrong_types
def test_points_of_a_wrong_shape_raise() -> None:
    stream = Stream(small_module(6, normalization="none").eval(), torch.zeros(2), torch.ones(2))
    for wrong in (20.0, np.ones(3), np.ones((2, 1))):
        with pytest.raises(ValueError, match=r"points must be one of each series, of shape \(2,\)"):
            stream.push(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon must be an integer"):
        stream.forecast(0)


@pytest.mark.wrong_types
def test_infinite_point_raises_without_changing_the_state() -> None:
    stream = Stream(small_module(6, normalization="none").eval(), torch.zeros(2), torch.ones(2))
    stream.push(np.ones(2))
    before = stream.forecast(3)
    with pytest.raises(ValueError, match="points must be finite or NaN; got -inf for series 1"):
        stream.push(np.array([np.nan, -np.inf]))
    assert torch.equal(stream.forecast(3), before)


def test_normalization_and_covariates_raise() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="normalization must be 'none'"):
        Stream(small_module(6, normalization="mean"), one - 1, one)
    with pytest.raises(ValueError, match="2 covariate"):
        Stream(small_module(6, normalization="none", past=1, future=1), one - 1, one)


def test_stream_of_a_fitted_model_equals_update_and_predict() -> None:
    frame = np.stack([seasonal_series(), seasonal_series(seed=1) * 10 - 4], axis=1)
    model = small_estimator(normalization="none").fit(frame[:230])
    stream = model.stream()
    np.testing.assert_allclose(
        stream.forecast(9)[..., 0].numpy().T, model.predict(horizon=9), rtol=1e-3
    )
    for points in frame[230:]:
        output = stream.push(points)
    forecast = stream.forecast(9)[..., 0].numpy()
    np.testing.assert_allclose(output[:, 0], forecast[:, 0], rtol=1e-4)
    longer = small_estimator(normalization="none", context_length=46)
    longer = longer.set_params(training=Training(epochs=0)).fit(frame[:230])
    longer.module_.load_state_dict(model.module_.state_dict())
    longer.scaling_ = model.scaling_
    np.testing.assert_allclose(forecast.T, longer.update(frame[230:]).predict(horizon=9), rtol=1e-3)
