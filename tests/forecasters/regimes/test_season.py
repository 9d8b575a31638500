"""Seasonal means: those of a season are found, those of noise are shrunk to zero."""

import numpy as np
import torch

from tsar.forecasters.regimes.season import seasonal_means


def test_seasonal_means_are_those_of_a_season_and_near_zero_for_noise() -> None:
    generator = np.random.default_rng(0)
    shape = np.array([3.0, -1.0, -2.0, 0.0])
    wave = np.tile(shape, 50) + 0.1 * generator.normal(size=200)
    noise = generator.normal(size=1000)
    both = torch.from_numpy(np.concatenate([wave, noise]))
    found = seasonal_means(both, torch.tensor([0, 200, 1200]), 4)
    # Phase 0 is the last point, phase 1 the one before it.
    np.testing.assert_allclose(found[0], shape[::-1], atol=0.05)
    assert abs(found[1]).max() < 0.1
    assert torch.equal(seasonal_means(both, torch.tensor([0, 1200]), 1), torch.zeros(1, 1).double())
