"""Normalization of each context by its own observed points, undone on the forecast."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Normalization = Literal["mean", "last", "standardize", "none"]


def last_observed(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 1"]:
    """Newest observed value of each context, 0 where nothing is observed."""
    observed = ~values.isnan()
    steps = torch.arange(values.shape[1], device=values.device)
    newest = torch.where(observed, steps, -1).amax(dim=1, keepdim=True).clamp(min=0)
    return values.gather(1, newest).nan_to_num(0.0)


def observed_mean(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 1"]:
    """Mean of the observed values of each context, 0 where nothing is observed."""
    return values.nanmean(dim=1, keepdim=True).nan_to_num(0.0)


def moving_average_matrix(length: int, window: int) -> Float[Tensor, "length length"]:
    """Matrix of a centred moving average with repeated edges, as in DLinear.

    A matrix product is several times faster than average pooling, with the same gradient.
    Source: Zeng et al. 2023 (arXiv 2205.13504), `series_decomp`.
    """
    left = (window - 1) // 2
    offsets = torch.arange(window) - left
    indices = (torch.arange(length)[:, None] + offsets).clamp(0, length - 1)
    counts = torch.zeros(length, length)
    return counts.scatter_add(1, indices, torch.ones(length, window)) / window


def moving_average(
    values: Float[Tensor, "batch time"], average: Float[Tensor, "time time"]
) -> Float[Tensor, "batch time"]:
    """Moving average of the observed values; NaN where a window has none.

    Parameters
    ----------
    average
        From `moving_average_matrix`.
    """
    weight = (~values.isnan()).to(values.dtype) @ average.T
    total = values.nan_to_num(0.0) @ average.T
    # Rounding can leave a small weight where nothing is observed.
    return torch.where(weight > 1e-6, total / weight, torch.nan)


class InstanceNorm(NamedTuple):
    """Level and scale of each context; `varies` is False where a constant context got scale 1.

    Source: reversible instance normalization (RevIN), Kim et al. 2022, without its affine weights.
    """

    level: Float[Tensor, "batch 1"]
    scale: Float[Tensor, "batch 1"]
    varies: Bool[Tensor, "batch 1"]

    def select(self, rows: Int[Tensor, " row"] | slice) -> "InstanceNorm":
        """Normalization of some contexts."""
        return InstanceNorm(*(statistic[rows] for statistic in self))

    def normalize(self, values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        """Subtract the level and divide by the scale."""
        return (values - self.level) / self.scale

    def denormalize(self, values: Float[Tensor, "batch time *output"]) -> Tensor:
        """Multiply by the scale and add the level."""
        shape = (len(values), *[1] * (values.ndim - 1))
        return values * self.scale.view(shape) + self.level.view(shape)


def instance_norm(
    values: Float[Tensor, "batch time"], normalization: Normalization
) -> InstanceNorm:
    """Level and scale of the observed points of each context.

    Parameters
    ----------
    values
        Contexts, NaN where missing.
    normalization
        ``"mean"`` subtracts the mean, ``"last"`` the last observed value; ``"standardize"``
        subtracts the mean and divides by the standard deviation, or by 1 in a constant context;
        ``"none"`` does nothing. `varies` is computed for ``"standardize"`` only, else True.
    """
    zero = values.new_zeros(len(values), 1)
    all_true = torch.ones_like(zero, dtype=torch.bool)
    if normalization == "none":
        return InstanceNorm(zero, zero + 1, all_true)
    level = last_observed(values) if normalization == "last" else observed_mean(values)
    if normalization != "standardize":
        return InstanceNorm(level, zero + 1, all_true)
    deviation = (values - level).square().nanmean(dim=1, keepdim=True).sqrt()
    rounding_error = 8 * torch.finfo(values.dtype).eps * level.abs()
    varies = deviation > rounding_error
    return InstanceNorm(level, torch.where(varies, deviation, 1.0), varies)


def forward_fill(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """Replace missing points by the last observed one; 0 before the first.

    Examples
    --------
    >>> forward_fill(torch.tensor([[torch.nan, 2.0, torch.nan]]))
    tensor([[0., 2., 2.]])
    """
    steps = torch.arange(values.shape[1], device=values.device)
    newest = torch.where(values.isnan(), -1, steps).cummax(dim=1).values
    return values.nan_to_num(0.0).gather(1, newest.clamp(min=0)) * (newest >= 0)
