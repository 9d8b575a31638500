"""The grid of model sizes: default sizes around the interpolation threshold, and checks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsar.validation import ParameterError

SIZES_PER_DECADE = 6
# Features per row around the interpolation threshold that are measured in any case.
THRESHOLD_RATIOS = (0.5, 0.7, 0.85, 0.95, 1.0, 1.05, 1.2, 1.5, 2.0)
MAX_SIZE, MAX_RATIO = 3000, 5  # features, and features per row; a decomposition takes seconds
MIN_DISTANCE = 0.1  # relative distance of other sizes from those around the threshold


def default_sizes(n_rows: int, limit: int | None) -> list[int]:
    """Sizes in equal ratios up to `MAX_RATIO` features per row, denser around the threshold.

    `n_rows` is the number of training rows, `limit` the largest size of the representation.

    Examples
    --------
    >>> default_sizes(20, None)
    [1, 2, 3, 5, 7, 10, 14, 17, 19, 20, 21, 24, 30, 40, 46, 68, 100]
    """
    n_rows = max(n_rows, 1)
    largest = max(min(MAX_RATIO * n_rows, limit or MAX_RATIO * n_rows, MAX_SIZE), 1)
    count = max(round(SIZES_PER_DECADE * np.log10(largest)), 1) + 1
    geometric = np.geomspace(1, largest, count) if largest > 1 else np.ones(1)
    near = [n_rows * ratio for ratio in THRESHOLD_RATIOS if n_rows * ratio <= largest]
    distinct = [
        size for size in geometric if all(abs(size / other - 1) > MIN_DISTANCE for other in near)
    ]
    return sorted({round(float(size)) for size in [*distinct, *near]})


def check_sizes(sizes: Any, limit: int | None) -> list[int]:
    """The sizes that a user gave, ascending and without repetitions."""
    is_list = isinstance(sizes, Sequence | np.ndarray) and not isinstance(sizes, str)
    values = list(sizes) if is_list else []
    whole = [isinstance(size, int | np.integer) and int(size) >= 1 for size in values]
    if not values or not all(whole):
        raise ParameterError(
            "sizes", "be integers of at least 1", repr(sizes), "Give numbers of features."
        )
    largest = max(values)
    if limit is not None and largest > limit:
        raise ParameterError(
            "sizes",
            f"be at most {limit}, the largest size of the representation",
            str(largest),
            "Leave out the larger ones.",
        )
    return sorted({int(size) for size in values})
