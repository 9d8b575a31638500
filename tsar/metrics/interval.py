"""Metrics of prediction intervals: coverage, mean width and Winkler score."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.metrics.metric import Metric


def _inside(target: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    inside = ((lower <= target) & (target <= upper)).to(target.dtype)
    # A comparison with NaN is False, which would count a failed forecast as not covering.
    return inside.where(~(lower.isnan() | upper.isnan()), torch.nan)


def _width(target: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return upper - lower


def _interval_score(target: Tensor, lower: Tensor, upper: Tensor, level: int | float) -> Tensor:
    if not 0 <= level < 100:
        raise ValueError(
            f"level must be a percentage from 0 to below 100; got {level}. "
            "Give 80 for intervals with a coverage of 80 %."
        )
    distance = (lower - target).relu() + (target - upper).relu()
    return _width(target, lower, upper) + distance * 2 / (1 - level / 100)


COVERAGE = Metric("coverage", _inside, required=("lower", "upper"))
INTERVAL_WIDTH = Metric("interval_width", _width, required=("lower", "upper"))
WINKLER = Metric("winkler", _interval_score, required=("lower", "upper", "level"))


def coverage(
    target: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*shape"],
    upper: Float[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Return the fraction of targets inside their interval, bounds included, from 0 to 1.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    lower, upper
        Bounds of the intervals.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import coverage
    >>> coverage(torch.tensor([1.0, 2.0, 9.0]), torch.zeros(3), torch.full((3,), 2.0))
    tensor(0.6667)
    """
    return COVERAGE(target, lower=lower, upper=upper)


def interval_width(
    target: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*shape"],
    upper: Float[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Return the mean width of the intervals over the observed points, in the units of the target.

    Parameters
    ----------
    target
        Observed values; NaN where missing. The width is averaged over the observed points, as in
        `coverage`.
    lower, upper
        Bounds of the intervals.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import interval_width
    >>> interval_width(torch.tensor([1.0, 2.0]), torch.zeros(2), torch.tensor([1.0, 2.0]))
    tensor(1.5000)
    """
    return INTERVAL_WIDTH(target, lower=lower, upper=upper)


def winkler(
    target: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*shape"],
    upper: Float[Tensor, "*shape"],
    level: int | float,
) -> Float[Tensor, ""]:
    """Return the mean Winkler (interval) score, in the units of the target; lower is better.

    The width, plus 2 / (1 - level / 100) times the distance of a target outside the interval. It
    equals 2 / (1 - level / 100) times the summed pinball losses of both bounds.

    Parameters
    ----------
    target
        Observed values; NaN where missing.
    lower, upper
        Bounds of the intervals.
    level
        Nominal coverage of the intervals in percent, from 0 to below 100.

    Raises
    ------
    ValueError
        If `level` is outside that range.

    References
    ----------
    T. Gneiting, A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal
    of the American Statistical Association 102 (2007), equation 43.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import winkler
    >>> winkler(torch.tensor([1.0, 3.0]), torch.zeros(2), torch.full((2,), 2.0), level=80)
    tensor(7.)
    """
    return WINKLER(target, lower=lower, upper=upper, level=level)
