"""Bias correction of one-step equations, against explicit least squares and simulations."""

import numpy as np
import pytest
import reference_autoregression as reference
import torch
from reference_autoregression import Array, fit_lags, lag_windows

from tsar.autoregression import (
    Design,
    correct_bias,
    fit_closed_form,
    limit_roots,
    observed_segments,
    roots,
)


def test_the_coefficients_are_the_best_fit_of_all_with_their_sum() -> None:
    row = 5 + reference.simulate([0.5, 0.2, 0.2], 60, 3)[0]
    results = fit_lags(row[None], 3)
    coef = results.coef[0, 0].numpy()
    matrix, target = lag_windows(row, 3)
    # Given the sum, the coefficient of the newest lag is the sum less the others.
    differences = matrix[:, 1:] - matrix[:, :1]
    design = np.column_stack([np.ones(len(differences)), differences])
    expected = np.linalg.lstsq(design, target - coef.sum() * matrix[:, 0], rcond=None)[0]
    np.testing.assert_allclose(coef[1:], expected[1:], rtol=1e-8)
    plain = fit_lags(row[None], 3, bias_correction=False).coef[0, 0].numpy()
    factor = min(1 + plain[1] + 2 * plain[2], 1)
    assert coef.sum() == pytest.approx(min(plain.sum() + factor * (1 + 3 * plain.sum()) / 57, 1))


@pytest.mark.parametrize(
    ("coef", "max_share"),
    [
        ([0.0], 0.2),
        ([0.7], 0.2),
        ([0.9], 0.5),
        ([0.5, 0.0, 0.3], 0.6),
        ([0.0, 0.0, 0.6], 0.8),
        ([1.5, -0.7], 0.2),
        ([1.8, -0.9], 0.6),
    ],
)
def test_the_bias_of_the_sum_is_less_than_that_of_least_squares(
    coef: list[float], max_share: float
) -> None:
    """Of several lags that reinforce each other it is larger than that of one."""
    rows = reference.simulate(coef, 60, 1, series=4000)
    corrected, plain = (
        float(fit_lags(rows, len(coef), bias_correction=option).coef.sum(dim=2).mean()) - sum(coef)
        for option in (True, False)
    )
    assert plain < -0.005
    assert abs(corrected) < max_share * abs(plain)


def test_the_bias_of_a_pooled_equation_is_corrected() -> None:
    rows = reference.simulate([0.6], 20, 2, series=2000)
    rows = rows - rows.mean(axis=1, keepdims=True)  # each has its own mean
    corrected, plain = (
        float(fit_lags(rows, 1, bias_correction=option, pooled=True).coef.sum()) - 0.6
        for option in (True, False)
    )
    assert plain < -0.06  # (1 + 0.6) / 19, and the mean of all is known
    assert abs(corrected) < 0.2 * abs(plain)


def test_the_sum_is_at_most_one_and_the_drift_is_shrunk() -> None:
    rows = reference.simulate([1.0], 80, 5, series=50) + 0.5 * np.arange(80)
    results = fit_lags(rows, 2)
    sums = results.coef.sum(dim=2)
    assert float(sums.max()) <= 1 + 1e-12
    unit_roots = (sums[:, 0] > 1 - 1e-12).nonzero()[:, 0]
    assert len(unit_roots) > 20
    plain = fit_lags(rows, 2, bias_correction=False)
    for row in unit_roots.tolist():
        matrix, target = lag_windows(rows[row], 2)
        residual = target - matrix @ results.coef[row, 0].numpy()
        mean, nobs = residual.mean(), len(residual)
        squared_error = ((residual - mean) ** 2).sum() / (nobs - 3) / nobs
        total = float(plain.coef[row].sum())
        bias = (1 + 3 * total) / 78 * min(1 + float(plain.coef[row, 0, 1]), 1)
        weight = min(4 * (total + bias - 1) / bias, 1)
        drift = mean * (1 - weight * min(squared_error / mean**2, 1))
        assert float(results.intercept[row, 0]) == pytest.approx(drift)
        assert float(results.rss[row, 0]) == pytest.approx(((residual - drift) ** 2).sum())


def test_the_forecast_is_continuous_where_the_sum_reaches_one() -> None:
    random = np.random.default_rng(13)
    walk, noise = (0.08 + random.normal(size=50)).cumsum(), random.normal(size=50)
    sums, forecasts = [], []
    for scale in np.linspace(0.9, 1.3, 401):
        results = fit_lags((walk + scale * noise)[None], 1)
        sums.append(float(results.coef.sum()))
        forecasts.append(float(results.intercept) + sums[-1] * (walk + scale * noise)[-1])
    assert min(sums) < 1 - 1e-6 and max(sums) > 1 - 1e-12  # both cases occur
    assert np.abs(np.diff(forecasts)).max() < 0.05


def test_an_equation_with_covariates_does_not_shrink_its_intercept() -> None:
    row = reference.simulate([1.0], 60, 6)
    flat = torch.from_numpy(np.concatenate([row, np.random.default_rng(0).normal(size=(1, 60))]))
    segments = observed_segments(flat, torch.tensor([0, 60]))
    results = fit_closed_form(flat, segments, Design(1, 1, n_future=1), bias_correction=True)
    matrix = np.column_stack([row[0, :-1], flat[1, 1:].numpy()])
    residual = row[0, 1:] - matrix @ results.coef[0, 0].numpy()
    assert float(results.intercept) == pytest.approx(residual.mean())


def test_without_lags_nothing_changes() -> None:
    constant = np.full((1, 30), 4.0)
    assert float(fit_lags(constant, 2).coef.abs().max()) == 0.0
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    corrected = correct_bias(zeros, zeros, torch.zeros(1, 2, dtype=torch.bool), 9 * one, one)
    assert float(corrected.coef.abs().max()) == 0.0 and float(corrected.drift_weight) == 0.0


def test_a_negative_sum_is_not_lowered() -> None:
    rows = reference.simulate([-0.8], 60, 7, series=3)
    assert torch.equal(fit_lags(rows, 1).coef, fit_lags(rows, 1, bias_correction=False).coef)


def test_explosive_roots_are_limited() -> None:
    coef = torch.tensor([[0.0, -1.3, 0.0], [1.9, -0.95, 0.0], [0.0, 0.0, 1.02], [0.0, 0.0, 0.0]])
    limited = limit_roots(coef.double(), 3, torch.full((4,), 50.0, dtype=torch.float64))
    size = np.abs(roots(limited).numpy()).max(axis=1)
    np.testing.assert_allclose(size[0], 1.02, rtol=1e-12)
    assert limited[0].count_nonzero() == 1  # inactive lags stay zero
    assert torch.equal(limited[1:], coef[1:].double())  # 1.02 ** (1 / 3) is less than 1.02


def test_coefficients_of_covariates_do_not_affect_the_roots() -> None:
    coef = torch.tensor([[0.5, -2.0, 9.0]], dtype=torch.float64)
    limited = limit_roots(coef, 2, torch.tensor([10.0], dtype=torch.float64))
    assert float(limited[0, 2]) == 9.0
    assert np.abs(roots(limited[:, :2]).numpy()).max() == pytest.approx(1.1)


def test_bias_correction_of_several_steps_is_an_error() -> None:
    flat = torch.zeros(1, 30, dtype=torch.float64)
    segments = observed_segments(flat, torch.tensor([0, 30]))
    with pytest.raises(ValueError, match="bias_correction must be False with several steps"):
        fit_closed_form(flat, segments, Design(order=2, horizon=3), bias_correction=True)


def test_significant_growth_is_not_corrected() -> None:
    noise = np.random.default_rng(1).normal(size=(5, 60))
    growing = 100 * np.exp(0.02 * np.arange(60) + 0.003 * noise)
    corrected = fit_lags(growing, 2).coef
    assert torch.equal(corrected, fit_lags(growing, 2, bias_correction=False).coef)
    assert float(corrected.sum(dim=2).min()) > 1.001


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3])
def test_significant_oscillations_are_not_corrected(scale: float) -> None:
    noise: Array = np.random.default_rng(1).normal(size=(5, 60))[:1]
    wave = np.sin(2 * np.pi * np.arange(60) / 25)[None] + scale * noise
    corrected, plain = (fit_lags(wave, 13, bias_correction=option) for option in (True, False))
    assert float(corrected.rss) <= 1.01 * float(plain.rss) + 1e-20
