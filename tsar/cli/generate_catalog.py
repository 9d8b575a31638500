"""Write ``catalog.json``, the list of forecasters and parameters, from their classes.

Run ``python -m tsar.cli.generate_catalog`` (or ``make catalog``) after a change of a forecaster's
constructor or docstring; a test compares the file with the classes.
"""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from statsmodels.tools.docstring import NumpyDocString

from tsar.cli.catalog import CATALOG
from tsar.cli.settings import type_name
from tsar.data.panel import Columns
from tsar.forecasters import FORECASTERS
from tsar.training import Training

COVARIATES = ("past", "future", "static")
OPTIONS = {"columns": Columns, "training": Training}  # dataclasses by the parameter they are for


def generate_catalog() -> str:
    """JSON text of the models, and of the dataclasses that their parameters take."""
    models = [
        {
            "name": model.__name__,
            "summary": (inspect.getdoc(model) or "").partition("\n")[0],
            "covariates": [kind for kind in COVARIATES if kind in model.uses],
            "parameters": _parameters(model),
        }
        for model in FORECASTERS
    ]
    options = {name: _parameters(kind) for name, kind in OPTIONS.items()}
    return json.dumps({"models": models, "options": options}, indent=1, ensure_ascii=False) + "\n"


def _parameters(kind: type) -> list[dict[str, Any]]:
    """Name, type, default and description of each parameter of a constructor."""
    descriptions = dict(_descriptions(kind))
    return [
        {
            "name": parameter.name,
            "type": type_name(parameter.annotation),
            "default": None if parameter.default is parameter.empty else repr(parameter.default),
            "description": descriptions[parameter.name],
        }
        for parameter in inspect.signature(kind, eval_str=True).parameters.values()
    ]


def _descriptions(kind: type) -> Iterator[tuple[str, str]]:
    """Names and descriptions of the section Parameters of a class's docstring.

    Parameters that share an entry (``id, time, target``) share its description, unless it has as
    many parts, separated by semicolons, as names.
    """
    for entry in NumpyDocString(inspect.getdoc(kind))["Parameters"]:
        names = entry.name.split(", ")
        description = " ".join(" ".join(entry.desc).split())
        parts = description.split("; ")
        own = parts if len(parts) == len(names) else [description] * len(names)
        yield from zip(names, own, strict=True)


if __name__ == "__main__":
    Path(str(CATALOG)).write_text(generate_catalog(), encoding="utf-8")
