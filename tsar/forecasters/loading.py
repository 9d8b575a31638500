"""`tsar.load`: read a saved estimator of any class of tsar."""

import os
from collections.abc import Iterable
from typing import Any

from sklearn.base import BaseEstimator

from tsar.forecasters import FORECASTERS
from tsar.forecasters.spacetime.classifier import SpaceTimeClassifier
from tsar.hmm import CategoricalHMM, GaussianHMM, LinearGaussianHMM
from tsar.saving import restore

OTHERS = (SpaceTimeClassifier, CategoricalHMM, GaussianHMM, LinearGaussianHMM)


def load(folder: str | os.PathLike[str], *, classes: Iterable[type[BaseEstimator]] = ()) -> Any:
    """Load a model that was saved to a folder, on the CPU; its forecasts are the same.

    Parameters
    ----------
    folder
        The folder that `save` wrote.
    classes
        Further classes that the folder may hold an estimator of, besides those of tsar.

    Returns
    -------
    Forecaster, SpaceTimeClassifier or model of `tsar.hmm`
        Fitted, if it was fitted when saved. A network is on the CPU until it forecasts; if this
        machine lacks its `device`, use `set_params(device="auto")`.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model, a damaged one, one of a newer format, or one of an unknown class.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from tsar.forecasters import Naive
    >>> from tsar import load
    >>> with TemporaryDirectory() as folder:
    ...     Naive(horizon=2).fit([1.0, 3.0]).save(folder)
    ...     load(folder).predict()
    array([3., 3.])
    """
    return restore(folder, (*FORECASTERS, *OTHERS, *classes))
