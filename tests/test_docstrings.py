"""Doctests of all public names, each in an empty namespace."""

import doctest
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import tsar

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_names() -> Iterator[tuple[str, Any]]:
    """Names and values of `tsar` and its public modules."""
    for name in tsar.__all__:
        value = getattr(tsar, name)
        if isinstance(value, ModuleType):
            yield from ((f"tsar.{name}.{inner}", getattr(value, inner)) for inner in value.__all__)
        else:
            yield f"tsar.{name}", value


def doctests() -> dict[str, doctest.DocTest]:
    """Doctests by public name, with empty globals."""
    finder = doctest.DocTestFinder(recurse=False)
    found = {
        name: finder.find(value, name, globs={})
        for name, value in public_names()
        if inspect.getdoc(value)
    }
    return {name: tests[0] for name, tests in found.items() if tests and tests[0].examples}


EXAMPLES = doctests()
# Records that functions return, and a function that downloads data.
WITHOUT_EXAMPLE = {"tsar.benchmark", "tsar.datasets.Dataset", "tsar.datasets.DatasetFile"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_in_an_empty_namespace(name: str) -> None:
    output: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    assert runner.run(EXAMPLES[name], out=output.append).failed == 0, "".join(output)


def test_every_public_class_and_function_has_an_example() -> None:
    callables = {name for name, value in public_names() if callable(value)}
    assert callables - set(EXAMPLES) == WITHOUT_EXAMPLE
