import math

import numpy as np
import pytest
import reference_autoregression as reference
import torch
from torch.testing import assert_close

from tsar.autoregression import NormalEquations, Segments, lagged_moments, select_lags

SHORT_LAGS = [0.2, 0.0, 0.3, 0, 0, 0, 0, 0, 0, -0.5]
SEASON = [1.0, *[0.0] * 23, -0.9]


def lag_equations(values: np.ndarray, lags: int) -> NormalEquations:
    series, length = values.shape
    group = torch.arange(series)
    segments = Segments(group * length, torch.full_like(group, length), group, series)
    moments = lagged_moments(torch.tensor(values.reshape(1, -1)), segments, lags)
    return moments.normal_equations(moments.terms(0, 1, lags), moments.terms(0, 0, 0))


def select(equations: NormalEquations, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    cross, tss = equations.cross[:, :, 0], equations.tss[:, 0]
    result = select_lags(equations.gram, cross, tss, equations.nobs, **options)
    return result.coef, result.criterion


def padded(coef: list[float], lags: int) -> np.ndarray:
    return np.array(coef + [0.0] * (lags - len(coef)))


@pytest.mark.parametrize("criterion", ["ebic", "bic", "aic"])
def test_the_selection_is_rarely_worse_than_the_best_of_all_subsets(criterion: str) -> None:
    values = reference.simulate([0.4, 0, -0.3, 0.2], 60, 0, series=40)
    equations = lag_equations(values, 8)
    coef, value = select(equations, criterion=criterion)
    best = [
        reference.best_subset(
            equations.gram[group].numpy(),
            equations.cross[group, :, 0].numpy(),
            equations.tss[group, 0].item(),
            equations.nobs[group].item(),
            criterion,
        )
        for group in range(40)
    ]
    gaps = value - torch.tensor([lowest for lowest, _ in best], dtype=torch.float64)
    assert gaps.min() > -1e-9
    optimal = gaps < 1e-9
    assert optimal.double().mean() >= 0.9
    for group in optimal.nonzero()[:, 0].tolist():
        assert set(coef[group].nonzero()[:, 0].tolist()) == best[group][1]


def test_the_coefficients_are_least_squares_on_the_selected_lags() -> None:
    values = reference.simulate(SHORT_LAGS, 800, 1, series=3)
    coef, _ = select(lag_equations(values, 15))
    for group in range(3):
        matrix = reference.lag_matrix(values[group][None], 0, 800, 15)
        centred = matrix - matrix.mean(0)
        own = coef[group].nonzero()[:, 0].numpy()
        expected = np.linalg.lstsq(centred[:, 1 + own], centred[:, 0], rcond=None)[0]
        assert_close(coef[group, own], torch.tensor(expected), rtol=1e-10, atol=0)


def test_three_lags_are_found_among_a_thousand() -> None:
    values = reference.simulate([0.2, 0.3, -0.5], 50_000, 0)
    coef, _ = select(lag_equations(values, 1000))
    assert coef[0].nonzero()[:, 0].tolist() == [0, 1, 2]
    truth = padded([0.2, 0.3, -0.5], 1000)
    assert reference.symmetric_percentage_error(coef[0].numpy(), truth) < 1.5


def test_distant_lags_of_short_series_are_found() -> None:
    # The paper reports an error of 3.2 on one such series, and 18.3 of least squares.
    values = reference.simulate(SHORT_LAGS, 1000, 2, series=100)
    coef, _ = select(lag_equations(values, 20))
    truth = padded(SHORT_LAGS, 20)
    errors = [reference.symmetric_percentage_error(row, truth) for row in coef.numpy()]
    assert np.mean(errors) <= 3.0


@pytest.mark.parametrize(
    ("factors", "length"),
    [
        ([[1.0, -0.7], SEASON], 1000),
        ([[1.0, -0.999], [1.0, -0.5], [1.0, 0.4]], 4000),
        ([[1.0, -0.999], [1.0, 0, 0, 0, 0, 0, 0, -0.6]], 1000),
        ([[1.0, -1.9, 0.95], [1.0, -0.5]], 1000),
    ],
    ids=["seasonal", "near unit root", "near unit root and season", "oscillation"],
)
def test_exact_lags_are_found_although_they_are_highly_correlated(
    factors: list[list[float]], length: int
) -> None:
    truth = padded(reference.product(*factors), 40)
    values = reference.simulate(list(truth), length, 3, series=30)
    coef, _ = select(lag_equations(values, 40))
    exact = ((coef.numpy() != 0) == (truth != 0)).all(1)
    assert exact.mean() >= 0.9


def test_a_dense_autoregression_is_selected_by_its_order() -> None:
    dense = reference.product(
        *([1, -2 * r * math.cos(a), r * r] for r, a in [(0.9, 0.3), (0.8, 1.0), (0.85, 2.0)])
    )
    coef, _ = select(lag_equations(reference.simulate(dense, 5000, 4, series=10), 30))
    assert [row.nonzero()[:, 0].tolist() for row in coef] == [list(range(6))] * 10


def test_white_noise_has_no_lags() -> None:
    coef, value = select(lag_equations(reference.simulate([0.0], 500, 5, series=50), 30))
    assert (coef != 0).any(1).double().mean() < 0.1
    assert value.isfinite().all()


def test_dependent_constant_and_empty_systems_stay_finite() -> None:
    sine = np.sin(np.arange(200) / 3)
    values = np.stack([sine, np.ones(200), np.full(200, np.nan)])
    segments = Segments(torch.tensor([0, 200]), torch.tensor([200, 200]), torch.tensor([0, 1]), 3)
    moments = lagged_moments(torch.tensor(values.reshape(1, -1)), segments, 10)
    equations = moments.normal_equations(moments.terms(0, 1, 10), moments.terms(0, 0, 0))
    coef, value = select(equations)
    assert coef.isfinite().all()
    assert value.isfinite().all()
    assert not coef[1:].any()
    assert (coef[0] != 0).sum() == 2  # a sine is a recursion of two lags


@pytest.mark.parametrize("lags", [1, 3, 10])
def test_one_lag_is_enough_for_a_straight_line(lags: int) -> None:
    coef, _ = select(lag_equations(np.arange(300.0)[None], lags))
    assert (coef != 0).sum() == 1
    assert_close(coef.sum().item(), 1.0)


def test_at_most_max_terms_are_selected() -> None:
    values = reference.simulate([0.2, 0.3, -0.5], 2000, 6, series=4)
    coef, _ = select(lag_equations(values, 12), max_terms=2)
    assert ((coef != 0).sum(1) == 2).all()


def test_systems_do_not_affect_each_other() -> None:
    equations = lag_equations(reference.simulate(SHORT_LAGS, 300, 7, series=6), 15)
    together, _ = select(equations)
    for group in range(6):
        cross, tss = equations.cross[[group], :, 0], equations.tss[[group], 0]
        alone = select_lags(equations.gram[[group]], cross, tss, equations.nobs[[group]])
        assert_close(together[[group]], alone.coef, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_terms": 0}, "max_terms must be at least 1; got 0"),
        ({"criterion": "cp"}, "criterion must be 'ebic', 'bic' or 'aic'; got 'cp'"),
    ],
)
def test_invalid_options_are_errors(options: dict[str, object], message: str) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match=message):
        select_lags(torch.ones(1, 1, 1), torch.ones(1, 1), one, one, **options)
