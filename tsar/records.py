"""Dataclasses that a saved model may hold, each under a name that outlives its module's path."""

from collections.abc import Callable
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type[Any])

RECORDS: dict[str, type[Any]] = {}


def record(name: str) -> Callable[[Kind], Kind]:
    """Let models that hold this dataclass be saved, under `name` in the file.

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

    def register(kind: Kind) -> Kind:
        known = RECORDS.setdefault(name, kind)
        if known is not kind:
            raise ValueError(f"name must be new; got {name!r}, which is {known}. Choose another.")
        return kind

    return register
