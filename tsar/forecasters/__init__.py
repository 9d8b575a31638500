"""The forecasters: this list is the registry that the contract test and the command line read."""

from tsar.forecasters.arnet import ARNet
from tsar.forecasters.classical import Classical
from tsar.forecasters.linear import DLinear, NLinear
from tsar.forecasters.naive import Naive, SeasonalNaive
from tsar.forecasters.spacetime import SpaceTime

FORECASTERS = (Naive, SeasonalNaive, NLinear, DLinear, ARNet, SpaceTime, Classical)

__all__ = [
    "FORECASTERS",
    "ARNet",
    "Classical",
    "DLinear",
    "NLinear",
    "Naive",
    "SeasonalNaive",
    "SpaceTime",
]
