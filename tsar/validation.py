"""What an option must be: a test of its value, and the words for it."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

Condition = tuple[Callable[[Any], bool], str]


class Mismatch(ValueError):  # noqa: N818 - it says what is wrong, not that something is
    """Parts that do not belong together: each is whole."""


def is_finite(value: Any) -> bool:
    """Whether a value is a real number, and neither NaN nor infinite."""
    return isinstance(value, Real) and math.isfinite(value)


def whole(least: int) -> Condition:
    """A whole number of at least `least`."""
    words = f"a whole number of at least {least}"
    return lambda value: isinstance(value, Integral) and int(value) >= least, words


def one_of(names: tuple[str | int | None, ...]) -> Condition:
    """One of some names or numbers."""
    return lambda value: value in names, f"one of {list(names)}"


YES_OR_NO: Condition = (lambda value: isinstance(value, bool), "True or False")
POSITIVE: Condition = (lambda value: is_finite(value) and value > 0, "positive and finite")
NOT_NEGATIVE: Condition = (lambda value: is_finite(value) and value >= 0, "finite and at least 0")
SHARE: Condition = (
    lambda value: is_finite(value) and 0 <= value < 1,
    "a share from 0 to below 1",
)
SHARE_OR_POINTS: Condition = (
    lambda value: is_finite(value) and value >= 0 and (value < 1 or value == int(value)),
    "a share from 0 to below 1, or a whole number of points",
)
QUANTILE_LEVELS: Condition = (
    lambda levels: (
        isinstance(levels, Sequence | np.ndarray)
        and 0.5 in list(levels)
        and all(is_finite(level) and 0 < level < 1 for level in levels)
    ),
    "numbers in (0, 1), 0.5 among them",
)
PATH: Condition = (
    lambda value: value is None or (isinstance(value, str) and value != ""),
    "a path or None",
)


def check_options(owner: str, options: object, conditions: dict[str, Condition]) -> None:
    """Check the attributes of an object, each once.

    Raises
    ------
    ValueError
        One is not as it must be.
    """
    for name, (holds, words) in conditions.items():
        value = getattr(options, name)
        if not holds(value):
            raise ValueError(f"{owner}.{name} must be {words}; got {value!r}. Change it.")


def check_whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`, or an error that says so."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise (ValueError if whole or isinstance(value, float) else TypeError)(
            f"{name} must be a whole number of at least {least}; got {value!r}. Change it."
        )
    return int(value)
