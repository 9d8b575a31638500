"""Scaling of series and contexts, compared with NumPy for each series."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling

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
