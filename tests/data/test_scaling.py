"""Scaling of series and contexts, compared with NumPy for each series."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from tsar.data.batch import Batch, Context
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.nn.module import fill_target, masked_mean
from tsar.nn.normalization import (
    last_observed,
    moving_average,
    moving_average_matrix,
    observed_mean,
)

NAN = math.nan
WIDE = pd.DataFrame(
    {"a": [1.0, NAN, 3.0, 8.0], "b": [5.0, 5.0, 5.0, NAN], "c": [-1e6, 1e6, 0.0, 2.0]}
)


def test_each_series_is_scaled_by_its_mean_and_deviation() -> None:
    scaling = Scaling.of(Panel.from_frame(WIDE))
    np.testing.assert_allclose(scaling.mean.numpy(), WIDE.mean())
    np.testing.assert_allclose(scaling.deviation.numpy(), WIDE.std(ddof=0).replace(0.0, 1.0))
    scaled = scaling.apply(Panel.from_frame(WIDE)).values.reshape(3, 4).T
    expected = (WIDE - WIDE.mean()) / WIDE.std(ddof=0).replace(0.0, 1.0)
    np.testing.assert_allclose(scaled.numpy(), expected.to_numpy(), atol=1e-12)


def test_scale_and_invert_are_inverse() -> None:
    scaling = Scaling.of(Panel.from_frame(WIDE))
    values = torch.from_numpy(WIDE.to_numpy().T.copy())
    scaled = scaling.scale(values)
    expected = scaling.apply(Panel.from_frame(WIDE)).values
    torch.testing.assert_close(scaled.reshape(-1), expected, equal_nan=True)
    torch.testing.assert_close(scaling.invert(scaled[:, :, None])[:, :, 0], values, equal_nan=True)
    rows = torch.tensor([2, 0])
    back = scaling.select(rows).invert(scaled[rows][:, :, None])[:, :, 0]
    torch.testing.assert_close(back, values[rows], equal_nan=True)


def test_contexts_are_scaled_by_their_observed_points() -> None:
    values = torch.from_numpy(WIDE.to_numpy().T.copy())
    contexts, panel = Scaling.of_contexts(values), Scaling.of(Panel.from_frame(WIDE))
    torch.testing.assert_close(contexts.mean, panel.mean)
    torch.testing.assert_close(contexts.deviation, panel.deviation)
    unobserved = Scaling.of_contexts(torch.full((2, 3), NAN))
    assert unobserved.mean.tolist() == [0, 0]
    assert unobserved.deviation.tolist() == [1, 1]


@pytest.mark.parametrize("value", (0.1, -1e9 / 3, 1e-12 / 7, 0.0, 123456.789))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_constant_series_have_deviation_one(value: float, dtype: torch.dtype) -> None:
    constant = torch.full((2, 30_000), value, dtype=dtype)
    for scaling in (Scaling.of(Panel.from_tensor(constant)), Scaling.of_contexts(constant)):
        assert scaling.deviation.tolist() == [1, 1]
        torch.testing.assert_close(scaling.mean, constant[:, 0])


def test_rounding_errors_of_a_constant_series_are_not_its_deviation() -> None:
    values = torch.tensor([[0.3, 0.1 + 0.2, 0.3, 0.6 - 0.3]], dtype=torch.float64)
    assert values.std() > 0
    for scaling in (Scaling.of(Panel.from_tensor(values)), Scaling.of_contexts(values)):
        assert scaling.deviation.tolist() == [1]


def test_small_deviations_far_from_zero_are_kept() -> None:
    values = 1e6 + torch.tensor([[0.0, 1e-3, 2e-3, 3e-3]], dtype=torch.float64)
    for scaling in (Scaling.of(Panel.from_tensor(values)), Scaling.of_contexts(values)):
        np.testing.assert_allclose(scaling.deviation.numpy(), [1e-3 * np.std(range(4))], rtol=1e-6)


def test_the_last_observed_value_is_the_newest() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, NAN], [4.0, NAN, NAN], [NAN, NAN, NAN]])
    assert last_observed(values).tolist() == [[3.0], [2.0], [4.0], [0.0]]
    assert observed_mean(values).tolist() == [[2.0], [1.5], [4.0], [0.0]]


@pytest.mark.parametrize("window", (1, 2, 3, 4, 25))
def test_the_moving_average_repeats_the_edges(window: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    values[1, 4:6], values[2, 0] = NAN, NAN
    average = moving_average_matrix(12, window).double()
    found = moving_average(values, average)
    assert found.shape == values.shape
    for row in range(3):
        for time in range(12):
            first = time - (window - 1) // 2
            seen = [float(values[row, min(max(k, 0), 11)]) for k in range(first, first + window)]
            seen = [value for value in seen if not math.isnan(value)]
            expected = np.mean(seen) if seen else NAN
            np.testing.assert_allclose(float(found[row, time]), expected, rtol=1e-6, atol=1e-7)


def test_a_masked_mean_is_over_what_is_observed() -> None:
    losses = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert masked_mean(losses, mask).item() == 2.0
    assert masked_mean(losses, torch.zeros_like(mask)).item() == 0.0


def test_a_missing_target_has_no_gradient() -> None:
    forecast = torch.tensor([[1.0, 2.0]], requires_grad=True)
    batch = Batch(Context.of(torch.zeros(1, 2)), torch.tensor([[3.0, NAN]]))
    target, mask = fill_target(batch)
    loss = masked_mean((forecast - target) ** 2, mask)
    loss.backward()
    assert loss.item() == 4.0
    assert forecast.grad is not None
    assert forecast.grad.tolist() == [[-4.0, 0.0]]
