"""Work done a few rows at a time, as many as memory holds."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")
# How torch says that a CPU has no room left, which is a plain RuntimeError.
WORDS = ("can't allocate memory", "not enough memory")


def by_pieces(run: Callable[[slice], Result], count: int, most: int) -> Iterator[Result]:
    """Results of `run` for rows 0 to `count`, in order: `most` rows at a time at first.

    Where memory does not suffice for so many, half as many are tried, and no more from then on.

    Parameters
    ----------
    run
        Gives the result of some rows, which must not depend on how many there are.
    count, most
        Rows, and those at once.

    Raises
    ------
    torch.OutOfMemoryError, RuntimeError
        There is no room for a single row.

    Examples
    --------
    >>> list(by_pieces(lambda rows: list(range(rows.start, rows.stop)), 5, 2))
    [[0, 1], [2, 3], [4]]
    """
    begin, size = 0, most
    while begin < count:
        size = min(size, count - begin)
        found = _attempt(run, slice(begin, begin + size), last=size == 1)
        if found:
            yield found[0]
            begin += size
        else:
            size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _attempt(run: Callable[[slice], Result], rows: slice, *, last: bool) -> list[Result]:
    """The result, or nothing where there is no room for it.

    When this returns, what was allocated before the failure is free: nothing holds its frames.
    """
    try:
        return [run(rows)]
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        lacking = isinstance(error, torch.OutOfMemoryError)
        lacking = lacking or any(words in str(error) for words in WORDS)
        if lacking and last:
            error.add_note(
                "There is no room for a single row: give shorter contexts or horizons, or fewer "
                "sample paths."
            )
        if last or not lacking:
            raise
        return []
