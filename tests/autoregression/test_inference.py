import numpy as np
import pytest
import reference_autoregression as reference
import torch
from statsmodels.tsa.ar_model import AutoReg
from torch.testing import assert_close

from tsar.autoregression import (
    Runs,
    gaussian_criteria,
    lagged_moments,
    least_squares,
    standard_errors,
)


@pytest.mark.parametrize("lags", [1, 5])
def test_errors_and_criteria_are_those_of_statsmodels(lags: int) -> None:
    values = 10 + reference.simulate([0.5, -0.3], 200, 0)
    runs = Runs(torch.tensor([0]), torch.tensor([200]), torch.tensor([0]), 1)
    moments = lagged_moments(torch.tensor(values), runs, lags)
    regression = moments.regression(moments.terms(0, 1, lags), moments.terms(0, 0, 0))
    solution = least_squares(regression.gram, regression.cross)
    power = regression.residual_power(solution.coef)
    expected = AutoReg(values[0], lags).fit()

    found = gaussian_criteria(power[:, 0], moments.count, torch.tensor([1.0 + lags]).double())
    assert_close(found.log_likelihood.item(), float(expected.llf))
    assert_close(found.aic.item(), float(expected.aic))
    assert_close(found.bic.item(), float(expected.bic))
    assert_close(found.hqic.item(), float(expected.hqic))

    variance = power / moments.count[:, None]
    errors = standard_errors(solution.factorization.inverse(), variance)[0, :, 0]
    coef = np.concatenate([regression.intercept(solution.coef)[0], solution.coef[0, :, 0]])
    assert_close(coef, expected.params, rtol=1e-9, atol=0)
    assert_close(errors.numpy(), expected.bse[1:], rtol=1e-9, atol=0)
