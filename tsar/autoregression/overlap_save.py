"""Overlap-save blocks: equal windows on segments, for exact cross-correlations by FFT."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.segments import Segments, power_of_two_class
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within


@dataclass(frozen=True)
class Blocks:
    """Windows of equal size on the flat tensor, each within one segment.

    Parameters
    ----------
    size : int
        Points of each window.
    begin : Tensor
        Position of the first point of each window in the flat tensor.
    end : Tensor
        Number of points of each window that belong to its segment; the others are read as zero.
    max_lag : int
        Targets of the regression are the points from here to `end`.
    groups : Tensor
        Groups that occur.
    group_index : Tensor
        Index of the group of each block in `groups`.
    within : bool
        Whether no window passes the end of the flat tensor.
    """

    size: int
    begin: Int[Tensor, " block"]
    end: Int[Tensor, " block"]
    max_lag: int
    group_index: Int[Tensor, " block"]
    groups: Int[Tensor, " present"]
    within: bool

    def read(
        self, channels: Float[Tensor, "channel total"], shift: Float[Tensor, "group channel"]
    ) -> Float[Tensor, "block channel size"]:
        """Windows in float64, less the shift of their group, and zero outside their segment."""
        windows = self._windows(channels).double()
        centred = windows - shift[self.groups[self.group_index]][:, :, None]
        return torch.where(self._from(0)[:, None], centred, 0.0)

    def _windows(
        self, channels: Float[Tensor, "channel total"]
    ) -> Float[Tensor, "block channel size"]:
        """Windows, the last point repeated after the end of the tensor."""
        total = channels.shape[1]
        if self.within:
            return channels.unfold(1, self.size, 1).transpose(0, 1)[self.begin]
        rows = self.begin[:, None] + torch.arange(self.size, device=self.begin.device)
        return channels[:, rows.clamp(max=total - 1)].transpose(0, 1)

    def target_mask(self) -> Bool[Tensor, "block size"]:
        """Mark the points of each window that are targets of the regression."""
        return self._from(self.max_lag)

    def sum_by_group(self, values: Tensor) -> Tensor:
        """Sum the rows of `values`, one per block, into one row per present group."""
        if len(self.groups) == len(self.group_index):
            return values  # one block per group: the blocks are sorted by group
        total = values.new_zeros(len(self.groups), *values.shape[1:])
        return total.index_add_(0, self.group_index, values)

    def _from(self, first: int) -> Bool[Tensor, "block size"]:
        position = torch.arange(self.size, device=self.end.device)
        return (position >= first) & (position < self.end[:, None])


def overlap_save_blocks(
    segments: Segments, max_lag: int, total: int, device: torch.device, *, width: int
) -> Iterator[Blocks]:
    """Cut segments into blocks of few sizes and yield them in chunks of bounded memory.

    A block of size F holds F - max_lag targets after the max_lag points before them, so that a
    circular product of length F is exact (overlap-save).

    Parameters
    ----------
    total
        Length of the flat tensor.
    width
        Elements in float64 that a chunk needs for each point of a block.

    Yields
    ------
    Blocks
        On `device`. They are planned on the CPU: device synchronization if the segments are not
        there. A chunk within `CACHE_ELEMENTS` keeps its transforms near the processor's cache and
        its temporaries small, and still hides the launch of its dozen kernels.
    """
    usable = segments.longer_than(max_lag)
    columns = tuple(column[usable] for column in segments.on(torch.device("cpu")))
    # 8192 points of float64 fit a first-level cache; with four times the lag, the repeated overlap
    # is at most a quarter of the work. Powers of two are the fastest sizes.
    longest = max(8192, 1 << (4 * max_lag - 1).bit_length()) if max_lag else 8192
    # A size depends on the length of the segment alone, so that no other changes a rounding.
    sizes = _block_sizes(columns[1]).clamp(max=longest)
    for size in sizes.unique().tolist():
        chosen = sizes == size
        table = _block_table(tuple(column[chosen] for column in columns), max_lag, size)
        rows = rows_within(CACHE_ELEMENTS, size * width)
        chunks = _chunk_sizes(table[2], rows)
        for begin, end, group in zip(*(x.split(chunks) for x in table), strict=True):
            groups, index = group.unique_consecutive(return_inverse=True)
            within = int(begin.max()) + size <= total
            tensors = (begin, end, index, groups)
            begin, end, index, groups = (x.to(device) for x in tensors)
            yield Blocks(size, begin, end, max_lag, index, groups, within)


def _block_sizes(lengths: Int[Tensor, " segment"]) -> Int[Tensor, " segment"]:
    """Smallest of 5, 6, 7 or 8 times a power of two that is even and at least the length.

    Fast for a Fourier transform, with at most a quarter of padding, and few for all lengths.
    """
    lengths = lengths.clamp(min=16)
    unit = 1 << (power_of_two_class(lengths) - 3)
    return (lengths + unit - 1) // unit * unit


def _chunk_sizes(group: Int[Tensor, " block"], rows: int) -> list[int]:
    """Numbers of successive blocks, about `rows` and less than twice as many.

    A group of at most `rows` blocks is in one chunk, one of more begins one: its blocks are added
    up in the same order whatever the other groups are.
    """
    count = group.unique_consecutive(return_counts=True)[1]
    first = count.cumsum(0) - count
    index = torch.arange(len(group))
    large = (count > rows).repeat_interleave(count)
    begin = first.repeat_interleave(count)
    chunk = torch.where(large, index - (index - begin) % rows, begin // rows * rows)
    new = (chunk.diff() != 0) | (large.diff() != 0)
    new |= large[1:] & (begin.diff() != 0)
    borders = [0, *(new.nonzero()[:, 0] + 1).tolist(), len(group)]
    return [last - start for start, last in itertools.pairwise(borders)]


def _block_table(
    segments: tuple[Tensor, ...], max_lag: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns begin, end and group of the blocks of some segments."""
    starts, lengths, group = segments
    hop = size - max_lag
    n_blocks = (lengths - max_lag + hop - 1) // hop
    segment = torch.arange(len(starts)).repeat_interleave(n_blocks)
    rank = torch.arange(len(segment)) - (n_blocks.cumsum(0) - n_blocks)[segment]
    begin = starts[segment] + rank * hop
    end = ((starts + lengths)[segment] - begin).clamp(max=size)
    return begin, end, group[segment]
