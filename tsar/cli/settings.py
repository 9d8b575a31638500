"""Values of options from ``--set KEY=VALUE`` and from a TOML file (``--config FILE``)."""

import difflib
import inspect
import re
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer

CONFIG_SETTINGS = "tsar.cli.settings"  # key in typer's context for the table [set] of the file


@dataclass(frozen=True)
class Setting:
    """A value for a dotted key: text from the command line, or a value of a configuration file."""

    key: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        """The key as the user typed it."""
        return ".".join(self.key)


def parse_setting(text: str) -> Setting:
    """Parse ``key=value``.

    Examples
    --------
    >>> parse_setting("training.epochs=5")
    Setting(key=('training', 'epochs'), value='5')
    """
    name, equals, value = text.partition("=")
    key = tuple(part.strip() for part in name.split("."))
    if not equals or not all(key):
        raise ValueError(f"--set must be KEY=VALUE, such as order=48; got {text!r}.")
    return Setting(key, value.strip())


def parse_value(setting: Setting, hint: Any) -> Any:
    """Convert a setting to the type of its hint: a TOML value, else text; ``none`` is None.

    Examples
    --------
    >>> parse_value(Setting(("sparsity",), "0.3"), float | str | None)
    0.3
    >>> parse_value(Setting(("sparsity",), "auto"), float | str | None)
    'auto'
    >>> parse_value(Setting(("sparsity",), "none"), float | str | None) is None
    True
    """
    for value in _candidates(setting.value):
        if matches(value, hint):
            return tuple(value) if isinstance(value, list) else value
    raise ValueError(
        f"{setting.name} must be {type_name(hint)}; got {setting.value!r}. "
        "`tsar models NAME` describes the parameters of a model."
    )


def _candidates(value: Any) -> list[Any]:
    """Possible readings of a value, in order of preference."""
    if not isinstance(value, str):
        return [value]
    candidates: list[Any] = [None] if value.lower() == "none" else []
    try:
        table = tomllib.loads(f"value = {value}")
        candidates += [table["value"]] if len(table) == 1 else []
    except tomllib.TOMLDecodeError:
        pass
    return [*candidates, value]


def matches(value: Any, hint: Any) -> bool:
    """Whether a value has the type of a hint.

    Examples
    --------
    >>> matches([32, 16], Sequence[int]), matches(True, int), matches(1, float)
    (True, False, True)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(matches(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is not None and issubclass(origin, Sequence):
        is_sequence = isinstance(value, (list, tuple))
        return is_sequence and all(matches(item, arguments[0]) for item in value)
    if hint is Any:
        return True
    if isinstance(value, bool):  # bool is a subclass of int
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, origin or hint)


def type_name(hint: Any) -> str:
    """Source of a type hint, without the names of modules.

    Examples
    --------
    >>> type_name(Sequence[int] | None)
    'Sequence[int] | None'
    """
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(hint))


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a configuration file the defaults of the options of a command.

    Keys are the names of the command's options without their dashes; ``input`` is its argument.
    """
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {str(path)!r}.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"configuration file {str(path)!r} must be TOML; {error}") from error
    # The longest name of an option without its dashes, or the name of an argument.
    params = {max(param.opts, key=len).lstrip("-"): param for param in context.command.params}
    known = [name for name in params if name not in ("config", "help")]
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if (name := key.replace("_", "-")) not in known:
            raise ValueError(
                f"configuration file {str(path)!r} has an unknown key {key!r}. "
                f"{did_you_mean(name, known)}"
            )
        defaults[str(params[name].name)] = _default(key, value, params[name])
    context.meta[CONFIG_SETTINGS] = _flatten(defaults.pop("settings", {}))
    context.default_map = defaults
    return path


def read_settings(context: typer.Context, texts: list[str] | None) -> list[Setting]:
    """Settings of the configuration file, then those of ``--set``, which take precedence."""
    return [*context.meta.get(CONFIG_SETTINGS, []), *map(parse_setting, texts or [])]


def _default(key: str, value: Any, param: Any) -> Any:
    """Value of an option in a configuration file; a repeatable option also takes one value."""
    if isinstance(value, dict) != (key == "set"):
        kind = "a table" if key == "set" else "a value"
        raise ValueError(f"{key!r} in a configuration file must be {kind}; got {value!r}.")
    repeatable = getattr(param, "multiple", False)
    return [value] if repeatable and not isinstance(value, (dict, list)) else value


def _flatten(table: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[Setting]:
    """Settings of a TOML table and of its subtables."""
    settings = []
    for name, value in table.items():
        key = (*prefix, *name.split("."))
        settings += _flatten(value, key) if isinstance(value, dict) else [Setting(key, value)]
    return settings


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice after an unknown name: the most similar known name, else all of them.

    Examples
    --------
    >>> did_you_mean("arnett", ["ARNet", "Naive"])
    "Did you mean 'ARNet'?"
    """
    names = {name.casefold(): name for name in known}
    similar = difflib.get_close_matches(name.casefold(), names, n=1)
    if similar:
        return f"Did you mean {names[similar[0]]!r}?"
    return f"Known are {', '.join(sorted(names.values(), key=str.casefold))}."
