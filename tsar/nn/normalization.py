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


def moving_average(values: Float[Tensor, "batch time"], window: int) -> Float[Tensor, "batch time"]:
    """Centred moving average of the observed values, the edges repeated as in DLinear.

    Source: Zeng et al. 2023 (arXiv 2205.13504), `series_decomp`. NaN where a window holds nothing.
    """
    left = (window - 1) // 2
    pads = (values[:, :1].expand(-1, left), values, values[:, -1:].expand(-1, window - 1 - left))
    padded = torch.cat(pads, dim=1)
    # Means of observed values as the ratio of two pools: no look at the data from the host.
    pool = torch.nn.functional.avg_pool1d
    observed = (~padded.isnan()).to(values.dtype)
    return pool(padded.nan_to_num(0.0), window, stride=1) / pool(observed, window, stride=1)
