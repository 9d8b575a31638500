"""Combination of several equations for each series, weighted by their errors in its past."""

from tsar.forecasters.arnet.combination.equation import fit_combination
from tsar.forecasters.arnet.combination.rolling import SIGMA_LEVEL

__all__ = ["SIGMA_LEVEL", "fit_combination"]
