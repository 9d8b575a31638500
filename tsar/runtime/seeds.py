"""Seeds: a number in, the same numbers out, and the caller's own generators untouched."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch
from sklearn.utils import check_random_state


def draw_seed(random_state: object, *, resumable: bool = False) -> int:
    """A seed by `random_state` as scikit-learn means it.

    Raises
    ------
    ValueError
        The seed is not one of numpy; a run that must be resumable has no seed of its own.
    """
    if isinstance(random_state, Integral):
        if not 0 <= int(random_state) < 1 << 32:
            raise ValueError(
                f"random_state must be a seed from 0 to 2**32 - 1; got {random_state!r}. "
                "Give another number."
            )
        return int(random_state)
    if resumable:
        raise ValueError(
            f"random_state must be a number with Training(checkpoint=...); got {random_state!r}: "
            "another seed would be another run, which can't be continued. Give a number."
        )
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw by a seed within the block; the global generators are as before behind it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
