"""Registry of the dataclasses that a saved model may hold, by names of their own."""

from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type[Any])

RECORDS: dict[str, type[Any]] = {}


def record(name: str) -> Callable[[Class], Class]:
    """Register a dataclass, which is saved under `name`.

    Raises
    ------
    ValueError
        Another class has the name.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @record("point")
    ... @dataclass(frozen=True)
    ... class Point:
    ...     x: float
    >>> RECORDS.pop("point").__name__
    'Point'
    """

    def register(cls: Class) -> Class:
        registered = RECORDS.setdefault(name, cls)
        if registered is not cls:
            raise ValueError(
                f"name must be unused; got {name!r}, the name of {registered}. Choose another one."
            )
        return cls

    return register
