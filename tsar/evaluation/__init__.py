"""Evaluation: cross-validation, metrics of forecast frames, and the LTSF benchmark protocol."""

from tsar.evaluation.benchmarking import benchmark
from tsar.evaluation.cross_validation import cross_validation
from tsar.evaluation.scoring import evaluate

__all__ = ["benchmark", "cross_validation", "evaluate"]
