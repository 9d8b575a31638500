"""The forecasters and their parameters, read from ``catalog.json`` without importing torch.

`tsar.cli.generate_catalog` writes the file from the classes. Importing these takes seconds: too
long for a list of names or for the answer to a mistyped one.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

CATALOG = resources.files("tsar.cli") / "catalog.json"


@dataclass(frozen=True)
class Parameter:
    """A constructor parameter; `type` and `default` are Python source, None without a default."""

    name: str
    type: str
    default: str | None
    description: str


@dataclass(frozen=True)
class ModelInfo:
    """A forecaster, its parameters, and those of the dataclasses that it takes.

    `options` holds the fields of a dataclass such as `Training` by the name of the parameter that
    takes it.
    """

    name: str
    summary: str
    covariates: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    options: dict[str, tuple[Parameter, ...]]

    @property
    def keys(self) -> list[str]:
        """Keys that ``--set`` accepts: parameters, and fields of options after a dot."""
        names = [parameter.name for parameter in self.parameters]
        return names + [
            f"{option}.{field.name}" for option, fields in self.options.items() for field in fields
        ]


@cache
def read_catalog() -> dict[str, ModelInfo]:
    """Every forecaster of `tsar.forecasters.FORECASTERS` by name, in its order."""
    catalog = json.loads(CATALOG.read_text(encoding="utf-8"))
    options = {name: _parameters(fields) for name, fields in catalog["options"].items()}
    return {model["name"]: _model_info(model, options) for model in catalog["models"]}


def _model_info(model: dict[str, Any], options: dict[str, tuple[Parameter, ...]]) -> ModelInfo:
    parameters = _parameters(model["parameters"])
    used = {p.name: options[p.name] for p in parameters if p.name in options}
    return ModelInfo(model["name"], model["summary"], tuple(model["covariates"]), parameters, used)


def _parameters(records: list[dict[str, Any]]) -> tuple[Parameter, ...]:
    return tuple(Parameter(**record) for record in records)
