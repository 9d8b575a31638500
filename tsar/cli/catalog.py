"""What forecasters there are and what their parameters mean, read from their source.

The classes themselves would bring torch along, which takes seconds: too long for a list of names
or for the answer to a mistyped one. What is read here is the truth all the same: the tuple
`FORECASTERS`, the signatures and the docstrings.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor: its annotation and default as they are written."""

    name: str
    annotation: str
    default: str
    text: str


@dataclass(frozen=True)
class Entry:
    """A forecaster, or an object of options such as `Training`."""

    name: str
    summary: str
    uses: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    options: tuple["Entry", ...] = ()

    @property
    def known(self) -> list[str]:
        """Names that ``--set`` takes, those of options with a dot."""
        names = [parameter.name for parameter in self.parameters]
        return names + [
            f"{options.name}.{parameter.name}"
            for options in self.options
            for parameter in options.parameters
        ]


@dataclass(frozen=True)
class _Class:
    module: str
    node: ast.ClassDef


# Objects of options, by the parameter that takes them; every forecaster has the same ones.
OPTIONS = {"columns": "Columns", "training": "Training"}


@cache
def read_catalog() -> dict[str, Entry]:
    """Every forecaster of the registry by its name, in its order."""
    module = "tsar.forecasters"
    assignments = [node for node in _parse(module).body if isinstance(node, ast.Assign)]
    [registry] = [n.value for n in assignments if ast.unparse(n.targets[0]) == "FORECASTERS"]
    names = [node.id for node in ast.walk(registry) if isinstance(node, ast.Name)]
    return {name: _entry(_find(module, name)) for name in names}


def _entry(found: _Class) -> Entry:
    text = inspect.cleandoc(ast.get_docstring(found.node) or "")
    arguments = _initializer(found).args
    docs = dict(_sections(text))
    given = [*arguments.args[1:], *arguments.kwonlyargs]
    parameters = tuple(
        Parameter(argument.arg, _written(argument.annotation), default, docs.get(argument.arg, ""))
        for argument, default in zip(given, _defaults(arguments), strict=True)
    )
    options = tuple(
        _options(parameter.name, _find(found.module, OPTIONS[parameter.name]))
        for parameter in parameters
        if parameter.name in OPTIONS
    )
    return Entry(found.node.name, text.partition("\n")[0], _uses(found), parameters, options)


def _options(name: str, found: _Class) -> Entry:
    """Entry of a dataclass, named by the parameter that takes it."""
    text = inspect.cleandoc(ast.get_docstring(found.node) or "")
    docs = dict(_sections(text))
    fields = [node for node in found.node.body if isinstance(node, ast.AnnAssign)]
    parameters = tuple(
        Parameter(field, _written(node.annotation), _written(node.value), docs.get(field, ""))
        for node in fields
        for field in [ast.unparse(node.target)]
    )
    return Entry(name, text.partition("\n")[0], (), parameters)


# Read from the source.


@cache
def _parse(module: str) -> ast.Module:
    """The syntax of a module of tsar, which is not imported."""
    package, *path = module.split(".")
    if package != "tsar":
        raise LookupError(f"module {module!r} is not of tsar.")
    folder = resources.files("tsar").joinpath(*path)
    if folder.is_dir():
        file = folder / "__init__.py"
    else:
        file = resources.files("tsar").joinpath(*path[:-1], f"{path[-1]}.py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _find(module: str, name: str) -> _Class:
    """The class that a module calls `name`, where it is defined."""
    for node in _parse(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _Class(module, node)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name)
    raise LookupError(f"module {module!r} names no class {name!r}.")


def _lineage(found: _Class) -> Iterator[_Class]:
    """A class and those of tsar that it is derived from, nearest first."""
    yield found
    for base in found.node.bases:
        try:
            parent = _find(found.module, ast.unparse(base))
        except LookupError:
            continue
        yield from _lineage(parent)


def _initializer(found: _Class) -> ast.FunctionDef:
    for ancestor in _lineage(found):
        for node in ancestor.node.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return node
    raise LookupError(f"class {found.node.name!r} has no __init__.")


def _uses(found: _Class) -> tuple[str, ...]:
    """Kinds of covariates: ``uses = frozenset({...})`` of the class or its nearest ancestor."""
    for ancestor in _lineage(found):
        for node in ancestor.node.body:
            if not isinstance(node, ast.AnnAssign) or ast.unparse(node.target) != "uses":
                continue
            parts = node.value.args if isinstance(node.value, ast.Call) else []
            kinds = {kind for part in parts for kind in ast.literal_eval(part)}
            return tuple(kind for kind in ("past", "future", "static") if kind in kinds)
    return ()


def _defaults(arguments: ast.arguments) -> list[str]:
    plain = [_written(node) for node in arguments.defaults]
    missing = [""] * (len(arguments.args) - 1 - len(plain))
    return missing + plain + [_written(node) for node in arguments.kw_defaults]


def _written(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(node)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Names and texts of the section Parameters of a numpydoc docstring."""
    _, _, section = text.partition("Parameters\n----------\n")
    section = re.split(r"\n\w+\n-+\n", section)[0]
    names: list[str] = []
    words: list[str] = []
    for line in section.split("\n"):
        if line.startswith(" ") or not line:
            words += line.split()
            continue
        yield from _each(names, " ".join(words))
        names, words = [name.strip() for name in line.split(",")], []
    yield from _each(names, " ".join(words))


def _each(names: list[str], text: str) -> Iterator[tuple[str, str]]:
    """Names with their text, or each with its part of it where ``;`` makes as many parts."""
    parts = [part.strip() for part in text.split(";")]
    own = parts if len(parts) == len(names) else [text] * len(names)
    yield from zip(names, own, strict=True)
