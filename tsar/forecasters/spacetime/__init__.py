"""SpaceTime: companion state-space layers, for forecasts and for classes of sequences."""

from tsar.forecasters.spacetime.classifier import SpaceTimeClassifier
from tsar.forecasters.spacetime.estimator import SpaceTime

__all__ = ["SpaceTime", "SpaceTimeClassifier"]
