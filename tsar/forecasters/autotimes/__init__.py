"""AutoTimes: a frozen language model that forecasts a series segment by segment."""

from tsar.forecasters.autotimes.estimator import AutoTimes

__all__ = ["AutoTimes"]
