"""What changes when the window of a sum of products moves by one lag."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.runs import CHUNK, Runs, power_class

TILE = 64  # lags whose mirrored products fit a first-level cache


@dataclass(frozen=True)
class Displacement:
    """Points gained and lost, lag by lag, by the windows of all runs of some groups.

    A step to the next lag gains a point at the head of each run and loses one at its tail.

    Parameters
    ----------
    groups : Tensor
        Groups in this batch.
    points : Tensor
        Heads, then tails of the runs, newest point first. Entry 0 of the lag axis is zero, so that
        cumulative sums start from lag 0.
    factor : Tensor
        Weight of the run; positive for a head, negative for a tail, 0 for padding.
    """

    groups: Int[Tensor, " group"]
    points: Float[Tensor, "group edge channel lag"]
    factor: Float[Tensor, "group edge"]

    def sums(self, first: Float[Tensor, "group channel"]) -> Float[Tensor, "group term"]:
        """Return the sums of the channels at every lag, given those at lag 0."""
        steps = torch.einsum("gecl,ge->gcl", self.points, self.factor)
        return (first[:, :, None] + steps.cumsum(-1)).flatten(1)

    def products(
        self, first: Float[Tensor, "group left channel lag"]
    ) -> Float[Tensor, "group term term"]:
        """Return the sums of products of all terms, given those with the channels at lag 0.

        The steps along a diagonal are products of the points: one cumulative sum adds them up.
        """
        groups, width, _, lags = first.shape
        points = self.points.transpose(1, 2)
        # With a row to spare, one step down the skewed view is one down and one right.
        buffer = first.new_empty(groups, width, width, lags + 1, lags)
        square = buffer[..., :-1, :]
        weighted = (points * self.factor[:, None, :, None]).mT
        for left in range(width):
            for right in range(width):  # each straight into its place: a copy takes milliseconds
                torch.bmm(weighted[:, left], points[:, right], out=square[:, left, right])
        square[..., 0, :] = first
        strides = (*buffer.stride()[:-2], lags + 1, 1)
        buffer.as_strided((groups, width, width, lags, lags), strides).cumsum_(-2)
        _mirror(square)
        return square.transpose(2, 3).reshape(groups, width * lags, width * lags)


def _mirror(square: Float[Tensor, "group left right lag lag"]) -> None:
    """Below its diagonal a square holds what wrapped around; the mirrored pair knows better."""
    other, lags = square.transpose(1, 2).mT, square.shape[-1]
    upper = torch.ones(TILE, TILE, dtype=torch.bool, device=square.device).triu()
    for begin in range(0, lags, TILE):  # in place: what is above the diagonal stays as it was
        end = min(begin + TILE, lags)
        here, below = slice(begin, end), slice(end, lags)
        size = end - begin
        tile = torch.where(upper[:size, :size], square[..., here, here], other[..., here, here])
        square[..., here, here] = tile
        square[..., below, here] = other[..., below, here]


def displacements(
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    max_lag: int,
    shift: Float[Tensor, "group channel"],
) -> Iterator[Displacement]:
    """Gather the edges of all usable runs, less the shift of their group, in float64.

    Groups with about as many runs come together, in batches of bounded memory.
    """
    size = max(max_lag, 1)
    for groups, begin, factor in _plan(runs, max_lag, len(channels)):
        groups, begin, factor = (x.to(channels.device) for x in (groups, begin, factor))
        windows = channels.unfold(1, size, 1)[:, begin.clamp(max=channels.shape[1] - size)]
        points = windows.double().movedim(0, 2).flip(-1) - shift[groups][:, None, :, None]
        padded = torch.nn.functional.pad(points[..., :max_lag], (1, 0))
        yield Displacement(groups, padded, factor)


def _plan(runs: Runs, max_lag: int, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield groups, where the edges of their runs begin, and with which factor they count."""
    starts, lengths, group, weights = runs.columns(torch.device("cpu"))
    usable = (lengths > max_lag).nonzero()[:, 0]
    usable = usable[group[usable].argsort(stable=True)]
    members, count = group[usable].unique_consecutive(return_counts=True)
    first = count.cumsum(0) - count
    classes = power_class(count)
    terms = width * (max_lag + 1)
    for kind in classes.unique().tolist():
        rank = torch.arange(2**kind)
        per_chunk = max(1, CHUNK // (terms * (terms + 2 * len(rank))))
        for chosen in (classes == kind).nonzero()[:, 0].split(per_chunk):
            # Groups with fewer runs than their class repeat the first one, with factor zero.
            real = rank < count[chosen, None]
            run = usable[first[chosen, None] + rank * real]
            begin = torch.cat([starts[run], (starts + lengths)[run] - max_lag], dim=1)
            factor = weights[run] * real
            yield members[chosen], begin, torch.cat([factor, -factor], dim=1)
