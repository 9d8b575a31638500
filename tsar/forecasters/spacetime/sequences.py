"""Labelled sequences: what a classifier is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Sequences with the codes of their classes; also one batch of them."""

    values: Float[Tensor, "sequence channel time"]
    codes: Int[Tensor, " sequence"]

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        """Where the sequences are."""
        return self.values.device

    @property
    def settings(self) -> tuple[int, ...]:
        """Empty: `tensors` determine the sequences."""
        return ()

    @property
    def count(self) -> Tensor:
        """How many the mean loss is over."""
        return self.codes.new_tensor(len(self))

    def tensors(self) -> list[Tensor]:
        """All that there is."""
        return [self.values, self.codes]

    def batch(self, rows: Int[Tensor, " row"] | slice) -> "Sequences":
        """Some of the sequences."""
        return Sequences(self.values[rows], self.codes[rows])

    def batches(self, size: int) -> Iterator["Sequences"]:
        """All sequences in order, `size` at a time."""
        for first in range(0, len(self), size):
            yield self.batch(slice(first, first + size))

    def parted(self, share: float) -> tuple["Sequences", "Sequences"]:
        """All but a share of each class, and that share: rows spread evenly, one always left."""
        held = torch.zeros(len(self), dtype=torch.bool)
        codes = self.codes.cpu()
        for code in codes.unique():
            rows = (codes == code).nonzero()[:, 0]
            most = min(round(len(rows) * share), len(rows) - 1)
            held[rows[torch.arange(most) * len(rows) // max(most, 1)]] = True
        rows = torch.arange(len(self))
        return self.batch(rows[~held]), self.batch(rows[held])
