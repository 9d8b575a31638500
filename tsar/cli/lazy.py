"""Modules that a command imports when it first uses them: ``tsar --help`` waits for none.

This is the one place where the command line imports late. The modules that take their names from
here read as if they had imported them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from tsar import benchmarking, datasets, demo, evaluation, files, forecasters
    from tsar import metrics, panel, plotting, registry

    __all__ = (
        "benchmarking",
        "datasets",
        "demo",
        "evaluation",
        "files",
        "forecasters",
        "metrics",
        "pandas",
        "panel",
        "plotting",
        "registry",
    )
else:

    class _Lazy:
        """A module, imported when one of its names is read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name), attribute)

    benchmarking = _Lazy("tsar.benchmarking")
    datasets = _Lazy("tsar.datasets")
    demo = _Lazy("tsar.demo")
    evaluation = _Lazy("tsar.evaluation")
    files = _Lazy("tsar.files")
    forecasters = _Lazy("tsar.forecasters")
    metrics = _Lazy("tsar.metrics")
    pandas = _Lazy("pandas")
    panel = _Lazy("tsar.panel")
    plotting = _Lazy("tsar.plotting")
    registry = _Lazy("tsar.registry")
