"""Expected risks against independent formulas, published special cases and a reference table."""

import numpy as np
import pytest
import torch
from theory.population import LatentModel
from theory.ridge import optimal_ridge
from theory.simulation import sample_model
from torch import Tensor

from tsar.complexity.theory import Spectrum, ridge_risk, ridgeless_risk


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hastie(spectrum: Spectrum, n_rows: int) -> tuple[float, float]:
    """Bias and variance for p > n as in Hastie et al. 2022, with c0 by plain bisection."""
    s, b, noise = spectrum.eigenvalues, spectrum.signal, float(spectrum.noise)
    gamma = len(s) / n_rows
    low, high = 0.0, 1e12
    for _ in range(300):
        c0 = (low + high) / 2
        total = float((1 / (1 + c0 * gamma * s)).mean())
        low, high = (c0, high) if total > 1 - 1 / gamma else (low, c0)
    squares = (1 + c0 * gamma * s).square()
    e1, e2 = float((s.square() / squares).mean()), float((s / squares).mean())
    ratio = gamma * c0 * e1 / e2
    return (1 + ratio) * float((b * s / squares).sum()), noise * ratio


def isotropic_excess(ratio: float, signal: float, noise: float) -> float:
    """Excess risk at unit covariance (Hastie et al. 2022, theorem 1)."""
    if ratio < 1:
        return noise * ratio / (1 - ratio)
    return signal * (1 - 1 / ratio) + noise / (ratio - 1)


def aligned_spectrum(states: int, features: int, persistence: float) -> Spectrum:
    """Spectrum of the aligned model, for one output.

    The covariance has the eigenvalue 1 + 1 / psi `states` times, psi = states / features, and 1
    otherwise; the residual variance of the best head is 1 - persistence^2 / (1 + psi).
    """
    psi = states / features
    eigenvalues = torch.ones(features, dtype=torch.float64)
    eigenvalues[:states] = 1 + 1 / psi
    signal = torch.zeros_like(eigenvalues)
    signal[0] = persistence**2 * psi / (1 + psi) ** 2  # any direction of that eigenvalue
    return Spectrum(eigenvalues, signal, torch.tensor(1 - persistence**2 / (1 + psi)).double())


def finite_sample_factor(size: int) -> float:
    """Factor on the limit of the variance for p > n = 200."""
    return (size - 200) / (size - 201) if size > 200 else 1.0


@pytest.mark.parametrize("size", (240, 300, 500, 1000))
def test_overparametrized_risk_equals_the_formulas_of_hastie(size: int) -> None:
    model = sample_model(20, size, generator=seeded())
    risk = ridgeless_risk(model.spectrum, 200)
    bias, variance = hastie(model.spectrum, 200)
    assert float(risk.bias) == pytest.approx(bias, rel=1e-6)
    assert float(risk.variance) == pytest.approx(variance * finite_sample_factor(size), rel=1e-6)


# Excess risk of limits and simulations by size: 20 states, 200 rows. For random weights only from
# the size on at which the sampled weights average out.
ALIGNED = ((20, 0.066), (80, 0.235), (220, 2.60), (320, 0.420), (500, 0.172), (1600, 0.054))
GENERAL = (
    *((40, 5.21), (80, 13.6), (120, 30.6), (160, 82.5)),
    *((240, 102.5), (300, 42.3), (500, 15.6), (1000, 7.21), (2000, 4.43)),
)


@pytest.mark.parametrize(("size", "excess"), ALIGNED)
def test_reference_excess_risk_of_aligned_weights(size: int, excess: float) -> None:
    risk = ridgeless_risk(aligned_spectrum(20, size, 0.9), 200)
    limit = float(risk.bias + risk.variance / finite_sample_factor(size))
    assert limit == pytest.approx(excess, rel=0.01)


@pytest.mark.parametrize(("size", "excess"), GENERAL)
def test_reference_excess_risk_of_random_weights(size: int, excess: float) -> None:
    risk = ridgeless_risk(sample_model(20, size, generator=seeded()).spectrum, 200)
    limit = float(risk.bias + risk.variance / finite_sample_factor(size))
    assert limit == pytest.approx(excess, rel=0.01)


def test_a_sampled_aligned_model_has_the_aligned_spectrum() -> None:
    model = sample_model(20, 60, scheme="aligned", generator=seeded())
    expected = aligned_spectrum(20, 60, 0.9)
    torch.testing.assert_close(model.spectrum.eigenvalues.sort()[0], expected.eigenvalues.sort()[0])
    excess = ridgeless_risk(model.spectrum, 40).excess / 20
    torch.testing.assert_close(excess, ridgeless_risk(expected, 40).excess)


@pytest.mark.parametrize("size", (3, 8, 30))
def test_moments_of_the_latent_model_equal_those_of_its_features(size: int) -> None:
    model = sample_model(8, size, generator=seeded(size))
    covariance = model.feature_covariance
    head = torch.linalg.solve(
        covariance, model.readout.T @ model.state_covariance @ model.transition
    )
    torch.testing.assert_close(model.head, head)
    residual_variance = (model.state_covariance - head.T @ covariance @ head).trace()
    torch.testing.assert_close(model.residual_variance, residual_variance)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    signal = (vectors.T @ head).square().sum(dim=1)
    torch.testing.assert_close(residual_variance + eigenvalues @ signal, model.null_risk)
    excess = ridgeless_risk(Spectrum(eigenvalues, signal, residual_variance), 15).excess
    torch.testing.assert_close(ridgeless_risk(model.spectrum, 15).excess, excess)
    other = normal(size, 8)
    exact = ((other - head).T @ covariance @ (other - head)).trace()
    torch.testing.assert_close(model.excess(other), exact)


@pytest.mark.parametrize("size", (199, 200, 201))
def test_the_variance_at_the_interpolation_threshold_is_infinite(size: int) -> None:
    ones = torch.ones(size, dtype=torch.float64)
    assert float(ridgeless_risk(Spectrum(ones, ones, ones[0]), 200).variance) == np.inf
    for other in (198, 202):
        ones = torch.ones(other, dtype=torch.float64)
        assert np.isfinite(float(ridgeless_risk(Spectrum(ones, ones, ones[0]), 200).variance))


def test_the_underparametrized_variance_is_exact() -> None:
    ones = torch.ones(50, dtype=torch.float64)
    risk = ridgeless_risk(Spectrum(ones, ones, 3 * ones[0]), 200)
    assert float(risk.bias) == 0
    assert float(risk.variance) == pytest.approx(3 * 50 / (200 - 50 - 1))


def test_the_overparametrized_variance_of_unit_covariance_is_exact() -> None:
    ones = torch.ones(210, dtype=torch.float64)
    risk = ridgeless_risk(Spectrum(ones, 0 * ones, ones[0]), 200)
    assert float(risk.variance) == pytest.approx(200 / (210 - 200 - 1))


def test_directions_without_variance_do_not_affect_the_risk() -> None:
    spectrum = Spectrum(normal(30).abs() + 1, normal(30).abs(), torch.tensor(2.0).double())
    zeros = torch.zeros(200, dtype=torch.float64)
    padded = Spectrum(
        torch.cat([spectrum.eigenvalues, zeros]),
        torch.cat([spectrum.signal, zeros + 1]),
        spectrum.noise,
    )
    assert ridgeless_risk(padded, 100) == ridgeless_risk(spectrum, 100)


def test_isotropic_features_have_the_closed_form_risk_and_optimal_penalty() -> None:
    ones = torch.ones(20_000, dtype=torch.float64)
    for ratio in (0.2, 0.8, 1.5, 4.0):
        size = int(ratio * 5_000)
        spectrum = Spectrum(ones[:size], 2 * ones[:size] / size, ones[0])
        excess = ridgeless_risk(spectrum, 5_000).excess
        assert float(excess) == pytest.approx(isotropic_excess(ratio, 2.0, 1.0), rel=2e-3)
        penalty, least = optimal_ridge(spectrum, 5_000)
        # noise * features / signal (Hastie et al. 2022, theorem 5, there divided by the rows)
        assert float(penalty) == pytest.approx(size / 2.0, rel=0.02)
        assert least < excess


def test_the_optimal_ridge_has_the_least_risk_and_no_peak() -> None:
    model = sample_model(20, 400, generator=seeded())
    least_risks = []
    for size in (100, 190, 200, 210, 400):
        spectrum = model.with_features(size).spectrum
        penalty, least = optimal_ridge(spectrum, 200)
        others = ridge_risk(spectrum, 200, penalty * torch.tensor([0.5, 0.99, 1.01, 2.0]))
        assert bool((others.excess >= least * (1 - 1e-9)).all())
        least_risks.append(float(least))
    assert least_risks == sorted(least_risks, reverse=True)


def test_the_risk_of_a_small_penalty_tends_to_the_ridgeless_risk() -> None:
    spectrum = sample_model(20, 400, generator=seeded()).spectrum
    small, none = ridge_risk(spectrum, 200, torch.tensor([1e-6, 0.0])).excess
    assert float(small) * 200 / 199 == pytest.approx(float(none), rel=1e-3)


def test_without_noise_only_as_many_directions_vary_as_there_are_states() -> None:
    model = sample_model(4, 12, generator=seeded())
    noiseless = LatentModel(model.transition, model.readout, 1.0, 0.0)
    torch.testing.assert_close(noiseless.residual_variance, torch.tensor(4.0).double())
    assert len(noiseless.spectrum.nonzero().eigenvalues) == 4
