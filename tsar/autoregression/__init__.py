"""Closed-form autoregression: pure functions on tensors, batched over systems, in float64."""

from tsar.autoregression.gram import Moments, Regression, lagged_moments
from tsar.autoregression.refine import Residuals, refine, residuals
from tsar.autoregression.runs import Runs, complete_runs
from tsar.autoregression.solve import Factorization, LeastSquares, factorize, least_squares

__all__ = [
    "Factorization",
    "LeastSquares",
    "Moments",
    "Regression",
    "Residuals",
    "Runs",
    "complete_runs",
    "factorize",
    "lagged_moments",
    "least_squares",
    "refine",
    "residuals",
]
