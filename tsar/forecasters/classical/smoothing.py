"""Exponential smoothing of one series: the additive models of statsmodels, gaps and all."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.statespace.exponential_smoothing import ExponentialSmoothing

Floats = NDArray[np.float64]

FEWEST_FOR_TREND = 10  # observed points, for three smoothing parameters and two states
FEWEST_TO_ESTIMATE = 4


class Smoothing(NamedTuple):
    """What is fitted of one series.

    `params` are the smoothing of level, trend and season, then the damping of the trend; NaN where
    the series has no such part. The states before a context are those of the line through its first
    `initial_points`, 0 for all.
    """

    params: Floats
    sigma: float
    initial_points: int
    converged: bool


def fit_smoothing(values: Floats, season: int) -> Smoothing:
    """Fit a series, whose first value is observed, by maximum likelihood.

    There is a trend from 10 observed points on, a season from two of them on. The likelier of two
    starts is taken: the line through the whole series, or through its first two seasons.
    """
    observed = int((~np.isnan(values)).sum())
    trend = observed >= FEWEST_FOR_TREND
    season = season if season > 1 and observed >= 2 * season else 0
    model = smoothing_model(values, trend, season, 0)
    start = model.start_params
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of them is in `mle_retvals`
        sigma = float(np.sqrt(model.filter(start, cov_type="none").scale))
        if observed < FEWEST_TO_ESTIMATE or sigma <= 1e-9 * np.nanmax(np.abs(values)):
            # No error is left to learn from: the parameters stay where statsmodels starts.
            return Smoothing(_spread(start, trend, season), sigma, 0, True)
        points = max(FEWEST_FOR_TREND, 2 * season)
        result = model.fit(disp=False, cov_type="none")
        other = smoothing_model(values, trend, season, points)
        points = points if other.loglike(result.params) > result.llf else 0
        result = other.fit(disp=False, cov_type="none") if points else result
    return Smoothing(
        _spread(result.params, trend, season),
        float(np.sqrt(result.scale)),
        points,
        bool(result.mle_retvals["converged"]),
    )


def forecast_smoothing(values: Floats, fit: Smoothing, season: int, horizon: int) -> Floats:
    """Forecasts after a context, and their standard deviations, stacked."""
    _, trend, seasonal, _ = (~np.isnan(fit.params)).tolist()
    model = smoothing_model(
        values, trend, season if seasonal else 0, fit.initial_points, concentrate_scale=False
    )
    # The filter runs with errors of variance 1; their deviation is that of the fit.
    params = np.append(fit.params[~np.isnan(fit.params)], 1.0)
    ahead = model.filter(params, cov_type="none").get_forecast(horizon)
    return np.stack([ahead.predicted_mean, fit.sigma * np.sqrt(ahead.var_pred_mean)])


def smoothing_model(
    values: Floats, trend: bool, season: int, points: int, **options: Any
) -> ExponentialSmoothing:
    """State-space model of a context, started from the line through its first points, 0 for all."""
    states = fit_line(values[:points] if points else values, trend, season)
    return ExponentialSmoothing(
        values,
        trend=trend,
        damped_trend=trend,
        seasonal=season or None,
        initialization_method="known",
        initial_level=states[0],
        initial_trend=states[1] if trend else None,
        # The phase of the point just before the first one comes first.
        initial_seasonal=states[-season:][::-1] if season else None,
        **options,
    )


def fit_line(values: Floats, trend: bool, season: int) -> Floats:
    """Line and seasonal pattern, by least squares on the observed values.

    Returns the level before the first point, the slope, and the effect of each phase; the effects
    sum to zero.
    """
    time = np.arange(len(values))
    phases = np.vstack([np.eye(season)[:-1, :-1], -np.ones(season - 1)]) if season else None
    parts: list[NDArray[Any]] = [np.ones((len(values), 1))]
    parts += [time[:, None] + 1.0] if trend else []
    parts += [phases[time % season]] if phases is not None else []
    design = np.hstack(parts)
    seen = ~np.isnan(values)
    solution = np.linalg.lstsq(design[seen], values[seen], rcond=None)[0]
    if phases is None:
        return solution
    return np.append(solution[: 1 + trend], phases @ solution[1 + trend :])


def _spread(params: Floats, trend: bool, season: int) -> Floats:
    full = np.full(4, np.nan)
    full[[True, trend, season > 0, trend]] = params
    return full
