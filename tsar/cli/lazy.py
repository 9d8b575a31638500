"""Modules that are imported on first use, so that ``tsar --help`` imports neither torch nor pandas.

The command line imports late only here: a module imports these names as it would the real modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pandas

    from tsar import complexity as complexity
    from tsar import datasets as datasets
    from tsar import evaluation as evaluation
    from tsar import forecasters as forecasters
    from tsar import intervals as intervals
    from tsar import metrics as metrics
    from tsar import plotting as plotting
    from tsar import validation as validation
    from tsar.data import io as io
    from tsar.data import panel as panel
    from tsar.forecasters import loading as loading
else:

    class _LazyModule:
        """A module that is imported when one of its attributes is read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(import_module(self._name), attribute)

    complexity = _LazyModule("tsar.complexity")
    datasets = _LazyModule("tsar.datasets")
    evaluation = _LazyModule("tsar.evaluation")
    forecasters = _LazyModule("tsar.forecasters")
    intervals = _LazyModule("tsar.intervals")
    io = _LazyModule("tsar.data.io")
    loading = _LazyModule("tsar.forecasters.loading")
    metrics = _LazyModule("tsar.metrics")
    pandas = _LazyModule("pandas")
    panel = _LazyModule("tsar.data.panel")
    plotting = _LazyModule("tsar.plotting")
    validation = _LazyModule("tsar.validation")
