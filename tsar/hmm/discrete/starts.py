"""Where expectation-maximization begins: means by k-means++, chains that like to stay."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.robust_scale import NORMAL_IQR, group_median_iqr, has_outliers

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

    Source: Arthur & Vassilvitskii 2007, "k-means++". Distances are those in the features that a
    point has (NaN: missing), a mean is that of the points that have the feature.

    Parameters
    ----------
    uniform
        Numbers in [0, 1) that the seeds are drawn by: the same for every group, so that none
        depends on the others.
    """
    groups, count, features = points.shape
    seen = (~points.isnan()).to(points)
    here = (seen.sum(-1) > 0).to(points)[:, None]  # group, restart, point
    share = seen * (features / seen.sum(-1, keepdim=True).clamp(min=1))
    share = share[:, None]  # of each feature in a distance: group, restart, point, feature
    filled = points.where(seen > 0, points.nanmean(1, keepdim=True)).nan_to_num(0.0)[:, None]
    nearest = here.expand(groups, len(uniform), count)
    seeds: list[Tensor] = []
    for drawn in uniform.unbind(1):
        seeds.append(_pick(filled, nearest, here, drawn))
        distance = ((filled - seeds[-1][:, :, None]).square() * share).sum(-1) * here
        nearest = distance if len(seeds) == 1 else torch.minimum(nearest, distance)
    means = torch.stack(seeds, 2)
    for _ in range(ROUNDS):
        means = _lloyd(filled, share, seen[:, None], means)
    return means


def _pick(
    filled: Float[Tensor, "group 1 point feature"],
    weight: Float[Tensor, "group restart point"],
    here: Float[Tensor, "group 1 point"],
    drawn: Float[Tensor, " restart"],
) -> Float[Tensor, "group restart feature"]:
    """A point of each group and restart, drawn by weight; evenly where all weigh nothing."""
    weight = torch.where(weight.sum(-1, keepdim=True) > 0, weight, here)
    edges = weight.cumsum(-1)
    wanted = (drawn[None, :, None] * edges[..., -1:]).clamp(max=edges.amax() * (1 - 1e-12))
    index = torch.searchsorted(edges, wanted, right=True).clamp(max=weight.shape[-1] - 1)
    index = index[..., None].expand(-1, -1, 1, filled.shape[-1])
    return filled.expand(-1, weight.shape[1], -1, -1).gather(2, index)[:, :, 0]


def _lloyd(
    filled: Float[Tensor, "group 1 point feature"],
    share: Float[Tensor, "group 1 point feature"],
    seen: Float[Tensor, "group 1 point feature"],
    means: Float[Tensor, "group restart state feature"],
) -> Float[Tensor, "group restart state feature"]:
    # |x - m|^2 without |x|^2, which is the same for every mean.
    across = (filled * share) @ means.transpose(2, 3)
    distance = share @ means.square().transpose(2, 3) - 2 * across
    member = torch.nn.functional.one_hot(distance.argmin(-1), means.shape[2]).to(filled)
    count = member.transpose(2, 3) @ seen
    total = member.transpose(2, 3) @ (filled * seen)
    return torch.where(count > 0, total / count.clamp(min=1), means)


def sample_points(
    values: Float[Tensor, "time feature"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, "group point feature"]:
    """Points of each group, spread evenly over those with a feature that is not missing."""
    known = torch.cat([offsets.new_zeros(1), (~values.isnan().all(-1)).cumsum(0)])
    first, count = known[offsets[:-1]], known[offsets].diff()
    most = min(SAMPLE, int(count.max()))
    step = torch.arange(most, device=offsets.device)
    index = torch.where(
        count[:, None] > most, step * (count[:, None] - 1) // max(most - 1, 1), step
    )
    rows = known.diff().nonzero()[:, 0][(first[:, None] + index).clamp(max=int(known[-1]) - 1)]
    return values[rows].masked_fill((index >= count[:, None])[:, :, None], torch.nan)


def gaussian_start(
    values: Float[Tensor, "time feature"],
    offsets: Int[Tensor, " border"],
    uniform: Float[Tensor, "restart state"],
    full: bool,
) -> tuple[Float[Tensor, "group restart state feature"], Float[Tensor, "group restart state ..."]]:
    """Means of k-means, and the spread of all points of a group in every state.

    Wild values must not spread it: the other points would be as likely in any state as in another.
    """
    points = sample_points(values, offsets)
    means = cluster(points, uniform)
    centred = (points - points.nanmean(1, keepdim=True)).nan_to_num(0.0)
    # Products of missing features count as zero, variances as those of the points that have them.
    centred = centred / (~points.isnan()).sum(1, keepdim=True).clamp(min=1).sqrt()
    centred = centred * _tamed(points, centred.square().sum(1).sqrt())[:, None]
    covariance = centred.mT @ centred
    spread = covariance if full else covariance.diagonal(dim1=1, dim2=2)
    shape = (*means.shape[:3], *spread.shape[1:])
    return means, spread[:, None, None].expand(shape)


def _tamed(
    points: Float[Tensor, "group point feature"], deviation: Float[Tensor, "group feature"]
) -> Float[Tensor, "group feature"]:
    """What to multiply deviations by: to those of a middle half where they are wild, else 1."""
    column = torch.arange(deviation.numel(), device=points.device).view(deviation.shape)
    columns = column[:, None].expand_as(points)
    _, iqr = group_median_iqr(points.flatten(), columns.flatten(), deviation.numel())
    iqr = iqr.view(deviation.shape)
    return torch.where(has_outliers(deviation, iqr), iqr / NORMAL_IQR / deviation, 1.0)


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
