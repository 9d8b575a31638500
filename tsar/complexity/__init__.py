"""What the size of a model costs and buys: risk, bias and variance of heads on frozen features."""

from tsar.complexity.advice import Advice
from tsar.complexity.analysis import ComplexityAnalysis
from tsar.complexity.hidden import HiddenStates
from tsar.complexity.representations import Frozen, Lags, RandomFeatures, Representation, Told
from tsar.complexity.states import StateFeatures

__all__ = [
    "Advice",
    "ComplexityAnalysis",
    "Frozen",
    "HiddenStates",
    "Lags",
    "RandomFeatures",
    "Representation",
    "StateFeatures",
    "Told",
]
