"""Forecast metrics: functions of tensors that return one number and ignore missing targets.

Libraries give one name to different metrics; each docstring states the definition. ``METRICS``
holds all by name, as `Metric` objects that can be averaged by series or step.
"""

from tsar.metrics.interval import (
    COVERAGE,
    INTERVAL_WIDTH,
    WINKLER,
    coverage,
    interval_width,
    winkler,
)
from tsar.metrics.metric import Metric
from tsar.metrics.point import MAE, MAPE, MSE, RMSE, SMAPE, mae, mape, mse, rmse, smape
from tsar.metrics.quantile import (
    QUANTILE_LOSS,
    SCALED_QUANTILE_LOSS,
    WQL,
    quantile_loss,
    scaled_quantile_loss,
    wql,
)
from tsar.metrics.scaled import (
    MASE,
    RMSSE,
    mase,
    rmsse,
    seasonal_scale,
    seasonal_squared_scale,
)

__all__ = [
    "METRICS",
    "Metric",
    "coverage",
    "interval_width",
    "mae",
    "mape",
    "mase",
    "mse",
    "quantile_loss",
    "rmse",
    "rmsse",
    "scaled_quantile_loss",
    "seasonal_scale",
    "seasonal_squared_scale",
    "smape",
    "winkler",
    "wql",
]

_POINT = (MAE, MSE, RMSE, MAPE, SMAPE, MASE, RMSSE)
_QUANTILE = (QUANTILE_LOSS, SCALED_QUANTILE_LOSS, WQL)
_INTERVAL = (COVERAGE, INTERVAL_WIDTH, WINKLER)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_POINT, *_QUANTILE, *_INTERVAL)}
