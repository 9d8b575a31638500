"""Observed segments of series: the stretches without a missing value that windows lie within."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.runtime.memory import CACHE_ELEMENTS


@dataclass(frozen=True)
class Segments:
    """Contiguous observed segments of series that lie end to end in one flat tensor.

    Parameters
    ----------
    starts : Tensor
        Position of the first point of each segment in the flat tensor.
    lengths : Tensor
        Points in each segment.
    group : Tensor
        System of equations, 0 to `n_groups - 1`, that each segment is summed into.
    n_groups : int
        Number of systems; a group may be empty.

    Examples
    --------
    >>> import torch
    >>> segments = Segments(torch.tensor([0, 5]), torch.tensor([5, 4]), torch.tensor([0, 1]), 2)
    >>> segments.pooled().group
    tensor([0, 0])
    """

    starts: Int[Tensor, " segment"]
    lengths: Int[Tensor, " segment"]
    group: Int[Tensor, " segment"]
    n_groups: int

    def on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Starts, lengths and groups on a device."""
        return self.starts.to(device), self.lengths.to(device), self.group.to(device)

    def longer_than(self, max_lag: int) -> Int[Tensor, " usable"]:
        """Rows of the segments with a target after `max_lag` points, sorted by group; on the CPU.

        Device synchronization unless the segments are on the CPU.
        """
        _, lengths, group = self.on(torch.device("cpu"))
        usable = (lengths > max_lag).nonzero()[:, 0]
        return usable[group[usable].argsort(stable=True)]

    def select(self, groups: slice) -> "Segments":
        """Segments of consecutive groups, which are numbered from 0."""
        if groups.start == 0 and groups.stop == self.n_groups:
            return self
        inside = (self.group >= groups.start) & (self.group < groups.stop)
        group, n_groups = self.group[inside] - groups.start, groups.stop - groups.start
        return Segments(self.starts[inside], self.lengths[inside], group, n_groups)

    def bridged(self) -> "Segments":
        """One segment for each group, from its first point to its last, over the gaps between."""
        ends = self.starts + self.lengths
        first = self.starts.new_full((self.n_groups,), torch.iinfo(torch.int64).max)
        first = first.scatter_reduce(0, self.group, self.starts, "amin")
        last = self.starts.new_zeros(self.n_groups).scatter_reduce(0, self.group, ends, "amax")
        group = (last > 0).nonzero()[:, 0]
        return Segments(first[group], (last - first)[group], group, self.n_groups)

    def take(self, groups: Int[Tensor, " taken"]) -> "Segments":
        """Segments of some groups, which are numbered from 0 in the given order."""
        number = torch.full((self.n_groups,), -1, dtype=torch.int64, device=self.group.device)
        number[groups.to(number.device)] = torch.arange(len(groups), device=number.device)
        group = number[self.group]
        inside = group >= 0
        return Segments(self.starts[inside], self.lengths[inside], group[inside], len(groups))

    def pooled(self) -> "Segments":
        """The same segments summed into one system."""
        return Segments(self.starts, self.lengths, torch.zeros_like(self.group), 1)


def observed_segments(
    values: Float[Tensor, "channel total"], offsets: Int[Tensor, " border"]
) -> Segments:
    """Find the stretches of each series in which every channel is finite.

    Parameters
    ----------
    values : Tensor
        Series laid end to end; NaN or infinite where missing.
    offsets : Tensor
        Where each series begins, and the end of the last: one more than there are series.

    Returns
    -------
    Segments
        In the order of time, with the number of the series as `group`. A series without a finite
        point has no segment. Device synchronization.

    Examples
    --------
    >>> import torch
    >>> nan = float("nan")
    >>> values = torch.tensor([[1.0, 2.0, nan, 4.0, 5.0, 6.0]])
    >>> segments = observed_segments(values, torch.tensor([0, 5, 6]))
    >>> segments.starts.tolist(), segments.lengths.tolist(), segments.group.tolist()
    ([0, 3, 5], [2, 2, 1], [0, 0, 1])
    """
    # In chunks, because isfinite copies.
    chunks = values.split(CACHE_ELEMENTS // 8, dim=1)
    complete = torch.cat([chunk.isfinite().all(0) for chunk in chunks])
    lengths = offsets.diff()
    if bool(complete.all()):  # each series is one segment; device synchronization
        present = lengths.nonzero()[:, 0]
        return Segments(offsets[present], lengths[present], present, len(lengths))
    padded = torch.nn.functional.pad(complete, (1, 1))
    border = torch.zeros(len(complete) + 1, dtype=torch.bool, device=values.device)
    border[offsets] = True
    begins = padded[1:] & (~padded[:-1] | border)
    ends = padded[:-1] & (~padded[1:] | border)
    starts = begins.nonzero()[:, 0]
    lengths = ends.nonzero()[:, 0] - starts
    series = torch.searchsorted(offsets, starts, right=True) - 1
    return Segments(starts, lengths, series, len(offsets) - 1)


def power_of_two_class(sizes: Int[Tensor, " item"]) -> Int[Tensor, " item"]:
    """Exponents of the powers of two that the sizes round up to."""
    return sizes.double().log2().ceil().long()


def size_classes(sizes: Int[Tensor, " item"]) -> Iterator[tuple[Int[Tensor, " row"], int]]:
    """Rows of similar sizes, and the power of two that holds them; device synchronization.

    Systems that are padded to it depend on themselves alone: padding changes the rounding.

    Examples
    --------
    >>> import torch
    >>> [(rows.tolist(), size) for rows, size in size_classes(torch.tensor([1, 4, 0, 3]))]
    [([0, 2], 1), ([1, 3], 4)]
    """
    classes = power_of_two_class(sizes.clamp(min=1))
    for exponent in classes.unique().tolist():
        yield (classes == exponent).nonzero()[:, 0], 2**exponent
