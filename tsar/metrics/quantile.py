"""Metrics of forecast quantiles. Each docstring states whether it has the factor 2."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.metrics.metric import Metric


def pinball(
    target: Float[Tensor, "*shape"],
    quantiles: Float[Tensor, "*shape quantile"],
    quantile_levels: Float[Tensor, " quantile"],
) -> Float[Tensor, "*shape"]:
    """Return the pinball loss of each point, averaged over its quantiles: max(q e, (q - 1) e)."""
    error = target[..., None] - quantiles
    return torch.maximum(quantile_levels * error, (quantile_levels - 1) * error).mean(-1)


def _twice_pinball(target: Tensor, quantiles: Tensor, quantile_levels: Tensor) -> Tensor:
    return 2 * pinball(target, quantiles, quantile_levels)


def _scaled_pinball(
    target: Tensor, quantiles: Tensor, quantile_levels: Tensor, scale: Tensor
) -> Tensor:
    return _twice_pinball(target, quantiles, quantile_levels) / scale


_REQUIRED = ("quantiles", "quantile_levels")
QUANTILE_LOSS = Metric("quantile_loss", pinball, required=_REQUIRED)
SCALED_QUANTILE_LOSS = Metric(
    "scaled_quantile_loss", _scaled_pinball, required=(*_REQUIRED, "scale")
)
WQL = Metric("wql", _twice_pinball, required=_REQUIRED, relative=True)


def quantile_loss(
    target: Float[Tensor, "*shape"],
    quantiles: Float[Tensor, "*shape quantile"],
    quantile_levels: Float[Tensor, " quantile"],
) -> Float[Tensor, ""]:
    """Return the mean pinball loss without the factor 2, in the units of the target.

    The mean over points and levels of max(q e, (q - 1) e) with e = target - quantile, as in
    scikit-learn and utilsforecast; fev, gluonts and darts double it. At the median it is half the
    absolute error.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    quantiles
        Forecast quantiles, in the last axis.
    quantile_levels
        Their levels in (0, 1).

    References
    ----------
    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46 (1978).

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import quantile_loss
    >>> quantiles = torch.tensor([[1.0, 2.0, 3.0]])
    >>> quantile_loss(torch.tensor([4.0]), quantiles, torch.tensor([0.1, 0.5, 0.9]))
    tensor(0.7333)
    """
    return QUANTILE_LOSS(target, quantiles=quantiles, quantile_levels=quantile_levels)


def scaled_quantile_loss(
    target: Float[Tensor, "*shape"],
    quantiles: Float[Tensor, "*shape quantile"],
    quantile_levels: Float[Tensor, " quantile"],
    scale: Float[Tensor, "*#shape"],
) -> Float[Tensor, ""]:
    """Return twice the mean pinball loss over the scale of each series: `mase` for quantiles.

    With the factor 2, the loss of the median equals its `mase`. It is fev's SQL.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    quantiles
        Forecast quantiles, in the last axis.
    quantile_levels
        Their levels in (0, 1).
    scale
        From `seasonal_scale`, broadcast against the target; series with NaN are ignored.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import scaled_quantile_loss
    >>> quantiles, levels = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([0.1, 0.5, 0.9])
    >>> scaled_quantile_loss(torch.tensor([4.0]), quantiles, levels, torch.tensor([2.0]))
    tensor(0.7333)
    """
    return SCALED_QUANTILE_LOSS(
        target, quantiles=quantiles, quantile_levels=quantile_levels, scale=scale
    )


def wql(
    target: Float[Tensor, "*shape"],
    quantiles: Float[Tensor, "*shape quantile"],
    quantile_levels: Float[Tensor, " quantile"],
) -> Float[Tensor, ""]:
    """Return the weighted quantile loss: twice the summed pinball loss over the summed abs(target).

    Both sums run over all series and steps, and the levels are averaged: fev's WQL. utilsforecast's
    scaled_crps divides series by series. It is infinite if every observed target is zero.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    quantiles
        Forecast quantiles, in the last axis.
    quantile_levels
        Their levels in (0, 1).

    References
    ----------
    A. F. Ansari et al., "Chronos: learning the language of time series", Transactions on Machine
    Learning Research (2024), appendix on metrics.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import wql
    >>> quantiles = torch.tensor([[1.0, 2.0, 3.0]])
    >>> wql(torch.tensor([4.0]), quantiles, torch.tensor([0.1, 0.5, 0.9]))
    tensor(0.3667)
    """
    return WQL(target, quantiles=quantiles, quantile_levels=quantile_levels)
