"""Metrics of point forecasts, in the units of the target or relative to its size."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.metrics.metric import Metric


def absolute_error(
    target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return abs(target - forecast), point by point."""
    return (target - forecast).abs()


def squared_error(
    target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return (target - forecast) squared, point by point."""
    return (target - forecast).square()


def _relative_error(target: Tensor, forecast: Tensor) -> Tensor:
    return absolute_error(target, forecast) / target.abs()


def _symmetric_error(target: Tensor, forecast: Tensor) -> Tensor:
    size = target.abs() + forecast.abs()
    # 0/0, a correct forecast of zero, counts as 0: a divisor of 1 keeps its gradient finite.
    return 2 * absolute_error(target, forecast) / size.where(size != 0, 1.0)


MAE = Metric("mae", absolute_error)
MSE = Metric("mse", squared_error)
RMSE = Metric("rmse", squared_error, transform=torch.sqrt)
MAPE = Metric("mape", _relative_error)
SMAPE = Metric("smape", _symmetric_error)


def mae(target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean absolute error, in the units of the target.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import mae
    >>> mae(torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([2.0, 4.0, 9.0]))
    tensor(1.5000)
    """
    return MAE(target, forecast=forecast)


def mse(target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean squared error, in the squared units of the target.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import mse
    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    tensor(2.5000)
    """
    return MSE(target, forecast=forecast)


def rmse(target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the root of the mean squared error over all points, in the units of the target.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import rmse
    >>> rmse(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    tensor(1.5811)
    """
    return RMSE(target, forecast=forecast)


def mape(target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean absolute percentage error as a fraction: the mean of abs(e) / abs(target).

    It is infinite if an observed target is zero, or NaN if its forecast is zero too; other
    libraries drop such points, or divide by a small number.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import mape
    >>> mape(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    tensor(1.)
    """
    return MAPE(target, forecast=forecast)


def smape(target: Float[Tensor, "*shape"], forecast: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the symmetric mean absolute percentage error of M4, from 0 to 2.

    The mean of 2 abs(e) / (abs(target) + abs(forecast)), as in fev and, as a fraction, in the M4
    competition; utilsforecast returns half of it (0 to 1), darts 100 times it
    (0 to 200). A point whose target and forecast are both zero counts as 0, as in utilsforecast;
    fev drops it.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    forecast
        Point forecasts.

    References
    ----------
    S. Makridakis, E. Spiliotis, V. Assimakopoulos, "The M4 Competition: 100,000 time series and 61
    forecasting methods", International Journal of Forecasting 36 (2020).

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import smape
    >>> smape(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 2.0, 5.0]))
    tensor(1.)
    """
    return SMAPE(target, forecast=forecast)
