"""Moving blocks within series, effective sample sizes and standard errors of dependent rows."""

import pytest
import torch

from tsar.complexity.bootstrap import (
    block_length,
    effective_sample_size,
    moving_block_bootstrap,
    standard_error,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_blocks_do_not_span_two_series() -> None:
    series = torch.tensor([0] * 7 + [1] * 5)
    samples = moving_block_bootstrap(series, 3, 200, seeded())
    assert samples.shape == (200, 12)
    blocks = samples.unflatten(1, (4, 3))
    assert bool((blocks.diff(dim=2) == 1).all())
    assert bool((series[blocks].amax(dim=2) == series[blocks].amin(dim=2)).all())
    assert set(blocks[:, :, 0].unique().tolist()) == {0, 1, 2, 3, 4, 7, 8, 9}


def test_blocks_are_shortened_to_the_longest_series() -> None:
    samples = moving_block_bootstrap(torch.arange(6), 3, 2, seeded())
    assert samples.shape == (2, 6)
    assert block_length(1) == 1


def test_effective_sample_size_of_an_autoregression() -> None:
    """With coefficient a, n rows are worth n (1 - a) / (1 + a)."""
    noise = torch.randn(20_000, 1, generator=seeded(), dtype=torch.float64)
    errors = torch.zeros_like(noise)
    for row in range(1, len(noise)):
        errors[row] = 0.6 * errors[row - 1] + noise[row]
    series = torch.zeros(len(noise), dtype=torch.long)
    assert effective_sample_size(errors, series) == pytest.approx(20_000 * 0.25, rel=0.1)
    assert effective_sample_size(noise, series) == pytest.approx(20_000, rel=0.1)
    assert effective_sample_size(errors * 0, series) == 20_000


def test_block_standard_errors_include_serial_dependence() -> None:
    noise = torch.randn(4000, generator=seeded(), dtype=torch.float64)
    slow = torch.nn.functional.avg_pool1d(noise[None], 5, 1)[0] * 5**0.5
    series = torch.zeros(len(slow), dtype=torch.long)
    single_rows = standard_error(slow, moving_block_bootstrap(series, 1, 400, seeded()))
    blocks = standard_error(slow, moving_block_bootstrap(series, 40, 400, seeded()))
    assert float(single_rows) == pytest.approx(4000**-0.5, rel=0.15)
    assert float(blocks / single_rows) == pytest.approx(5**0.5, rel=0.2)
