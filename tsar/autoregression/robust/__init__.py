"""Robust regression on lags: Huber's loss and quantiles, batched over systems, in float64."""

from tsar.autoregression.robust.additive import find_additive_outliers
from tsar.autoregression.robust.fit import (
    QuantileEquations,
    huber_equations,
    quantile_equations,
)
from tsar.autoregression.robust.huber import fit_huber, huber_scale
from tsar.autoregression.robust.quantile_regression import fit_quantiles
from tsar.autoregression.robust.rows import Rows, RowSource

__all__ = [
    "QuantileEquations",
    "RowSource",
    "Rows",
    "find_additive_outliers",
    "fit_huber",
    "fit_quantiles",
    "huber_equations",
    "huber_scale",
    "quantile_equations",
]
