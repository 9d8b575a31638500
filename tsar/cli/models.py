"""Create forecasters from ``--model NAME`` and ``--set KEY=VALUE``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from tsar.cli.catalog import ModelInfo, read_catalog
from tsar.cli.lazy import forecasters, loading
from tsar.cli.settings import Setting, did_you_mean, parse_value

if TYPE_CHECKING:
    from tsar.data.panel import Columns
    from tsar.forecasters.base import Forecaster


@dataclass(frozen=True)
class ModelSpec:
    """A forecaster to create: its label in the results, its class and its settings."""

    label: str
    info: ModelInfo
    settings: tuple[Setting, ...] = ()


def parse_models(models: Iterable[str], settings: Sequence[Setting]) -> list[ModelSpec]:
    """Parse values of ``--model``, NAME or LABEL=NAME, and assign the settings to the models.

    A setting applies to every model that has the parameter, or to the one whose label precedes it.
    Nothing is imported, so that a mistyped name is reported at once.
    """
    specs: dict[str, ModelSpec] = {}
    for text in models:
        label, _, name = text.rpartition("=")
        info = find_model(name)
        label = label or info.name
        if label in specs:
            raise ValueError(
                f"--model must name each model once; got {label!r} twice. Label them: short={name}."
            )
        specs[label] = ModelSpec(label, info)
    for setting in settings:
        for spec in _receivers(setting, list(specs.values())):
            own = _without_label(setting, spec)
            specs[spec.label] = replace(spec, settings=(*spec.settings, own))
    return list(specs.values())


def find_model(name: str) -> ModelInfo:
    """Catalogue entry of a forecaster; case, hyphens and underscores are ignored."""
    catalog = read_catalog()
    normalized = {_normalize(known): info for known, info in catalog.items()}
    if _normalize(name) not in normalized:
        raise ValueError(f"there is no model {name!r}. {did_you_mean(name, catalog)}")
    return normalized[_normalize(name)]


def load_model(folder: Path) -> "Forecaster":
    """Load a saved model; the name of a forecaster instead of a folder has its own error."""
    if not folder.exists() and _normalize(str(folder)) in map(_normalize, read_catalog()):
        raise FileNotFoundError(
            f"FOLDER must be one that a model was saved to; got {str(folder)!r}, a forecaster. "
            f"`tsar models {folder}` describes it; `tsar fit --save FOLDER` saves one."
        )
    model: Forecaster = loading.load(folder)
    return model


def create_model(spec: ModelSpec, horizon: int | None, columns: "Columns | None") -> "Forecaster":
    """Create a forecaster; ``--set columns.freq=h`` changes a field of `columns`."""
    kind = getattr(forecasters, spec.info.name)
    hints = get_type_hints(kind.__init__)
    arguments: dict[str, Any] = {"columns": columns}
    arguments |= {} if horizon is None else {"horizon": horizon}
    options: dict[str, dict[str, Any]] = {}
    for setting in spec.settings:
        name, *field = setting.key
        if field:
            hint = get_type_hints(_dataclass_of(hints[name]))[field[0]]
            options.setdefault(name, {})[field[0]] = parse_value(setting, hint)
        else:
            arguments[name] = parse_value(setting, hints[name])
    for name, values in options.items():
        default = arguments.get(name) or _dataclass_of(hints[name])()
        arguments[name] = replace(default, **values)
    model: Forecaster = kind(**arguments)
    return model


def _dataclass_of(hint: Any) -> Any:
    """The dataclass in the type hint of a parameter that takes options."""
    return next(part for part in (hint, *get_args(hint)) if is_dataclass(part))


def _receivers(setting: Setting, specs: list[ModelSpec]) -> list[ModelSpec]:
    """The models that a setting applies to."""
    labelled = [spec for spec in specs if _has_label(setting, spec)]
    receivers = labelled or [spec for spec in specs if setting.key[0] in _parameter_names(spec)]
    for spec in receivers:
        _check_key(_without_label(setting, spec), spec)
    if not receivers:
        known = [key for spec in specs for key in spec.info.keys]
        models = ", ".join(spec.label for spec in specs)
        raise ValueError(
            f"{models} has no parameter {setting.name!r}. {did_you_mean(setting.name, known)}"
        )
    return receivers


def _check_key(setting: Setting, spec: ModelSpec) -> None:
    """Check that a model has the parameter and that ``--set`` may set it."""
    known, name = spec.info.keys, setting.name
    if name == "horizon":
        raise ValueError("--set can't set the horizon; use --horizon.")
    if name not in known:
        raise ValueError(f"{spec.label} has no parameter {name!r}. {did_you_mean(name, known)}")
    fields = [key for key in known if key.startswith(f"{name}.")]
    if fields:
        raise ValueError(f"{name} must be set by field, such as {fields[0]}; got {name!r} alone.")


def _has_label(setting: Setting, spec: ModelSpec) -> bool:
    has_label = len(setting.key) > 1 and _normalize(setting.key[0]) == _normalize(spec.label)
    return has_label and setting.key[0] not in _parameter_names(spec)


def _without_label(setting: Setting, spec: ModelSpec) -> Setting:
    return replace(setting, key=setting.key[1:]) if _has_label(setting, spec) else setting


def _parameter_names(spec: ModelSpec) -> list[str]:
    return [parameter.name for parameter in spec.info.parameters]


def _normalize(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
