"""Theory, heads and blocks of the complexity analysis, against slow and obvious versions."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV
from theory.population import LatentModel, stationary_covariance
from theory.simulation import draw_model
from torch import Tensor

from tsar.complexity.blocks import block_length, draw_blocks, effective_rows, standard_error
from tsar.complexity.heads import Decomposition, Products
from tsar.complexity.theory import (
    Spectrum,
    aligned_spectrum,
    best_ridge,
    isotropic_penalty,
    isotropic_risk,
    ridge_risk,
    ridgeless_risk,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def b3(spectrum: Spectrum, rows: int) -> tuple[float, float]:
    """Bias and variance above the rows as they are first derived, c0 by plain bisection."""
    s, b, noise = spectrum.eigenvalues, spectrum.signal, float(spectrum.noise)
    gamma = len(s) / rows
    low, high = 0.0, 1e12
    for _ in range(300):
        c0 = (low + high) / 2
        filled = float((1 / (1 + c0 * gamma * s)).mean())
        low, high = (c0, high) if filled > 1 - 1 / gamma else (low, c0)
    shrunk = (1 + c0 * gamma * s).square()
    first, second = float((s.square() / shrunk).mean()), float((s / shrunk).mean())
    crowding = gamma * c0 * first / second
    return (1 + crowding) * float((b * s / shrunk).sum()), noise * crowding


def finite(size: int) -> float:
    """What 200 rows add to the limit of the facts above the peak."""
    return (size - 200) / (size - 201) if size > 200 else 1.0


# --- theory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", (240, 300, 500, 1000))
def test_the_level_is_the_c0_of_the_facts(size: int) -> None:
    model = draw_model(20, size, generator=seeded())
    found = ridgeless_risk(model.spectrum, 200)
    bias, variance = b3(model.spectrum, 200)
    assert float(found.bias) == pytest.approx(bias, rel=1e-6)
    assert float(found.variance) == pytest.approx(variance * finite(size), rel=1e-6)


# Facts B3: aligned case, and the general one from where weights average out on.
ALIGNED = ((20, 0.066), (80, 0.235), (220, 2.60), (320, 0.420), (500, 0.172), (1600, 0.054))
GENERAL = (
    *((40, 5.21), (80, 13.6), (120, 30.6), (160, 82.5)),
    *((240, 102.5), (300, 42.3), (500, 15.6), (1000, 7.21), (2000, 4.43)),
)


@pytest.mark.parametrize(("size", "excess"), ALIGNED)
def test_the_aligned_table_of_the_facts(size: int, excess: float) -> None:
    found = ridgeless_risk(aligned_spectrum(20, size, 0.9), 200)
    assert float(found.bias + found.variance / finite(size)) == pytest.approx(excess, rel=0.01)


@pytest.mark.parametrize(("size", "excess"), GENERAL)
def test_the_general_table_of_the_facts(size: int, excess: float) -> None:
    model = draw_model(20, size, generator=seeded())
    found = ridgeless_risk(model.spectrum, 200)
    assert float(found.bias + found.variance / finite(size)) == pytest.approx(excess, rel=0.01)


def test_the_aligned_spectrum_is_that_of_an_aligned_model() -> None:
    model = draw_model(20, 60, scheme="aligned", generator=seeded())
    short = aligned_spectrum(20, 60, 0.9)
    torch.testing.assert_close(model.spectrum.eigenvalues.sort()[0], short.eigenvalues.sort()[0])
    one = ridgeless_risk(model.spectrum, 40).excess / 20
    torch.testing.assert_close(one, ridgeless_risk(short, 40).excess)


@pytest.mark.parametrize("size", (3, 8, 30))
def test_moments_by_few_states_are_those_of_all_features(size: int) -> None:
    model = draw_model(8, size, generator=seeded(size))
    covariance = model.feature_covariance
    cross = model.readout.T @ model.state_covariance @ model.transition
    head = torch.linalg.solve(covariance, cross)
    torch.testing.assert_close(model.head, head)
    left = model.state_covariance - head.T @ covariance @ head
    torch.testing.assert_close(model.noise, left.trace())
    whole = Spectrum.of(covariance, head, left.trace())
    torch.testing.assert_close(whole.null, model.null)
    risk = ridgeless_risk(whole, 15).excess
    torch.testing.assert_close(ridgeless_risk(model.spectrum, 15).excess, risk)
    off = draw(size, 8)
    exact = ((off - head).T @ covariance @ (off - head)).trace()
    torch.testing.assert_close(model.excess(off), exact)


def test_a_stationary_covariance_stays_as_it_is() -> None:
    transition, noise = draw_model(6, 1, generator=seeded()).transition, torch.eye(6).double()
    found = stationary_covariance(transition, noise)
    torch.testing.assert_close(transition.T @ found @ transition + noise, found)
    with pytest.raises(ValueError, match=r"spectral radius below 1; got 1\. Shrink"):
        stationary_covariance(noise, noise)


@pytest.mark.parametrize("size", (199, 200, 201))
def test_the_variance_next_to_the_rows_is_infinite(size: int) -> None:
    one = torch.ones(size, dtype=torch.float64)
    assert float(ridgeless_risk(Spectrum(one, one, one[0]), 200).variance) == np.inf
    for other in (198, 202):
        wide = torch.ones(other, dtype=torch.float64)
        assert np.isfinite(float(ridgeless_risk(Spectrum(wide, wide, wide[0]), 200).variance))


def test_below_the_rows_the_variance_is_exact() -> None:
    one = torch.ones(50, dtype=torch.float64)
    risk = ridgeless_risk(Spectrum(one, one, 3 * one[0]), 200)
    assert float(risk.bias) == 0
    assert float(risk.variance) == pytest.approx(3 * 50 / (200 - 50 - 1))


def test_above_the_rows_the_variance_of_unit_covariance_is_exact() -> None:
    one = torch.ones(210, dtype=torch.float64)
    risk = ridgeless_risk(Spectrum(one, 0 * one, one[0]), 200)
    assert float(risk.variance) == pytest.approx(200 / (210 - 200 - 1))


def test_directions_that_do_not_vary_do_not_count() -> None:
    few = Spectrum(draw(30).abs() + 1, draw(30).abs(), torch.tensor(2.0).double())
    zeros = torch.zeros(200, dtype=torch.float64)
    padded = Spectrum(
        torch.cat([few.eigenvalues, zeros]), torch.cat([few.signal, zeros + 1]), few.noise
    )
    assert ridgeless_risk(padded, 100) == ridgeless_risk(few, 100)


def test_the_isotropic_case_is_the_general_one() -> None:
    one = torch.ones(20_000, dtype=torch.float64)
    for ratio in (0.2, 0.8, 1.5, 4.0):
        size = int(ratio * 5_000)
        spectrum = Spectrum(one[:size], 2 * one[:size] / size, one[0])
        general = ridgeless_risk(spectrum, 5_000)
        short = isotropic_risk(torch.tensor(ratio).double(), 2.0, 1.0)
        torch.testing.assert_close(general.excess, short.excess, rtol=2e-3, atol=0)
        penalty, least = best_ridge(spectrum, 5_000)
        assert float(penalty) == pytest.approx(isotropic_penalty(size, 2.0, 1.0), rel=0.02)
        assert least < general.excess


def test_the_best_ridge_is_least_and_has_no_peak() -> None:
    model = draw_model(20, 400, generator=seeded())
    found = []
    for size in (100, 190, 200, 210, 400):
        spectrum = model.with_features(size).spectrum
        penalty, least = best_ridge(spectrum, 200)
        around = ridge_risk(spectrum, 200, penalty * torch.tensor([0.5, 0.99, 1.01, 2.0]))
        assert bool((around.excess >= least * (1 - 1e-9)).all())
        found.append(float(least))
    assert found == sorted(found, reverse=True)


def test_a_small_penalty_is_next_to_none() -> None:
    spectrum = draw_model(20, 400, generator=seeded()).spectrum
    near, none = ridge_risk(spectrum, 200, torch.tensor([1e-6, 0.0])).excess
    assert float(near) * 200 / 199 == pytest.approx(float(none), rel=1e-3)


def test_too_few_features_are_no_aligned_case() -> None:
    with pytest.raises(ValueError, match="states must be from 1 to the 4 features; got 5"):
        aligned_spectrum(5, 4, 0.9)
    with pytest.raises(ValueError, match="features must be at least the 5 states"):
        draw_model(5, 4, scheme="aligned", generator=seeded())


def test_without_noise_features_beyond_the_states_add_nothing() -> None:
    model = draw_model(4, 12, generator=seeded())
    clear = LatentModel(model.transition, model.readout, 1.0, 0.0)
    torch.testing.assert_close(clear.noise, torch.tensor(4.0).double())
    assert len(clear.spectrum.usable().eigenvalues) == 4


# --- heads ------------------------------------------------------------------------------------

SHAPES = ((30, 5), (30, 29), (30, 30), (30, 80))
PENALTIES = torch.tensor([0.0, 0.3, 20.0], dtype=torch.float64)


@pytest.mark.parametrize(("rows", "size"), SHAPES)
def test_heads_are_those_of_lstsq_and_scikit_learn(rows: int, size: int) -> None:
    features, response = draw(rows, size) + 3, draw(rows, 2, seed=1)
    fresh = draw(7, size, seed=2) + 3
    parts = Decomposition.of(features)
    told = parts.predict(fresh, response, PENALTIES)
    centred = (features - features.mean(dim=0)).numpy()
    coef = np.linalg.lstsq(centred, (response - response.mean(dim=0)).numpy(), rcond=1e-10)[0]
    expected = (fresh - features.mean(dim=0)).numpy() @ coef + response.mean(dim=0).numpy()
    np.testing.assert_allclose(told[0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(parts.coefficients(response, PENALTIES)[0], coef, atol=1e-7)
    for k in (1, 2):
        head = Ridge(alpha=float(PENALTIES[k])).fit(features.numpy(), response.numpy())
        np.testing.assert_allclose(told[k], head.predict(fresh.numpy()), rtol=1e-8)
        fitted = parts.fitted(response, PENALTIES)[k]
        np.testing.assert_allclose(fitted, head.predict(features.numpy()), rtol=1e-8, atol=1e-9)


def test_without_an_intercept_the_head_is_the_pseudoinverse() -> None:
    for size in (5, 60):
        features, response = draw(20, size) + 1, draw(20, 3, seed=1)
        parts = Decomposition.of(features, intercept=False)
        found = parts.coefficients(response, PENALTIES[:1])[0]
        np.testing.assert_allclose(found, np.linalg.pinv(features) @ response, atol=1e-10)


@pytest.mark.parametrize("intercept", (True, False))
@pytest.mark.parametrize(("rows", "size"), SHAPES)
def test_left_out_errors_are_those_of_fits_without(rows: int, size: int, intercept: bool) -> None:
    features, response = draw(rows, size) + 3, draw(rows, 2, seed=1)
    parts = Decomposition.of(features, intercept=intercept)

    def refit(kept: Any, asked: Any, penalties: Tensor) -> Tensor:
        other = Decomposition.of(features[kept], intercept=intercept)
        return response[asked] - other.predict(features[asked], response[kept], penalties)

    errors = parts.leave_one_out(response, PENALTIES)
    for row in (0, 11, 29):
        kept = torch.arange(rows) != row
        found = refit(kept, [row], PENALTIES)[:, 0]
        torch.testing.assert_close(errors[:, row], found, rtol=1e-6, atol=1e-8)
    blocks = [slice(0, 10), slice(10, 20), slice(20, 30)]
    left_out = parts.leave_blocks_out(response, PENALTIES[1:], blocks, margin=2)
    kept = torch.cat([torch.arange(8), torch.arange(22, 30)])
    expected = refit(kept, slice(10, 20), PENALTIES[1:])
    torch.testing.assert_close(left_out[:, 10:20], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", (7, 80))
def test_heads_by_products_are_those_of_scikit_learn(size: int) -> None:
    features, response = draw(50, size) + 3.0, draw(50, 2, seed=1) - 5.0
    parts = (Products.of(features[part], response[part]) for part in (slice(30), slice(30, None)))
    head = next(parts).plus(next(parts)).head(torch.tensor(2.5).double())
    peer = Ridge(alpha=2.5).fit(features, response)
    asked = draw(9, size, seed=2)
    np.testing.assert_allclose(head.coefficients.T, peer.coef_, atol=1e-10)
    np.testing.assert_allclose(head.say(asked), peer.predict(asked), atol=1e-9)
    found = head.left_out(features[:5], response[:5])
    for row in range(5):
        kept = torch.arange(50) != row
        less = Ridge(alpha=2.5).fit(features[kept], response[kept])
        error = response[row].numpy() - less.predict(features[row : row + 1])[0]
        np.testing.assert_allclose(found[row], error, atol=1e-9)


def test_cross_validation_chooses_as_scikit_learn_does() -> None:
    features, response = draw(40, 60), draw(40, 1, seed=1)
    response = response + features[:, :3] @ torch.ones(3, 1).double()
    parts = Decomposition.of(features)
    grid = parts.penalties()
    head = RidgeCV(alphas=grid.numpy(), store_cv_results=True)
    head.fit(features.numpy(), response[:, 0].numpy())
    errors = parts.leave_one_out(response, grid)[:, :, 0].square()
    np.testing.assert_allclose(errors.T, head.cv_results_, rtol=1e-6)
    assert head.alpha_ == pytest.approx(float(grid[errors.mean(dim=1).argmin()]))
    hat = np.stack(
        [
            Ridge(alpha=20.0).fit(features.numpy(), one).predict(features.numpy())
            for one in np.eye(40)
        ]
    )
    left = response[:, 0].numpy() - hat.T @ response[:, 0].numpy()
    expected = (left**2).mean() / (1 - np.trace(hat) / 40) ** 2
    assert float(parts.generalized(response, PENALTIES[2:])) == pytest.approx(expected)


def test_features_that_repeat_or_do_not_vary_change_nothing() -> None:
    features, response = draw(30, 4), draw(30, 1, seed=1)
    wide = torch.cat([features, features[:, :2], torch.full((30, 1), 7.0).double()], dim=1)
    told = Decomposition.of(features).fitted(response, PENALTIES[:1])
    parts = Decomposition.of(wide)
    assert len(parts.values) == 4
    torch.testing.assert_close(parts.fitted(response, PENALTIES[:1]), told)
    constant = Decomposition.of(wide[:, 6:])
    mean = response.mean(dim=0).expand_as(response)
    torch.testing.assert_close(constant.fitted(response, PENALTIES)[1], mean)


# --- blocks -----------------------------------------------------------------------------------


def test_blocks_stay_within_a_series() -> None:
    runs = torch.tensor([0] * 7 + [1] * 5)
    drawn = draw_blocks(runs, 3, 200, seeded())
    assert drawn.shape == (200, 12)
    blocks = drawn.unflatten(1, (4, 3))
    assert bool((blocks.diff(dim=2) == 1).all())
    assert bool((runs[blocks].amax(dim=2) == runs[blocks].amin(dim=2)).all())
    assert set(blocks[:, :, 0].unique().tolist()) == {0, 1, 2, 3, 4, 7, 8, 9}
    short = draw_blocks(torch.arange(6), 3, 2, seeded())  # no run is as long
    assert short.shape == (2, 6)
    assert block_length(1) == 1


def test_the_effective_rows_of_an_autoregression() -> None:
    """With a coefficient a, n rows are worth n (1 - a) / (1 + a)."""
    noise = draw(20_000, 1)
    errors = torch.zeros_like(noise)
    for row in range(1, len(noise)):
        errors[row] = 0.6 * errors[row - 1] + noise[row]
    runs = torch.zeros(len(noise), dtype=torch.long)
    assert effective_rows(errors, runs) == pytest.approx(20_000 * 0.25, rel=0.1)
    assert effective_rows(noise, runs) == pytest.approx(20_000, rel=0.1)
    assert effective_rows(errors * 0, runs) == 20_000


def test_the_standard_error_knows_of_dependence() -> None:
    noise = draw(4000)
    slow = torch.nn.functional.avg_pool1d(noise[None], 5, 1)[0] * 5**0.5
    runs = torch.zeros(len(slow), dtype=torch.long)
    plain = standard_error(slow, draw_blocks(runs, 1, 400, seeded()))
    blocks = standard_error(slow, draw_blocks(runs, 40, 400, seeded()))
    assert float(plain) == pytest.approx(4000**-0.5, rel=0.15)
    assert float(blocks / plain) == pytest.approx(5**0.5, rel=0.2)
