"""What a network subtracts from a context, told from its observed points alone."""

import torch
from jaxtyping import Float
from torch import Tensor


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
