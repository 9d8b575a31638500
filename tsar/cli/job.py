"""``--job FILE``: the options of a command in a TOML file."""

import tomllib
from pathlib import Path
from typing import Any

import typer

from tsar.cli.settings import Setting, did_you_mean, flatten, parse_setting

SETTINGS = "tsar.cli.settings"  # where a context keeps the table [set] of its job file


def read_job(context: typer.Context, path: Path | None) -> Path | None:
    """Make what a job file says the default of every option that the command line leaves out.

    Keys are the names of the command's options without their dashes; ``input`` is its argument.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no TOML, or names an option that the command lacks.
    """
    if path is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"there is no job file {str(path)!r}.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no text
        raise ValueError(f"job file {str(path)!r} must be TOML; {error}") from error
    params = {_name(param): param for param in context.command.params}
    known = [name for name in params if name not in ("job", "help")]
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if (name := key.replace("_", "-")) not in known:
            raise ValueError(
                f"job file {str(path)!r} has an unknown key {key!r}. {did_you_mean(name, known)}"
            )
        defaults[str(params[name].name)] = _default(key, value, params[name])
    context.meta[SETTINGS] = flatten(defaults.pop("settings", {}))
    context.default_map = defaults
    return path


def read_settings(context: typer.Context, words: list[str] | None) -> list[Setting]:
    """Settings of the job file, then those of ``--set``, which win."""
    return [*context.meta.get(SETTINGS, []), *map(parse_setting, words or [])]


def _name(param: Any) -> str:
    """Name of an option without its dashes, or of an argument."""
    return max(param.opts, key=len).lstrip("-")


def _default(key: str, value: Any, param: Any) -> Any:
    """Value of an option in a job file; one value may stand for a list of it."""
    if isinstance(value, dict) != (key == "set"):
        kind = "a table" if key == "set" else "a value"
        raise ValueError(f"{key!r} in a job file must be {kind}; got {value!r}.")
    several = getattr(param, "multiple", False)
    return [value] if several and not isinstance(value, (dict, list)) else value
