"""Design matrices of a split for every size, and a check that they fit in memory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.complexity.representations import FrozenFeatures
from tsar.complexity.splits import Split
from tsar.data.panel import Panel
from tsar.validation import ParameterError

COPIES = 4  # of the largest design matrix at once: computed, centred, decomposed
MEMORY_SHARE = 0.5  # of the memory that these copies may take
# Files in which Linux control groups of version 2 and 1 state a container's limit in bytes.
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class DesignMatrices:
    """Features of all rows of a split, size by size, and responses in the features' units.

    With `rescale`, responses are taken in the units of each context, where the features have any.
    """

    def __init__(
        self,
        panel: Panel,
        features: FrozenFeatures,
        split: Split,
        sizes: Sequence[int],
        *,
        rescale: bool,
    ) -> None:
        self.panel, self.features, self.sizes = panel, features, sizes
        self.positions = torch.cat([rows.positions for rows in split.all_rows])
        largest = features.compute(panel, self.positions, max(sizes))
        self.largest = largest.values
        self.split = split
        if rescale and largest.units is not None:
            lengths = [len(rows) for rows in split.all_rows]
            level, scale, _ = (part.split(lengths) for part in largest.units)
            parts = zip(split.all_rows, level, scale, strict=True)
            self.split = Split(*(rows.standardize(*units) for rows, *units in parts))

    def of_size(self, size: int) -> Float[Tensor, "row feature"]:
        """Design matrix of some number of features."""
        if self.features.nested:
            return self.largest[:, :size]
        return self.features.compute(self.panel, self.positions, size).values

    def largest_known(self) -> Float[Tensor, "row feature"]:
        """Design matrix of the largest size, training and validation rows only."""
        n_rows = len(self.split.train) + len(self.split.validation)
        return self.of_size(max(self.sizes))[:n_rows]

    def by_size(self, device: torch.device) -> Iterator[tuple[int, Float[Tensor, "row feature"]]]:
        """Sizes and their design matrices, on a device."""
        for size in self.sizes:
            yield size, self.of_size(size).to(device)


def check_memory(n_rows: int, size: int) -> None:
    """Refuse a design matrix that does not fit in memory.

    Examples
    --------
    >>> check_memory(1000, 1000)
    """
    needed = COPIES * 8 * n_rows * size
    available = int(MEMORY_SHARE * _memory_bytes())
    if needed > available:
        raise ParameterError(
            "sizes",
            "fit in memory",
            f"{size:,} features of {n_rows:,} rows, which take {needed:,} bytes of the "
            f"{available:,} that may be used",
            "Leave out the largest sizes, or lower {n_train}.",
        )


def _memory_bytes() -> int:
    """Memory of this machine, or of the container (control group) that the process runs in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in CGROUP_LIMITS if path.is_file()]
    return min([physical, *(int(limit) for limit in limits if limit.isdigit())])
