"""ComplexityAnalysis as an estimator: seeds, layouts of frames, and parameters it refuses."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from small_analysis import AR2, analysis, long_frame

import tsar
from tsar import ComplexityAnalysis
from tsar.complexity import Lags


def test_results_depend_on_the_seed_and_not_on_the_layout() -> None:
    first = analysis("random", n_train=50).fit(AR2)
    again = clone(first).fit(pd.Series(AR2))
    pd.testing.assert_frame_equal(first.curves_, again.curves_)
    shuffled = long_frame({"a": AR2}).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        first.curves_, analysis("random", n_train=50).fit(shuffled).curves_
    )
    other = analysis("random", n_train=50, random_state=1).fit(AR2)
    assert not first.curves_["test"].equals(other.curves_["test"])


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"representation": "wings"}, "representation must be one of .*; got 'wings'"),
        ({"head": "tail"}, "ComplexityAnalysis.head must be one of"),
        ({"task": "sleep"}, "ComplexityAnalysis.task must be one of"),
        ({"horizon": 0}, "ComplexityAnalysis.horizon must be an integer"),
        ({"n_bootstrap": 1}, "ComplexityAnalysis.n_bootstrap must be"),
        ({"n_train": 3}, "n_train must be an integer of at least 10; got 3"),
        ({"test": 0.0}, "ComplexityAnalysis.test must be a fraction above 0"),
        ({"validation": 0.6, "test": 0.5}, "validation and test must leave a share to train on"),
        ({"sizes": ()}, "sizes must be integers of at least 1"),
        ({"sizes": (0, 3)}, "sizes must be integers of at least 1"),
        ({"sizes": (2, 99)}, "sizes must be at most 45, the largest size of the rep.*; got 99"),
        ({"head": "logistic"}, "head must be 'ridgeless' or 'ridge' without labels"),
        ({"representation": np.zeros((3, 2))}, r"a row for each of the 600 points .* \(3, 2\)"),
    ),
)
def test_invalid_parameters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analysis(**({"representation": Lags(45)} | options)).fit(AR2)


@pytest.mark.wrong_types
def test_other_types_of_representation_are_refused() -> None:
    with pytest.raises(TypeError, match=r"representation must be one of .*; got 7"):
        analysis(7).fit(AR2)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(
        ValueError, match="at least 10 training rows, 2 validation rows and 2 test rows"
    ):
        analysis(sizes=(1,), horizon=5).fit(AR2[:24])
    with pytest.raises(ValueError, match="frame must give at least 10 training rows"):
        analysis("random", horizon=890).fit(np.arange(900.0))


def test_methods_need_a_fitted_analysis() -> None:
    for method in (ComplexityAnalysis.recommend, ComplexityAnalysis.plot):
        with pytest.raises(NotFittedError):
            method(analysis())


def test_a_network_must_be_fitted() -> None:
    with pytest.raises(NotFittedError):
        analysis(tsar.SpaceTime()).fit(AR2)
