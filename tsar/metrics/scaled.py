"""Scores relative to the error of the seasonal naive forecast within the history."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.segments import common_length
from tsar.data.segments import mean as segment_mean
from tsar.metrics.metric import Metric
from tsar.metrics.point import absolute_error, squared_error

PIECE = 2**18  # differences held at once


def _scaled_error(target: Tensor, forecast: Tensor, scale: Tensor) -> Tensor:
    return absolute_error(target, forecast) / scale


def _scaled_squared_error(target: Tensor, forecast: Tensor, squared_scale: Tensor) -> Tensor:
    return squared_error(target, forecast) / squared_scale


MASE = Metric("mase", _scaled_error, needs=("forecast", "scale"))
RMSSE = Metric(
    "rmsse", _scaled_squared_error, needs=("forecast", "squared_scale"), finish=torch.sqrt
)


def mase(
    target: Float[Tensor, "*shape"],
    forecast: Float[Tensor, "*shape"],
    scale: Float[Tensor, "*#shape"],
) -> Float[Tensor, ""]:
    """Return the mean absolute scaled error: the mean of abs(e) / scale.

    Below 1 the forecast is better than the seasonal naive forecast was, one season ahead, within
    the history. This is the number of fev: points of a series without a scale are left out.

    Parameters
    ----------
    target
        What happened; NaN where it is not known.
    forecast
        What was forecast.
    scale
        From `seasonal_scale` of the history, broadcast against the target, for example
        ``scale[:, None]``; NaN leaves a series out.

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

    The root is taken once, over all points, as in fev. The M5 competition takes it a series and
    averages the roots: score by series for that.

    Parameters
    ----------
    target
        What happened; NaN where it is not known.
    forecast
        What was forecast.
    squared_scale
        From `seasonal_squared_scale` of the history, broadcast against the target; NaN leaves a
        series out.

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

    Differences with a NaN at either end are left out. A series has no scale, so NaN, if it repeats
    its season exactly (the scale would be zero) or if it is no longer than a season.

    Parameters
    ----------
    values
        The history, a row a series; or, with `offsets`, all series end to end on one axis.
    season_length
        Points a season, at least 1; 1 compares each point with the one before.
    offsets
        Where each series starts in `values`, and last the length of `values`.

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
    size: Callable[[Tensor], Tensor],
) -> Tensor:
    if season_length < 1:
        raise ValueError(
            f"season_length must be at least 1; got {season_length}. "
            "Pass 1 for series without a season."
        )
    length = None if offsets is None else common_length(offsets)
    if offsets is None or length is not None:
        rows = values.reshape(-1, values.shape[-1]) if length is None else values.view(-1, length)
        mean = _mean_of_rows(rows, season_length, size)
    else:
        mean = _mean_within(values, season_length, offsets, size)
    return mean.where(mean != 0, torch.nan)


def _mean_of_rows(values: Tensor, lag: int, size: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean difference of each row, piece by piece: the memory is bounded."""
    total = values.new_zeros(len(values))
    count = torch.zeros_like(total)
    step = max(256, PIECE // max(len(values), 1))
    for first in range(0, values.shape[1] - lag, step):
        late = values[:, first + lag : first + lag + step]
        loss = size(late - values[:, first : first + late.shape[1]])
        sums = loss.sum(1)
        if bool(sums.isnan().any()):  # the host waits here; most series are whole
            count -= loss.isnan().sum(1)
            sums = loss.nansum(1)
        count += loss.shape[1]
        total += sums
    return total / count


def _mean_within(
    values: Tensor, lag: int, offsets: Tensor, size: Callable[[Tensor], Tensor]
) -> Tensor:
    """Mean difference within each of the series that lie end to end."""
    loss = size(values[lag:] - values[:-lag])
    # The last points of a series would be compared with those of the next one.
    crossing = offsets[1:-1, None] - 1 - torch.arange(lag, device=offsets.device)
    crossing = crossing[(crossing >= offsets[:-2, None]) & (crossing < len(loss))]
    loss[crossing] = torch.nan
    return segment_mean(loss, offsets.clamp(max=len(loss)))
