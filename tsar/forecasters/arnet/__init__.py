"""ARNet: autoregression at any order, in closed form or trained."""

from tsar.forecasters.arnet.estimator import ARNet

__all__ = ["ARNet"]
