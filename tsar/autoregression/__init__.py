"""Closed-form autoregression: pure functions on tensors, batched over systems, in float64."""

from tsar.autoregression.closed_form import fit_closed_form
from tsar.autoregression.dynamics import (
    horizon_map,
    is_stable,
    psi_weights,
    reflection_coefficients,
    roots,
)
from tsar.autoregression.equation import Sparsity
from tsar.autoregression.estimates import Estimates
from tsar.autoregression.gram import Moments, Regression, lagged_moments
from tsar.autoregression.inference import GaussianCriteria, gaussian_criteria, standard_errors
from tsar.autoregression.penalty import PenalizedFit, penalize, sparsity, weighted_lasso
from tsar.autoregression.persistence import correct_persistence, drift_share, limit_growth
from tsar.autoregression.refine import Residuals, refine, residuals
from tsar.autoregression.runs import Runs, complete_runs
from tsar.autoregression.select import Selection, select_lags
from tsar.autoregression.solution import ClosedForm, Terms
from tsar.autoregression.solve import (
    Factorization,
    LeastSquares,
    factorize,
    least_squares,
    refit,
)

__all__ = [
    "ClosedForm",
    "Estimates",
    "Factorization",
    "GaussianCriteria",
    "LeastSquares",
    "Moments",
    "PenalizedFit",
    "Regression",
    "Residuals",
    "Runs",
    "Selection",
    "Sparsity",
    "Terms",
    "complete_runs",
    "correct_persistence",
    "drift_share",
    "factorize",
    "fit_closed_form",
    "gaussian_criteria",
    "horizon_map",
    "is_stable",
    "lagged_moments",
    "least_squares",
    "limit_growth",
    "penalize",
    "psi_weights",
    "refine",
    "refit",
    "reflection_coefficients",
    "residuals",
    "roots",
    "select_lags",
    "sparsity",
    "standard_errors",
    "weighted_lasso",
]
