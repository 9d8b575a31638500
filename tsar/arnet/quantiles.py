"""Quantiles of autoregressions in closed form, in standardized units."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression import horizon_map, psi_weights
from tsar.intervals import gaussian_quantiles
from tsar.nn.autoregression import bridged_points

ROOM = 2**22  # elements of the matrices that are built at once, 32 MB in float64


def recursive_quantiles(
    point: Float[Tensor, "batch horizon"],
    sigma: Float[Tensor, "group 1"],
    folded: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
) -> Float[Tensor, "batch horizon level"]:
    """Normal quantiles; the variance at step h is sigma^2 (psi_0^2 + ... + psi_{h-1}^2).

    To it adds what missing points of the `context` give (see `bridging_variance`).
    `folded` holds the recursion's map to some steps, newest lag last: its first row is the
    equation, its last column the responses to a shock (see `psi_weights`) as far as it goes.
    """
    present, member = group.unique(return_inverse=True)
    horizon, known = point.shape[1], folded[present].flip(2)
    if horizon <= folded.shape[1] + 1:
        psi = torch.nn.functional.pad(known[:, : horizon - 1, 0], (1, 0), value=1.0)
    else:
        psi = psi_weights(known[:, 0], horizon)
    growth = psi.square().cumsum(1)[member]
    gaps = bridging_variance(context, folded, group, horizon, recursive=True)
    return gaussian_quantiles(point, sigma[group] * (growth + gaps).sqrt(), levels)


def direct_quantiles(
    point: Float[Tensor, "batch horizon"],
    sigma: Float[Tensor, "group step"],
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
    lead: int,
) -> Float[Tensor, "batch horizon level"]:
    """Normal quantiles; each step has a residual deviation of its own.

    `equations` have the newest lag last. To the variance adds what missing points of the `context`
    give, which the first equation bridges (see `bridging_variance`).
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
    gaps = bridging_variance(context, equations, group, horizon, recursive=False)
    variance = sigma[group].square()
    variance = variance[:, steps] + variance[:, :1] * gaps
    return gaussian_quantiles(point, variance.sqrt(), levels)


def bridging_variance(
    context: Float[Tensor, "batch context"],
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    horizon: int,
    *,
    recursive: bool,
) -> Float[Tensor, "batch horizon"]:
    """Variance that the bridged points of contexts add, in units of that of a one-step error.

    A bridged point is wrong by the shock that nobody saw, and by what earlier bridged points hand
    on: ``d = e + S d``, where S holds the one-step coefficients from gap to gap. A forecast is
    wrong by ``a @ d``, a row of its map, and so has the variance ``|a (I - S)^-1|^2``.
    """
    missing = context.isnan()
    added = context.new_zeros(len(context), horizon)
    rows = (missing.any(dim=1)).nonzero()[:, 0]
    if not len(rows):
        return added
    gaps = bridged_points(context[rows], 0)
    most = max(int(gaps.sum(dim=1).max()), 1)
    steps = torch.arange(horizon).clamp(max=equations.shape[1] - 1)
    size = most * most + horizon * (most + equations.shape[2])
    for part in torch.arange(len(rows)).split(max(ROOM // size, 1)):
        known = equations[group[rows[part]]].flip(2)
        beyond = recursive and horizon > known.shape[1]
        maps = horizon_map(known[:, 0], horizon) if beyond else known[:, steps]
        added[rows[part]] = _handed_on(gaps[part], known[:, 0], maps, most)
    return added


def _handed_on(
    gaps: Bool[Tensor, "row context"],
    lags: Float[Tensor, "row lag"],
    maps: Float[Tensor, "row horizon lag"],
    most: int,
) -> Float[Tensor, "row horizon"]:
    """Squares of what each gap's own shock does to each step, summed over at most `most` gaps."""
    order, count = lags.shape[1], len(gaps)
    place = gaps.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    there = gaps.gather(1, place)
    lag = place[:, :, None] - place[:, None, :]  # from an earlier gap, the column, to a later one
    linked = there[:, :, None] & there[:, None, :] & (lag > 0) & (lag <= order)
    links = lags.gather(1, (lag.clamp(1, order) - 1).view(count, -1)).view_as(lag) * linked
    back = gaps.shape[1] - place  # lag at the first step ahead
    index = (back.clamp(max=order) - 1)[:, None].expand(-1, maps.shape[1], -1)
    seen = maps.gather(2, index) * (there & (back <= order))[:, None]
    unit = torch.eye(most, dtype=lags.dtype)
    shocks = torch.linalg.solve_triangular(
        unit - links, seen, upper=False, left=False, unitriangular=True
    )
    return shocks.square().sum(dim=2)
