"""Scores of a prediction interval: how often it holds, how wide it is, and both in one."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.metrics.metric import Metric


def _inside(target: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    inside = ((lower <= target) & (target <= upper)).to(target.dtype)
    # A comparison with NaN is False: without this a forecast that failed would be a mere miss.
    return inside.where(~(lower.isnan() | upper.isnan()), torch.nan)


def _width(target: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return upper - lower


def _interval_score(target: Tensor, lower: Tensor, upper: Tensor, level: int | float) -> Tensor:
    if not 0 <= level < 100:
        raise ValueError(
            f"level must be a percentage from 0 to below 100; got {level}. "
            "Pass 80 for an interval that holds four times out of five."
        )
    missed = (lower - target).relu() + (target - upper).relu()
    return _width(target, lower, upper) + missed * 2 / (1 - level / 100)


COVERAGE = Metric("coverage", _inside, needs=("lower", "upper"))
INTERVAL_WIDTH = Metric("interval_width", _width, needs=("lower", "upper"))
WINKLER = Metric("winkler", _interval_score, needs=("lower", "upper", "level"))


def coverage(
    target: Float[Tensor, "*shape"],
    lower: Float[Tensor, "*shape"],
    upper: Float[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Return the fraction of targets inside their interval, ends included, from 0 to 1.

    Parameters
    ----------
    target
        What happened; NaN where it is not known.
    lower, upper
        The ends of the intervals.

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
        What happened; NaN where it is not known. Only its gaps matter here: the width is averaged
        over the same points as `coverage`.
    lower, upper
        The ends of the intervals.

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
    """Return the mean interval score of Winkler, in the units of the target; lower is better.

    The width, and for a target outside 2 / (1 - level / 100) times its distance to the interval. It
    is 2 / (1 - level / 100) times the summed pinball losses of the two ends.

    Parameters
    ----------
    target
        What happened; NaN where it is not known.
    lower, upper
        The ends of the intervals.
    level
        The coverage that the intervals claim, in percent, from 0 to below 100.

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
