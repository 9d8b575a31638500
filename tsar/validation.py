"""Checks of parameters: constraints on one value each, with the words of their error messages."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral, Real
from string import Formatter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Constraint(NamedTuple):
    """A test of a value, and its description after "must be" in an error message."""

    is_met: Callable[[Any], bool]
    description: str


class ParameterError(ValueError):
    """An argument does not meet its condition; the parts of the message are kept.

    The message is ``{argument} must {condition}; got {value}. {remedy}``. The command line puts its
    options in place of the arguments, see `message`.

    Parameters
    ----------
    argument
        Name of the argument.
    condition
        What it must do or be: "be positive".
    value
        What was given, and where.
    remedy
        What to do. Arguments are in braces, ``{columns.freq}``; braces of other meaning are double.
    names
        Python source for the arguments in the remedy, where it is not their name.

    Examples
    --------
    >>> names = {"columns.freq": "Columns(freq=...)"}
    >>> error = ParameterError("times", "be regular", "0 then 3", "Pass {columns.freq}.", names)
    >>> print(error)
    times must be regular; got 0 then 3. Pass Columns(freq=...).
    >>> error.message({"columns.freq": "--freq"})
    'times must be regular; got 0 then 3. Pass --freq.'
    """

    def __init__(
        self,
        argument: str,
        condition: str,
        value: str,
        remedy: str,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        # All are in `args`, from which pickle rebuilds the error in another process.
        super().__init__(argument, condition, value, remedy, dict(names))
        self.argument, self.condition, self.value, self.remedy = argument, condition, value, remedy
        self.names = dict(names)

    def __str__(self) -> str:
        return self.message({})

    def message(self, names: Mapping[str, str]) -> str:
        """The message with other names for some of the arguments."""
        known = {**self.names, **names}
        remedy = "".join(
            text + (known.get(name, name) if name else "")
            for text, name, _, _ in Formatter().parse(self.remedy)
        )
        argument = names.get(self.argument, self.argument)
        return f"{argument} must {self.condition}; got {self.value}. {remedy}"


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
    # Frames and arrays compare element by element, which is neither true nor false.
    return Constraint(
        lambda value: isinstance(value, Hashable) and value in options, f"one of {list(options)}"
    )


def optional(constraint: Constraint) -> Constraint:
    """None, or a value that meets the constraint."""
    return Constraint(
        lambda value: value is None or constraint.is_met(value),
        f"{constraint.description}, or None",
    )


def sequence_of(constraint: Constraint) -> Constraint:
    """A list, tuple or array of values that each meet the constraint."""
    return Constraint(
        lambda values: (
            isinstance(values, Sequence | np.ndarray)
            and not isinstance(values, str)
            and all(constraint.is_met(value) for value in values)
        ),
        f"a sequence whose every item is {constraint.description}",
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
    ParameterError
        A value does not meet its constraint.
    """
    for name, (is_met, description) in constraints.items():
        value = getattr(options, name)
        if not is_met(value):
            raise ParameterError(f"{owner}.{name}", f"be {description}", repr(value), "Change it.")


def check_integer(name: str, value: Any, min: int = 1) -> int:
    """Return an integer of at least `min` as an `int`.

    Raises
    ------
    TypeError
        The value is no number.
    ParameterError
        It is below `min`, or a float.
    """
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < min:
        condition = f"be an integer of at least {min}"
        if is_integer or isinstance(value, float):
            raise ParameterError(name, condition, repr(value), "Change it.")
        raise TypeError(f"{name} must {condition}; got {value!r}. Change it.")
    return int(value)
