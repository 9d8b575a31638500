"""Classical: exponential smoothing by statsmodels."""

from tsar.forecasters.classical.estimator import Classical

__all__ = ["Classical"]
