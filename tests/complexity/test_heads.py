"""Linear heads by one decomposition against lstsq, scikit-learn and refits without rows."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV
from torch import Tensor

from tsar.complexity.heads import CrossProducts, RidgeSVD

SHAPES = ((30, 5), (30, 29), (30, 30), (30, 80))
PENALTIES = torch.tensor([0.0, 0.3, 20.0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n_rows", "size"), SHAPES)
def test_heads_equal_lstsq_and_scikit_learn(n_rows: int, size: int) -> None:
    features, response = normal(n_rows, size) + 3, normal(n_rows, 2, seed=1)
    new_features = normal(7, size, seed=2) + 3
    svd = RidgeSVD.of(features)
    predictions = svd.predict(new_features, response, PENALTIES)
    centred = (features - features.mean(dim=0)).numpy()
    coef = np.linalg.lstsq(centred, (response - response.mean(dim=0)).numpy(), rcond=1e-10)[0]
    expected = (new_features - features.mean(dim=0)).numpy() @ coef + response.mean(dim=0).numpy()
    np.testing.assert_allclose(predictions[0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(svd.coefficients(response, PENALTIES)[0], coef, atol=1e-7)
    for k in (1, 2):
        peer = Ridge(alpha=float(PENALTIES[k])).fit(features.numpy(), response.numpy())
        np.testing.assert_allclose(predictions[k], peer.predict(new_features.numpy()), rtol=1e-8)
        fitted = svd.fitted_values(response, PENALTIES)[k]
        np.testing.assert_allclose(fitted, peer.predict(features.numpy()), rtol=1e-8, atol=1e-9)


def test_the_ridgeless_head_without_intercept_is_the_pseudoinverse() -> None:
    for size in (5, 60):
        features, response = normal(20, size) + 1, normal(20, 3, seed=1)
        svd = RidgeSVD.of(features, fit_intercept=False)
        coefficients = svd.coefficients(response, PENALTIES[:1])[0]
        np.testing.assert_allclose(coefficients, np.linalg.pinv(features) @ response, atol=1e-10)


@pytest.mark.parametrize("fit_intercept", (True, False))
@pytest.mark.parametrize(("n_rows", "size"), SHAPES)
def test_left_out_errors_equal_refits(n_rows: int, size: int, fit_intercept: bool) -> None:
    features, response = normal(n_rows, size) + 3, normal(n_rows, 2, seed=1)
    svd = RidgeSVD.of(features, fit_intercept=fit_intercept)

    def refit(train: Any, test: Any, penalties: Tensor) -> Tensor:
        other = RidgeSVD.of(features[train], fit_intercept=fit_intercept)
        return response[test] - other.predict(features[test], response[train], penalties)

    errors = svd.leave_one_out_errors(response, PENALTIES)
    for row in (0, 11, 29):
        train = torch.arange(n_rows) != row
        expected = refit(train, [row], PENALTIES)[:, 0]
        torch.testing.assert_close(errors[:, row], expected, rtol=1e-6, atol=1e-8)
    blocks = [slice(0, 10), slice(10, 20), slice(20, 30)]
    block_errors = svd.leave_blocks_out_errors(response, PENALTIES[1:], blocks, margin=2)
    train = torch.cat([torch.arange(8), torch.arange(22, 30)])
    expected = refit(train, slice(10, 20), PENALTIES[1:])
    torch.testing.assert_close(block_errors[:, 10:20], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", (7, 80))
def test_heads_by_cross_products_equal_scikit_learn(size: int) -> None:
    features, response = normal(50, size) + 3.0, normal(50, 2, seed=1) - 5.0
    first, second = (
        CrossProducts.of(features[rows], response[rows]) for rows in (slice(30), slice(30, None))
    )
    head = first.merge(second).ridge_head(torch.tensor(2.5).double())
    peer = Ridge(alpha=2.5).fit(features, response)
    new_features = normal(9, size, seed=2)
    np.testing.assert_allclose(head.coefficients.T, peer.coef_, atol=1e-10)
    np.testing.assert_allclose(head.predict(new_features), peer.predict(new_features), atol=1e-9)
    errors = head.leave_one_out_errors(features[:5], response[:5])
    for row in range(5):
        train = torch.arange(50) != row
        refit = Ridge(alpha=2.5).fit(features[train], response[train])
        expected = response[row].numpy() - refit.predict(features[row : row + 1])[0]
        np.testing.assert_allclose(errors[row], expected, atol=1e-9)


def test_cross_validation_chooses_the_penalty_of_scikit_learn() -> None:
    features, response = normal(40, 60), normal(40, 1, seed=1)
    response = response + features[:, :3] @ torch.ones(3, 1).double()
    svd = RidgeSVD.of(features)
    penalties = svd.penalty_grid()
    peer = RidgeCV(alphas=penalties.numpy(), store_cv_results=True)
    peer.fit(features.numpy(), response[:, 0].numpy())
    errors = svd.leave_one_out_errors(response, penalties)[:, :, 0].square()
    np.testing.assert_allclose(errors.T, peer.cv_results_, rtol=1e-6)
    assert peer.alpha_ == pytest.approx(float(penalties[errors.mean(dim=1).argmin()]))


def test_repeated_and_constant_features_do_not_affect_the_result() -> None:
    features, response = normal(30, 4), normal(30, 1, seed=1)
    redundant = torch.cat([features, features[:, :2], torch.full((30, 1), 7.0).double()], dim=1)
    expected = RidgeSVD.of(features).fitted_values(response, PENALTIES[:1])
    svd = RidgeSVD.of(redundant)
    assert len(svd.singular_values) == 4
    torch.testing.assert_close(svd.fitted_values(response, PENALTIES[:1]), expected)
    constant = RidgeSVD.of(redundant[:, 6:])
    mean = response.mean(dim=0).expand_as(response)
    torch.testing.assert_close(constant.fitted_values(response, PENALTIES)[1], mean)
