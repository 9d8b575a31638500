"""Rollout: the only forecasting loop, from a module that forecasts a step to any horizon."""

from tsar.rollout.loop import (
    Generation,
    advance,
    forecast_batches,
    forecast_windows,
    rollout,
)
from tsar.rollout.sampling import PATHS, density_of, sample_paths, uniforms
from tsar.rollout.speculation import Speculation, speculate, speculate_paths

__all__ = [
    "PATHS",
    "Generation",
    "Speculation",
    "advance",
    "density_of",
    "forecast_batches",
    "forecast_windows",
    "rollout",
    "sample_paths",
    "speculate",
    "speculate_paths",
    "uniforms",
]
