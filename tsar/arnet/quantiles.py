"""Quantiles of autoregressions in closed form, in standardized units."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression import psi_weights
from tsar.intervals import gaussian_quantiles


def recursive_quantiles(
    point: Float[Tensor, "batch horizon"],
    sigma: Float[Tensor, "group 1"],
    folded: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
) -> Float[Tensor, "batch horizon level"]:
    """Normal quantiles; the variance at step h is sigma^2 (psi_0^2 + ... + psi_{h-1}^2).

    `folded` holds the recursion's map to some steps, newest lag last: its first row is the
    equation, its last column the responses to a shock (see `psi_weights`) as far as it goes.
    """
    present, member = group.unique(return_inverse=True)
    horizon, known = point.shape[1], folded[present].flip(2)
    if horizon <= folded.shape[1] + 1:
        psi = torch.nn.functional.pad(known[:, : horizon - 1, 0], (1, 0), value=1.0)
    else:
        psi = psi_weights(known[:, 0], horizon)
    growth = psi.square().cumsum(1).sqrt()[member]
    return gaussian_quantiles(point, sigma[group] * growth, levels)


def direct_quantiles(
    point: Float[Tensor, "batch horizon"],
    sigma: Float[Tensor, "batch step"],
    levels: Sequence[float],
    lead: int,
) -> Float[Tensor, "batch horizon level"]:
    """Normal quantiles; each step has a residual deviation of its own.

    Where the first `lead` steps make up for missing points, steps beyond the fitted ones are as
    wide as the last of these.

    Raises
    ------
    ValueError
        The horizon is beyond the steps that were fitted.
    """
    horizon = point.shape[1]
    if horizon - lead > sigma.shape[1]:
        raise ValueError(
            f"horizon must be at most {sigma.shape[1]} with intervals when direct; got "
            f"{horizon - lead}. Fit with a longer horizon, or use strategy='recursive'."
        )
    steps = torch.arange(horizon).clamp(max=sigma.shape[1] - 1)
    return gaussian_quantiles(point, sigma[:, steps], levels)
