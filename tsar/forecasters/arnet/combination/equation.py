"""The combination of an ARNet, and its equation alone, fitted to earlier parts of series."""

from typing import Any, TypeVar

from sklearn.base import clone

from tsar.data.panel import Panel
from tsar.forecasters.arnet.combination.by_season import Combinations, seasons_by_series
from tsar.forecasters.arnet.combination.rolling import (
    SIGMA_LEVEL,
    FitEquation,
    ForecastEquation,
)
from tsar.forecasters.arnet.options import combines
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast

Model = TypeVar("Model", bound=Forecaster)


def fit_combination(model: Model, panel: Panel) -> Combinations | None:
    """Fit the combination of an `ARNet`; None where it is one equation."""
    options: Any = model
    if not combines(options, panel.labels.columns.covariates):
        if options.pool:
            raise ValueError(
                "pool must be False where the model is one equation or averages direct ones; got "
                "True. Leave it out, or the options and covariates that prevent a combination."
            )
        return None
    seasons = seasons_by_series(panel, options.season_length)
    equation = equation_of(model)
    return Combinations.fit(panel, seasons, model.horizon, equation, pool=options.pool)


def equation_of(model: Model) -> FitEquation:
    """Return a function that fits the one equation of an `ARNet` to a panel."""

    def fit(panel: Panel) -> ForecastEquation:
        fitted = clone(model).set_params(combine=None, pool=False).fit_panel(panel)

        def forecast(known: Panel, horizon: int) -> Forecast:
            extended = known.extend(known.future.new_empty(len(known), horizon, 0))
            result: Forecast = fitted.forecast_panel(extended, horizon, (SIGMA_LEVEL,))
            return result

        return forecast

    return fit
