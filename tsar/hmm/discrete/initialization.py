"""Initial parameters for EM: k-means++ means, random symbol shares, persistent transition matrices.

Every group starts from the same random numbers, so that no group's fit depends on the others.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.robust_scale import NORMAL_IQR, group_median_iqr, has_outliers

MAX_POINTS = 256  # points of a group on which k-means runs
LLOYD_ITERATIONS = 5


def initial_chains(
    uniform: Float[Tensor, "start drawn"], n_components: int
) -> tuple[Float[Tensor, "start state"], Float[Tensor, "start state state"]]:
    """Uniform start probabilities, and a mixture of the identity and random transition matrices.

    The weight of the identity is drawn uniformly for each start (0.5 for the first one), the rows
    of the random matrix from a flat Dirichlet distribution (all equal for the first start).
    """
    n_init = len(uniform)
    persistence = uniform[:, :1].clone()
    persistence[0] = 0.5
    random = -uniform[:, 1 : 1 + n_components**2].clamp(min=1e-3).log()
    random = random.view(n_init, n_components, n_components)
    random[0] = 1.0
    random = random / random.sum(-1, keepdim=True)
    eye = torch.eye(n_components, dtype=uniform.dtype, device=uniform.device)
    transmat = persistence[:, :, None] * eye + (1 - persistence[:, :, None]) * random
    return torch.full_like(transmat[:, 0], 1 / n_components), transmat


def initial_gaussians(
    values: Float[Tensor, "time feature"],
    offsets: Int[Tensor, " border"],
    uniform: Float[Tensor, "start state"],
    full: bool,
    min_covar: float,
) -> tuple[Float[Tensor, "group start state feature"], Float[Tensor, "group start state ..."]]:
    """K-means means, and in every state the (co)variances of all points of the group.

    Where outliers inflate a standard deviation, the one that matches the IQR replaces it: with the
    inflated one all other points would be equally likely in every state. `uniform` are random
    numbers in [0, 1) for k-means++. Variances are at least `min_covar`; covariances are returned
    instead with `full`, and `min_covar` is added to their diagonals.
    """
    points = subsample(values, offsets)
    means = kmeans(points, uniform)
    centered = (points - points.nanmean(1, keepdim=True)).nan_to_num(0.0)
    # Products of missing features count as zero, variances as those of the points that have them.
    centered = centered / (~points.isnan()).sum(1, keepdim=True).clamp(min=1).sqrt()
    centered = centered * _robust_factor(points, centered.square().sum(1).sqrt())[:, None]
    covars = centered.mT @ centered
    if full:
        covars = covars + min_covar * torch.eye(covars.shape[-1]).to(covars)
    else:
        covars = covars.diagonal(dim1=1, dim2=2).clamp(min=min_covar)
    return means, covars[:, None, None].expand(*means.shape[:3], *covars.shape[1:])


def _robust_factor(
    points: Float[Tensor, "group point feature"], std: Float[Tensor, "group feature"]
) -> Float[Tensor, "group feature"]:
    """Factor that makes standard deviations robust where outliers inflate them; 1 elsewhere."""
    column = torch.arange(std.numel(), device=points.device).view(std.shape)
    columns = column[:, None].expand_as(points)
    _, iqr = group_median_iqr(points.flatten(), columns.flatten(), std.numel())
    iqr = iqr.view(std.shape)
    return torch.where(has_outliers(std, iqr), iqr / NORMAL_IQR / std, 1.0)


def initial_emissionprob(
    values: Float[Tensor, "time feature"],
    group: Int[Tensor, " time"],
    n_groups: int,
    uniform: Float[Tensor, "start state symbol"],
) -> Float[Tensor, "group start state symbol"]:
    """Relative frequencies of the symbols in each group, half of them randomized for each state.

    The random factors are those of a flat Dirichlet distribution.
    """
    symbol, n_symbols = values[:, 0], uniform.shape[2]
    observed = ~symbol.isnan()
    index = group[observed] * n_symbols + symbol[observed].long()
    count = torch.bincount(index, minlength=n_groups * n_symbols).view(n_groups, 1, 1, n_symbols)
    share = (count + 1).to(uniform) / (count.sum(-1, keepdim=True) + n_symbols)
    random = -uniform.clamp(min=1e-3).log() * share
    random = random / random.sum(-1, keepdim=True)
    return 0.5 * share.expand(n_groups, *uniform.shape) + 0.5 * random


def subsample(
    values: Float[Tensor, "time feature"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, "group point feature"]:
    """At most `MAX_POINTS` points of each group, evenly spaced among its observed points."""
    before = torch.cat([offsets.new_zeros(1), (~values.isnan().all(-1)).cumsum(0)])
    first, nobs = before[offsets[:-1]], before[offsets].diff()
    size = min(MAX_POINTS, int(nobs.max()))
    step = torch.arange(size, device=offsets.device)
    index = torch.where(nobs[:, None] > size, step * (nobs[:, None] - 1) // max(size - 1, 1), step)
    observed = before.diff().nonzero()[:, 0]
    rows = observed[(first[:, None] + index).clamp(max=int(before[-1]) - 1)]
    return values[rows].masked_fill((index >= nobs[:, None])[:, :, None], torch.nan)


def kmeans(
    points: Float[Tensor, "group point feature"], uniform: Float[Tensor, "start state"]
) -> Float[Tensor, "group start state feature"]:
    """Cluster means for each group and start: k-means++ seeds, then Lloyd's iterations.

    Source: Arthur & Vassilvitskii 2007, "k-means++". A distance is over the features that a point
    has (NaN: missing); a mean is over the points that have the feature. The seeds take `uniform`,
    random numbers in [0, 1), the same for every group.
    """
    n_groups, n_points, n_features = points.shape
    observed = (~points.isnan()).to(points)
    present = (observed.sum(-1) > 0).to(points)[:, None]  # group, start, point
    weight = observed * (n_features / observed.sum(-1, keepdim=True).clamp(min=1))
    weight = weight[:, None]  # of each feature in a distance: group, start, point, feature
    filled = points.where(observed > 0, points.nanmean(1, keepdim=True)).nan_to_num(0.0)[:, None]
    nearest = present.expand(n_groups, len(uniform), n_points)
    seeds: list[Tensor] = []
    for drawn in uniform.unbind(1):
        seeds.append(_draw_seed(filled, nearest, present, drawn))
        distance = ((filled - seeds[-1][:, :, None]).square() * weight).sum(-1) * present
        nearest = distance if len(seeds) == 1 else torch.minimum(nearest, distance)
    means = torch.stack(seeds, 2)
    for _ in range(LLOYD_ITERATIONS):
        means = _lloyd(filled, weight, observed[:, None], means)
    return means


def _draw_seed(
    filled: Float[Tensor, "group 1 point feature"],
    weight: Float[Tensor, "group start point"],
    present: Float[Tensor, "group 1 point"],
    drawn: Float[Tensor, " start"],
) -> Float[Tensor, "group start feature"]:
    """Draw a point of each group and start by weight; uniformly where all weights are zero."""
    weight = torch.where(weight.sum(-1, keepdim=True) > 0, weight, present)
    edges = weight.cumsum(-1)
    target = (drawn[None, :, None] * edges[..., -1:]).clamp(max=edges.amax() * (1 - 1e-12))
    index = torch.searchsorted(edges, target, right=True).clamp(max=weight.shape[-1] - 1)
    index = index[..., None].expand(-1, -1, 1, filled.shape[-1])
    return filled.expand(-1, weight.shape[1], -1, -1).gather(2, index)[:, :, 0]


def _lloyd(
    filled: Float[Tensor, "group 1 point feature"],
    weight: Float[Tensor, "group 1 point feature"],
    observed: Float[Tensor, "group 1 point feature"],
    means: Float[Tensor, "group start state feature"],
) -> Float[Tensor, "group start state feature"]:
    """One iteration of k-means: assign points to the nearest mean, then average."""
    # |x - m|^2 without |x|^2, which is the same for every mean.
    cross = (filled * weight) @ means.transpose(2, 3)
    distance = weight @ means.square().transpose(2, 3) - 2 * cross
    member = torch.nn.functional.one_hot(distance.argmin(-1), means.shape[2]).to(filled)
    count = member.transpose(2, 3) @ observed
    total = member.transpose(2, 3) @ (filled * observed)
    return torch.where(count > 0, total / count.clamp(min=1), means)
