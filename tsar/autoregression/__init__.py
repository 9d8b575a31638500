"""Closed-form autoregression: pure functions on tensors, batched over systems, in float64."""

from tsar.autoregression.bias_correction import correct_bias, drift_shrinkage, limit_roots
from tsar.autoregression.closed_form import fit_closed_form
from tsar.autoregression.design import Design
from tsar.autoregression.direct_maps import (
    DirectMaps,
    WindowSplit,
    error_products,
    fit_direct_maps,
    stacking_errors,
    stacking_weight,
)
from tsar.autoregression.dynamics import (
    horizon_map,
    is_stable,
    psi_weights,
    reflection_coefficients,
    roots,
)
from tsar.autoregression.estimation import Sparsity
from tsar.autoregression.expectation_maximization import (
    MissingFit,
    draw_missing,
    fill_missing,
    fit_incomplete,
)
from tsar.autoregression.gram import Moments, NormalEquations, lagged_moments
from tsar.autoregression.information_criteria import information_criteria
from tsar.autoregression.lag_selection import select_lags
from tsar.autoregression.least_squares import factorize, least_squares, refit
from tsar.autoregression.orders import fit_orders
from tsar.autoregression.outliers import find_outliers
from tsar.autoregression.parameter_uncertainty import ParameterUncertainty
from tsar.autoregression.penalty import (
    PenalizedFit,
    fit_penalized,
    sparsity_penalty,
    weighted_lasso,
)
from tsar.autoregression.refinement import refine, residual_sums
from tsar.autoregression.results import ARResults, concatenate
from tsar.autoregression.robust import (
    QuantileEquations,
    RowSource,
    find_additive_outliers,
    huber_equations,
    quantile_equations,
)
from tsar.autoregression.segments import Segments, observed_segments
from tsar.autoregression.window_moments import WindowMoments

__all__ = [
    "ARResults",
    "Design",
    "DirectMaps",
    "MissingFit",
    "Moments",
    "NormalEquations",
    "ParameterUncertainty",
    "PenalizedFit",
    "QuantileEquations",
    "RowSource",
    "Segments",
    "Sparsity",
    "WindowMoments",
    "WindowSplit",
    "concatenate",
    "correct_bias",
    "draw_missing",
    "drift_shrinkage",
    "error_products",
    "factorize",
    "fill_missing",
    "find_additive_outliers",
    "find_outliers",
    "fit_closed_form",
    "fit_direct_maps",
    "fit_incomplete",
    "fit_orders",
    "fit_penalized",
    "horizon_map",
    "huber_equations",
    "information_criteria",
    "is_stable",
    "lagged_moments",
    "least_squares",
    "limit_roots",
    "observed_segments",
    "psi_weights",
    "quantile_equations",
    "refine",
    "refit",
    "reflection_coefficients",
    "residual_sums",
    "roots",
    "select_lags",
    "sparsity_penalty",
    "stacking_errors",
    "stacking_weight",
    "weighted_lasso",
]
