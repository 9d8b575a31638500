import numpy as np
import pytest
import reference_autoregression as reference
import torch
from torch.testing import assert_close

from tsar.autoregression import (
    Regression,
    Runs,
    factorize,
    lagged_moments,
    least_squares,
    refine,
    residuals,
)

LENGTH = 4000
NOISE = np.random.default_rng(0).normal(size=(2, LENGTH))
TIME = np.arange(LENGTH)
SERIES = {
    "near unit root with drift at a large level": NOISE[0].cumsum() + TIME + 1e6,
    "twice integrated": NOISE[0].cumsum().cumsum(),
    "smooth": np.sin(TIME / 50) + 1e-5 * NOISE[0],
}


def one_run() -> Runs:
    return Runs(torch.tensor([0]), torch.tensor([LENGTH]), torch.tensor([0]), 1)


def regression_of(values: np.ndarray, runs: Runs, lags: int, horizon: int) -> Regression:
    max_lag = lags + horizon - 1
    moments = lagged_moments(torch.tensor(values), runs, max_lag)
    steps = torch.arange(horizon - 1, -1, -1)
    return moments.regression(moments.terms(0, horizon, max_lag), steps)


def explicit(values: np.ndarray, lags: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    matrix = reference.lag_matrix(values, 0, LENGTH, lags + horizon - 1)
    centred = matrix - matrix.mean(0)
    return centred[:, horizon:], centred[:, :horizon][:, ::-1]


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize(("lags", "horizon"), [(3, 1), (6, 4)])
def test_refined_coefficients_agree_with_lstsq(name: str, lags: int, horizon: int) -> None:
    values = SERIES[name][None]
    regression = regression_of(values, one_run(), lags, horizon)
    rough = least_squares(regression.gram, regression.cross)
    fine = refine(rough, regression, torch.tensor(values), one_run())
    design, targets = explicit(values, lags, horizon)
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    error = np.linalg.norm(fine.coef[0].numpy() - expected) / np.linalg.norm(expected)
    unrefined = np.linalg.norm(rough.coef[0].numpy() - expected) / np.linalg.norm(expected)
    assert error < 1e-8
    assert error < unrefined / 10


def test_systems_in_good_condition_stay_as_they_are() -> None:
    regression = regression_of(NOISE[:1], one_run(), 5, 1)
    rough = least_squares(regression.gram, regression.cross)
    assert refine(rough, regression, torch.tensor(NOISE[:1]), one_run()) is rough


def test_only_the_hard_system_of_two_is_corrected() -> None:
    values = np.concatenate([NOISE[0], SERIES["twice integrated"]])[None]
    runs = Runs(torch.tensor([0, LENGTH]), torch.tensor([LENGTH] * 2), torch.tensor([0, 1]), 2)
    regression = regression_of(values, runs, 3, 1)
    rough = least_squares(regression.gram, regression.cross)
    fine = refine(rough, regression, torch.tensor(values), runs)
    assert torch.equal(fine.coef[0], rough.coef[0])
    design, targets = explicit(SERIES["twice integrated"][None], 3, 1)
    expected = np.linalg.lstsq(design, targets, rcond=None)[0]
    assert_close(fine.coef[1], torch.tensor(expected), rtol=1e-8, atol=0)


def test_a_ridge_survives_refinement() -> None:
    values = SERIES["near unit root with drift at a large level"][None]
    regression = regression_of(values, one_run(), 3, 1)
    rough = least_squares(regression.gram, regression.cross, ridge=1e-7)
    fine = refine(rough, regression, torch.tensor(values), one_run())
    design, targets = explicit(values, 3, 1)
    penalty = np.sqrt(1e-7 * (design**2).sum(0))
    padded = np.concatenate([design, np.diag(penalty)])
    expected = np.linalg.lstsq(padded, np.concatenate([targets, np.zeros((3, 1))]))[0]
    assert rough.factorization.ill_conditioned.all()
    assert_close(fine.coef[0], torch.tensor(expected), rtol=1e-8, atol=0)


def test_residual_sums_are_those_of_explicit_residuals_with_weights_and_channels() -> None:
    values = NOISE[:, :300] + 3.0
    runs = Runs(
        torch.tensor([0, 100, 220]),
        torch.tensor([90, 120, 80]),
        torch.tensor([1, 0, 1]),
        2,
        torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64),
    )
    moments = lagged_moments(torch.tensor(values), runs, 4)
    terms = torch.cat([moments.terms(0, 2, 4), moments.terms(1, 0, 4)])
    regression = moments.regression(terms, moments.terms(0, 0, 1))
    coef = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = residuals(coef, regression, torch.tensor(values), runs)
    matrix = reference.design(values, [0, 220], [90, 80], 4)
    weights = np.repeat([1.0, 0.5], [86, 76])
    centred = matrix - weights @ matrix / weights.sum()
    left = centred[:, [0, 1]] - centred[:, terms.numpy()] @ coef[1].numpy()
    assert_close(found.power[1], torch.tensor(weights @ left**2))
    assert_close(
        found.cross[1],
        torch.tensor(centred[:, terms.numpy()].T @ (weights[:, None] * left)),
        rtol=1e-10,
        atol=1e-10,
    )


def test_tiny_residuals_keep_their_digits() -> None:
    values = SERIES["twice integrated"][None]
    regression = regression_of(values, one_run(), 3, 1)
    rough = least_squares(regression.gram, regression.cross)
    fine = refine(rough, regression, torch.tensor(values), one_run())
    design, targets = explicit(values, 3, 1)
    expected = np.linalg.lstsq(design, targets, rcond=None)[1]
    found = residuals(fine.coef, regression, torch.tensor(values), one_run()).power[0]
    assert_close(found, torch.tensor(expected), rtol=1e-9, atol=0)


def test_terms_out_of_a_restricted_regression_stay_zero() -> None:
    values = SERIES["near unit root with drift at a large level"][None]
    regression = regression_of(values, one_run(), 4, 1)
    restricted = regression.restrict(torch.tensor([[True, False, True, False]]))
    rough = least_squares(restricted.gram, restricted.cross)
    fine = refine(rough, restricted, torch.tensor(values), one_run())
    design, targets = explicit(values, 4, 1)
    expected = np.linalg.lstsq(design[:, [0, 2]], targets, rcond=None)[0]
    assert not fine.coef[0, [1, 3]].any()
    assert_close(fine.coef[0, [0, 2]], torch.tensor(expected), rtol=1e-8, atol=0)


def test_no_steps_are_an_error() -> None:
    regression = regression_of(NOISE[:1], one_run(), 2, 1)
    solution = least_squares(regression.gram, regression.cross)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        refine(solution, regression, torch.tensor(NOISE[:1]), one_run(), steps=0)


def test_a_smooth_series_is_known_to_be_ill_conditioned() -> None:
    regression = regression_of(SERIES["smooth"][None], one_run(), 3, 1)
    assert factorize(regression.gram).ill_conditioned.all()
