"""Risk, bias and variance of linear heads on frozen features, against the number of features."""

from tsar.complexity.advice import Advice
from tsar.complexity.analysis import ComplexityAnalysis
from tsar.complexity.filtered_states import FilteredStates
from tsar.complexity.network_states import HiddenStates
from tsar.complexity.representations import (
    Features,
    FrozenFeatures,
    Lags,
    RandomFeatures,
    Representation,
)

__all__ = [
    "Advice",
    "ComplexityAnalysis",
    "Features",
    "FilteredStates",
    "FrozenFeatures",
    "HiddenStates",
    "Lags",
    "RandomFeatures",
    "Representation",
]
