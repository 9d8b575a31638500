"""Reductions over segments of a tensor (series end to end), and rolling standard deviations."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

EMPTY_RESULT = {"min": torch.inf, "max": -torch.inf, "sum": 0.0}  # of a segment without points


def common_length(offsets: Int[Tensor, " border"]) -> int | None:
    """Length of all segments if they are equally long, else None (a device synchronization)."""
    if len(offsets) < 2:
        return None
    shortest, longest = offsets.diff().aminmax()
    return int(shortest) if bool(shortest == longest) else None


def segment_rows(
    first: Int[Tensor, " segment"], lengths: Int[Tensor, " segment"]
) -> tuple[Int[Tensor, " row"], Int[Tensor, " border"]]:
    """Rows of segments, given the first row and the length of each, and their new offsets.

    Examples
    --------
    >>> segment_rows(torch.tensor([5, 0]), torch.tensor([2, 1]))
    (tensor([5, 6, 0]), tensor([0, 2, 3]))
    """
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    shift = (first - offsets[:-1]).repeat_interleave(lengths)
    return torch.arange(len(shift), device=shift.device) + shift, offsets


def reduce(
    values: Shaped[Tensor, " time"],
    offsets: Int[Tensor, " border"],
    kind: Literal["min", "max", "sum"],
) -> Shaped[Tensor, " segment"]:
    """Minimum, maximum or sum of each segment, ``values[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> reduce(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 3]), "sum")
    tensor([1., 6.])
    """
    # The order of a sum determines its last bits: that of `segment_reduce` depends on the segment
    # alone. For the others, reducing rows of a matrix is several times faster.
    length = None if kind == "sum" else common_length(offsets)
    if not length:
        return torch.segment_reduce(values, kind, offsets=offsets, initial=EMPTY_RESULT[kind])
    rows = values.view(-1, length)
    return rows.amin(dim=1) if kind == "min" else rows.amax(dim=1)


def broadcastable(
    values: Shaped[Tensor, " time"],
    per_segment: Shaped[Tensor, " segment"],
    offsets: Int[Tensor, " border"],
) -> tuple[Tensor, Tensor]:
    """View of the points, and one value per segment, in shapes that broadcast.

    Examples
    --------
    >>> torch.mul(*broadcastable(torch.ones(4), torch.tensor([1.0, 2.0]), torch.tensor([0, 2, 4])))
    tensor([[1., 1.],
            [2., 2.]])
    """
    length = common_length(offsets)
    if length:
        return values.view(-1, length), per_segment[:, None]
    return values, per_segment.repeat_interleave(offsets.diff(), output_size=len(values))


def mean(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, " segment"]:
    """Mean of each segment without its NaN; NaN where nothing is left.

    Examples
    --------
    >>> mean(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([0, 1, 3]))
    tensor([1., 2.])
    """
    missing = values.isnan().nonzero()[:, 0]  # a device synchronization
    n_missing = torch.searchsorted(missing, offsets).diff()
    filled = values.nan_to_num(0.0) if len(missing) else values  # no copy without gaps
    return reduce(filled, offsets, "sum") / (offsets.diff() - n_missing)


def root_mean_square(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, " segment"]:
    """Root mean square of each segment without its NaN.

    Examples
    --------
    >>> root_mean_square(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([0, 2, 3]))
    tensor([3.5355, 5.0000])
    """
    return mean(values.square(), offsets).sqrt()


class _RollingMoments(NamedTuple):
    """Mean, and sum of squared deviations from it, of every `length` consecutive points."""

    length: int
    mean: Float[Tensor, " window"]
    squares: Float[Tensor, " window"]

    def merge(self, other: "_RollingMoments") -> "_RollingMoments":
        """Moments of these windows, each extended by the window of `other` that follows it."""
        length = self.length + other.length
        n_windows = max(len(other.mean) - self.length, 0)
        mean, weight = self.mean[:n_windows], other.length / length
        difference = other.mean[self.length :] - mean
        squares = self.squares[:n_windows] + other.squares[self.length :]
        squares = squares + difference.square() * (self.length * weight)
        return _RollingMoments(length, mean + difference * weight, squares)


def rolling_std(values: Float[Tensor, " time"], window: int) -> Float[Tensor, " window"]:
    """Standard deviation of every `window` consecutive points, in O(time * log(window)).

    Windows of 1, 2, 4 ... points are merged (Chan, Golub & LeVeque 1979): only sums of squares are
    added, so that nothing cancels, and constant windows have exactly 0.
    """
    zeros = values.new_zeros(len(values) + 1)
    result = _RollingMoments(0, zeros, zeros)
    power = _RollingMoments(1, values, torch.zeros_like(values))
    for bit in f"{window:b}"[::-1]:
        if bit == "1":
            result = result.merge(power)
        power = power.merge(power)
    return (result.squares / window).sqrt()
