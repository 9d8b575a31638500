"""Combination of several equations for each series, weighted by their errors in its past."""

from tsar.forecasters.arnet.combination.choice import seasons_of
from tsar.forecasters.arnet.combination.combination import Combination
from tsar.forecasters.arnet.combination.equation import equation_of
from tsar.forecasters.arnet.combination.rolling import SIGMA_LEVEL

__all__ = ["SIGMA_LEVEL", "Combination", "equation_of", "seasons_of"]
