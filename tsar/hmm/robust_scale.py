"""Units that wild values do not widen: by the middle half of the points, where it comes to that."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NORMAL = 1.349  # deviations of a normal distribution that its middle half spans
WIDE = 2.0  # middle halves that a deviation may span: of a normal distribution it is 0.74
FARTHEST = 1e100  # deviations that a wild value may lie away: beyond, squares overflow


def means(
    values: Float[Tensor, " point"], group: Int[Tensor, " point"], groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Mean of each group, 0 of an empty one, and how many points it has; NaN does not count.

    Examples
    --------
    >>> means(torch.tensor([3.0, torch.nan, 1.0]), torch.zeros(3, dtype=torch.long), 1)
    (tensor([2.]), tensor([2.]))
    """
    count = values.new_zeros(groups).index_add_(0, group, (~values.isnan()).to(values))
    total = values.new_zeros(groups).index_add_(0, group, values.nan_to_num(0.0))
    return total / count.clamp(min=1), count


def middles(
    values: Float[Tensor, " point"], group: Int[Tensor, " point"], groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Median of each group, and the range of its middle half; NaN does not count.

    Examples
    --------
    >>> values = torch.tensor([3.0, 1.0, 900.0, 2.0, 4.0])
    >>> middles(values, torch.zeros(5, dtype=torch.long), 1)
    (tensor([3.]), tensor([2.]))
    """
    seen = ~values.isnan()
    values, group = values[seen], group[seen]
    order = values.argsort()
    ranked = values[order[group[order].argsort(stable=True)]]
    count = torch.bincount(group, minlength=groups)
    first, last = count.cumsum(0) - count, (count - 1).clamp(min=0)

    def at(rank: Tensor) -> Tensor:
        return torch.where(count > 0, ranked[(first + rank.long()).clamp(max=len(ranked) - 1)], 0.0)

    return at(last * 0.5), at((last * 0.75).ceil()) - at((last * 0.25).floor())


def is_wild(
    deviation: Float[Tensor, "*shape"], half: Float[Tensor, "*shape"]
) -> Bool[Tensor, "*shape"]:
    """Whether a few values make a deviation many times what the middle half of the points spans."""
    wide = WIDE * half
    return (wide > 0) & (deviation > wide) & (deviation < FARTHEST * wide)
