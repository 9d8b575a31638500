"""Hidden Markov models: inference for many at once, and estimators."""

from tsar.hmm.categorical import CategoricalHMM
from tsar.hmm.gaussian import GaussianHMM
from tsar.hmm.linear_gaussian import LinearGaussianHMM

__all__ = ["CategoricalHMM", "GaussianHMM", "LinearGaussianHMM"]
