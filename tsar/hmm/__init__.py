"""Hidden Markov models as scikit-learn estimators: Gaussian, categorical and linear-Gaussian."""

from tsar.hmm.discrete.categorical import CategoricalHMM
from tsar.hmm.discrete.gaussian import GaussianHMM
from tsar.hmm.linear_gaussian.estimator import LinearGaussianHMM

__all__ = ["CategoricalHMM", "GaussianHMM", "LinearGaussianHMM"]
