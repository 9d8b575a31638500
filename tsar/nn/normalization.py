"""What a network takes out of a context and puts back, told from its observed points alone."""

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


def averaging_matrix(length: int, window: int) -> Float[Tensor, "length length"]:
    """Matrix that takes a context to its centred moving average, the edges repeated as in DLinear.

    A product with it is several times faster than a pool, and has the same gradient.
    Source: Zeng et al. 2023 (arXiv 2205.13504), `series_decomp`.
    """
    left = (window - 1) // 2
    offsets = torch.arange(window) - left
    reached = (torch.arange(length)[:, None] + offsets).clamp(0, length - 1)
    counts = torch.zeros(length, length)
    return counts.scatter_add(1, reached, torch.ones(length, window)) / window


def moving_average(
    values: Float[Tensor, "batch time"], average: Float[Tensor, "time time"]
) -> Float[Tensor, "batch time"]:
    """Moving average of the observed values; NaN where a window holds none."""
    weight = (~values.isnan()).to(values.dtype) @ average.T
    total = values.nan_to_num(0.0) @ average.T
    # Rounding leaves a little weight of nothing.
    return torch.where(weight > 1e-6, total / weight, torch.nan)


class Instance(NamedTuple):
    """Level and scale of each context, and whether the scale is its own: it varies."""

    level: Float[Tensor, "batch 1"]
    scale: Float[Tensor, "batch 1"]
    varies: Bool[Tensor, "batch 1"]

    def select(self, rows: Int[Tensor, " row"]) -> "Instance":
        """Units of some contexts."""
        return Instance(*(part[rows] for part in self))

    def apply(self, values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        """Values in the context's own units."""
        return (values - self.level) / self.scale

    def invert(self, values: Float[Tensor, "batch time *output"]) -> Tensor:
        """Values in the units that came in."""
        shape = (len(values), *[1] * (values.ndim - 1))
        return values * self.scale.view(shape) + self.level.view(shape)


def instance(values: Float[Tensor, "batch time"], kind: Normalization) -> Instance:
    """Level and scale of the observed points of each context, by the name of a kind.

    ``"mean"`` takes out the mean, ``"last"`` the last value, ``"standardize"`` the mean and the
    standard deviation, ``"none"`` nothing. A context that does not vary has scale 1. (Only with a
    deviation is it told whether it does.)
    """
    zero = values.new_zeros(len(values), 1)
    every = torch.ones_like(zero, dtype=torch.bool)
    if kind == "none":
        return Instance(zero, zero + 1, every)
    level = last_observed(values) if kind == "last" else observed_mean(values)
    if kind != "standardize":
        return Instance(level, zero + 1, every)
    deviation = (values - level).square().nanmean(dim=1, keepdim=True).sqrt()
    rounding = 8 * torch.finfo(values.dtype).eps * level.abs()
    varies = deviation > rounding
    return Instance(level, torch.where(varies, deviation, 1.0), varies)


def carry_forward(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """Contexts whose missing points repeat the last observed one; 0 before the first.

    Examples
    --------
    >>> carry_forward(torch.tensor([[torch.nan, 2.0, torch.nan]]))
    tensor([[0., 2., 2.]])
    """
    steps = torch.arange(values.shape[1], device=values.device)
    newest = torch.where(values.isnan(), -1, steps).cummax(dim=1).values
    return values.nan_to_num(0.0).gather(1, newest.clamp(min=0)) * (newest >= 0)
