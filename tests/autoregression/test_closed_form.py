"""Autoregression in closed form, against LAPACK on explicit design matrices."""

import numpy as np
import pytest
import reference_autoregression as reference
import statsmodels.api as sm
import torch
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from tsar.autoregression import ARResults, Design, Segments, fit_closed_form

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


def three_groups() -> Segments:
    return Segments(torch.tensor(STARTS), torch.tensor(LENGTHS), torch.tensor(GROUP), 3)


def one_segment(length: int = TOTAL) -> Segments:
    return Segments(torch.tensor([0]), torch.tensor([length]), torch.tensor([0]), 1)


def lag_design(
    channels: np.ndarray, segments: Segments, design: Design, step: int, group: int
) -> tuple:
    """Regressors and target of a step, a row for each complete window of a group."""
    rows, targets = [], []
    for start, length, member in zip(
        segments.starts, segments.lengths, segments.group, strict=True
    ):
        if int(member) != group:
            continue
        for cutoff in range(int(start) + design.order, int(start + length) - design.horizon + 1):
            row = []
            for channel in range(1 + design.n_past):
                row += [channels[channel, cutoff - lag] for lag in range(1, design.order + 1)]
            row += [channels[1 + design.n_past + k, cutoff + step] for k in range(design.n_future)]
            rows.append(row)
            targets.append(channels[0, cutoff + step])
    return np.array(rows), np.array(targets)


def lstsq(matrix: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and constant, by columns that are centred and of length 1."""
    mean, level = matrix.mean(0), target.mean()
    length = np.sqrt(((matrix - mean) ** 2).sum(0))
    coef = np.linalg.lstsq((matrix - mean) / length, target - level, rcond=None)[0] / length
    return coef, level - mean @ coef


def fit(channels: np.ndarray, segments: Segments, design: Design, **options: object) -> ARResults:
    return fit_closed_form(torch.tensor(channels), segments, design, **options)  # type: ignore[arg-type]


CASES = [
    Design(order=4, horizon=1),
    Design(order=4, horizon=3),
    Design(order=3, horizon=1, n_past=1, n_future=1),
    Design(order=3, horizon=3, n_past=2),
    Design(order=2, horizon=3, n_past=1, n_future=1),
    Design(order=2, horizon=2, n_future=2),
]


@pytest.mark.parametrize("design", CASES, ids=str)
def test_every_group_and_step_agrees_with_lstsq(design: Design) -> None:
    channels = CHANNELS[: 1 + design.n_past + design.n_future]
    solution = fit(channels, three_groups(), design)
    for group in range(3):
        for step in range(design.horizon):
            matrix, target = lag_design(channels, three_groups(), design, step, group)
            coef, constant = lstsq(matrix, target)
            assert_close(solution.coef[group, step], torch.tensor(coef), rtol=1e-9, atol=1e-12)
            assert_close(float(solution.intercept[group, step]), constant, rtol=1e-9, atol=1e-12)
            assert int(solution.nobs[group]) == len(target)


@pytest.mark.parametrize("design", CASES, ids=str)
def test_standard_errors_and_residual_deviation_agree_with_statsmodels(design: Design) -> None:
    channels = CHANNELS[: 1 + design.n_past + design.n_future]
    solution = fit(channels, three_groups(), design)
    for step in range(design.horizon):
        matrix, target = lag_design(channels, three_groups(), design, step, 1)
        ols = sm.OLS(target, sm.add_constant(matrix)).fit()
        assert_close(solution.std_err[1, step], torch.tensor(ols.bse[1:]), rtol=1e-9, atol=0)
        assert_close(float(solution.resid_std[1, step]), float(np.sqrt(ols.scale)))
        assert int(solution.df_resid[1, step]) == ols.df_resid


@pytest.mark.parametrize("design", CASES[:5], ids=str)
def test_ridge_is_that_of_scikit_learn_on_standardized_terms(design: Design) -> None:
    channels = CHANNELS[: 1 + design.n_past + design.n_future]
    solution = fit(channels, three_groups(), design, ridge=0.2)
    for step in range(design.horizon):
        matrix, target = lag_design(channels, three_groups(), design, step, 0)
        scale = matrix.std(0)
        ridge = Ridge(alpha=0.2 * len(target)).fit(matrix / scale, target)
        assert_close(solution.coef[0, step], torch.tensor(ridge.coef_ / scale), rtol=1e-9, atol=0)
        assert_close(float(solution.intercept[0, step]), ridge.intercept_)


@pytest.mark.parametrize("design", [Design(3, 1), Design(2, 2, n_future=1)], ids=str)
def test_df_resid_of_ridge_counts_effective_parameters(design: Design) -> None:
    channels = CHANNELS[: 1 + design.n_future]
    solution = fit(channels, three_groups(), design, ridge=0.2)
    matrix, target = lag_design(channels, three_groups(), design, 0, 0)
    standard = (matrix - matrix.mean(0)) / matrix.std(0)
    gram = standard.T @ standard / len(target)
    hat = np.linalg.solve(gram + 0.2 * np.eye(len(gram)), gram)
    parameters = np.trace(2 * hat - hat @ hat)
    assert_close(float(solution.df_resid[0, 0]), len(target) - parameters - 1)


def test_ridge_with_more_terms_than_windows_has_positive_df_resid() -> None:
    noise = RANDOM.normal(size=(1, 30))
    solution = fit(noise, one_segment(30), Design(24, 1), ridge=0.3)
    assert float(solution.df_resid) > 0
    assert 0.1 < float(solution.resid_std) < 3


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("design", [Design(6, 1), Design(4, 3), Design(4, 3, n_future=1)], ids=str)
def test_ill_conditioned_systems_agree_with_lstsq(name: str, design: Design) -> None:
    channels = np.stack([SMOOTH[name], CHANNELS[1]])[: 1 + design.n_future]
    solution = fit(channels, one_segment(), design)
    for step in range(design.horizon):
        matrix, target = lag_design(channels, one_segment(), design, step, 0)
        coef, constant = lstsq(matrix, target)
        assert np.abs(solution.coef[0, step].numpy() - coef).max() < 1e-8 * np.abs(coef).max()
        assert_close(float(solution.intercept[0, step]), constant, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sparsity", ["auto", 0.3, 0.9])
@pytest.mark.parametrize("name", SMOOTH)
def test_selected_lags_are_refitted_to_full_precision(name: str, sparsity: object) -> None:
    channels = SMOOTH[name][None]
    solution = fit(channels, one_segment(), Design(6, 1), sparsity=sparsity)
    active = solution.active[0, 0].numpy()
    matrix, target = lag_design(channels, one_segment(), Design(6, 1), 0, 0)
    coef, _ = lstsq(matrix[:, active], target)
    result = solution.coef[0, 0].numpy()
    assert active.any() and not result[~active].any()
    assert np.abs(result[active] - coef).max() < 1e-8 * np.abs(coef).max()


@pytest.mark.parametrize("sparsity", [None, "auto"])
@pytest.mark.parametrize("scale", [1e-7, 1e-10, 1e-4])
def test_a_tiny_residual_deviation_keeps_its_digits(scale: float, sparsity: object) -> None:
    series = np.sin(np.arange(TOTAL) / 3) + scale * RANDOM.normal(size=TOTAL)
    solution = fit(series[None], one_segment(), Design(2, 1), sparsity=sparsity)
    matrix, target = lag_design(series[None], one_segment(), Design(2, 1), 0, 0)
    residual = target - target.mean() - (matrix - matrix.mean(0)) @ solution.coef[0, 0].numpy()
    expected = np.sqrt((residual**2).sum() / (len(target) - 3))
    assert_close(float(solution.resid_std[0, 0]), float(expected), rtol=1e-4, atol=0)


@pytest.mark.parametrize("sparsity", ["auto", 0.2])
def test_each_step_has_its_own_lags_and_least_squares_on_them(sparsity: object) -> None:
    coef = [0.0] * 9 + [0.8]
    channels = np.stack([reference.simulate(coef, 600, 3)[0], RANDOM.normal(size=600)])
    design = Design(12, 3, n_future=1)
    solution = fit(channels, one_segment(600), design, sparsity=sparsity)
    for step in range(3):
        active = solution.active[0, step].numpy()
        matrix, target = lag_design(channels, one_segment(600), design, step, 0)
        ols = sm.OLS(target, sm.add_constant(matrix[:, active])).fit()
        result = solution.coef[0, step].numpy()
        assert np.flatnonzero(np.abs(result) > 0.5).tolist() == [9 - step]
        assert not result[~active].any()
        np.testing.assert_allclose(result[active], ols.params[1:], rtol=1e-9)
        np.testing.assert_allclose(solution.std_err[0, step].numpy()[active], ols.bse[1:])


def test_a_density_of_one_is_least_squares() -> None:
    dense = fit(CHANNELS[:1], three_groups(), Design(5, 1))
    sparse = fit(CHANNELS[:1], three_groups(), Design(5, 1), sparsity=1.0)
    assert_close(sparse.coef, dense.coef, rtol=1e-10, atol=1e-14)
    assert bool(sparse.active.all())


def test_irrelevant_regressors_have_no_coefficient_and_no_standard_error() -> None:
    noise = np.random.default_rng(8).normal(size=(2, 500))
    solution = fit(noise, one_segment(500), Design(10, 2, n_future=1), sparsity="auto")
    assert not solution.active.any() and not solution.coef.any() and not solution.std_err.any()
    mean = noise[0, 10:].mean()
    assert_close(float(solution.intercept[0, 0]), float(noise[0, 10:-1].mean()))
    assert abs(float(solution.intercept[0, 1]) - mean) < 0.01
    assert solution.df_resid.tolist() == [[488.0, 488.0]]


@pytest.mark.parametrize("options", [{}, {"ridge": 0.1}, {"sparsity": "auto"}, {"sparsity": 0.5}])
@pytest.mark.parametrize("design", [Design(3, 1), Design(2, 3), Design(2, 2, n_future=1)], ids=str)
def test_constants_and_groups_without_a_window_have_zero_coefficients(
    design: Design, options: dict
) -> None:
    channels = np.stack([np.full(60, 0.1), np.full(60, 1e6)])[: 1 + design.n_future]
    segments = Segments(torch.tensor([0, 50]), torch.tensor([40, 3]), torch.tensor([0, 1]), 2)
    solution = fit(channels, segments, design, **options)
    for name in ("coef", "std_err", "rss", "df_resid", "resid_std", "intercept"):
        assert bool(getattr(solution, name).isfinite().all()), name
    assert not solution.coef.any() and not solution.resid_std.any()
    assert_close(solution.intercept[0], torch.full((design.horizon,), 0.1).double())
    assert solution.nobs[1] == 0


@pytest.mark.parametrize("future", [0, 1])
def test_dependent_terms_share_their_effect_and_count_once_in_df_resid(future: int) -> None:
    wave = np.sin(np.arange(80) * 2 * np.pi / 8)  # two dimensions, whatever the number of lags
    channels = np.stack([wave, RANDOM.normal(size=80)])[: 1 + future]
    design = Design(6, 2, n_future=future)
    solution = fit(channels, one_segment(80), design)
    for step in range(2):
        matrix, target = lag_design(
            channels, one_segment(80), Design(6, 2, n_future=future), step, 0
        )
        fitted = matrix @ solution.coef[0, step].numpy() + float(solution.intercept[0, step])
        np.testing.assert_allclose(fitted, target, atol=1e-7)
        assert float(solution.df_resid[0, step]) == len(target) - 2 - future - 1
    assert float(solution.coef.abs().max()) < 1
