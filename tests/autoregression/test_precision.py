"""The recursion for the diagonal of an inverse, against the inverse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tsar.autoregression import Runs, lagged_moments, least_squares
from tsar.autoregression import precision as module
from tsar.autoregression.gram import Moments, Regression
from tsar.autoregression.precision import lag_precision, precision
from tsar.autoregression.solve import LeastSquares


def system(
    series: np.ndarray, runs: Runs, lags: int, horizon: int = 1, ridge: float = 0.0
) -> tuple[Moments, Regression, LeastSquares]:
    """Direct regression of `horizon` steps on `lags` lags."""
    moments = lagged_moments(torch.as_tensor(series)[None], runs, lags + horizon - 1)
    ahead = moments.terms(0, 0, horizon - 1).flip(0)
    regression = moments.regression(moments.terms(0, horizon, horizon + lags - 1), ahead)
    return moments, regression, least_squares(regression.gram, regression.cross, ridge=ridge)


def runs_of(starts: list[int], lengths: list[int], group: list[int]) -> Runs:
    weights = torch.linspace(0.5, 2, len(starts), dtype=torch.float64)
    columns = (torch.tensor(column) for column in (starts, lengths, group))
    return Runs(*columns, max(group) + 1, weights)


ONE = runs_of([10], [2800], [0])
GAPS = runs_of([0, 700, 1500, 2200], [600, 700, 650, 600], [0, 0, 0, 0])
SERIES = runs_of([0, 700, 1500, 2200], [600, 700, 650, 600], [0, 1, 0, 1])


@pytest.fixture
def no_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inverse may not be computed."""

    def refuse(*_: object) -> None:
        raise AssertionError("the inverse was computed")

    monkeypatch.setattr(module, "precision", refuse)


@pytest.mark.usefixtures("no_inverse")
@pytest.mark.parametrize("kind", ["noise", "walk", "season"])
@pytest.mark.parametrize("runs", [ONE, GAPS, SERIES], ids=["one", "gaps", "series"])
@pytest.mark.parametrize(("lags", "horizon"), [(64, 1), (150, 1), (80, 12)])
def test_the_recursion_is_the_diagonal_of_the_inverse(
    kind: str, runs: Runs, lags: int, horizon: int
) -> None:
    noise = np.random.default_rng(lags).normal(size=3000)
    season = 5 * np.sin(np.arange(3000) / 4) + 100
    series = {"noise": noise, "walk": noise.cumsum(), "season": noise + season}[kind]
    moments, regression, solution = system(series, runs, lags, horizon)
    mean = regression.regressor_mean + 3.0
    found = lag_precision(moments, regression, solution, mean)
    known = precision(solution.factorization, regression.gram, mean)
    assert_close(found.diagonal, known.diagonal, rtol=1e-8, atol=0)
    assert_close(found.level, known.level, rtol=1e-8, atol=0)
    assert_close(found.rank, known.rank)


def test_the_steps_are_those_of_the_gram_matrix() -> None:
    series = np.random.default_rng(0).normal(size=3000).cumsum()
    moments, *_ = system(series, SERIES, 20)
    assert moments.steps is not None
    points, factor = moments.steps.points[:, :, 1:], moments.steps.factor
    steps = torch.einsum("gel,gem,ge->glm", points, points, factor)
    size = moments.gram.abs().max()
    assert_close(
        steps, moments.gram[:, 1:, 1:] - moments.gram[:, :-1, :-1], rtol=0, atol=size * 1e-13
    )


@pytest.mark.parametrize("case", ["few", "ridge", "dependent", "constant"])
def test_the_inverse_is_taken_where_the_recursion_does_not_hold(case: str) -> None:
    noise = np.random.default_rng(1).normal(size=3000)
    series = {"dependent": np.sin(np.arange(3000.0)), "constant": np.ones(3000)}.get(case, noise)
    lags, ridge = 8 if case == "few" else 100, 0.1 if case == "ridge" else 0.0
    moments, regression, solution = system(series, ONE, lags, ridge=ridge)
    found = lag_precision(moments, regression, solution, regression.regressor_mean)
    known = precision(solution.factorization, regression.gram, regression.regressor_mean)
    assert_close(found.diagonal, known.diagonal, rtol=0, atol=0)
    assert_close(found.rank, known.rank, rtol=0, atol=0)


def test_a_recursion_that_misses_its_end_is_not_believed() -> None:
    series = np.random.default_rng(2).normal(size=3000)
    moments, regression, solution = system(series, ONE, 100)
    assert moments.steps is not None
    wrong = replace(moments, steps=replace(moments.steps, factor=moments.steps.factor * 1.1))
    found = lag_precision(wrong, regression, solution, regression.regressor_mean)
    known = precision(solution.factorization, regression.gram, regression.regressor_mean)
    assert_close(found.diagonal, known.diagonal, rtol=0, atol=0)
