"""``tsar models``, ``tsar datasets`` and ``tsar inspect``: describe models and data sets."""

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.catalog import ModelInfo, Parameter, read_catalog
from tsar.cli.lazy import datasets as registry
from tsar.cli.models import find_model, load_model
from tsar.cli.output import print_fields, print_json, print_line, print_table, to_records
from tsar.cli.settings import did_you_mean

MAX_ITEMS = 6  # of a list, in a line


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="A forecaster.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the forecasters, or the parameters of one."""
    if name is not None:
        _describe_model(find_model(name), json)
        return
    infos = list(read_catalog().values())
    if json:
        keys = ("name", "summary", "covariates")
        print_json([{key: getattr(info, key) for key in keys} for info in infos])
        return
    rows = [[info.name, info.summary, ", ".join(info.covariates) or "-"] for info in infos]
    print_table(["model", "what it does", "covariates"], rows, wrapped={"what it does": None})
    print_line("tsar models NAME lists the parameters of one.")


def datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="A data set.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the public data sets, or describe one."""
    if name is not None:
        _describe_dataset(name, json)
        return
    table = registry.describe().reset_index()
    if json:
        print_json(to_records(table))
        return
    table["here"] = ["yes" if here else "no" for here in table["here"]]
    table = table[["name", "rows", "series", "freq", "horizon", "here", "title"]]
    rows = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in table.to_numpy()]
    numeric = ["rows", "series", "horizon"]
    print_table(list(table.columns), rows, numeric=numeric, wrapped={"title": None})
    print_line("Those that are not here are downloaded, or found in the folder $TSAR_DATA.")


def inspect(folder: options.Folder, json: options.Json = False) -> None:
    """Describe a saved model: its parameters and the data it was fitted to."""
    model = load_model(folder)
    summary = model.summary() if hasattr(model, "summary") else None
    facts = {"model": type(model).__name__, "folder": str(folder), **_fitted_facts(model)}
    parameters = model.get_params(deep=False)
    if json:
        print_json(facts | {"parameters": parameters, "summary": summary})
        return
    print_fields([(name.replace("_", " "), _format(value)) for name, value in facts.items()])
    print_line("\nparameters")
    print_fields([(f"  {name}", repr(value)) for name, value in parameters.items()])
    if summary:
        print_line("\n" + summary)


def _fitted_facts(model: Any) -> dict[str, Any]:
    """Series, frequency, last time and context length of a fitted model."""
    if not hasattr(model, "context_"):
        return {"fitted": False}
    labels = model.context_.labels
    return {
        "series": list(labels.ids),
        "frequency": labels.frequency.name,
        "fitted_up_to": labels.frequency.to_times(model.context_.end_ordinals()).max(),
        "context": f"{int(model.context_.lengths.max())} points a series",
    }


def _describe_model(info: ModelInfo, json: bool) -> None:
    if json:
        print_json(asdict(info))
        return
    print_line(f"{info.name}: {info.summary}\n")
    own = [p for p in info.parameters if p.name not in ("horizon", "columns")]
    rows = [_parameter_row(parameter) for parameter in own]
    for option, parameters in info.options.items():
        if option != "columns":
            rows += [_parameter_row(parameter, f"{option}.") for parameter in parameters]
    wrapped = {"default": 15, "meaning": None}
    print_table(["parameter", "default", "meaning"], rows, wrapped=wrapped)
    print_line(
        "Set one by --set PARAMETER=VALUE. The horizon and the columns have their own options."
    )


def _parameter_row(parameter: Parameter, prefix: str = "") -> list[str]:
    text = parameter.description.replace("``", "")
    text = text[:1].upper() + text[1:] + "." * (not text.endswith("."))
    return [prefix + parameter.name, parameter.default or "", text]


def _describe_dataset(name: str, json: bool) -> None:
    if name not in registry.names():
        raise ValueError(f"there is no data set {name!r}. {did_you_mean(name, registry.names())}")
    dataset: Any = registry.describe(name)
    facts = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    facts["files"] = [asdict(file) for file in dataset.files]
    facts.pop("rename")  # applied when the data set is read
    if json:
        print_json(facts)
        return
    print_fields([(key.replace("_", " "), _format(fact)) for key, fact in facts.items() if fact])


def _format(value: Any) -> str:
    """A value in one line; a long list as its length and first items."""
    if not isinstance(value, (list, tuple)):
        return str(value).removesuffix(" 00:00:00")
    names = [item["name"] if isinstance(item, dict) else str(item) for item in value]
    is_cut = len(names) > MAX_ITEMS
    return f"{len(names)}: " * is_cut + ", ".join(names[:MAX_ITEMS]) + ", ..." * is_cut
