"""Memory budgets, and computation in chunks of rows that fit them.

Budgets count elements, not bytes. Chunk sizes affect speed and memory, never the result.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

CACHE_ELEMENTS = 2**18  # 2 MB of float64: fits a processor cache
BLOCK_ELEMENTS = 2**22  # 32 MB: one working tensor
MAX_ELEMENTS = 2**24  # 128 MB: the largest tensor that an algorithm allocates at once

Result = TypeVar("Result")
# Messages of the plain RuntimeError that torch raises when a CPU runs out of memory.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")


def rows_within(budget: int, row_elements: int) -> int:
    """Rows of `row_elements` elements that fit a budget; at least one.

    Examples
    --------
    >>> rows_within(100, 30)
    3
    """
    return max(budget // max(row_elements, 1), 1)


def chunked(run: Callable[[slice], Result], count: int, chunk_size: int) -> Iterator[Result]:
    """Run over rows 0 to `count` in chunks, in order; halve the chunk size when memory runs out.

    Parameters
    ----------
    run
        Computes the result of a slice of rows, which must not depend on the size of the slice.
    count
        Number of rows.
    chunk_size
        Rows of a chunk, until memory runs out.

    Yields
    ------
    The results of the chunks.

    Raises
    ------
    torch.OutOfMemoryError, RuntimeError
        Memory does not suffice for a single row.

    Examples
    --------
    >>> list(chunked(lambda rows: list(range(rows.start, rows.stop)), 5, 2))
    [[0, 1], [2, 3], [4]]
    """
    begin, size = 0, chunk_size
    while begin < count:
        size = min(size, count - begin)
        results = _attempt(run, slice(begin, begin + size), last=size == 1)
        if results:
            yield results[0]
            begin += size
        else:
            size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _attempt(run: Callable[[slice], Result], rows: slice, *, last: bool) -> list[Result]:
    """A list with the result, or an empty one where memory ran out.

    On return the frames of the failed call are gone, and with them the tensors that they held.
    """
    try:
        return [run(rows)]
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        out_of_memory = out_of_memory or any(text in str(error) for text in OUT_OF_MEMORY)
        if out_of_memory and last:
            error.add_note(
                "Memory does not suffice for a single row: give shorter contexts or horizons, or "
                "fewer sample paths."
            )
        if last or not out_of_memory:
            raise
        return []
