"""Overlap-save blocks: equal windows on segments, for exact cross-correlations by FFT."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.segments import Segments, power_of_two_class
from tsar.nn.convolution import next_fast_length
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
    first_point, end : Tensor
        Bounds, within each window, of the points of its segment. Points outside them belong to
        other segments and are read as zero.
    first_target : Tensor
        Targets of the regression are the points from here to `end`.
    groups : Tensor
        Groups that occur.
    group_index : Tensor
        Index of the group of each block in `groups`.
    """

    size: int
    begin: Int[Tensor, " block"]
    first_point: Int[Tensor, " block"]
    first_target: Int[Tensor, " block"]
    end: Int[Tensor, " block"]
    group_index: Int[Tensor, " block"]
    groups: Int[Tensor, " present"]

    def read(
        self, channels: Float[Tensor, "channel total"], shift: Float[Tensor, "group channel"]
    ) -> Float[Tensor, "block channel size"]:
        """Windows in float64, less the shift of their group, and zero outside their segment."""
        missing = self.size - channels.shape[1]
        padded = torch.nn.functional.pad(channels, (0, missing)) if missing > 0 else channels
        windows = padded.unfold(1, self.size, 1).transpose(0, 1)[self.begin].double()
        centred = windows - shift[self.groups[self.group_index]][:, :, None]
        return torch.where(self._from(self.first_point)[:, None], centred, 0.0)

    def target_mask(self) -> Bool[Tensor, "block size"]:
        """Mark the points of each window that are targets of the regression."""
        return self._from(self.first_target)

    def sum_by_group(self, values: Tensor) -> Tensor:
        """Sum the rows of `values`, one per block, into one row per present group."""
        if len(self.groups) == len(self.group_index):
            return values  # one block per group: the blocks are sorted by group
        total = values.new_zeros(len(self.groups), *values.shape[1:])
        return total.index_add_(0, self.group_index, values)

    def _from(self, first: Int[Tensor, " block"]) -> Bool[Tensor, "block size"]:
        position = torch.arange(self.size, device=first.device)
        return (position >= first[:, None]) & (position < self.end[:, None])


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
    # Segments of the same power of two share a size: at most 2x padding, about a dozen sizes.
    lengths = columns[1]
    classes = power_of_two_class(lengths.clamp(max=longest))
    for exponent in classes.unique().tolist():
        chosen = classes == exponent
        size = min(next_fast_length(int(lengths[chosen].max())), longest)
        table = _block_table(tuple(column[chosen] for column in columns), max_lag, size, total)
        rows = rows_within(CACHE_ELEMENTS, size * width)
        for begin, first, end, group in zip(*(x.split(rows) for x in table), strict=True):
            groups, index = group.unique_consecutive(return_inverse=True)
            tensors = (begin, first, first + max_lag, end, index, groups)
            yield Blocks(size, *(x.to(device) for x in tensors))


def _block_table(
    segments: tuple[Tensor, ...], max_lag: int, size: int, total: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns begin, first_point, end and group of the blocks of some segments."""
    starts, lengths, group = segments
    hop = size - max_lag
    n_blocks = (lengths - max_lag + hop - 1) // hop
    segment = torch.arange(len(starts)).repeat_interleave(n_blocks)
    rank = torch.arange(len(segment)) - (n_blocks.cumsum(0) - n_blocks)[segment]
    ideal = starts[segment] + rank * hop
    # A window that would pass the end of the tensor begins earlier, before its first point.
    begin = ideal.clamp(max=max(total - size, 0))
    end = (torch.minimum((starts + lengths)[segment], ideal + size) - begin).clamp(max=size)
    return begin, ideal - begin, end, group[segment]
