"""Random seeds from `random_state`, and seeded blocks that restore the global generators."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import torch
from sklearn.utils import check_random_state


def resolve_seed(random_state: object, *, resumable: bool = False) -> int:
    """Return a seed for `random_state`, which is None, an integer or a numpy generator.

    Parameters
    ----------
    random_state
        As in scikit-learn.
    resumable
        Whether a later run must be able to use the same seed, as a checkpoint requires.

    Raises
    ------
    ValueError
        The integer is no seed of numpy, or a resumable run has no integer seed.
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
            "another seed would be another run, which can't be resumed. Give a number."
        )
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random numbers within the block; restore the global generators after it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
