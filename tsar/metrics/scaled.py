"""Metrics relative to the in-sample error of the seasonal naive forecast."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.segments import common_length
from tsar.data.segments import mean as segment_mean
from tsar.metrics.metric import Metric
from tsar.metrics.point import absolute_error, squared_error
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within


def _scaled_error(target: Tensor, forecast: Tensor, scale: Tensor) -> Tensor:
    return absolute_error(target, forecast) / scale


def _scaled_squared_error(target: Tensor, forecast: Tensor, squared_scale: Tensor) -> Tensor:
    return squared_error(target, forecast) / squared_scale


MASE = Metric("mase", _scaled_error, required=("forecast", "scale"))
RMSSE = Metric(
    "rmsse", _scaled_squared_error, required=("forecast", "squared_scale"), transform=torch.sqrt
)


def mase(
    target: Float[Tensor, "*shape"],
    forecast: Float[Tensor, "*shape"],
    scale: Float[Tensor, "*#shape"],
) -> Float[Tensor, ""]:
    """Return the mean absolute scaled error: the mean of abs(e) / scale.

    Below 1 the forecast is better than the seasonal naive forecast, one season ahead, was in the
    history. As in fev, series without a scale are ignored.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.
    scale
        From `seasonal_scale` of the history, broadcast against the target, for example
        ``scale[:, None]``; series with NaN are ignored.

    References
    ----------
    R. J. Hyndman, A. B. Koehler, "Another look at measures of forecast accuracy", International
    Journal of Forecasting 22 (2006), section 3.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import mase, seasonal_scale
    >>> scale = seasonal_scale(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), season_length=1)
    >>> mase(torch.tensor([[9.0, 11.0]]), torch.tensor([[7.0, 7.0]]), scale[:, None])
    tensor(1.5000)
    """
    return MASE(target, forecast=forecast, scale=scale)


def rmsse(
    target: Float[Tensor, "*shape"],
    forecast: Float[Tensor, "*shape"],
    squared_scale: Float[Tensor, "*#shape"],
) -> Float[Tensor, ""]:
    """Return the root mean squared scaled error: the root of the mean of e squared / squared scale.

    The root is taken once, over all points, as in fev. The M5 competition averages the roots of
    the series: compute the metric by series for that.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.
    squared_scale
        From `seasonal_squared_scale` of the history, broadcast against the target; series
        with NaN are ignored.

    References
    ----------
    S. Makridakis, E. Spiliotis, V. Assimakopoulos, "M5 accuracy competition: results, findings, and
    conclusions", International Journal of Forecasting 38 (2022).

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import rmsse, seasonal_squared_scale
    >>> scale = seasonal_squared_scale(torch.tensor([[1.0, 3.0, 5.0]]), season_length=1)
    >>> rmsse(torch.tensor([[9.0, 11.0]]), torch.tensor([[7.0, 7.0]]), scale[:, None])
    tensor(1.5811)
    """
    return RMSSE(target, forecast=forecast, squared_scale=squared_scale)


def seasonal_scale(
    values: Float[Tensor, "*series time"],
    season_length: int,
    offsets: Int[Tensor, " boundary"] | None = None,
) -> Float[Tensor, " series"]:
    """Return the mean absolute seasonal difference of each series, the scale of `mase`.

    Differences with a missing point are ignored. The scale is NaN for a series that repeats its
    season exactly, where it would be zero, or that is no longer than a season.

    Parameters
    ----------
    values
        Histories, one series per row; or, with `offsets`, all series concatenated.
    season_length
        Points of a season; 1 compares each point with the one before.
    offsets
        Position where each series starts in `values`, and the length of `values`.

    Raises
    ------
    ValueError
        If `season_length` is below 1.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import seasonal_scale
    >>> seasonal_scale(torch.tensor([[1.0, 5.0, 2.0, 9.0], [3.0, 4.0, 3.0, 4.0]]), season_length=2)
    tensor([2.5000,    nan])
    >>> seasonal_scale(torch.tensor([1.0, 2.0, 7.0, 8.0, 6.0]), 1, torch.tensor([0, 2, 5]))
    tensor([1.0000, 1.5000])
    """
    return _mean_seasonal_difference(values, season_length, offsets, Tensor.abs_)


def series_scale(
    values: Float[Tensor, " time"], season_length: int, offsets: Int[Tensor, " boundary"]
) -> Float[Tensor, " series"]:
    """Return `seasonal_scale` of concatenated series, with a season of 1 where one is too short."""
    scale = seasonal_scale(values, season_length, offsets)
    seasonal = offsets.diff() > season_length
    if bool(seasonal.all()):
        return scale
    return torch.where(seasonal, scale, seasonal_scale(values, 1, offsets))


def seasonal_squared_scale(
    values: Float[Tensor, "*series time"],
    season_length: int,
    offsets: Int[Tensor, " boundary"] | None = None,
) -> Float[Tensor, " series"]:
    """Return the mean squared seasonal difference of each series, the scale of `rmsse`.

    Parameters
    ----------
    values, season_length, offsets
        As in `seasonal_scale`, and NaN in the same cases.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import seasonal_squared_scale
    >>> seasonal_squared_scale(torch.tensor([[1.0, 2.0, 4.0]]), season_length=1)
    tensor([2.5000])
    """
    return _mean_seasonal_difference(values, season_length, offsets, Tensor.square_)


def _mean_seasonal_difference(
    values: Tensor,
    season_length: int,
    offsets: Tensor | None,
    magnitude: Callable[[Tensor], Tensor],
) -> Tensor:
    if season_length < 1:
        raise ValueError(
            f"season_length must be at least 1; got {season_length}. "
            "Give 1 for series without a season."
        )
    length = None if offsets is None else common_length(offsets)
    if offsets is None or length is not None:
        rows = values.reshape(-1, values.shape[-1]) if length is None else values.view(-1, length)
        mean = _mean_by_row(rows, season_length, magnitude)
    else:
        mean = _mean_by_segment(values, season_length, offsets, magnitude)
    return mean.where(mean != 0, torch.nan)


def _mean_by_row(values: Tensor, lag: int, magnitude: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean difference of each row, computed in chunks to bound memory."""
    total = values.new_zeros(len(values))
    count = torch.zeros_like(total)
    step = max(256, rows_within(CACHE_ELEMENTS, len(values)))
    for first in range(0, values.shape[1] - lag, step):
        later = values[:, first + lag : first + lag + step]
        loss = magnitude(later - values[:, first : first + later.shape[1]])
        sums = loss.sum(1)
        if bool(sums.isnan().any()):  # device synchronization; most series have no gaps
            count -= loss.isnan().sum(1)
            sums = loss.nansum(1)
        count += loss.shape[1]
        total += sums
    return total / count


def _mean_by_segment(
    values: Tensor, lag: int, offsets: Tensor, magnitude: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean difference within each of the concatenated series."""
    loss = magnitude(values[lag:] - values[:-lag])
    # Ignore differences between the last points of a series and the next series.
    crossing = offsets[1:-1, None] - 1 - torch.arange(lag, device=offsets.device)
    crossing = crossing[(crossing >= offsets[:-2, None]) & (crossing < len(loss))]
    loss[crossing] = torch.nan
    return segment_mean(loss, offsets.clamp(max=len(loss)))
