"""Mixtures of normal distributions: moments, and quantiles by exact inversion."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

HALVINGS = 80  # of the bracket of a quantile: to the last bit of float64


def mixture_mean(
    weight: Float[Tensor, "*shape state"], mean: Float[Tensor, "*shape state"]
) -> Float[Tensor, "*shape"]:
    """Mean of each mixture."""
    return (weight * mean).sum(-1)


def mixture_cdf(
    value: Float[Tensor, "*shape level"],
    weight: Float[Tensor, "*shape state"],
    mean: Float[Tensor, "*shape state"],
    deviation: Float[Tensor, "*shape state"],
) -> Float[Tensor, "*shape level"]:
    """Probability that a draw of each mixture is at most each value.

    Examples
    --------
    >>> half = torch.tensor([0.5, 0.5])
    >>> mixture_cdf(torch.tensor([0.0]), half, torch.tensor([-1.0, 1.0]), torch.ones(2))
    tensor([0.5000])
    """
    score = (value[..., None] - mean[..., None, :]) / deviation[..., None, :]
    return (weight[..., None, :] * torch.special.ndtr(score)).sum(-1)


def mixture_quantiles(
    weight: Float[Tensor, "*shape state"],
    mean: Float[Tensor, "*shape state"],
    deviation: Float[Tensor, "*shape state"],
    levels: Sequence[float],
) -> Float[Tensor, "*shape level"]:
    """Quantiles of each mixture, by bisection of its distribution function.

    Each lies between the lowest and the highest of the quantiles of its parts.

    Parameters
    ----------
    weight
        Adds up to one over the states.
    levels
        In (0, 1).

    Examples
    --------
    >>> even = torch.tensor([0.5, 0.5])
    >>> mixture_quantiles(even, torch.tensor([-3.0, 3.0]), torch.ones(2), [0.25, 0.75])
    tensor([-3.,  3.])
    """
    wanted = torch.tensor(list(levels), dtype=mean.dtype, device=mean.device)
    parts = mean[..., None, :] + deviation[..., None, :] * torch.special.ndtri(wanted)[:, None]
    # A state that does not count must not widen the bracket to where nothing is.
    counts = (weight > 0)[..., None, :]
    low = parts.masked_fill(~counts, torch.inf).amin(-1)
    high = parts.masked_fill(~counts, -torch.inf).amax(-1)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = mixture_cdf(middle, weight, mean, deviation) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)
