"""``--set key=value``: text to values of the types that constructors ask for."""

import difflib
import inspect
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Setting:
    """A value for a dotted key: text as it was typed, or what a job file holds."""

    key: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        """The key as it was typed."""
        return ".".join(self.key)


def parse_setting(text: str) -> Setting:
    """Setting of ``key=value``.

    Raises
    ------
    ValueError
        There is no key or no ``=``.

    Examples
    --------
    >>> parse_setting("training.epochs=5")
    Setting(key=('training', 'epochs'), value='5')
    """
    name, equals, value = text.partition("=")
    key = tuple(part.strip() for part in name.split("."))
    if not equals or not all(key):
        raise ValueError(f"--set must be KEY=VALUE, such as context_length=48; got {text!r}.")
    return Setting(key, value.strip())


def flatten(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[Setting]:
    """Settings of a table of a job file, and of the tables in it."""
    settings = []
    for name, value in table.items():
        key = (*above, *name.split("."))
        settings += flatten(value, key) if isinstance(value, dict) else [Setting(key, value)]
    return settings


def convert(setting: Setting, hint: Any) -> Any:
    """Value of a setting as its type hint asks: a TOML value, else text; ``none`` is None.

    Raises
    ------
    ValueError
        It can be read as nothing that the hint allows.

    Examples
    --------
    >>> convert(Setting(("sparsity",), "0.3"), float | str | None)
    0.3
    >>> convert(Setting(("sparsity",), "auto"), float | str | None)
    'auto'
    >>> convert(Setting(("sparsity",), "none"), float | str | None) is None
    True
    """
    for value in _readings(setting.value):
        if fits(value, hint):
            return tuple(value) if isinstance(value, list) else value
    wanted = inspect.formatannotation(hint).replace("collections.abc.", "").replace("typing.", "")
    raise ValueError(f"{setting.name} must be {wanted}; got {setting.value!r}.")


def _readings(value: Any) -> list[Any]:
    """What a value may mean, the likeliest first."""
    if not isinstance(value, str):
        return [value]
    readings: list[Any] = [None] if value.lower() == "none" else []
    try:
        table = tomllib.loads(f"value = {value}")
        readings += [table["value"]] if len(table) == 1 else []
    except tomllib.TOMLDecodeError:
        pass
    return [*readings, value]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a hint names."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is not None and issubclass(origin, Sequence):
        several = isinstance(value, (list, tuple))
        return several and all(fits(item, parts[0]) for item in value)
    if hint is Any:
        return True
    if isinstance(value, bool):  # to Python, True is an integer
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, origin or hint)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of an error about an unknown name: the nearest known one, or all of them.

    Examples
    --------
    >>> did_you_mean("arnett", ["ARNet", "Naive"])
    "Did you mean 'ARNet'?"
    """
    names = list(known)
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    if near:
        return f"Did you mean {folded[near[0]]!r}?"
    return f"Known are {', '.join(sorted(names, key=str.casefold))}."
