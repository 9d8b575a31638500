"""Sizes to measure, and the features of each: as few copies as possible, and not too many."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tsar.complexity.representations import Frozen
from tsar.complexity.task import Split, standardized
from tsar.data.panel import Panel
from tsar.validation import ParameterError

A_DECADE = 6  # sizes
NEAR = (0.5, 0.7, 0.85, 0.95, 1.0, 1.05, 1.2, 1.5, 2.0)  # features a row, around the peak
MOST = 3000  # features where no sizes are given: a decomposition takes seconds
CLOSE = 0.1  # sizes that differ by less than that share of them tell the same
MOST_A_ROW = 5  # features a row, at most, where no sizes are given
COPIES = 4  # of all features that are held at once: made, centred, decomposed
SHARE_OF_MEMORY = 0.5  # that the features may take
# Where Linux says how many bytes a container may take, by version 2 and 1 of control groups.
LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_sizes(rows: int, limit: int | None) -> list[int]:
    """Sizes in equal ratios up to `MOST_A_ROW` features a row, closer around the peak.

    Examples
    --------
    >>> default_sizes(20, None)
    [1, 2, 3, 5, 7, 10, 14, 17, 19, 20, 21, 24, 30, 40, 46, 68, 100]
    """
    rows = max(rows, 1)
    top = max(min(MOST_A_ROW * rows, limit or MOST_A_ROW * rows, MOST), 1)
    count = max(round(A_DECADE * np.log10(top)), 1) + 1
    even = np.geomspace(1, top, count) if top > 1 else np.ones(1)
    near = [rows * ratio for ratio in NEAR if rows * ratio <= top]
    apart = [size for size in even if all(abs(size / other - 1) > CLOSE for other in near)]
    return sorted({round(float(size)) for size in [*apart, *near]})


def check_sizes(sizes: Any, limit: int | None) -> list[int]:
    """The sizes that were given, ascending."""
    wrong = not isinstance(sizes, Sequence | np.ndarray) or isinstance(sizes, str) or not len(sizes)
    found = [] if wrong else list(sizes)
    whole = [isinstance(size, int | np.integer) and int(size) >= 1 for size in found]
    if wrong or not all(whole):
        raise ParameterError(
            "sizes", "be integers of at least 1", repr(sizes), "Give numbers of features."
        )
    largest = max(found)
    if limit is not None and largest > limit:
        raise ParameterError(
            "sizes",
            f"be at most {limit}, all that the representation has",
            str(largest),
            "Leave the larger ones out.",
        )
    return sorted({int(size) for size in found})


class SizedFeatures:
    """Features of the rows of a split, size by size, and responses in their units."""

    def __init__(
        self, panel: Panel, frozen: Frozen, split: Split, sizes: Sequence[int], units: bool
    ) -> None:
        self.panel, self.frozen, self.sizes = panel, frozen, sizes
        self.places = torch.cat([part.places for part in split.every])
        largest = frozen.tell(panel, self.places, max(sizes))
        self.largest = largest.features
        self.split = split
        if units and largest.units is not None:
            lengths = [len(part) for part in split.every]
            level, scale, _ = (part.split(lengths) for part in largest.units)
            parts = zip(split.every, level, scale, strict=True)
            self.split = Split(*(standardized(*part) for part in parts))

    def features(self, size: int) -> Float[Tensor, "row feature"]:
        """Features of all rows."""
        if self.frozen.nested:
            return self.largest[:, :size]
        return self.frozen.tell(self.panel, self.places, size).features

    def sized(self, device: torch.device) -> Iterator[tuple[int, Float[Tensor, "row feature"]]]:
        """Sizes and features, on a device."""
        for size in self.sizes:
            yield size, self.features(size).to(device)


def check_memory(rows: int, size: int) -> None:
    """Refuse features that do not fit in memory.

    Examples
    --------
    >>> check_memory(1000, 1000)
    """
    needed = COPIES * 8 * rows * size
    there = int(SHARE_OF_MEMORY * _memory())
    if needed > there:
        raise ParameterError(
            "sizes",
            "fit in memory",
            f"{size:,} features of {rows:,} rows, which take {needed:,} bytes where {there:,} may "
            "be used",
            "Leave the largest sizes out, or lower {n_train}.",
        )


def _memory() -> int:
    """Bytes of this machine, or of the container (control group) that this process runs in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return min([whole, *(int(limit) for limit in limits if limit.isdigit())])
