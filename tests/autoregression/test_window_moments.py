"""Moments of windows against windows that are built."""

import numpy as np
import pytest
import torch

from tsar.autoregression import Segments, WindowMoments

HORIZON, LAGS = 3, 7


def windows(values: torch.Tensor, size: int) -> torch.Tensor:
    """Every window of a series, newest point first."""
    return values.unfold(0, size, 1).flip(1)


@pytest.fixture
def series() -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.normal(size=n).cumsum() + 50) for n in (40, 25)]


@pytest.fixture
def moments(series: list[torch.Tensor]) -> WindowMoments:
    lengths = torch.tensor([len(part) for part in series])
    starts = lengths.cumsum(0) - lengths
    segments = Segments(starts, lengths, torch.arange(2), 2)
    return WindowMoments.of(torch.cat(series), segments, HORIZON + LAGS)


def test_products_about_an_origin_are_those_of_the_windows(
    series: list[torch.Tensor], moments: WindowMoments
) -> None:
    origin = torch.linspace(49, 52, HORIZON + LAGS, dtype=torch.float64).repeat(2, 1)
    products = moments.about(origin)
    for row, values in enumerate(series):
        gap = windows(values, HORIZON + LAGS) - origin[row]
        assert torch.allclose(products[row], gap.T @ gap, rtol=1e-10)
        assert int(moments.nobs[row]) == len(gap)


def test_sums_over_groups_of_lags_are_those_of_the_windows(
    series: list[torch.Tensor], moments: WindowMoments
) -> None:
    sizes = torch.tensor([1, 1, 3])  # the last two lags are not used
    grouped = moments.grouped(HORIZON, sizes)
    for row, values in enumerate(series):
        full = windows(values, HORIZON + LAGS)
        parts = full[:, HORIZON : HORIZON + 5].split(sizes.tolist(), dim=1)
        sums = [part.sum(dim=1, keepdim=True) / part.shape[1] ** 0.5 for part in parts]
        built = torch.cat([full[:, :HORIZON], *sums], dim=1)
        gap = built - built.mean(dim=0)
        assert torch.allclose(grouped.gram[row], gap.T @ gap, rtol=1e-9, atol=1e-9)
        assert torch.allclose(grouped.mean[row], built.mean(dim=0))


def test_products_without_a_baseline_are_those_of_the_windows(
    series: list[torch.Tensor], moments: WindowMoments
) -> None:
    baseline = torch.zeros(HORIZON + LAGS, dtype=torch.float64)
    baseline[HORIZON : HORIZON + 2] = 0.5
    products = moments.about_baseline(baseline, torch.ones_like(baseline))
    for row, values in enumerate(series):
        full = windows(values, HORIZON + LAGS)
        left = full - (full @ baseline)[:, None]
        assert torch.allclose(products[row], left.T @ left, rtol=1e-9, atol=1e-9)


def test_products_without_a_baseline_keep_the_digits_of_a_large_level(
    series: list[torch.Tensor],
) -> None:
    baseline = torch.zeros(HORIZON + LAGS, dtype=torch.float64)
    baseline[HORIZON] = 1
    segments = Segments(torch.tensor([0]), torch.tensor([40]), torch.tensor([0]), 1)
    products = [
        WindowMoments.of(series[0] + level, segments, HORIZON + LAGS).about_baseline(
            baseline, torch.ones_like(baseline)
        )
        for level in (0.0, 1e8)
    ]
    assert torch.allclose(*products, rtol=1e-6, atol=1e-6)


def test_moments_of_two_sets_of_windows_add_up(moments: WindowMoments) -> None:
    first, second = (
        WindowMoments(moments.gram[k : k + 1], moments.mean[k : k + 1], moments.nobs[k : k + 1])
        for k in range(2)
    )
    total, pooled = first + second, moments.pooled()
    assert torch.allclose(total.gram, pooled.gram) and torch.allclose(total.mean, pooled.mean)
    assert float(pooled.nobs) == float(moments.nobs.sum())
    none = WindowMoments(0 * first.gram, 0 * first.mean, 0 * first.nobs)
    assert torch.allclose((none + first).gram, first.gram)
    assert torch.allclose((none + first).mean, first.mean)
