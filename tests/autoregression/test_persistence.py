"""The corrected persistence and the errors of coefficients, against slow and simulated truth."""

import numpy as np
import pytest
import reference_autoregression as reference
import torch
from reference_autoregression import Array

from tsar.autoregression import (
    ClosedForm,
    Estimates,
    Terms,
    complete_runs,
    correct_persistence,
    fit_closed_form,
    limit_growth,
    roots,
)


def fit(rows: Array, lags: int, *, corrected: bool = True, pooled: bool = False) -> ClosedForm:
    """Closed form of series, a row each; all lags."""
    flat = torch.from_numpy(rows.reshape(1, -1).copy())
    runs = complete_runs(flat, torch.arange(len(rows) + 1) * rows.shape[1])
    runs = runs.pooled() if pooled else runs
    series = torch.full((runs.n_groups,), len(rows) / runs.n_groups, dtype=torch.float64)
    terms = Terms(lags=lags, horizon=1)
    return fit_closed_form(flat, runs, terms, series=series, corrected=corrected)


def windows(row: Array, lags: int) -> tuple[Array, Array]:
    """Lags, newest first, and targets."""
    spans = np.lib.stride_tricks.sliding_window_view(row, lags + 1)
    return spans[:, :-1][:, ::-1], spans[:, -1]


def test_the_coefficients_fit_best_of_all_with_their_sum() -> None:
    row = 5 + reference.simulate([0.5, 0.2, 0.2], 60, 3)[0]
    solution = fit(row[None], 3)
    coef = solution.coef[0, 0].numpy()
    matrix, target = windows(row, 3)
    # With the sum given, the newest lag's coefficient is what the others leave of it.
    rest = matrix[:, 1:] - matrix[:, :1]
    design = np.column_stack([np.ones(len(rest)), rest])
    known = np.linalg.lstsq(design, target - coef.sum() * matrix[:, 0], rcond=None)[0]
    np.testing.assert_allclose(coef[1:], known[1:], rtol=1e-8)
    plain = fit(row[None], 3, corrected=False).coef[0, 0].numpy()
    kept = min(1 + plain[1] + 2 * plain[2], 1)
    assert coef.sum() == pytest.approx(min(plain.sum() + kept * (1 + 3 * plain.sum()) / 57, 1))


@pytest.mark.parametrize(
    ("coef", "most"),
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
    coef: list[float], most: float
) -> None:
    """Of several lags that add to each other it is larger than that of one."""
    rows = reference.simulate(coef, 60, 1, series=4000)
    told, plain = (
        float(fit(rows, len(coef), corrected=chosen).coef.sum(dim=2).mean()) - sum(coef)
        for chosen in (True, False)
    )
    assert plain < -0.005
    assert abs(told) < most * abs(plain)


def test_of_series_that_share_an_equation_too() -> None:
    rows = reference.simulate([0.6], 20, 2, series=2000)
    rows = rows - rows.mean(axis=1, keepdims=True)  # each has a mean of its own
    told, plain = (
        float(fit(rows, 1, corrected=chosen, pooled=True).coef.sum()) - 0.6
        for chosen in (True, False)
    )
    assert plain < -0.06  # (1 + 0.6) / 19, and the mean of all is known
    assert abs(told) < 0.2 * abs(plain)


def test_the_sum_is_at_most_one_and_of_what_grows_with_a_drift() -> None:
    rows = reference.simulate([1.0], 80, 5, series=50) + 0.5 * np.arange(80)
    solution = fit(rows, 2)
    sums = solution.coef.sum(dim=2)
    assert float(sums.max()) <= 1 + 1e-12
    ones = (sums[:, 0] > 1 - 1e-12).nonzero()[:, 0]
    assert len(ones) > 20
    plain = fit(rows, 2, corrected=False)
    for row in ones.tolist():
        matrix, target = windows(rows[row], 2)
        left = target - matrix @ solution.coef[row, 0].numpy()
        squared = ((left - left.mean()) ** 2).sum() / (len(left) - 3) / len(left)
        total = float(plain.coef[row].sum())
        bias = (1 + 3 * total) / 78 * min(1 + float(plain.coef[row, 0, 1]), 1)
        beyond = min(4 * (total + bias - 1) / bias, 1)
        drift = left.mean() * (1 - beyond * min(squared / left.mean() ** 2, 1))
        assert float(solution.intercept[row, 0]) == pytest.approx(drift)
        assert float(solution.power[row, 0]) == pytest.approx(((left - drift) ** 2).sum())


def test_a_drift_is_less_the_further_the_sum_would_have_come_and_not_suddenly() -> None:
    random = np.random.default_rng(13)
    walk, noise = (0.08 + random.normal(size=50)).cumsum(), random.normal(size=50)
    sums, last = [], []
    for much in np.linspace(0.9, 1.3, 401):
        solution = fit((walk + much * noise)[None], 1)
        sums.append(float(solution.coef.sum()))
        last.append(float(solution.intercept) + sums[-1] * (walk + much * noise)[-1])
    assert min(sums) < 1 - 1e-6 and max(sums) > 1 - 1e-12  # both are there
    assert np.abs(np.diff(last)).max() < 0.05


def test_covariates_keep_the_constant() -> None:
    row = reference.simulate([1.0], 60, 6)
    flat = torch.from_numpy(np.concatenate([row, np.random.default_rng(0).normal(size=(1, 60))]))
    runs = complete_runs(flat, torch.tensor([0, 60]))
    found = fit_closed_form(flat, runs, Terms(1, 1, future=1), corrected=True)
    matrix = np.column_stack([row[0, :-1], flat[1, 1:].numpy()])
    left = row[0, 1:] - matrix @ found.coef[0, 0].numpy()
    assert float(found.intercept) == pytest.approx(left.mean())


def test_where_there_is_no_sum_nothing_changes() -> None:
    constant = np.full((1, 30), 4.0)
    assert float(fit(constant, 2).coef.abs().max()) == 0.0
    none = torch.zeros(1, 2, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    found = correct_persistence(none, none, torch.zeros(1, 2, dtype=torch.bool), 9 * one, one)
    assert float(found.coef.abs().max()) == 0.0 and float(found.beyond) == 0.0


def test_a_negative_sum_is_not_lowered() -> None:
    rows = reference.simulate([-0.8], 60, 7, series=3)
    assert torch.equal(fit(rows, 1).coef, fit(rows, 1, corrected=False).coef)


def test_swings_hardly_grow() -> None:
    coef = torch.tensor([[0.0, -1.3, 0.0], [1.9, -0.95, 0.0], [0.0, 0.0, 1.02], [0.0, 0.0, 0.0]])
    found = limit_growth(coef.double(), 3, torch.full((4,), 50.0, dtype=torch.float64))
    size = np.abs(roots(found).numpy()).max(axis=1)
    np.testing.assert_allclose(size[0], 1.02, rtol=1e-12)
    assert found[0].count_nonzero() == 1  # what was left out stays out
    assert torch.equal(found[1:], coef[1:].double())  # 1.02 ** (1 / 3) is less than 1.02


def test_covariates_do_not_make_swings() -> None:
    coef = torch.tensor([[0.5, -2.0, 9.0]], dtype=torch.float64)
    found = limit_growth(coef, 2, torch.tensor([10.0], dtype=torch.float64))
    assert float(found[0, 2]) == 9.0
    assert np.abs(roots(found[:, :2]).numpy()).max() == pytest.approx(1.1)


def test_of_several_steps_the_bias_is_not_known() -> None:
    flat = torch.zeros(1, 30, dtype=torch.float64)
    runs = complete_runs(flat, torch.tensor([0, 30]))
    with pytest.raises(ValueError, match="corrected must be False with several steps"):
        fit_closed_form(flat, runs, Terms(lags=2, horizon=3), corrected=True)


def path(coef: Array, history: Array, horizon: int) -> Array:
    """Forecasts; the constant stands first."""
    points = list(history)
    for _ in range(horizon):
        points.append(coef[0] + coef[1:] @ np.array(points[-len(coef) + 1 :])[::-1])
    return np.array(points[len(history) :])


@pytest.mark.parametrize("pieces", [1, 1000])
def test_the_variance_by_errors_of_coefficients_is_that_of_the_delta_method(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsar.autoregression.estimates.ROOM", pieces * 300)
    rows = 3 + reference.simulate([0.5, 0.0, 0.3], 40, 4, series=3)
    solution, horizon = fit(rows, 3, corrected=False), 9
    estimates = solution.estimates
    assert estimates is not None
    group = torch.tensor([2, 0, 1, 2])
    terms, psi, wanted = [], [], []
    for row in group.tolist():
        history = rows[row]
        coef = np.concatenate([solution.intercept[row].numpy(), solution.coef[row, 0].numpy()])
        points = np.concatenate([history, path(coef, history, horizon)])
        spans = np.lib.stride_tricks.sliding_window_view(points[len(history) - 3 : -1], 3)
        terms.append(spans[:, ::-1])
        shock = path(np.array([0.0, *coef[1:]]), np.array([0.0, 0.0, 1.0]), horizon - 1)
        psi.append([1.0, *shock])
        matrix, _ = windows(history, 3)
        design = np.column_stack([np.ones(len(matrix)), matrix])
        step = 1e-6 * np.eye(4)
        slope = [
            (path(coef + s, history, horizon) - path(coef - s, history, horizon)) / 2e-6
            for s in step
        ]
        wanted.append(np.einsum("ih,ij,jh->h", slope, np.linalg.inv(design.T @ design), slope))
    known = torch.from_numpy(np.array(terms))

    def read(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return known[rows].gather(2, places[:, None].expand(-1, horizon, -1))

    found = estimates.variance(group, read, torch.tensor(psi).double())
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_what_was_left_out_counts_for_nothing() -> None:
    root = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    known = Estimates(torch.tensor([[1, 0]]), root, torch.zeros(1, 2).double(), 0 * one, 8 * one)
    terms = torch.tensor([[[2.0, 100.0]]], dtype=torch.float64)
    found = known.variance(torch.tensor([0]), lambda rows, places: terms[rows], one[None])
    assert float(found) == pytest.approx(2.0**2 / 4 + 1 / 8)


def test_a_ridge_and_several_steps_have_none() -> None:
    rows = reference.simulate([0.5], 400, 8)
    flat = torch.from_numpy(rows)
    runs = complete_runs(flat, torch.tensor([0, 400]))
    assert fit_closed_form(flat, runs, Terms(2, 1), ridge=0.1).estimates is None
    assert fit_closed_form(flat, runs, Terms(2, 3)).estimates is None
    assert fit_closed_form(flat, runs, Terms(2, 1)).estimates is not None


def test_equations_of_many_terms_count_their_share_and_change_no_others() -> None:
    root = torch.eye(100, dtype=torch.float64).expand(2, -1, -1)
    places = torch.arange(100).expand(2, -1)
    mean = torch.zeros(2, 100, dtype=torch.float64)
    share, windows = torch.tensor([0.5, 0.1]).double(), torch.tensor([200.0, 50.0]).double()
    size = torch.tensor([100, 3])
    both = Estimates.of(places, root, mean, size, share, windows)
    assert both.terms.shape == (2, 3)
    psi = torch.tensor([[1.0, 2.0]]).double()
    alone = Estimates.of(places[1:], root[1:], mean[1:], size[1:], share[1:], windows[1:])

    def read(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(rows), 2, places.shape[1], dtype=torch.float64)

    small = both.variance(torch.tensor([1]), read, psi)
    torch.testing.assert_close(small, alone.variance(torch.tensor([0]), read, psi))
    large = both.variance(torch.tensor([0]), read, psi)
    torch.testing.assert_close(large, 0.5 * torch.tensor([[1.0, 5.0]]).double())
    joined = Estimates.joined(
        [Estimates.of(*(x[:1] for x in (places, root, mean, size, share, windows))), alone]
    )
    torch.testing.assert_close(joined.variance(torch.tensor([1]), read, psi), small)


def test_pieces_of_the_groups_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reference.simulate([0.5, 0.2], 60, 9, series=7)
    whole = fit(rows, 5)
    monkeypatch.setattr("tsar.autoregression.closed_form.PIECE", 3 * 36)
    parts = fit(rows, 5)
    for name in ("coef", "error", "intercept", "power", "freedom", "count", "active"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    assert parts.estimates is not None and whole.estimates is not None
    torch.testing.assert_close(parts.estimates.root, whole.estimates.root)


def test_growth_beyond_doubt_stays() -> None:
    noise = np.random.default_rng(1).normal(size=(5, 60))
    growing = 100 * np.exp(0.02 * np.arange(60) + 0.003 * noise)
    assert torch.equal(fit(growing, 2).coef, fit(growing, 2, corrected=False).coef)
    assert float(fit(growing, 2).coef.sum(dim=2).min()) > 1.001
    for noise_of in (0.0, 1e-6, 1e-3):  # the swings of which are harmless
        wave = np.sin(2 * np.pi * np.arange(60) / 25)[None] + noise_of * noise[:1]
        told, plain = (fit(wave, 13, corrected=chosen) for chosen in (True, False))
        assert float(told.power) <= 1.01 * float(plain.power) + 1e-20


def test_from_the_step_that_is_not_finite_on_the_variance_has_no_end() -> None:
    one = torch.ones(1, dtype=torch.float64)
    known = Estimates(torch.tensor([[0]]), one[None, None], 0 * one[None], 0 * one, 8 * one)
    psi = torch.tensor([[1.0, 1e200, torch.inf]]).double()
    terms = torch.tensor([[[1.0], [1.0], [torch.inf]]], dtype=torch.float64)
    found = known.variance(torch.tensor([0]), lambda rows, places: terms[rows], psi)[0]
    assert float(found[0]) == pytest.approx(1 + 1 / 8)
    assert found[1:].isinf().all()
