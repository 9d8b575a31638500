"""Checks of parameters: constraints on one value each, with the words of their error messages."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np


class Constraint(NamedTuple):
    """A test of a value, and its description after "must be" in an error message."""

    is_met: Callable[[Any], bool]
    description: str


class IncompatibleModelError(ValueError):
    """A saved model is intact, but needs another component than the one that is installed."""


def is_finite(value: Any) -> bool:
    """Whether a value is a real number, and neither NaN nor infinite."""
    return isinstance(value, Real) and math.isfinite(value)


def integer(min: int) -> Constraint:
    """An integer of at least `min`."""
    return Constraint(
        lambda value: isinstance(value, Integral) and int(value) >= min,
        f"an integer of at least {min}",
    )


def one_of(options: tuple[str | int | None, ...]) -> Constraint:
    """One of some names or numbers."""
    return Constraint(lambda value: value in options, f"one of {list(options)}")


def optional(constraint: Constraint) -> Constraint:
    """None, or a value that meets the constraint."""
    return Constraint(
        lambda value: value is None or constraint.is_met(value),
        f"{constraint.description}, or None",
    )


BOOLEAN = Constraint(lambda value: isinstance(value, bool), "True or False")
POSITIVE = Constraint(lambda value: is_finite(value) and value > 0, "positive and finite")
NONNEGATIVE = Constraint(lambda value: is_finite(value) and value >= 0, "finite and at least 0")
FINITE = Constraint(is_finite, "finite")
FRACTION = Constraint(
    lambda value: is_finite(value) and 0 <= value < 1, "a fraction from 0 to below 1"
)
POSITIVE_FRACTION = Constraint(
    lambda value: FRACTION.is_met(value) and value > 0, "a fraction above 0 and below 1"
)
FRACTION_OR_POINTS = Constraint(
    lambda value: FRACTION.is_met(value) or (is_finite(value) and value >= 1 and value % 1 == 0),
    "a fraction from 0 to below 1, or an integer number of points",
)
QUANTILE_LEVELS = Constraint(
    lambda levels: (
        isinstance(levels, Sequence | np.ndarray)
        and 0.5 in list(levels)
        and all(is_finite(level) and 0 < level < 1 for level in levels)
    ),
    "numbers in (0, 1), 0.5 among them",
)
PATH = Constraint(
    lambda value: value is None or (isinstance(value, str) and value != ""), "a path or None"
)


def check_parameters(owner: str, options: object, constraints: dict[str, Constraint]) -> None:
    """Check each attribute of an object that has a constraint.

    Raises
    ------
    ValueError
        A value does not meet its constraint.
    """
    for name, (is_met, description) in constraints.items():
        value = getattr(options, name)
        if not is_met(value):
            raise ValueError(f"{owner}.{name} must be {description}; got {value!r}. Change it.")


def check_integer(name: str, value: Any, min: int = 1) -> int:
    """Return an integer of at least `min` as an `int`.

    Raises
    ------
    TypeError
        The value is no number.
    ValueError
        It is below `min`, or a float.
    """
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < min:
        raise (ValueError if is_integer or isinstance(value, float) else TypeError)(
            f"{name} must be an integer of at least {min}; got {value!r}. Change it."
        )
    return int(value)
