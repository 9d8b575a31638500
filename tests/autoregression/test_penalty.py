import numpy as np
import pytest
import reference_autoregression as reference
import torch
from torch.testing import assert_close

from tsar.autoregression import (
    NormalEquations,
    PenalizedFit,
    Segments,
    fit_penalized,
    lagged_moments,
    least_squares,
    sparsity_penalty,
    weighted_lasso,
)
from tsar.autoregression.least_squares import StandardizedEquations, standardize_equations


def lag_equations(values: np.ndarray, lags: int) -> NormalEquations:
    series, length = values.shape
    group = torch.arange(series)
    segments = Segments(group * length, torch.full_like(group, length), group, series)
    moments = lagged_moments(torch.tensor(values.reshape(1, -1)), segments, lags)
    return moments.normal_equations(moments.terms(0, 1, lags), moments.terms(0, 0, 0))


def fit(equations: NormalEquations, **options: float) -> PenalizedFit:
    cross, tss = equations.cross[:, :, 0], equations.tss[:, 0]
    return fit_penalized(equations.gram, cross, tss, equations.nobs, **options)


def standardized(equations: NormalEquations) -> StandardizedEquations:
    return standardize_equations(equations.gram, equations.cross[:, :, 0], equations.tss[:, 0])


def test_the_penalty_is_the_formula_of_the_paper() -> None:
    coef = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]
    root = coef.abs() ** (1 / 3)
    expected = (2 / (1 + torch.exp(-3 * root)) - 1).mean(1)
    assert_close(sparsity_penalty(coef), expected)


def test_a_density_of_one_is_least_squares() -> None:
    equations = lag_equations(reference.simulate([0.5, -0.3], 400, 0, series=3), 6)
    expected = least_squares(equations.gram, equations.cross).coef[:, :, 0]
    for shrink in (False, True):
        result = fit(equations, density=1.0, shrink=shrink)
        assert_close(result.coef, expected, rtol=1e-10, atol=0)
        assert result.active.all()


def test_three_lags_are_selected_among_hundreds() -> None:
    equations = lag_equations(reference.simulate([0.2, 0.3, -0.5], 60_000, 1), 300)
    result = fit(equations, density=0.01)
    assert result.active[0].nonzero()[:, 0].tolist() == [0, 1, 2]
    assert result.converged.all()
    assert_close(result.coef[0, :3], torch.tensor([0.2, 0.3, -0.5]).double(), rtol=0, atol=0.02)


def test_shrinkage_is_small_and_a_refit_removes_it() -> None:
    equations = lag_equations(reference.simulate([0.2, 0.3, -0.5], 20_000, 2), 10)
    shrunk = fit(equations, density=0.05, shrink=True)
    refitted = fit(equations, density=0.05)
    assert torch.equal(shrunk.active, refitted.active)
    ratio = (shrunk.coef / refitted.coef)[0, :3]
    assert (ratio < 1).all()
    assert (ratio > 0.9).all()


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_each_local_linear_step_agrees_with_coordinate_descent(steps: int) -> None:
    equations = lag_equations(reference.simulate([0.4, 0, -0.3, 0.1], 300, 3, series=4), 8)
    result = fit(equations, density=0.02, outer_steps=steps, shrink=True)
    system = standardized(equations)
    for group in range(4):
        correlation, cross = system.correlation[group].numpy(), system.cross[group].numpy()
        loss = 1 - cross @ np.linalg.solve(correlation, cross)
        noise = loss * 292 / (292 - 8 - 1)
        strength = float(np.sqrt(noise) / 100 * (1 / 0.02 - 1))
        expected = reference.penalized(correlation, cross, strength, steps)
        assert_close(
            result.coef[group], torch.tensor(expected) * system.scale[group], rtol=1e-5, atol=1e-9
        )
        assert (result.coef[group].numpy() == 0).tolist() == (expected == 0).tolist()


def test_the_objective_never_rises() -> None:
    equations = lag_equations(reference.simulate([0.4, 0, -0.3, 0.1], 200, 4, series=20), 10)
    values = [fit(equations, density=0.02, outer_steps=n).objective for n in (1, 2, 4, 10)]
    for later, earlier in zip(values[1:], values[:-1], strict=True):
        assert (later <= earlier + 1e-12).all()
    assert (values[-1] < values[0]).any()


@pytest.mark.parametrize("coef", [[0.5], [1.9, -0.95], [0.999]], ids=["easy", "wave", "unit root"])
def test_a_weighted_lasso_agrees_with_coordinate_descent(coef: list[float]) -> None:
    system = standardized(lag_equations(reference.simulate(coef, 400, 5, series=5), 6))
    random = torch.Generator().manual_seed(0)
    weights = 10 ** (3 * torch.rand(5, 6, generator=random, dtype=torch.float64) - 3)
    start = torch.linalg.solve(system.correlation, system.cross)
    result, converged = weighted_lasso(system.correlation, system.cross, weights, start=start)
    assert converged.all()
    for group in range(5):
        parts = (system.correlation[group], system.cross[group], weights[group], start[group])
        expected = reference.weighted_lasso(*(part.numpy() for part in parts))
        assert_close(result[group], torch.tensor(expected), rtol=0, atol=1e-6)


def test_a_constant_series_has_no_terms() -> None:
    result = fit(lag_equations(np.ones((1, 50)), 4), density=0.1)
    assert not result.coef.any()
    assert result.objective.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, "density must be above 0 and at most 1; got 0"),
        ({"density": 1.5}, "density must be above 0 and at most 1; got 1.5"),
        ({"density": 0.5, "c1": 0.0}, "c1 must be positive and finite; got 0"),
        ({"density": 0.5, "c2": float("inf")}, "c2 must be positive and finite; got inf"),
        ({"density": 0.5, "outer_steps": 0}, "outer_steps must be at least 1; got 0"),
    ],
)
def test_invalid_options_are_errors(options: dict[str, float], message: str) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match=message):
        fit_penalized(torch.ones(1, 1, 1), torch.ones(1, 1), one, one, **options)
