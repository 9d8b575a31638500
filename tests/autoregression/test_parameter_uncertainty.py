"""Forecast variance due to estimated coefficients, against numerical Jacobians."""

import numpy as np
import pytest
import reference_autoregression as reference
import torch
from reference_autoregression import Array, fit_lags, lag_windows

from tsar.autoregression import (
    Design,
    ParameterUncertainty,
    fit_closed_form,
    observed_segments,
)


@pytest.mark.parametrize("chunks", [1, 1000])
def test_the_variance_is_that_of_the_delta_method(
    chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = "tsar.autoregression.parameter_uncertainty.BLOCK_ELEMENTS"
    monkeypatch.setattr(budget, chunks * 300)
    rows = 3 + reference.simulate([0.5, 0.0, 0.3], 40, 4, series=3)
    results, horizon = fit_lags(rows, 3, bias_correction=False), 9
    uncertainty = results.uncertainty
    assert uncertainty is not None
    group = torch.tensor([2, 0, 1, 2])
    terms, psi, expected = [], [], []
    for row in group.tolist():
        history = rows[row]
        coef = np.concatenate([results.intercept[row].numpy(), results.coef[row, 0].numpy()])

        def forecast(coef: Array, history: Array = history) -> Array:
            return reference.iterate(coef[1:], history, horizon, coef[0])

        points = np.concatenate([history, forecast(coef)])
        spans = np.lib.stride_tricks.sliding_window_view(points[len(history) - 3 : -1], 3)
        terms.append(spans[:, ::-1])
        psi.append(reference.impulse_response(coef[1:], horizon))
        matrix, _ = lag_windows(history, 3)
        design = np.column_stack([np.ones(len(matrix)), matrix])
        jacobian = reference.numerical_jacobian(forecast, coef)
        expected.append(
            np.einsum("hi,ij,hj->h", jacobian, np.linalg.inv(design.T @ design), jacobian)
        )
    values = torch.from_numpy(np.array(terms))

    def read(rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return values[rows].gather(2, indices[:, None].expand(-1, horizon, -1))

    variance = uncertainty.forecast_variance(group, read, torch.tensor(np.array(psi)))
    np.testing.assert_allclose(variance.numpy(), expected, rtol=1e-6)


def test_inactive_terms_add_no_variance() -> None:
    root = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    zeros = torch.zeros(1, 2).double()
    uncertainty = ParameterUncertainty(torch.tensor([[1, 0]]), root, zeros, 0 * one, 8 * one)
    values = torch.tensor([100.0, 2.0], dtype=torch.float64)
    variance = uncertainty.forecast_variance(
        torch.tensor([0]), lambda rows, indices: values[indices][:, None], one[None]
    )
    assert float(variance) == pytest.approx(2.0**2 / 4 + 1 / 8)


def test_a_ridge_and_several_steps_have_no_uncertainty() -> None:
    rows = reference.simulate([0.5], 400, 8)
    flat = torch.from_numpy(rows)
    segments = observed_segments(flat, torch.tensor([0, 400]))
    assert fit_closed_form(flat, segments, Design(2, 1), ridge=0.1).uncertainty is None
    assert fit_closed_form(flat, segments, Design(2, 3)).uncertainty is None
    assert fit_closed_form(flat, segments, Design(2, 1)).uncertainty is not None


def test_equations_of_many_terms_use_their_variance_share_and_affect_no_others() -> None:
    root = torch.eye(100, dtype=torch.float64).expand(2, -1, -1)
    indices = torch.arange(100).expand(2, -1)
    mean = torch.zeros(2, 100, dtype=torch.float64)
    share, nobs = torch.tensor([0.5, 0.1]).double(), torch.tensor([200.0, 50.0]).double()
    columns = (indices, root, mean, torch.tensor([100, 3]), share, nobs)
    both = ParameterUncertainty.from_fit(*columns)
    assert both.terms.shape == (2, 3)
    psi = torch.tensor([[1.0, 2.0]]).double()
    large_alone = ParameterUncertainty.from_fit(*(column[:1] for column in columns))
    small_alone = ParameterUncertainty.from_fit(*(column[1:] for column in columns))

    def read(rows: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(rows), 2, indices.shape[1], dtype=torch.float64)

    first, second = torch.tensor([0]), torch.tensor([1])
    small = both.forecast_variance(second, read, psi)
    torch.testing.assert_close(small, small_alone.forecast_variance(first, read, psi))
    large = both.forecast_variance(first, read, psi)
    torch.testing.assert_close(large, 0.5 * torch.tensor([[1.0, 5.0]]).double())
    joined = ParameterUncertainty.concatenate([large_alone, small_alone])
    torch.testing.assert_close(joined.forecast_variance(second, read, psi), small)


def test_chunks_of_groups_give_the_results_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reference.simulate([0.5, 0.2], 60, 9, series=7)
    together = fit_lags(rows, 5)
    monkeypatch.setattr("tsar.autoregression.closed_form.MAX_ELEMENTS", 3 * 36)
    chunked = fit_lags(rows, 5)
    for name in ("coef", "std_err", "intercept", "rss", "df_resid", "nobs", "active"):
        torch.testing.assert_close(getattr(chunked, name), getattr(together, name))
    assert chunked.uncertainty is not None and together.uncertainty is not None
    torch.testing.assert_close(chunked.uncertainty.cov_root, together.uncertainty.cov_root)


def test_the_variance_is_infinite_from_the_first_step_that_is_not_finite() -> None:
    one = torch.ones(1, dtype=torch.float64)
    index = torch.tensor([[0]])
    uncertainty = ParameterUncertainty(index, one[None, None], 0 * one[None], 0 * one, 8 * one)
    psi = torch.tensor([[1.0, 1e200, torch.inf]]).double()
    terms = torch.tensor([[[1.0], [1.0], [torch.inf]]], dtype=torch.float64)
    variance = uncertainty.forecast_variance(
        torch.tensor([0]), lambda rows, indices: terms[rows], psi
    )[0]
    assert float(variance[0]) == pytest.approx(1 + 1 / 8)
    assert variance[1:].isinf().all()
