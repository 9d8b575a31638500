"""The equation in levels, fitted alone to earlier parts of series."""

from typing import TypeVar

from sklearn.base import clone

from tsar.data.panel import Panel
from tsar.forecasters.arnet.combination.rolling import (
    SIGMA_LEVEL,
    FitEquation,
    ForecastEquation,
)
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast

Model = TypeVar("Model", bound=Forecaster)


def equation_of(model: Model) -> FitEquation:
    """Return a function that fits the one equation of an `ARNet` to a panel."""

    def fit(panel: Panel) -> ForecastEquation:
        fitted = clone(model).set_params(combine=None).fit_panel(panel)

        def forecast(known: Panel, horizon: int) -> Forecast:
            extended = known.extend(known.future.new_empty(len(known), horizon, 0))
            result: Forecast = fitted.forecast_panel(extended, horizon, (SIGMA_LEVEL,))
            return result

        return forecast

    return fit
