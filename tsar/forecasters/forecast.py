"""Forecast: what a forecaster gives, and the columns that show it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tsar.data.windows import Windows
from tsar.intervals import Levels


@dataclass(frozen=True)
class Forecast:
    """Forecasts of windows, and the quantiles that were asked for."""

    point: Float[Tensor, "window horizon"]
    quantiles: Float[Tensor, "window horizon level"]


@runtime_checkable
class Sampler(Protocol):
    """What draws sample paths."""

    def sample_windows(self, windows: Windows, paths: int) -> Float[Tensor, "window path horizon"]:
        """Sample paths of the targets of windows."""


def named_columns(name: str, forecast: Forecast, levels: Levels) -> dict[str, np.ndarray]:
    """Output columns of a model: its name, then its intervals and quantiles."""
    columns = {name: forecast.point.cpu().numpy()}
    quantiles = forecast.quantiles.cpu().numpy()
    return columns | {name + suffix: quantiles[:, :, k] for suffix, k in levels.columns}
