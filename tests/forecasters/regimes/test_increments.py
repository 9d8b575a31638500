"""Quantiles of cumulative increments, against mixtures over all paths of states."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tsar.forecasters.regimes.increments import cumulative_quantiles
from tsar.forecasters.regimes.mixture import NormalMixture
from tsar.hmm.discrete.parameters import GaussianParameters


def two_regimes(windows: int = 1) -> tuple[GaussianParameters, Tensor]:
    """A model of two different regimes, and the state probabilities of each window."""
    transmat, startprob, means, variances = (
        torch.tensor(values, dtype=torch.float64)
        for values in ([[0.9, 0.1], [0.3, 0.7]], [0.4, 0.6], [[1.0], [-2.0]], [[0.25], [4.0]])
    )
    transmat, startprob = transmat.expand(windows, 2, 2), startprob.expand(windows, 2)
    means, variances = means.expand(windows, 2, 1), variances.expand(windows, 2, 1)
    return GaussianParameters(startprob, transmat, means, variances), startprob


def enumerated_quantiles(
    models: GaussianParameters, initial: Tensor, steps: int, levels: list[float]
) -> Tensor:
    """Quantiles of a sum of two regimes: of the mixture over the number of visits to the second."""
    paths = {(state, 0): float(initial[0, state]) for state in range(2)}
    for _ in range(steps):
        extended: dict[tuple[int, int], float] = {}
        for (state, visits), probability in paths.items():
            for following in range(2):
                key = (following, visits + following)
                transition = float(models.transmat[0, state, following])
                extended[key] = extended.get(key, 0.0) + probability * transition
        paths = extended
    visits = torch.tensor([count for _, count in paths], dtype=torch.float64)
    weights = torch.tensor(list(paths.values()), dtype=torch.float64)
    counts = torch.stack([steps - visits, visits])
    means, variances = models.means[0, :, 0] @ counts, models.covars[0, :, 0] @ counts
    return NormalMixture(weights, means, variances.sqrt()).quantiles(levels)


@pytest.mark.parametrize(
    "variances", [(0.25, 4.0), (0.01, 0.01), (1e-6, 1e-6), (1.0, 1e4), (1e8, 0.01)], ids=str
)
def test_cumulative_quantiles_equal_the_mixture_over_all_paths(
    variances: tuple[float, float],
) -> None:
    models, initial = two_regimes()
    models = replace(models, covars=torch.tensor(variances, dtype=torch.float64)[None, :, None])
    levels = [0.001, 0.1, 0.5, 0.9, 0.975]
    found = cumulative_quantiles(models, initial > 0, initial, 21, levels)
    for steps in (1, 2, 3, 7, 21):
        expected = enumerated_quantiles(models, initial, steps, levels)
        width = expected[-1] - expected[0]
        tolerance = 2e-6 if min(variances) > 1e-5 or steps == 1 else 3e-4  # of the span
        torch.testing.assert_close(found[0, steps - 1], expected, rtol=0, atol=tolerance * width)


@pytest.mark.parametrize("ratio", (1e3, 1e5))
def test_a_rare_regime_of_large_variance_does_not_widen_the_quantiles_of_the_others(
    ratio: float,
) -> None:
    values = ([[0.999, 0.001], [0.9, 0.1]], [0.999, 0.001], [[0.0], [3.0]], [[1.0], [ratio**2]])
    transmat, startprob, means, variances = (
        torch.tensor(part, dtype=torch.float64)[None] for part in values
    )
    models = GaussianParameters(startprob, transmat, means, variances)
    levels = [0.1, 0.5, 0.9, 0.9995]
    found = cumulative_quantiles(models, startprob > 0, startprob, 40, levels)
    for steps in (1, 2, 5, 40):
        expected = enumerated_quantiles(models, startprob, steps, levels)
        torch.testing.assert_close(found[0, steps - 1, :3], expected[:3], rtol=0, atol=1e-4)
        torch.testing.assert_close(found[0, steps - 1, 3], expected[3], rtol=1e-3, atol=1e-3)


def test_regimes_without_variance_are_accurate_to_a_fraction_of_the_span() -> None:
    models, initial = two_regimes()
    models = replace(models, covars=torch.full_like(models.covars, 1e-150))
    found = cumulative_quantiles(models, initial > 0, initial, 3, [0.05, 0.3, 0.95])
    np.testing.assert_allclose(found[0, 0], [-2, -2, 1])
    np.testing.assert_allclose(found[0, 2, [0, 2]], [-6, 3], atol=5e-3)


def test_cumulative_quantiles_do_not_depend_on_the_other_windows() -> None:
    models, initial = two_regimes(3)
    spread = torch.tensor([1.0, 1e-4, 100.0], dtype=torch.float64)[:, None, None] * models.covars
    models = replace(models, covars=spread)
    joint = cumulative_quantiles(models, initial > 0, initial, 9, [0.1, 0.9])
    for row in range(3):
        alone = GaussianParameters(*(part[row : row + 1] for part in vars(models).values()))
        own = initial[row : row + 1]
        torch.testing.assert_close(
            cumulative_quantiles(alone, own > 0, own, 9, [0.1, 0.9])[0],
            joint[row],
            rtol=1e-12,
            atol=0,
        )


def test_padded_states_do_not_affect_cumulative_quantiles() -> None:
    models, initial = two_regimes()
    padded = GaussianParameters(
        torch.nn.functional.pad(models.startprob, (0, 1)),
        torch.nn.functional.pad(models.transmat, (0, 1, 0, 1)),
        torch.nn.functional.pad(models.means, (0, 0, 0, 1), value=1e9),
        torch.nn.functional.pad(models.covars, (0, 0, 0, 1), value=1e9),
    )
    padded_initial = torch.nn.functional.pad(initial, (0, 1))
    torch.testing.assert_close(
        cumulative_quantiles(padded, padded_initial > 0, padded_initial, 5, [0.2, 0.7]),
        cumulative_quantiles(models, initial > 0, initial, 5, [0.2, 0.7]),
    )
