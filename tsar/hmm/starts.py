"""Where expectation-maximization begins: means by k-means++, chains that like to stay."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

SAMPLE = 256  # points of a group that the means are found on
ROUNDS = 5  # of Lloyd's algorithm


def chain_start(
    uniform: Float[Tensor, "restart drawn"], states: int
) -> tuple[Float[Tensor, "restart state"], Float[Tensor, "restart state state"]]:
    """Even start probabilities, and transitions that stay with a share drawn for each restart.

    The first restart stays in half of the steps. Rows are drawn from a flat Dirichlet.
    """
    restarts = len(uniform)
    stay = uniform[:, :1].clone()
    stay[0] = 0.5
    rest = -uniform[:, 1 : 1 + states**2].clamp(min=1e-3).log()
    rest = rest.view(restarts, states, states)
    rest[0] = 1.0
    rest = rest / rest.sum(-1, keepdim=True)
    eye = torch.eye(states, dtype=uniform.dtype, device=uniform.device)
    transmat = stay[:, :, None] * eye + (1 - stay[:, :, None]) * rest
    return torch.full_like(transmat[:, 0], 1 / states), transmat


def cluster(
    points: Float[Tensor, "group point feature"],
    uniform: Float[Tensor, "restart state"],
) -> Float[Tensor, "group restart state feature"]:
    """Means of k-means, for each group and restart: k-means++ seeds, then Lloyd's rounds.

    Source: Arthur & Vassilvitskii 2007, "k-means++". Rows that hold a NaN are left out; every
    group has at least one without.

    Parameters
    ----------
    uniform
        Numbers in [0, 1) that the seeds are drawn by: the same for every group, so that none
        depends on the others.
    """
    groups, count, _ = points.shape
    whole = ~points.isnan().any(-1)
    present = points.nan_to_num(0.0)[:, None]  # group, restart, point, feature
    nearest = whole.to(points)[:, None].expand(groups, len(uniform), count)
    seeds: list[Tensor] = []
    for drawn in uniform.unbind(1):
        seeds.append(_pick(present, nearest, whole, drawn))
        distance = (present - seeds[-1][:, :, None]).square().sum(-1) * whole[:, None]
        nearest = distance if len(seeds) == 1 else torch.minimum(nearest, distance)
    means = torch.stack(seeds, 2)
    weight = whole.to(points)[:, None, :, None]
    for _ in range(ROUNDS):
        means = _lloyd(present, weight, means)
    return means


def _pick(
    present: Float[Tensor, "group 1 point feature"],
    weight: Float[Tensor, "group restart point"],
    whole: Tensor,
    drawn: Float[Tensor, " restart"],
) -> Float[Tensor, "group restart feature"]:
    """A point of each group and restart, drawn by weight; evenly where all weigh nothing."""
    even = whole.to(weight)[:, None].expand_as(weight)
    weight = torch.where(weight.sum(-1, keepdim=True) > 0, weight, even)
    edges = weight.cumsum(-1)
    wanted = (drawn[None, :, None] * edges[..., -1:]).clamp(max=edges.amax() * (1 - 1e-12))
    index = torch.searchsorted(edges, wanted, right=True).clamp(max=weight.shape[-1] - 1)
    index = index[..., None].expand(-1, -1, 1, present.shape[-1])
    return present.expand(-1, weight.shape[1], -1, -1).gather(2, index)[:, :, 0]


def _lloyd(
    present: Float[Tensor, "group 1 point feature"],
    weight: Float[Tensor, "group 1 point 1"],
    means: Float[Tensor, "group restart state feature"],
) -> Float[Tensor, "group restart state feature"]:
    # |x - m|^2 without |x|^2, which is the same for every mean.
    distance = means.square().sum(-1)[:, :, None] - 2 * present @ means.transpose(2, 3)
    nearest = distance.argmin(-1)
    member = torch.nn.functional.one_hot(nearest, means.shape[2]).to(present) * weight
    count = member.sum(2)[..., None]
    total = member.transpose(2, 3) @ present
    return torch.where(count > 0, total / count.clamp(min=1), means)


def sample_points(
    values: Float[Tensor, "time feature"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, "group point feature"]:
    """Points of each group, spread evenly over those without a missing feature."""
    whole = torch.cat([offsets.new_zeros(1), (~values.isnan().any(-1)).cumsum(0)])
    first, count = whole[offsets[:-1]], whole[offsets].diff()
    most = min(SAMPLE, int(count.max()))
    step = torch.arange(most, device=offsets.device)
    index = torch.where(
        count[:, None] > most, step * (count[:, None] - 1) // max(most - 1, 1), step
    )
    rows = whole.diff().nonzero()[:, 0][(first[:, None] + index).clamp(max=int(whole[-1]) - 1)]
    return values[rows].masked_fill((index >= count[:, None])[:, :, None], torch.nan)


def gaussian_start(
    values: Float[Tensor, "time feature"],
    offsets: Int[Tensor, " border"],
    uniform: Float[Tensor, "restart state"],
    full: bool,
) -> tuple[Float[Tensor, "group restart state feature"], Float[Tensor, "group restart state ..."]]:
    """Means of k-means, and the spread of all points of a group in every state."""
    points = sample_points(values, offsets)
    means = cluster(points, uniform)
    centred = (points - points.nanmean(1, keepdim=True)).nan_to_num(0.0)
    count = (~points.isnan().any(-1)).sum(1).clamp(min=1)[:, None, None]
    covariance = centred.mT @ centred / count
    spread = covariance if full else covariance.diagonal(dim1=1, dim2=2)
    shape = (*means.shape[:3], *spread.shape[1:])
    return means, spread[:, None, None].expand(shape)


def categorical_start(
    values: Float[Tensor, "time feature"],
    group: Int[Tensor, " time"],
    groups: int,
    symbols: int,
    uniform: Float[Tensor, "restart state symbol"],
) -> tuple[Float[Tensor, "group restart state symbol"], Float[Tensor, "group restart state 0"]]:
    """Shares of the symbols, half of them drawn from a flat Dirichlet for each state."""
    symbol = values[:, 0]
    seen = ~symbol.isnan()
    index = group[seen] * symbols + symbol[seen].long()
    count = torch.bincount(index, minlength=groups * symbols).view(groups, 1, 1, symbols)
    share = (count + 1).to(uniform) / (count.sum(-1, keepdim=True) + symbols)
    drawn = -uniform.clamp(min=1e-3).log() * share
    drawn = drawn / drawn.sum(-1, keepdim=True)
    shape = (groups, *uniform.shape)
    center = 0.5 * share.expand(shape) + 0.5 * drawn
    return center, center.new_empty(*center.shape[:3], 0)
