"""The forecasters. `FORECASTERS` is the registry that the tests and the command line use."""

from tsar.forecasters.arnet.estimator import ARNet
from tsar.forecasters.autotimes.estimator import AutoTimes
from tsar.forecasters.classical.estimator import Classical
from tsar.forecasters.linear import DLinear, NLinear
from tsar.forecasters.naive import Naive, SeasonalNaive
from tsar.forecasters.regimes.estimator import HMM
from tsar.forecasters.spacetime.estimator import SpaceTime

FORECASTERS = (Naive, SeasonalNaive, NLinear, DLinear, ARNet, SpaceTime, AutoTimes, HMM, Classical)

__all__ = [
    "FORECASTERS",
    "HMM",
    "ARNet",
    "AutoTimes",
    "Classical",
    "DLinear",
    "NLinear",
    "Naive",
    "SeasonalNaive",
    "SpaceTime",
]
