"""HMM: forecasts of series that switch between regimes."""

from tsar.forecasters.regimes.estimator import HMM

__all__ = ["HMM"]
