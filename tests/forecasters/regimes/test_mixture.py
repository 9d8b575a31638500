"""Normal mixtures: quantiles against root finding on the distribution function."""

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from tsar.forecasters.regimes.mixture import NormalMixture


def test_quantiles_are_the_roots_of_the_distribution_function() -> None:
    generator = np.random.default_rng(0)
    weights = generator.dirichlet(np.ones(4), size=5)
    weights[0] = [0.0, 1.0, 0.0, 0.0]
    means, stds = generator.normal(size=(5, 4)) * 5, generator.uniform(0.01, 3, size=(5, 4))
    levels = [0.001, 0.1, 0.5, 0.975]
    mixture = NormalMixture(*(torch.from_numpy(part) for part in (weights, means, stds)))
    found = mixture.quantiles(levels).numpy()
    for row in range(5):

        def shortfall(value: float, level: float, row: int = row) -> float:
            return float(weights[row] @ norm.cdf(value, means[row], stds[row]) - level)

        expected = [brentq(shortfall, -60, 60, args=(level,), xtol=1e-13) for level in levels]
        np.testing.assert_allclose(found[row], expected, atol=1e-10)
    cdf = mixture.cdf(torch.from_numpy(found))
    np.testing.assert_allclose(cdf, np.tile(levels, (5, 1)), atol=1e-12)
