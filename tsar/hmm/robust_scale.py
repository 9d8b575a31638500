"""Robust location and scale (median, IQR) of groups of points, used where outliers inflate the std.

EM works on standardized data: its variance floor and priors are shares of that unit. A few
outliers can make the standard deviation so large that all other points would lie within the floor.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NORMAL_IQR = 1.349  # IQR of the standard normal distribution
OUTLIER_RATIO = 2.0  # std / IQR above which outliers inflate the std; 0.74 for a normal one
MAX_OUTLIER_RATIO = 1e100  # above it, squares of standardized values would overflow


class RobustScaling(NamedTuple):
    """Subtracted location and divisor of each group; 0 and 1 where the group has no outliers."""

    center: Float[Tensor, " group"]
    scale: Float[Tensor, " group"]


def robust_standardize(
    values: Float[Tensor, " point"], group: Int[Tensor, " point"], n_groups: int
) -> tuple[Float[Tensor, " point"], RobustScaling]:
    """Rescale standardized groups to ``(value - median) / (OUTLIER_RATIO * IQR)`` given outliers.

    A group whose standard deviation outliers do not inflate stays as it is. NaN is missing.

    Examples
    --------
    >>> values, group = torch.tensor([-1.0, 1.0, 0.0, 0.0, 1.0, 2.0, 900.0]), torch.ones(7).long()
    >>> robust_standardize(values, group, 2)[0]
    tensor([ -0.5000,   0.0000,  -0.2500,  -0.2500,   0.0000,   0.2500, 224.7500])
    """
    median, iqr = group_median_iqr(values, group, n_groups)
    mean, _ = group_means(values, group, n_groups)
    variance, _ = group_means((values - mean[group]).square(), group, n_groups)
    robust = has_outliers(variance.sqrt(), iqr)
    scaling = RobustScaling(
        torch.where(robust, median, 0.0), torch.where(robust, OUTLIER_RATIO * iqr, 1.0)
    )
    return (values - scaling.center[group]) / scaling.scale[group], scaling


def group_means(
    values: Float[Tensor, " point"], group: Int[Tensor, " point"], n_groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Mean of each group (0 if it is empty), and its number of observed (not NaN) points.

    Examples
    --------
    >>> group_means(torch.tensor([3.0, torch.nan, 1.0]), torch.zeros(3, dtype=torch.long), 1)
    (tensor([2.]), tensor([2.]))
    """
    nobs = values.new_zeros(n_groups).index_add_(0, group, (~values.isnan()).to(values))
    total = values.new_zeros(n_groups).index_add_(0, group, values.nan_to_num(0.0))
    return total / nobs.clamp(min=1), nobs


def group_median_iqr(
    values: Float[Tensor, " point"], group: Int[Tensor, " point"], n_groups: int
) -> tuple[Float[Tensor, " group"], Float[Tensor, " group"]]:
    """Median and interquartile range of the observed (not NaN) points of each group.

    Both are order statistics, without interpolation; both are 0 for an empty group.

    Examples
    --------
    >>> values = torch.tensor([3.0, 1.0, 900.0, 2.0, 4.0])
    >>> group_median_iqr(values, torch.zeros(5, dtype=torch.long), 1)
    (tensor([3.]), tensor([2.]))
    """
    observed = ~values.isnan()
    values, group = values[observed], group[observed]
    order = values.argsort()
    ranked = values[order[group[order].argsort(stable=True)]]
    nobs = torch.bincount(group, minlength=n_groups)
    first, max_rank = nobs.cumsum(0) - nobs, (nobs - 1).clamp(min=0)

    def at(rank: Tensor) -> Tensor:
        return torch.where(nobs > 0, ranked[(first + rank.long()).clamp(max=len(ranked) - 1)], 0.0)

    return at(max_rank * 0.5), at((max_rank * 0.75).ceil()) - at((max_rank * 0.25).floor())


def has_outliers(
    std: Float[Tensor, "*shape"], iqr: Float[Tensor, "*shape"]
) -> Bool[Tensor, "*shape"]:
    """Whether outliers inflate a standard deviation above `OUTLIER_RATIO` times the IQR."""
    limit = OUTLIER_RATIO * iqr
    return (limit > 0) & (std > limit) & (std < MAX_OUTLIER_RATIO * limit)
