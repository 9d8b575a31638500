import numpy as np
import pytest
import reference_autoregression as reference
import torch
from torch.testing import assert_close

from tsar.autoregression import (
    NormalEquations,
    Segments,
    factorize,
    lagged_moments,
    least_squares,
    refine,
    residual_sums,
)

LENGTH = 4000
NOISE = np.random.default_rng(0).normal(size=(2, LENGTH))
TIME = np.arange(LENGTH)
SERIES = {
    "near unit root with drift at a large level": NOISE[0].cumsum() + TIME + 1e6,
    "twice integrated": NOISE[0].cumsum().cumsum(),
    "smooth": np.sin(TIME / 50) + 1e-5 * NOISE[0],
}


def one_segment() -> Segments:
    return Segments(torch.tensor([0]), torch.tensor([LENGTH]), torch.tensor([0]), 1)


def equations_of(
    values: np.ndarray, segments: Segments, lags: int, horizon: int
) -> NormalEquations:
    max_lag = lags + horizon - 1
    moments = lagged_moments(torch.tensor(values), segments, max_lag)
    steps = torch.arange(horizon - 1, -1, -1)
    return moments.normal_equations(moments.terms(0, horizon, max_lag), steps)


def centred_design(values: np.ndarray, lags: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    matrix = reference.lag_matrix(values, 0, LENGTH, lags + horizon - 1)
    centred = matrix - matrix.mean(0)
    return centred[:, horizon:], centred[:, :horizon][:, ::-1]


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize(("lags", "horizon"), [(3, 1), (6, 4)])
def test_refined_coefficients_agree_with_lstsq(name: str, lags: int, horizon: int) -> None:
    values = SERIES[name][None]
    equations = equations_of(values, one_segment(), lags, horizon)
    rough = least_squares(equations.gram, equations.cross)
    fine = refine(rough, equations, torch.tensor(values), one_segment())
    design, targets = centred_design(values, lags, horizon)
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    error = np.linalg.norm(fine.coef[0].numpy() - expected) / np.linalg.norm(expected)
    unrefined = np.linalg.norm(rough.coef[0].numpy() - expected) / np.linalg.norm(expected)
    assert error < 1e-8
    assert error < unrefined / 10


def test_well_conditioned_systems_do_not_change() -> None:
    equations = equations_of(NOISE[:1], one_segment(), 5, 1)
    rough = least_squares(equations.gram, equations.cross)
    assert refine(rough, equations, torch.tensor(NOISE[:1]), one_segment()) is rough


def test_only_the_ill_conditioned_system_of_two_is_corrected() -> None:
    values = np.concatenate([NOISE[0], SERIES["twice integrated"]])[None]
    segments = Segments(
        torch.tensor([0, LENGTH]), torch.tensor([LENGTH] * 2), torch.tensor([0, 1]), 2
    )
    equations = equations_of(values, segments, 3, 1)
    rough = least_squares(equations.gram, equations.cross)
    fine = refine(rough, equations, torch.tensor(values), segments)
    assert torch.equal(fine.coef[0], rough.coef[0])
    design, targets = centred_design(SERIES["twice integrated"][None], 3, 1)
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    assert_close(fine.coef[1], torch.tensor(expected), rtol=1e-8, atol=0)


def test_refinement_solves_ridge_equations() -> None:
    values = SERIES["near unit root with drift at a large level"][None]
    equations = equations_of(values, one_segment(), 3, 1)
    rough = least_squares(equations.gram, equations.cross, ridge=1e-7)
    fine = refine(rough, equations, torch.tensor(values), one_segment())
    design, targets = centred_design(values, 3, 1)
    penalty = np.sqrt(1e-7 * (design**2).sum(0))
    padded = np.concatenate([design, np.diag(penalty)])
    expected = np.linalg.lstsq(padded, np.concatenate([targets, np.zeros((3, 1))]))[0]
    assert rough.factorization.ill_conditioned.all()
    assert_close(fine.coef[0], torch.tensor(expected), rtol=1e-8, atol=0)


def test_residual_sums_of_several_channels_are_those_of_explicit_residuals() -> None:
    values = NOISE[:, :300] + 3.0
    segments = Segments(
        torch.tensor([0, 100, 220]),
        torch.tensor([90, 120, 80]),
        torch.tensor([1, 0, 1]),
        2,
    )
    moments = lagged_moments(torch.tensor(values), segments, 4)
    terms = torch.cat([moments.terms(0, 2, 4), moments.terms(1, 0, 4)])
    equations = moments.normal_equations(terms, moments.terms(0, 0, 1))
    coef = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = residual_sums(coef, equations, torch.tensor(values), segments)
    matrix = reference.design(values, [0, 220], [90, 80], 4)
    centred = matrix - matrix.mean(0)
    left = centred[:, [0, 1]] - centred[:, terms.numpy()] @ coef[1].numpy()
    assert_close(result.rss[1], torch.tensor((left**2).sum(0)))
    assert_close(
        result.cross[1],
        torch.tensor(centred[:, terms.numpy()].T @ left),
        rtol=1e-10,
        atol=1e-10,
    )


def test_tiny_residuals_keep_their_digits() -> None:
    values = SERIES["twice integrated"][None]
    equations = equations_of(values, one_segment(), 3, 1)
    rough = least_squares(equations.gram, equations.cross)
    fine = refine(rough, equations, torch.tensor(values), one_segment())
    design, targets = centred_design(values, 3, 1)
    expected = np.linalg.lstsq(design, targets, rcond=None)[1]
    result = residual_sums(fine.coef, equations, torch.tensor(values), one_segment()).rss[0]
    assert_close(result, torch.tensor(expected), rtol=1e-9, atol=0)


def test_inactive_terms_of_restricted_equations_stay_zero() -> None:
    values = SERIES["near unit root with drift at a large level"][None]
    equations = equations_of(values, one_segment(), 4, 1)
    restricted = equations.restrict(torch.tensor([[True, False, True, False]]))
    rough = least_squares(restricted.gram, restricted.cross)
    fine = refine(rough, restricted, torch.tensor(values), one_segment())
    design, targets = centred_design(values, 4, 1)
    expected = np.linalg.lstsq(design[:, [0, 2]], targets, rcond=None)[0]
    assert not fine.coef[0, [1, 3]].any()
    assert_close(fine.coef[0, [0, 2]], torch.tensor(expected), rtol=1e-8, atol=0)


def test_no_steps_are_an_error() -> None:
    equations = equations_of(NOISE[:1], one_segment(), 2, 1)
    solution = least_squares(equations.gram, equations.cross)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        refine(solution, equations, torch.tensor(NOISE[:1]), one_segment(), steps=0)


def test_a_smooth_series_is_ill_conditioned() -> None:
    equations = equations_of(SERIES["smooth"][None], one_segment(), 3, 1)
    assert factorize(equations.gram).ill_conditioned.all()
