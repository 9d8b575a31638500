"""Low-rank updates that take lagged sums and Gram matrices from one lag to the next.

A Gram matrix of lagged values is nearly Toeplitz (it has a low displacement rank): one step down
its diagonal adds a point at the head of each segment and drops one at its tail.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.segments import Segments, power_of_two_class
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within

TILE = 64  # lags whose mirrored products fit a first-level cache


@dataclass(frozen=True)
class GramUpdate:
    """Points that the windows of some groups gain and lose, lag by lag.

    The `points` are heads, then tails of the segments, newest point first. Entry 0 of their lag
    axis is zero, so that cumulative sums start from lag 0. Their sign is 1 for a head, -1 for a
    tail, 0 for padding.
    """

    groups: Int[Tensor, " group"]
    points: Float[Tensor, "group edge channel lag"]
    sign: Float[Tensor, "group edge"]

    def sums(self, first: Float[Tensor, "group channel"]) -> Float[Tensor, "group term"]:
        """Sums of the channels at every lag, given those at lag 0."""
        steps = torch.einsum("gecl,ge->gcl", self.points, self.sign)
        return (first[:, :, None] + steps.cumsum(-1)).flatten(1)

    def products(
        self, first: Float[Tensor, "group left channel lag"]
    ) -> Float[Tensor, "group term term"]:
        """Sums of products of all terms, given those with the channels at lag 0.

        The steps along a diagonal are products of the points; one cumulative sum adds them up.
        """
        groups, width, _, lags = first.shape
        points = self.points.transpose(1, 2)
        # With one spare row, a step down the skewed view is one row down and one column right.
        buffer = first.new_empty(groups, width, width, lags + 1, lags)
        square = buffer[..., :-1, :]
        signed = (points * self.sign[:, None, :, None]).mT
        for left in range(width):
            for right in range(width):  # each written in place: a copy takes milliseconds
                torch.bmm(signed[:, left], points[:, right], out=square[:, left, right])
        square[..., 0, :] = first
        strides = (*buffer.stride()[:-2], lags + 1, 1)
        buffer.as_strided((groups, width, width, lags, lags), strides).cumsum_(-2)
        _mirror(square)
        return square.transpose(2, 3).reshape(groups, width * lags, width * lags)


def _mirror(square: Float[Tensor, "group left right lag lag"]) -> None:
    """Overwrite the entries below the diagonal, which wrapped around, by their mirror images."""
    other, lags = square.transpose(1, 2).mT, square.shape[-1]
    upper = torch.ones(TILE, TILE, dtype=torch.bool, device=square.device).triu()
    for begin in range(0, lags, TILE):  # in place: entries above the diagonal do not change
        end = min(begin + TILE, lags)
        here, below = slice(begin, end), slice(end, lags)
        size = end - begin
        tile = torch.where(upper[:size, :size], square[..., here, here], other[..., here, here])
        square[..., here, here] = tile
        square[..., below, here] = other[..., below, here]


def gram_updates(
    channels: Float[Tensor, "channel total"],
    segments: Segments,
    max_lag: int,
    shift: Float[Tensor, "group channel"],
) -> Iterator[GramUpdate]:
    """Gather the edges of all usable segments, less the shift of their group, in float64.

    Groups with similar numbers of segments come together, in batches of bounded memory.
    """
    size = max(max_lag, 1)
    for batch in _plan(segments, max_lag, len(channels)):
        groups, begin, sign = (x.to(channels.device) for x in batch)
        windows = channels.unfold(1, size, 1)[:, begin.clamp(max=channels.shape[1] - size)]
        points = windows.double().movedim(0, 2).flip(-1) - shift[groups][:, None, :, None]
        yield GramUpdate(groups, torch.nn.functional.pad(points[..., :max_lag], (1, 0)), sign)


def _plan(
    segments: Segments, max_lag: int, n_channels: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield groups, positions of the edges of their segments, and the signs of the edges."""
    usable = segments.longer_than(max_lag)
    starts, lengths, group = segments.on(torch.device("cpu"))
    present, count = group[usable].unique_consecutive(return_counts=True)
    first = count.cumsum(0) - count
    classes = power_of_two_class(count)
    terms = n_channels * (max_lag + 1)
    for exponent in classes.unique().tolist():
        rank = torch.arange(2**exponent)
        rows = rows_within(CACHE_ELEMENTS, terms * (terms + 2 * len(rank)))
        for chosen in (classes == exponent).nonzero()[:, 0].split(rows):
            # Groups with fewer segments than their class repeat their first one, with sign zero.
            real = rank < count[chosen, None]
            segment = usable[first[chosen, None] + rank * real]
            heads, tails = starts[segment], (starts + lengths)[segment] - max_lag
            sign = torch.cat([real.double(), -real.double()], dim=1)
            yield present[chosen], torch.cat([heads, tails], dim=1), sign
