import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tsar.autoregression import factorize, least_squares, refit
from tsar.autoregression.least_squares import standardize_equations

RANDOM = np.random.default_rng(0)


def designs(groups: int, rows: int, terms: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    scale = 10.0 ** RANDOM.uniform(-4, 4, size=(1, 1, terms))
    return RANDOM.normal(size=(groups, rows, terms)) * scale, RANDOM.normal(
        size=(groups, rows, targets)
    )


def equations(matrix: np.ndarray, targets: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    transposed = np.swapaxes(matrix, 1, 2)
    return torch.tensor(transposed @ matrix), torch.tensor(transposed @ targets)


def lstsq(matrix: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Solve with columns of length 1: LAPACK loses digits between units that differ by 1e8."""
    length = np.sqrt((matrix**2).sum(0))
    solution = np.linalg.lstsq(matrix / length, target, rcond=None)[0]
    return torch.tensor((solution.T / length).T)


def test_every_system_and_target_agrees_with_lstsq() -> None:
    matrix, targets = designs(5, 60, 7, 3)
    solution = least_squares(*equations(matrix, targets))
    for group in range(5):
        expected = lstsq(matrix[group], targets[group])
        assert_close(solution.coef[group], expected, rtol=1e-11, atol=0)
    assert solution.factorization.rank.tolist() == [7] * 5
    assert not solution.factorization.ill_conditioned.any()


def test_the_inverse_is_the_inverse_of_the_gram_matrix() -> None:
    gram, _ = equations(*designs(3, 60, 5, 1))
    product = factorize(gram).inverse() @ gram
    assert_close(product, torch.eye(5).double().expand(3, 5, 5), rtol=0, atol=1e-6)
    assert_close(factorize(gram).inverse(), torch.linalg.inv(gram), rtol=1e-9, atol=0)


def test_the_root_of_the_inverse_squares_to_it_for_dependent_terms_too() -> None:
    matrix = RANDOM.normal(size=(3, 40, 4))
    matrix[1, :, 3] = matrix[1, :, 0] - 2 * matrix[1, :, 1]
    matrix[2, :, 2] = 0
    for chosen in (slice(0, 1), slice(0, 3)):
        factorization = factorize(equations(matrix[chosen], matrix[chosen][:, :, :1])[0])
        root = factorization.inverse_root()
        assert_close(root.mT @ root, factorization.inverse(), rtol=1e-9, atol=1e-12)


def test_ridge_penalizes_the_coefficients_of_standardized_terms() -> None:
    matrix, targets = designs(2, 50, 4, 1)
    coef = least_squares(*equations(matrix, targets), ridge=0.3).coef
    for group in range(2):
        deviation = np.sqrt((matrix[group] ** 2).mean(0))
        standard = matrix[group] / deviation
        padded = np.concatenate([standard, np.sqrt(0.3 * 50) * np.eye(4)])
        expected = np.linalg.lstsq(padded, np.concatenate([targets[group], np.zeros((4, 1))]))[0]
        assert_close(coef[group], torch.tensor(expected / deviation[:, None]), rtol=1e-9, atol=0)


def test_dependent_terms_get_the_solution_of_least_norm() -> None:
    matrix = RANDOM.normal(size=(3, 40, 4))
    matrix[1, :, 3] = matrix[1, :, 0] - 2 * matrix[1, :, 1]
    matrix /= np.sqrt((matrix**2).sum(1, keepdims=True))
    targets = RANDOM.normal(size=(3, 40, 2))
    solution = least_squares(*equations(matrix, targets))
    assert solution.factorization.rank.tolist() == [4, 3, 4]
    assert solution.factorization.regular.tolist() == [True, False, True]
    for group in range(3):
        expected = np.linalg.pinv(matrix[group], rcond=1e-10) @ targets[group]
        assert_close(solution.coef[group], torch.tensor(expected), rtol=1e-9, atol=1e-11)
    inverse = np.linalg.pinv(matrix[1].T @ matrix[1], rcond=1e-10)
    assert_close(solution.factorization.inverse()[1], torch.tensor(inverse), rtol=1e-8, atol=1e-9)


def test_a_term_without_variance_has_coefficient_zero() -> None:
    matrix, targets = designs(1, 40, 3, 1)
    matrix[:, :, 1] = 0
    solution = least_squares(*equations(matrix, targets))
    expected = lstsq(matrix[0][:, [0, 2]], targets[0])
    assert_close(solution.coef[0, [0, 2]], expected, rtol=1e-11, atol=0)
    assert solution.coef[0, 1].item() == 0
    assert solution.factorization.rank.tolist() == [2]


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_degenerate_systems_have_finite_results(fill: float) -> None:
    gram = torch.full((2, 3, 3), fill, dtype=torch.float64)
    solution = least_squares(gram, gram[:, :, :1])
    assert solution.coef.isfinite().all()
    assert solution.factorization.inverse().isfinite().all()
    assert solution.factorization.rank.tolist() == [int(fill)] * 2


def test_ill_conditioning_is_reported() -> None:
    gram = torch.tensor([[[1.0, 1 - 1e-9], [1 - 1e-9, 1.0]]], dtype=torch.float64)
    result = factorize(gram)
    assert result.regular.all()
    assert result.ill_conditioned.all()
    assert_close(result.tolerance, torch.tensor([2e-9]).double(), rtol=1e-6, atol=0)


def test_a_refit_is_least_squares_on_the_active_terms() -> None:
    matrix, targets = designs(4, 60, 6, 1)
    gram, cross = equations(matrix, targets)
    active = torch.tensor(RANDOM.random((4, 6)) < 0.5)
    active[0] = False
    coef = refit(gram, cross[:, :, 0], active)
    assert not coef[~active].any()
    for group in range(1, 4):
        own = np.flatnonzero(active[group].numpy())
        expected = lstsq(matrix[group][:, own], targets[group][:, 0])
        assert_close(coef[group, own], expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("ridge", [-0.1, float("nan"), float("inf")])
def test_an_invalid_ridge_is_an_error(ridge: float) -> None:
    with pytest.raises(ValueError, match="ridge must be finite and at least 0"):
        factorize(torch.eye(2)[None], ridge=ridge)


def test_coefficients_of_standardized_equations_scale_back_to_those_of_the_data() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(50, 3)) * [1e-3, 1.0, 1e4]
    target = random.normal(size=50) * 7
    gram, cross = torch.tensor(matrix.T @ matrix)[None], torch.tensor(matrix.T @ target)[None]
    system = standardize_equations(gram, cross, torch.tensor([target @ target]))
    assert_close(system.correlation.diagonal(dim1=1, dim2=2), torch.ones(1, 3).double())
    coef = torch.linalg.solve(system.correlation, system.cross) * system.scale
    assert_close(coef[0], torch.tensor(np.linalg.solve(matrix.T @ matrix, matrix.T @ target)))


def test_standardized_terms_and_targets_without_variance_are_zero() -> None:
    gram = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    cross = torch.tensor([[2.0, 0.0]])
    system = standardize_equations(gram, cross, torch.tensor([0.0]))
    assert not system.scale.any()
    assert not system.cross.any()
    assert system.correlation.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]
