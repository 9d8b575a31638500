"""tsar: forecasting by autoregression, from frames to forecasts that people can use.

Names are imported when they are first used (PEP 562): `import tsar` loads neither torch nor pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsar import datasets, hmm, metrics
    from tsar.complexity import ComplexityAnalysis
    from tsar.data.panel import Columns, make_future
    from tsar.evaluation.benchmarking import benchmark
    from tsar.evaluation.cross_validation import cross_validation
    from tsar.evaluation.scoring import evaluate
    from tsar.forecasters import (
        HMM,
        ARNet,
        AutoTimes,
        Classical,
        DLinear,
        Naive,
        NLinear,
        SeasonalNaive,
        SpaceTime,
    )
    from tsar.forecasters.loading import load
    from tsar.forecasters.spacetime.classifier import SpaceTimeClassifier
    from tsar.training import Training

__version__ = "0.1.0"

_HOMES = {
    "ARNet": "tsar.forecasters",
    "AutoTimes": "tsar.forecasters",
    "Classical": "tsar.forecasters",
    "Columns": "tsar.data.panel",
    "ComplexityAnalysis": "tsar.complexity",
    "DLinear": "tsar.forecasters",
    "HMM": "tsar.forecasters",
    "NLinear": "tsar.forecasters",
    "Naive": "tsar.forecasters",
    "SeasonalNaive": "tsar.forecasters",
    "SpaceTime": "tsar.forecasters",
    "SpaceTimeClassifier": "tsar.forecasters.spacetime.classifier",
    "Training": "tsar.training",
    "benchmark": "tsar.evaluation.benchmarking",
    "cross_validation": "tsar.evaluation.cross_validation",
    "datasets": "tsar.datasets",
    "evaluate": "tsar.evaluation.scoring",
    "hmm": "tsar.hmm",
    "load": "tsar.forecasters.loading",
    "make_future": "tsar.data.panel",
    "metrics": "tsar.metrics",
}

__all__ = [
    "HMM",
    "ARNet",
    "AutoTimes",
    "Classical",
    "Columns",
    "ComplexityAnalysis",
    "DLinear",
    "NLinear",
    "Naive",
    "SeasonalNaive",
    "SpaceTime",
    "SpaceTimeClassifier",
    "Training",
    "benchmark",
    "cross_validation",
    "datasets",
    "evaluate",
    "hmm",
    "load",
    "make_future",
    "metrics",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tsar' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = home if _HOMES[name] == f"tsar.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
