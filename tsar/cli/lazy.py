"""Modules that a command imports when it first uses them: ``tsar --help`` waits for none.

This is the one place where the command line imports late; a module that takes a name from here
reads as if it had imported it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pandas

    from tsar import complexity as complexity
    from tsar import datasets as datasets
    from tsar import forecasters as forecasters
    from tsar import intervals as intervals
    from tsar import metrics as metrics
    from tsar import plotting as plotting
    from tsar.cli import demo as demo
    from tsar.data import io as files
    from tsar.data import panel as panel
    from tsar.evaluation import benchmarking as benchmarking
    from tsar.evaluation import cross_validation as evaluation
    from tsar.evaluation import scoring as scoring
    from tsar.forecasters import loading as registry
else:

    class _Lazy:
        """A module, imported when one of its names is read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name), attribute)

    pandas = _Lazy("pandas")
    benchmarking = _Lazy("tsar.evaluation.benchmarking")
    complexity = _Lazy("tsar.complexity")
    datasets = _Lazy("tsar.datasets")
    demo = _Lazy("tsar.cli.demo")
    evaluation = _Lazy("tsar.evaluation.cross_validation")
    scoring = _Lazy("tsar.evaluation.scoring")
    files = _Lazy("tsar.data.io")
    forecasters = _Lazy("tsar.forecasters")
    intervals = _Lazy("tsar.intervals")
    metrics = _Lazy("tsar.metrics")
    panel = _Lazy("tsar.data.panel")
    plotting = _Lazy("tsar.plotting")
    registry = _Lazy("tsar.forecasters.loading")
