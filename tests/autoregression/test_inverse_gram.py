"""The recursion for the diagonal of an inverse Gram matrix, against the inverse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tsar.autoregression import Segments, lagged_moments, least_squares
from tsar.autoregression import inverse_gram as inverse_gram_module
from tsar.autoregression.gram import Moments, NormalEquations
from tsar.autoregression.inverse_gram import inverse_gram, lag_inverse_gram
from tsar.autoregression.least_squares import LeastSquares


def system(
    series: np.ndarray, segments: Segments, lags: int, horizon: int = 1, ridge: float = 0.0
) -> tuple[Moments, NormalEquations, LeastSquares]:
    """Direct equations of `horizon` steps on `lags` lags."""
    moments = lagged_moments(torch.as_tensor(series)[None], segments, lags + horizon - 1)
    ahead = moments.terms(0, 0, horizon - 1).flip(0)
    equations = moments.normal_equations(moments.terms(0, horizon, horizon + lags - 1), ahead)
    return moments, equations, least_squares(equations.gram, equations.cross, ridge=ridge)


def segments_of(starts: list[int], lengths: list[int], group: list[int]) -> Segments:
    columns = (torch.tensor(column) for column in (starts, lengths, group))
    return Segments(*columns, max(group) + 1)


ONE = segments_of([10], [2800], [0])
GAPS = segments_of([0, 700, 1500, 2200], [600, 700, 650, 600], [0, 0, 0, 0])
SERIES = segments_of([0, 700, 1500, 2200], [600, 700, 650, 600], [0, 1, 0, 1])


@pytest.fixture
def no_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the computation of the inverse an error."""

    def refuse(*_: object) -> None:
        raise AssertionError("the inverse was computed")

    monkeypatch.setattr(inverse_gram_module, "inverse_gram", refuse)


@pytest.mark.usefixtures("no_inverse")
@pytest.mark.parametrize("kind", ["noise", "walk", "season"])
@pytest.mark.parametrize("segments", [ONE, GAPS, SERIES], ids=["one", "gaps", "series"])
@pytest.mark.parametrize(("lags", "horizon"), [(64, 1), (150, 1), (80, 12)])
def test_the_recursion_is_the_diagonal_of_the_inverse(
    kind: str, segments: Segments, lags: int, horizon: int
) -> None:
    noise = np.random.default_rng(lags).normal(size=3000)
    season = 5 * np.sin(np.arange(3000) / 4) + 100
    series = {"noise": noise, "walk": noise.cumsum(), "season": noise + season}[kind]
    moments, equations, solution = system(series, segments, lags, horizon)
    mean = equations.regressor_mean + 3.0
    result = lag_inverse_gram(moments, equations, solution, mean)
    expected = inverse_gram(solution.factorization, equations.gram, mean)
    assert_close(result.diagonal, expected.diagonal, rtol=1e-8, atol=0)
    assert_close(result.mean_form, expected.mean_form, rtol=1e-8, atol=0)
    assert_close(result.rank, expected.rank)


def test_the_lag_shift_is_that_of_the_gram_matrix() -> None:
    series = np.random.default_rng(0).normal(size=3000).cumsum()
    moments, *_ = system(series, SERIES, 20)
    assert moments.lag_shift is not None
    points, factor = moments.lag_shift.points[:, :, 1:], moments.lag_shift.factor
    expected = torch.einsum("gel,gem,ge->glm", points, points, factor)
    size = moments.gram.abs().max()
    assert_close(
        expected, moments.gram[:, 1:, 1:] - moments.gram[:, :-1, :-1], rtol=0, atol=size * 1e-13
    )


@pytest.mark.parametrize("case", ["few", "ridge", "dependent", "constant"])
def test_the_inverse_is_computed_where_the_recursion_does_not_apply(case: str) -> None:
    noise = np.random.default_rng(1).normal(size=3000)
    series = {"dependent": np.sin(np.arange(3000.0)), "constant": np.ones(3000)}.get(case, noise)
    lags, ridge = 8 if case == "few" else 100, 0.1 if case == "ridge" else 0.0
    moments, equations, solution = system(series, ONE, lags, ridge=ridge)
    result = lag_inverse_gram(moments, equations, solution, equations.regressor_mean)
    expected = inverse_gram(solution.factorization, equations.gram, equations.regressor_mean)
    assert_close(result.diagonal, expected.diagonal, rtol=0, atol=0)
    assert_close(result.rank, expected.rank, rtol=0, atol=0)


def test_a_recursion_with_large_rounding_errors_is_rejected() -> None:
    series = np.random.default_rng(2).normal(size=3000)
    moments, equations, solution = system(series, ONE, 100)
    shift = moments.lag_shift
    assert shift is not None
    wrong = replace(moments, lag_shift=replace(shift, factor=shift.factor * 1.1))
    result = lag_inverse_gram(wrong, equations, solution, equations.regressor_mean)
    expected = inverse_gram(solution.factorization, equations.gram, equations.regressor_mean)
    assert_close(result.diagonal, expected.diagonal, rtol=0, atol=0)
