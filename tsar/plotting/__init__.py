"""Plots by matplotlib: coefficients by lag, forecasts with intervals, and regimes."""

from tsar.plotting.coefficients import plot_coefficients
from tsar.plotting.forecasts import plot_forecast, plot_forecasts
from tsar.plotting.regimes import plot_regimes
from tsar.plotting.style import new_axes

__all__ = [
    "new_axes",
    "plot_coefficients",
    "plot_forecast",
    "plot_forecasts",
    "plot_regimes",
]
