"""``--model NAME`` and ``--set``: from words to forecasters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from tsar.cli.catalog import Entry, read_catalog
from tsar.cli.lazy import forecasters, registry
from tsar.cli.settings import Setting, convert, did_you_mean

if TYPE_CHECKING:
    from tsar.data.panel import Columns
    from tsar.forecasters.base import Forecaster


@dataclass(frozen=True)
class Choice:
    """A forecaster that was asked for, the name of its columns, and what was set for it."""

    label: str
    entry: Entry
    settings: tuple[Setting, ...] = ()


def choose(models: Iterable[str], settings: Sequence[Setting]) -> list[Choice]:
    """Forecasters by the words of ``--model``, NAME or LABEL=NAME, with their settings.

    A setting goes to every forecaster that has the parameter, or to the one whose label it begins
    with. Nothing is imported for it, so that a mistyped name is answered at once.

    Raises
    ------
    ValueError
        A name, a label or a parameter is not as it must be.
    """
    choices: dict[str, Choice] = {}
    for word in models:
        label, _, name = word.rpartition("=")
        entry = find_entry(name)
        label = label or entry.name
        if label in choices:
            raise ValueError(
                f"--model must name each once; got {label!r} twice. Label them: short={name}."
            )
        choices[label] = Choice(label, entry)
    for setting in settings:
        for choice in _receivers(setting, list(choices.values())):
            own = _without_label(setting, choice)
            choices[choice.label] = replace(choice, settings=(*choice.settings, own))
    return list(choices.values())


def find_entry(name: str) -> Entry:
    """Entry of a forecaster; case, hyphens and underscores don't count."""
    catalog = read_catalog()
    folded = {_fold(known): entry for known, entry in catalog.items()}
    if _fold(name) not in folded:
        raise ValueError(f"there is no model {name!r}. {did_you_mean(name, catalog)}")
    return folded[_fold(name)]


def load_model(folder: Path) -> "Forecaster":
    """Load a saved model; a forecaster's name, which is no folder, gets an answer of its own."""
    if not folder.exists() and _fold(str(folder)) in map(_fold, read_catalog()):
        raise FileNotFoundError(
            f"FOLDER must be one that a model was saved to; got {str(folder)!r}, a forecaster. "
            f"`tsar models {folder}` says what it is; `tsar fit --save FOLDER` saves one."
        )
    model: Forecaster = registry.load(folder)
    return model


def build(choice: Choice, horizon: int | None, columns: "Columns | None") -> "Forecaster":
    """Make a forecaster; ``--set columns.freq=h`` changes the columns that are given."""
    kind = getattr(forecasters, choice.entry.name)
    hints = get_type_hints(kind.__init__)
    given: dict[str, Any] = {"columns": columns}
    given |= {} if horizon is None else {"horizon": horizon}
    options: dict[str, dict[str, Any]] = {}
    for setting in choice.settings:
        first, *rest = setting.key
        if rest:
            hint = get_type_hints(_record(hints[first]))[rest[0]]
            options.setdefault(first, {})[rest[0]] = convert(setting, hint)
        else:
            given[first] = convert(setting, hints[first])
    for name, values in options.items():
        record = given.get(name)
        made = replace(record, **values) if record else _record(hints[name])(**values)
        given[name] = made
    model: Forecaster = kind(**given)
    return model


def _record(hint: Any) -> Any:
    """The dataclass in the type hint of a parameter that takes options."""
    return next(part for part in (hint, *get_args(hint)) if is_dataclass(part))


def _receivers(setting: Setting, choices: list[Choice]) -> list[Choice]:
    """The forecasters that a setting is for."""
    named = [choice for choice in choices if _is_for(setting, choice)]
    receivers = named or [c for c in choices if setting.key[0] in _names(c)]
    for choice in receivers:
        _check_key(_without_label(setting, choice), choice)
    if not receivers:
        known = [name for choice in choices for name in choice.entry.known]
        models = ", ".join(choice.label for choice in choices)
        raise ValueError(
            f"{models} has no parameter {setting.name!r}. "
            f"{did_you_mean(setting.name, dict.fromkeys(known))}"
        )
    return receivers


def _check_key(setting: Setting, choice: Choice) -> None:
    """Whether a forecaster has the parameter, and ``--set`` may set it."""
    known, name = choice.entry.known, setting.name
    if name == "horizon":
        raise ValueError("--set can't set the horizon; use --horizon.")
    if name not in known:
        raise ValueError(f"{choice.label} has no parameter {name!r}. {did_you_mean(name, known)}")
    inner = [option for option in known if option.startswith(f"{name}.")]
    if inner:
        raise ValueError(f"{name} is set by its options, such as {inner[0]}; got {name!r} alone.")


def _is_for(setting: Setting, choice: Choice) -> bool:
    labelled = len(setting.key) > 1 and _fold(setting.key[0]) == _fold(choice.label)
    return labelled and setting.key[0] not in _names(choice)


def _without_label(setting: Setting, choice: Choice) -> Setting:
    return replace(setting, key=setting.key[1:]) if _is_for(setting, choice) else setting


def _names(choice: Choice) -> list[str]:
    return [parameter.name for parameter in choice.entry.parameters]


def _fold(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
