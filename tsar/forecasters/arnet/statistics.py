"""Statistics of a closed-form ARNet: standard errors, residual deviation, information criteria."""

from typing import Any

import numpy as np
import torch

from tsar.autoregression import ARResults, information_criteria
from tsar.forecasters.arnet.equations import Equations
from tsar.forecasters.arnet.quantiles import ErrorModel


def set_statistics(model: Any, results: ARResults) -> None:
    """Set the statistics of an `ARNet` in the units of the data; averaged maps have few of them."""
    scales, zeros = model._scales(), torch.zeros_like(results.intercept)
    n_past, unit, array = len(scales.past.mean), scales.series.deviation[:, None], model._array
    std_err = Equations.from_terms(results.std_err, zeros, model.order_, n_past)
    std_err = std_err.in_data_units(scales)
    model.error_model_ = ErrorModel.from_results(results)
    model.coef_std_err_ = array(std_err.lags)
    model.past_coef_std_err_ = array(std_err.past)
    model.future_coef_std_err_ = array(std_err.future)
    model.intercept_std_err_ = array(results.intercept_std_err * unit)
    model.sigma_ = array(results.resid_std * unit)
    rss, nobs = results.rss[:, 0] * unit[:, 0] ** 2, results.nobs
    criteria = information_criteria(rss, nobs, nobs - results.df_resid[:, 0])
    model.aic_, model.bic_ = criteria.aic.numpy(), criteria.bic.numpy()
    model.nobs_ = nobs.long().numpy()
    model.n_parameters_ = int(results.active.sum()) + results.intercept.numel()
    if model.loss == "quantile":
        _clear(model)
        model.n_parameters_ *= len(model.quantile_levels)
    if model.contexts_ is not None:  # errors of held-back points, which need no correction
        zeros = torch.zeros_like(results.df_resid)
        model.error_model_ = ErrorModel(results.resid_std, results.df_resid, zeros, None)
        model.aic_, model.bic_ = (torch.full_like(nobs, torch.nan).numpy() for _ in range(2))


def _clear(model: Any) -> None:
    """Set standard errors and criteria to NaN: quantiles have none, as they assume no density."""
    names = ("coef_std_err_", "past_coef_std_err_", "future_coef_std_err_", "intercept_std_err_")
    for name in (*names, "aic_", "bic_"):
        setattr(model, name, np.full_like(getattr(model, name), np.nan))
