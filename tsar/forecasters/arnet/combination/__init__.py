"""Combination of several equations for each series, weighted by their errors in its past."""

from tsar.forecasters.arnet.combination.by_season import seasons_by_series
from tsar.forecasters.arnet.combination.equation import fit_combination
from tsar.forecasters.arnet.combination.rolling import SIGMA_LEVEL

__all__ = ["SIGMA_LEVEL", "fit_combination", "seasons_by_series"]
