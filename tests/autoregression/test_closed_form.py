"""Autoregression in closed form: against LAPACK on designs that are written out."""

import numpy as np
import pytest
import reference_autoregression as reference
import statsmodels.api as sm
import torch
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from tsar.autoregression import ClosedForm, Runs, Terms, fit_closed_form

RANDOM = np.random.default_rng(0)
STARTS, LENGTHS, GROUP = [0, 90, 200, 260], [80, 110, 50, 40], [0, 1, 1, 2]
TOTAL = 300
CHANNELS = RANDOM.normal(size=(3, TOTAL))
CHANNELS[0] = reference.simulate([0.6, 0.0, 0.2], TOTAL, 1)[0]
CHANNELS[0, 1:] += 0.5 * CHANNELS[1, :-1] - CHANNELS[2, 1:]
SMOOTH = {
    "random walk at a large level": 1e6 + RANDOM.normal(size=TOTAL).cumsum(),
    "twice integrated": RANDOM.normal(size=TOTAL).cumsum().cumsum(),
    "smooth": np.sin(np.arange(TOTAL) / 30) + 1e-4 * RANDOM.normal(size=TOTAL),
}


def runs() -> Runs:
    return Runs(torch.tensor(STARTS), torch.tensor(LENGTHS), torch.tensor(GROUP), 3)


def one_run(length: int = TOTAL) -> Runs:
    return Runs(torch.tensor([0]), torch.tensor([length]), torch.tensor([0]), 1)


def explicit(channels: np.ndarray, spans: Runs, terms: Terms, step: int, group: int) -> tuple:
    """Regressors and target of a step, a row for each complete window of a group."""
    rows, targets = [], []
    for start, length, member in zip(spans.starts, spans.lengths, spans.group, strict=True):
        if int(member) != group:
            continue
        for cutoff in range(int(start) + terms.lags, int(start + length) - terms.horizon + 1):
            row = []
            for channel in range(1 + terms.past):
                row += [channels[channel, cutoff - lag] for lag in range(1, terms.lags + 1)]
            row += [channels[1 + terms.past + k, cutoff + step] for k in range(terms.future)]
            rows.append(row)
            targets.append(channels[0, cutoff + step])
    return np.array(rows), np.array(targets)


def lstsq(matrix: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and constant, by columns that are centred and of length 1."""
    mean, level = matrix.mean(0), target.mean()
    length = np.sqrt(((matrix - mean) ** 2).sum(0))
    coef = np.linalg.lstsq((matrix - mean) / length, target - level, rcond=None)[0] / length
    return coef, level - mean @ coef


def fit(channels: np.ndarray, spans: Runs, terms: Terms, **options: object) -> ClosedForm:
    return fit_closed_form(torch.tensor(channels), spans, terms, **options)  # type: ignore[arg-type]


CASES = [
    Terms(lags=4, horizon=1),
    Terms(lags=4, horizon=3),
    Terms(lags=3, horizon=1, past=1, future=1),
    Terms(lags=3, horizon=3, past=2),
    Terms(lags=2, horizon=3, past=1, future=1),
    Terms(lags=2, horizon=2, future=2),
]


@pytest.mark.parametrize("terms", CASES, ids=str)
def test_every_group_and_step_agrees_with_lstsq_on_its_complete_windows(terms: Terms) -> None:
    channels = CHANNELS[: 1 + terms.past + terms.future]
    solution = fit(channels, runs(), terms)
    for group in range(3):
        for step in range(terms.horizon):
            matrix, target = explicit(channels, runs(), terms, step, group)
            coef, constant = lstsq(matrix, target)
            assert_close(solution.coef[group, step], torch.tensor(coef), rtol=1e-9, atol=1e-12)
            assert_close(float(solution.intercept[group, step]), constant, rtol=1e-9, atol=1e-12)
            assert int(solution.count[group]) == len(target)


@pytest.mark.parametrize("terms", CASES, ids=str)
def test_errors_and_deviation_agree_with_statsmodels(terms: Terms) -> None:
    channels = CHANNELS[: 1 + terms.past + terms.future]
    solution = fit(channels, runs(), terms)
    for step in range(terms.horizon):
        matrix, target = explicit(channels, runs(), terms, step, 1)
        known = sm.OLS(target, sm.add_constant(matrix)).fit()
        assert_close(solution.error[1, step], torch.tensor(known.bse[1:]), rtol=1e-9, atol=0)
        assert_close(float(solution.deviation[1, step]), float(np.sqrt(known.scale)))
        assert int(solution.freedom[1, step]) == known.df_resid


@pytest.mark.parametrize("terms", CASES[:5], ids=str)
def test_ridge_is_that_of_scikit_learn_on_standardized_terms(terms: Terms) -> None:
    channels = CHANNELS[: 1 + terms.past + terms.future]
    solution = fit(channels, runs(), terms, ridge=0.2)
    for step in range(terms.horizon):
        matrix, target = explicit(channels, runs(), terms, step, 0)
        spread = matrix.std(0)
        known = Ridge(alpha=0.2 * len(target)).fit(matrix / spread, target)
        assert_close(solution.coef[0, step], torch.tensor(known.coef_ / spread), rtol=1e-9, atol=0)
        assert_close(float(solution.intercept[0, step]), known.intercept_)


@pytest.mark.parametrize("terms", [Terms(3, 1), Terms(2, 2, future=1)], ids=str)
def test_ridge_leaves_the_freedom_that_its_effective_parameters_leave(terms: Terms) -> None:
    channels = CHANNELS[: 1 + terms.future]
    solution = fit(channels, runs(), terms, ridge=0.2)
    matrix, target = explicit(channels, runs(), terms, 0, 0)
    standard = (matrix - matrix.mean(0)) / matrix.std(0)
    gram = standard.T @ standard / len(target)
    hat = np.linalg.solve(gram + 0.2 * np.eye(len(gram)), gram)
    parameters = np.trace(2 * hat - hat @ hat)
    assert_close(float(solution.freedom[0, 0]), len(target) - parameters - 1)


def test_ridge_with_more_terms_than_windows_leaves_freedom_and_is_finite() -> None:
    noise = RANDOM.normal(size=(1, 30))
    solution = fit(noise, one_run(30), Terms(24, 1), ridge=0.3)
    assert float(solution.freedom) > 0
    assert 0.1 < float(solution.deviation) < 3


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("terms", [Terms(6, 1), Terms(4, 3), Terms(4, 3, future=1)], ids=str)
def test_ill_conditioned_systems_agree_with_lstsq(name: str, terms: Terms) -> None:
    channels = np.stack([SMOOTH[name], CHANNELS[1]])[: 1 + terms.future]
    solution = fit(channels, one_run(), terms)
    for step in range(terms.horizon):
        matrix, target = explicit(channels, one_run(), terms, step, 0)
        coef, constant = lstsq(matrix, target)
        assert np.abs(solution.coef[0, step].numpy() - coef).max() < 1e-8 * np.abs(coef).max()
        assert_close(float(solution.intercept[0, step]), constant, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sparsity", ["auto", 0.3, 0.9])
@pytest.mark.parametrize("name", SMOOTH)
def test_survivors_are_refitted_to_full_precision(name: str, sparsity: object) -> None:
    channels = SMOOTH[name][None]
    solution = fit(channels, one_run(), Terms(6, 1), sparsity=sparsity)
    active = solution.active[0, 0].numpy()
    matrix, target = explicit(channels, one_run(), Terms(6, 1), 0, 0)
    coef, _ = lstsq(matrix[:, active], target)
    found = solution.coef[0, 0].numpy()
    assert active.any() and not found[~active].any()
    assert np.abs(found[active] - coef).max() < 1e-8 * np.abs(coef).max()


@pytest.mark.parametrize("sparsity", [None, "auto"])
@pytest.mark.parametrize("scale", [1e-7, 1e-10, 1e-4])
def test_a_deviation_tiny_against_the_series_keeps_its_digits(
    scale: float, sparsity: object
) -> None:
    series = np.sin(np.arange(TOTAL) / 3) + scale * RANDOM.normal(size=TOTAL)
    solution = fit(series[None], one_run(), Terms(2, 1), sparsity=sparsity)
    matrix, target = explicit(series[None], one_run(), Terms(2, 1), 0, 0)
    residual = target - target.mean() - (matrix - matrix.mean(0)) @ solution.coef[0, 0].numpy()
    wanted = np.sqrt((residual**2).sum() / (len(target) - 3))
    assert_close(float(solution.deviation[0, 0]), float(wanted), rtol=1e-4, atol=0)


@pytest.mark.parametrize("sparsity", ["auto", 0.2])
def test_each_step_keeps_lags_of_its_own_and_least_squares_on_them(sparsity: object) -> None:
    coef = [0.0] * 9 + [0.8]
    channels = np.stack([reference.simulate(coef, 600, 3)[0], RANDOM.normal(size=600)])
    terms = Terms(12, 3, future=1)
    solution = fit(channels, one_run(600), terms, sparsity=sparsity)
    for step in range(3):
        active = solution.active[0, step].numpy()
        matrix, target = explicit(channels, one_run(600), terms, step, 0)
        known = sm.OLS(target, sm.add_constant(matrix[:, active])).fit()
        found = solution.coef[0, step].numpy()
        assert np.flatnonzero(np.abs(found) > 0.5).tolist() == [9 - step]
        assert not found[~active].any()
        np.testing.assert_allclose(found[active], known.params[1:], rtol=1e-9)
        np.testing.assert_allclose(solution.error[0, step].numpy()[active], known.bse[1:])


def test_a_density_of_one_is_least_squares() -> None:
    dense = fit(CHANNELS[:1], runs(), Terms(5, 1))
    sparse = fit(CHANNELS[:1], runs(), Terms(5, 1), sparsity=1.0)
    assert_close(sparse.coef, dense.coef, rtol=1e-10, atol=1e-14)
    assert bool(sparse.active.all())


def test_what_did_not_matter_is_left_out_and_its_error_is_zero() -> None:
    noise = np.random.default_rng(8).normal(size=(2, 500))
    solution = fit(noise, one_run(500), Terms(10, 2, future=1), sparsity="auto")
    assert not solution.active.any() and not solution.coef.any() and not solution.error.any()
    mean = noise[0, 10:].mean()
    assert_close(float(solution.intercept[0, 0]), float(noise[0, 10:-1].mean()))
    assert abs(float(solution.intercept[0, 1]) - mean) < 0.01
    assert solution.freedom.tolist() == [[488.0, 488.0]]


@pytest.mark.parametrize("options", [{}, {"ridge": 0.1}, {"sparsity": "auto"}, {"sparsity": 0.5}])
@pytest.mark.parametrize("terms", [Terms(3, 1), Terms(2, 3), Terms(2, 2, future=1)], ids=str)
def test_constants_and_groups_without_a_window_give_zeros(terms: Terms, options: dict) -> None:
    channels = np.stack([np.full(60, 0.1), np.full(60, 1e6)])[: 1 + terms.future]
    spans = Runs(torch.tensor([0, 50]), torch.tensor([40, 3]), torch.tensor([0, 1]), 2)
    solution = fit(channels, spans, terms, **options)
    for name in ("coef", "error", "power", "freedom", "deviation", "intercept"):
        assert bool(getattr(solution, name).isfinite().all()), name
    assert not solution.coef.any() and not solution.deviation.any()
    assert_close(solution.intercept[0], torch.full((terms.horizon,), 0.1).double())
    assert solution.count[1] == 0


@pytest.mark.parametrize("future", [0, 1])
def test_dependent_terms_share_their_effect_and_do_not_count_twice(future: int) -> None:
    wave = np.sin(np.arange(80) * 2 * np.pi / 8)  # two dimensions, whatever the number of lags
    channels = np.stack([wave, RANDOM.normal(size=80)])[: 1 + future]
    solution = fit(channels, one_run(80), Terms(6, 2, future=future))
    for step in range(2):
        matrix, target = explicit(channels, one_run(80), Terms(6, 2, future=future), step, 0)
        fitted = matrix @ solution.coef[0, step].numpy() + float(solution.intercept[0, step])
        np.testing.assert_allclose(fitted, target, atol=1e-7)
        assert float(solution.freedom[0, step]) == len(target) - 2 - future - 1
    assert float(solution.coef.abs().max()) < 1
