"""SpaceTime: companion state-space layers for forecasting and classification."""

from tsar.forecasters.spacetime.classifier import SpaceTimeClassifier
from tsar.forecasters.spacetime.estimator import SpaceTime

__all__ = ["SpaceTime", "SpaceTimeClassifier"]
