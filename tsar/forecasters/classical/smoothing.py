"""Exponential smoothing of one series: the additive state-space models of statsmodels."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing

Floats = NDArray[np.float64]

MIN_POINTS_FOR_TREND = 10  # observed points, for three smoothing parameters and two states
MIN_POINTS_TO_ESTIMATE = 4


class Smoothing(NamedTuple):
    """Fit of one series.

    `params` are the smoothing parameters of level, trend and season, then the damping of the trend;
    NaN where the model has no such component. The initial states of a context are those of the
    least-squares line through its first `initial_points`, 0 for all. `sigma` is the standard
    deviation of the one-step errors; `aic` is NaN where nothing was estimated.
    """

    params: Floats
    sigma: float
    initial_points: int
    aic: float
    converged: bool


def fit_smoothing(values: Floats, season: int) -> Smoothing:
    """Fit a series, whose first value is observed, by maximum likelihood.

    The model has a trend from 10 observed points on, a season from two seasons on. Of two
    initializations the likelier one is taken: the line through the whole series, or through its
    first two seasons.
    """
    observed = int((~np.isnan(values)).sum())
    trend = observed >= MIN_POINTS_FOR_TREND
    season = season if season > 1 and observed >= 2 * season else 0
    model = smoothing_model(values, trend, season, 0)
    start = model.start_params
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is read from `mle_retvals`
        sigma = float(np.sqrt(model.filter(start, cov_type="none").scale))
        if observed < MIN_POINTS_TO_ESTIMATE or sigma <= 1e-9 * np.nanmax(np.abs(values)):
            # Nothing to estimate: the parameters stay at the initial values of statsmodels.
            return Smoothing(_all_params(start, trend, season), sigma, 0, np.nan, True)
        points = max(MIN_POINTS_FOR_TREND, 2 * season)
        result = model.fit(disp=False, cov_type="none")
        other = smoothing_model(values, trend, season, points)
        points = points if other.loglike(result.params) > result.llf else 0
        result = other.fit(disp=False, cov_type="none") if points else result
    return Smoothing(
        _all_params(result.params, trend, season),
        float(np.sqrt(result.scale)),
        points,
        float(result.aic),
        bool(result.mle_retvals["converged"]),
    )


def forecast_smoothing(
    values: Floats, params: Floats, sigma: float, initial_points: int, season: int, horizon: int
) -> Floats:
    """Means and standard deviations of the forecasts after a context, of shape (2, horizon)."""
    _, trend, seasonal, _ = (~np.isnan(params)).tolist()
    season = season if seasonal else 0
    model = smoothing_model(values, trend, season, initial_points, concentrate_scale=False)
    # The filter runs with unit error variance; standard deviations are scaled by that of the fit.
    params = np.append(params[~np.isnan(params)], 1.0)
    ahead = model.filter(params, cov_type="none").get_forecast(horizon)
    return np.stack([ahead.predicted_mean, sigma * np.sqrt(ahead.var_pred_mean)])


def smoothing_model(
    values: Floats, trend: bool, season: int, points: int, **options: Any
) -> ExponentialSmoothing:
    """State-space model of a context, initialized by the line through its first points, 0: all."""
    states = fit_line(values[:points] if points else values, trend, season)
    return ExponentialSmoothing(
        values,
        trend=trend,
        damped_trend=trend,
        seasonal=season or None,
        initialization_method="known",
        initial_level=states[0],
        initial_trend=states[1] if trend else None,
        # Newest first: the phase of the point just before the first one.
        initial_seasonal=states[-season:][::-1] if season else None,
        **options,
    )


def fit_line(values: Floats, trend: bool, season: int) -> Floats:
    """Line and seasonal effects by least squares on the observed values.

    Returns the level before the first point, the slope (with `trend`) and the effect of each phase
    (with a season); the effects sum to zero.
    """
    time = np.arange(len(values))
    phases = np.vstack([np.eye(season)[:-1, :-1], -np.ones(season - 1)]) if season else None
    columns: list[NDArray[Any]] = [np.ones((len(values), 1))]
    columns += [time[:, None] + 1.0] if trend else []
    columns += [phases[time % season]] if phases is not None else []
    design = np.hstack(columns)
    observed = ~np.isnan(values)
    solution = np.linalg.lstsq(design[observed], values[observed], rcond=None)[0]
    if phases is None:
        return solution
    return np.append(solution[: 1 + trend], phases @ solution[1 + trend :])


def _all_params(params: Floats, trend: bool, season: int) -> Floats:
    """Parameters of all four components, NaN for those that the model lacks."""
    full = np.full(4, np.nan)
    full[[True, trend, season > 0, trend]] = params
    return full
