"""Sequences stored end to end in one tensor, and padded blocks of sequences of similar length."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from tsar.data.segments import reduce, segment_rows
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within


@dataclass(frozen=True)
class Block:
    """Padded sequences of similar length; values are NaN after the end of each, and where missing.

    `sequences` and `rows` are the indices of each sequence, and of each point, among all of the
    observations.
    """

    values: Float[Tensor, "sequence time feature"]
    lengths: Int[Tensor, " sequence"]
    sequences: Int[Tensor, " sequence"]
    rows: Int[Tensor, "sequence time"]

    def take(self, chosen: Int[Tensor, " row"]) -> "Block":
        """The sequences with these indices; an index may occur more than once."""
        return Block(
            self.values[chosen], self.lengths[chosen], self.sequences[chosen], self.rows[chosen]
        )

    def unpad(
        self, padded: Shaped[Tensor, "sequence time ..."]
    ) -> tuple[Int[Tensor, " point"], Shaped[Tensor, "point ..."]]:
        """Remove the padding: the row of each point, and its values."""
        inside = torch.arange(self.rows.shape[1], device=self.rows.device) < self.lengths[:, None]
        return self.rows[inside], padded[inside]


@dataclass(frozen=True)
class Observations:
    """Sequences stored end to end: sequence i is ``values[offsets[i]:offsets[i + 1]]``.

    Values are NaN where a feature is missing.

    Examples
    --------
    >>> pair = Observations(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3]))
    >>> [block.values.shape for block in pair.blocks()]
    [torch.Size([1, 1, 1]), torch.Size([1, 2, 1])]
    """

    values: Float[Tensor, "time feature"]
    offsets: Int[Tensor, " border"]

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Int[Tensor, " sequence"]:
        """Number of points of each sequence."""
        return self.offsets.diff()

    @cached_property
    def observed(self) -> Bool[Tensor, " time"]:
        """Whether at least one feature of a point is observed."""
        return ~self.values.isnan().all(-1)

    def select(self, sequences: Int[Tensor, " chosen"]) -> "Observations":
        """The sequences with these indices, in this order."""
        return self._segments(self.offsets[sequences], self.lengths[sequences])

    def drop_empty(self) -> "Observations":
        """Drop sequences without an observed point; device synchronization."""
        nobs = reduce(self.observed.double(), self.offsets, "sum")
        return self if bool((nobs > 0).all()) else self.select(nobs.nonzero()[:, 0])

    def truncate(self, lengths: Int[Tensor, " sequence"]) -> "Observations":
        """The first points of each sequence, at most as many as `lengths` says."""
        return self._segments(self.offsets[:-1], torch.minimum(lengths, self.lengths))

    def _segments(
        self, first: Int[Tensor, " segment"], lengths: Int[Tensor, " segment"]
    ) -> "Observations":
        """Segments of the values as new sequences."""
        rows, offsets = segment_rows(first, lengths)
        return Observations(self.values[rows], offsets)

    def blocks(self, width: int = 1) -> Iterator[Block]:
        """Blocks of sequences within a factor of two in length, of bounded memory.

        The caller needs `width` float64 for each point.
        """
        lengths = self.lengths.cpu()
        powers = lengths.clamp(min=1).double().log2().ceil().long()
        for power in powers.unique().tolist():
            chosen = (powers == power).nonzero()[:, 0]
            longest = int(lengths[chosen].max())
            if longest:
                for part in chosen.split(rows_within(BLOCK_ELEMENTS, longest * width)):
                    yield self._block(part.to(self.offsets.device))

    def _block(self, sequences: Int[Tensor, " sequence"]) -> Block:
        lengths = self.lengths[sequences]
        step = torch.arange(int(lengths.max()), device=lengths.device)
        rows = self.offsets[sequences][:, None] + step
        inside = step < lengths[:, None]
        values = self.values[rows.clamp(max=len(self.values) - 1)]
        return Block(values.masked_fill(~inside[:, :, None], torch.nan), lengths, sequences, rows)
