import numpy as np
import pytest
import reference_autoregression as reference
import torch
from statsmodels.tsa.ar_model import AutoReg
from torch.testing import assert_close

from tsar.autoregression import Segments, information_criteria, lagged_moments, least_squares


@pytest.mark.parametrize("lags", [1, 5])
def test_criteria_and_parameters_are_those_of_statsmodels(lags: int) -> None:
    values = 10 + reference.simulate([0.5, -0.3], 200, 0)
    segments = Segments(torch.tensor([0]), torch.tensor([200]), torch.tensor([0]), 1)
    moments = lagged_moments(torch.tensor(values), segments, lags)
    equations = moments.normal_equations(moments.terms(0, 1, lags), moments.terms(0, 0, 0))
    solution = least_squares(equations.gram, equations.cross)
    rss = equations.rss(solution.coef)
    expected = AutoReg(values[0], lags).fit()

    criteria = information_criteria(rss[:, 0], moments.nobs, torch.tensor([1.0 + lags]).double())
    assert_close(criteria.log_likelihood.item(), float(expected.llf))
    assert_close(criteria.aic.item(), float(expected.aic))
    assert_close(criteria.bic.item(), float(expected.bic))
    assert_close(criteria.hqic.item(), float(expected.hqic))

    coef = np.concatenate([equations.intercept(solution.coef)[0], solution.coef[0, :, 0]])
    assert_close(coef, expected.params, rtol=1e-9, atol=0)
    variance = rss[0, 0] / moments.nobs[0]
    std_err = (solution.factorization.inverse()[0].diagonal() * variance).sqrt()
    assert_close(std_err.numpy(), expected.bse[1:], rtol=1e-9, atol=0)
