"""tsar models, tsar datasets, tsar inspect."""

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.catalog import Entry, Parameter, read_catalog
from tsar.cli.forecasting import Folder
from tsar.cli.lazy import datasets, registry
from tsar.cli.models import find_entry
from tsar.cli.output import print_facts, print_json, print_line, print_table, records
from tsar.cli.settings import did_you_mean


def list_models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="A forecaster.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the forecasters, or the parameters of one."""
    if name is not None:
        _describe_model(find_entry(name), json)
        return
    entries = list(read_catalog().values())
    if json:
        print_json([{"name": e.name, "summary": e.summary, "covariates": e.uses} for e in entries])
        return
    rows = [[e.name, e.summary, ", ".join(e.uses) or "-"] for e in entries]
    print_table(["model", "what it does", "covariates"], rows, folded=["what it does"])
    print_line("tsar models NAME lists the parameters of one.")


def list_datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="A data set.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the public data sets, or say all that is known about one."""
    if name is not None:
        _describe_dataset(name, json)
        return
    table = datasets.describe().reset_index()
    if json:
        print_json(records(table))
        return
    table["here"] = ["yes" if here else "downloads" for here in table["here"]]
    shown = table[["name", "rows", "series", "freq", "horizon", "here", "title"]]
    rows = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in shown.to_numpy()]
    numbers = ["rows", "series", "horizon"]
    print_table(list(shown.columns), rows, numbers=numbers, folded=["title"])


def inspect(folder: Folder, json: options.Json = False) -> None:
    """Say what a saved model is: its class, parameters, what it was fitted to, its summary."""
    model = registry.load(folder)
    summary = model.summary() if hasattr(model, "summary") else ""
    facts = {"model": type(model).__name__, "folder": str(folder)} | _fitted_facts(model)
    params = model.get_params(deep=False)
    if json:
        print_json(facts | {"parameters": params, "summary": summary})
        return
    print_facts([(name, str(value)) for name, value in facts.items()])
    print_line("")
    print_facts([(name, repr(value)) for name, value in params.items()])
    if summary:
        print_line("\n" + summary)


def _fitted_facts(model: Any) -> dict[str, Any]:
    if not hasattr(model, "context_"):
        return {"fitted": "no"}
    labels, ordinals = model.context_.labels, model.context_.ordinals()
    times = labels.frequency.to_times(ordinals)
    ids = [str(name) for name in labels.ids[:5]]
    return {
        "series": len(labels.ids),
        "ids": ", ".join(ids) + (", ..." if len(labels.ids) > len(ids) else ""),
        "frequency": labels.frequency.name,
        "fitted up to": str(times.max()),
        "remembers": f"{int(model.context_.lengths.max())} points a series",
    }


def _describe_model(entry: Entry, json: bool) -> None:
    if json:
        print_json(asdict(entry))
        return
    print_facts([(entry.name, entry.summary)])
    rows = [_row(parameter, "") for parameter in entry.parameters]
    for group in entry.options:
        rows += [_row(parameter, f"{group.name}.") for parameter in group.parameters]
    print_table(["parameter", "default", "meaning"], rows, folded=["meaning", "default"])
    print_line(f"Set one by --set, such as --set {rows[0][0]}={rows[0][1]}.")


def _row(parameter: Parameter, prefix: str) -> list[str]:
    text = parameter.text.replace("``", "")
    return [prefix + parameter.name, parameter.default, text]


def _describe_dataset(name: str, json: bool) -> None:
    if name not in datasets.names():
        raise ValueError(f"there is no data set {name!r}. {did_you_mean(name, datasets.names())}")
    facts = _known(datasets.describe(name))
    if json:
        print_json(facts)
        return
    shown = {key: value for key, value in facts.items() if value}
    print_facts([(key.replace("_", " "), _said(value)) for key, value in shown.items()])


def _known(dataset: Any) -> dict[str, Any]:
    """What is known about a data set; its renamed columns are of no use here."""
    facts = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    facts["files"] = [asdict(file) for file in dataset.files]
    return {name: value for name, value in facts.items() if name != "rename"}


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(file["name"] for file in value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
