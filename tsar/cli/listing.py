"""tsar models, tsar datasets, tsar inspect."""

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer

from tsar.cli import options
from tsar.cli.catalog import Entry, Parameter, read_catalog
from tsar.cli.forecasting import Folder
from tsar.cli.lazy import datasets
from tsar.cli.models import find_entry, load_model
from tsar.cli.output import print_facts, print_json, print_line, print_table, records
from tsar.cli.settings import did_you_mean

SAID = 6  # names in a line


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
    print_table(["model", "what it does", "covariates"], rows, folded={"what it does": None})
    print_line("tsar models NAME lists the parameters of one.")


def list_datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="A data set.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the public data sets, or say what is known about one."""
    if name is not None:
        _describe_dataset(name, json)
        return
    table = datasets.describe().reset_index()
    if json:
        print_json(records(table))
        return
    table["here"] = ["yes" if here else "no" for here in table["here"]]
    shown = table[["name", "rows", "series", "freq", "horizon", "here", "title"]]
    rows = [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in shown.to_numpy()]
    numbers = ["rows", "series", "horizon"]
    print_table(list(shown.columns), rows, numbers=numbers, folded={"title": None})
    print_line("Those that are not here are downloaded, or found in the folder $TSAR_DATA.")


def inspect(folder: Folder, json: options.Json = False) -> None:
    """Say what a saved model is, and what it was fitted to."""
    model = load_model(folder)
    summary = model.summary() if hasattr(model, "summary") else None
    facts = {"model": type(model).__name__, "folder": str(folder), **_fitted_facts(model)}
    params = model.get_params(deep=False)
    if json:
        print_json(facts | {"parameters": params, "summary": summary})
        return
    print_facts([(name.replace("_", " "), _said(value)) for name, value in facts.items()])
    print_line("\nparameters")
    print_facts([(f"  {name}", repr(value)) for name, value in params.items()])
    if summary:
        print_line("\n" + summary)


def _fitted_facts(model: Any) -> dict[str, Any]:
    """What a model was fitted to, as it remembers it."""
    if not hasattr(model, "context_"):
        return {"fitted": False}
    labels = model.context_.labels
    newest = labels.frequency.to_times(model.context_.end_ordinals()).max()
    return {
        "series": list(labels.ids),
        "frequency": labels.frequency.name,
        "fitted_up_to": newest,
        "remembers": f"{int(model.context_.lengths.max())} points a series",
    }


def _describe_model(entry: Entry, json: bool) -> None:
    if json:
        print_json(asdict(entry))
        return
    print_line(f"{entry.name}: {entry.summary}\n")
    own = [p for p in entry.parameters if p.name not in ("horizon", "columns")]
    rows = [_row(parameter, "") for parameter in own]
    for group in entry.options:
        if group.name != "columns":
            rows += [_row(parameter, f"{group.name}.") for parameter in group.parameters]
    folded = {"default": 15, "meaning": None}
    print_table(["parameter", "default", "meaning"], rows, folded=folded)
    print_line(
        "Set one by --set PARAMETER=VALUE. The horizon and the columns have their own options."
    )


def _row(parameter: Parameter, prefix: str) -> list[str]:
    text = parameter.text.replace("``", "")
    text = text[:1].upper() + text[1:] + "." * (not text.endswith("."))
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
    """A value in a line; of a long list its length and the first ones."""
    if not isinstance(value, (list, tuple)):
        return str(value).removesuffix(" 00:00:00")
    names = [item["name"] if isinstance(item, dict) else str(item) for item in value]
    many = len(names) > SAID
    return f"{len(names)}: " * many + ", ".join(names[:SAID]) + ", ..." * many
