import numpy as np
import torch
from torch.testing import assert_close

from tsar.autoregression.standardize import standardize


def test_coefficients_of_the_standardized_system_scale_back_to_those_of_the_data() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(50, 3)) * [1e-3, 1.0, 1e4]
    target = random.normal(size=50) * 7
    gram, cross = torch.tensor(matrix.T @ matrix)[None], torch.tensor(matrix.T @ target)[None]
    system = standardize(gram, cross, torch.tensor([target @ target]))
    assert_close(system.correlation.diagonal(dim1=1, dim2=2), torch.ones(1, 3).double())
    coef = torch.linalg.solve(system.correlation, system.cross) * system.scale
    assert_close(coef[0], torch.tensor(np.linalg.solve(matrix.T @ matrix, matrix.T @ target)))


def test_terms_and_targets_without_variance_become_zeros() -> None:
    gram = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    cross = torch.tensor([[2.0, 0.0]])
    system = standardize(gram, cross, torch.tensor([0.0]))
    assert not system.scale.any()
    assert not system.cross.any()
    assert system.correlation.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]
