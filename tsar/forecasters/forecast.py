"""Forecast: point forecasts with quantiles, and the columns that show them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from tsar.intervals import Levels


@dataclass(frozen=True)
class Forecast:
    """Point forecasts of windows, and their quantiles at the levels that were asked for."""

    point: Float[Tensor, "window horizon"]
    quantiles: Float[Tensor, "window horizon level"]


def named_columns(name: str, forecast: Forecast, levels: Levels) -> dict[str, np.ndarray]:
    """Output columns of a model: its name, then its intervals and quantiles."""
    columns = {name: forecast.point.cpu().numpy()}
    quantiles = forecast.quantiles.cpu().numpy()
    return columns | {name + suffix: quantiles[:, :, k] for suffix, k in levels.columns}
