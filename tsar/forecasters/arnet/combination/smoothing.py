"""Simple exponential smoothing with the factor of least squared error, without a loop over time."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Candidate smoothing factors. The smallest averages over about a hundred points.
FACTORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
START_POINTS = 3  # points whose mean is the level before the first
BLOCK = 32  # points that one matrix product smooths


class Smoothing(NamedTuple):
    """Level after the last point, and sum of squared one-step errors, for each factor."""

    level: Float[Tensor, "series factor"]
    sse: Float[Tensor, "series factor"]


def smooth(values: Float[Tensor, "series time"], factors: tuple[float, ...] = FACTORS) -> Smoothing:
    """Smooth series exponentially: ``level += factor * (value - level)``.

    Parameters
    ----------
    values
        Newest last, NaN before the first point of a series only. The first level is the mean of
        its first `START_POINTS` points.
    factors
        Smoothing factors in (0, 1].

    Examples
    --------
    >>> smooth(torch.tensor([[1.0, 1.0, 1.0, 3.0]], dtype=torch.float64), (0.5,)).level
    tensor([[2.]], dtype=torch.float64)
    """
    start = _start(values)
    values = torch.where(values.isnan(), start[:, None], values)  # leaves the level at the start
    n_blocks = -(-values.shape[1] // BLOCK)
    padding = n_blocks * BLOCK - values.shape[1]
    padded = torch.cat([start[:, None].expand(-1, padding), values], dim=1)
    blocks = (padded - start[:, None]).unflatten(1, (n_blocks, BLOCK))
    smoothed = [_smooth_blocks(blocks, factor) for factor in factors]
    level = torch.stack([part.level for part in smoothed], dim=1)[:, :, 0]
    sse = torch.stack([part.sse for part in smoothed], dim=1)[:, :, 0]
    return Smoothing(level + start[:, None], sse)


def last_level(
    values: Float[Tensor, "series time"], factor: Float[Tensor, " series"]
) -> Float[Tensor, " series"]:
    """Level after the last point, for one of `FACTORS` of each series; see `smooth`.

    Examples
    --------
    >>> y, half = torch.tensor([[1.0, 1.0, 1.0, 3.0]]).double(), torch.tensor([0.5]).double()
    >>> last_level(y, half)
    tensor([2.], dtype=torch.float64)
    """
    start = _start(values)
    age = torch.arange(values.shape[1] - 1, -1, -1, dtype=values.dtype)
    known = values.new_tensor(FACTORS)
    table = known[:, None] * (1 - known[:, None]) ** age
    weights = table[(known - factor[:, None]).abs().argmin(dim=1)]
    # Points before the first one count as the start.
    return start + (weights * (values - start[:, None]).nan_to_num(0.0)).sum(dim=1)


def _start(values: Float[Tensor, "series time"]) -> Float[Tensor, " series"]:
    first = (~values.isnan()).int().argmax(dim=1)
    rows = (first[:, None] + torch.arange(START_POINTS)).clamp(max=values.shape[1] - 1)
    return values.gather(1, rows).nanmean(dim=1).nan_to_num(0.0)


def _smooth_blocks(blocks: Float[Tensor, "series block point"], factor: float) -> Smoothing:
    """Smooth from a level of zero: within blocks, then the level carried from block to block."""
    keep = 1 - factor
    within = blocks @ (factor * _powers(keep, BLOCK)).to(blocks)
    carried = within[:, :, -1] @ _powers(keep**BLOCK, blocks.shape[1]).to(blocks)
    carried = torch.nn.functional.pad(carried[:, :-1], (1, 0))
    decay = keep ** torch.arange(1, BLOCK + 1, dtype=torch.float64)
    level = (within + carried[:, :, None] * decay.to(blocks)).flatten(1)
    errors = blocks.flatten(1) - torch.nn.functional.pad(level[:, :-1], (1, 0))
    return Smoothing(level[:, -1:], errors.square().sum(dim=1, keepdim=True))


def _powers(base: float, size: int) -> Float[Tensor, "size size"]:
    """Upper triangular matrix of base ** (column - row)."""
    steps = torch.arange(size, dtype=torch.float64)
    exponent = steps - steps[:, None]
    return torch.where(exponent >= 0, base ** exponent.clamp(min=0), 0.0)
