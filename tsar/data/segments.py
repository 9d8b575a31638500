"""Reductions over series that lie end to end in one tensor, and over consecutive points."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

NOTHING = {"min": torch.inf, "max": -torch.inf, "sum": 0.0}  # what an empty segment gives


def common_length(offsets: Int[Tensor, " border"]) -> int | None:
    """Points of every segment where all have as many; the host waits here."""
    if len(offsets) < 2:
        return None
    least, most = offsets.diff().aminmax()
    return int(least) if bool(least == most) else None


def reduce(
    values: Shaped[Tensor, " time"],
    offsets: Int[Tensor, " border"],
    kind: Literal["min", "max", "sum"],
) -> Shaped[Tensor, " segment"]:
    """Least, largest or sum of the points of each segment.

    Parameters
    ----------
    offsets
        Segment i stands at ``values[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> reduce(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 3]), "sum")
    tensor([1., 6.])
    """
    length = common_length(offsets)
    if not length:
        return torch.segment_reduce(values, kind, offsets=offsets, initial=NOTHING[kind])
    # Rows of a matrix are reduced several times faster than segments.
    rows = values.view(-1, length)
    if kind == "sum":
        return rows.sum(dim=1)
    return rows.amin(dim=1) if kind == "min" else rows.amax(dim=1)


def aligned(
    values: Shaped[Tensor, " time"],
    facts: Shaped[Tensor, " segment"],
    offsets: Int[Tensor, " border"],
) -> tuple[Tensor, Tensor]:
    """Views of points, and the facts of their segments, in shapes that broadcast.

    Examples
    --------
    >>> torch.mul(*aligned(torch.ones(4), torch.tensor([1.0, 2.0]), torch.tensor([0, 2, 4])))
    tensor([[1., 1.],
            [2., 2.]])
    """
    length = common_length(offsets)
    if length:
        return values.view(-1, length), facts[:, None]
    return values, facts.repeat_interleave(offsets.diff(), output_size=len(values))


def mean(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, " segment"]:
    """Mean of the points of each segment, NaN left out; NaN where there is none.

    Examples
    --------
    >>> mean(torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([0, 1, 3]))
    tensor([1., 2.])
    """
    missing = values.isnan().nonzero()[:, 0]  # the host waits here
    absent = torch.searchsorted(missing, offsets).diff()
    present = values.nan_to_num(0.0) if len(missing) else values  # without gaps no copy
    return reduce(present, offsets, "sum") / (offsets.diff() - absent)


def root_mean_square(
    values: Float[Tensor, " time"], offsets: Int[Tensor, " border"]
) -> Float[Tensor, " segment"]:
    """Root of the mean square of the points of each segment, NaN left out.

    Examples
    --------
    >>> root_mean_square(torch.tensor([3.0, 4.0, 5.0]), torch.tensor([0, 2, 3]))
    tensor([3.5355, 5.0000])
    """
    length = common_length(offsets)
    if length and not bool(values.isnan().any()):
        rows = values.view(-1, length)
        return torch.linalg.vector_norm(rows, dim=1) / length**0.5  # without a copy
    return mean(values.square(), offsets).sqrt()


class _Moments(NamedTuple):
    """Mean, and sum of squares around it, of every so many consecutive points."""

    points: int
    mean: Float[Tensor, " window"]
    squares: Float[Tensor, " window"]

    def followed_by(self, other: "_Moments") -> "_Moments":
        """Moments of each of these windows and the one that begins where it ends."""
        points, windows = self.points + other.points, max(len(other.mean) - self.points, 0)
        mean, share = self.mean[:windows], other.points / points
        step = other.mean[self.points :] - mean
        squares = self.squares[:windows] + other.squares[self.points :]
        squares = squares + step.square() * (self.points * share)
        return _Moments(points, mean + step * share, squares)


def rolling_std(values: Float[Tensor, " time"], span: int) -> Float[Tensor, " window"]:
    """Standard deviation of every `span` consecutive points, in O(time * log(span)).

    Spans of 1, 2, 4 ... points are merged: sums of squares alone are added, so that nothing
    cancels, and what is constant has 0. (Chan et al. 1979)
    """
    nothing = values.new_zeros(len(values) + 1)
    whole, part = _Moments(0, nothing, nothing), _Moments(1, values, torch.zeros_like(values))
    for bit in f"{span:b}"[::-1]:
        if bit == "1":
            whole = whole.followed_by(part)
        part = part.followed_by(part)
    return (whole.squares / span).sqrt()
