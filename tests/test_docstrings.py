"""The example of a public name runs as it stands, pasted into a fresh session."""

import doctest
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import tsar

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public() -> Iterator[tuple[str, Any]]:
    """Every name of `tsar` and of its public modules, and what it stands for."""
    for name in tsar.__all__:
        found = getattr(tsar, name)
        if isinstance(found, ModuleType):
            yield from ((f"tsar.{name}.{inner}", getattr(found, inner)) for inner in found.__all__)
        else:
            yield f"tsar.{name}", found


def examples() -> dict[str, doctest.DocTest]:
    """Those that have an example, with no name known to it."""
    finder = doctest.DocTestFinder(recurse=False)
    found = {
        name: finder.find(thing, name, globs={})
        for name, thing in public()
        if inspect.getdoc(thing)
    }
    return {name: tests[0] for name, tests in found.items() if tests and tests[0].examples}


EXAMPLES = examples()
# Records that functions return, and what needs data that is downloaded.
WITHOUT = {"tsar.benchmark", "tsar.datasets.Dataset", "tsar.datasets.DatasetFile"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_needs_nothing_but_itself(name: str) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    assert runner.run(EXAMPLES[name], out=said.append).failed == 0, "".join(said)


def test_every_public_class_and_function_has_one() -> None:
    callables = {name for name, thing in public() if callable(thing)}
    assert callables - set(EXAMPLES) == WITHOUT
