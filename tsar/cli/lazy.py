"""Modules that a command imports when it first uses them: ``tsar --help`` waits for none.

This is the one place where the command line imports late; a module that takes a name from here
reads as if it had imported it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pandas

    from tsar import benchmarking as benchmarking
    from tsar import complexity as complexity
    from tsar import datasets as datasets
    from tsar import demo as demo
    from tsar import evaluation as evaluation
    from tsar import files as files
    from tsar import forecasters as forecasters
    from tsar import intervals as intervals
    from tsar import metrics as metrics
    from tsar import panel as panel
    from tsar import plotting as plotting
    from tsar import registry as registry
    from tsar import scoring as scoring
else:

    class _Lazy:
        """A module, imported when one of its names is read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name), attribute)

    pandas = _Lazy("pandas")
    benchmarking = _Lazy("tsar.benchmarking")
    complexity = _Lazy("tsar.complexity")
    datasets = _Lazy("tsar.datasets")
    demo = _Lazy("tsar.demo")
    evaluation = _Lazy("tsar.evaluation")
    scoring = _Lazy("tsar.scoring")
    files = _Lazy("tsar.files")
    forecasters = _Lazy("tsar.forecasters")
    intervals = _Lazy("tsar.intervals")
    metrics = _Lazy("tsar.metrics")
    panel = _Lazy("tsar.panel")
    plotting = _Lazy("tsar.plotting")
    registry = _Lazy("tsar.registry")
