"""Estimators by name, and what was saved of them."""

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
    """Read the model that was saved to a folder, on the CPU; it forecasts as it did.

    Parameters
    ----------
    folder
        Where its `save` wrote it.
    classes
        Classes of your own that may be in it, beside those of tsar.

    Returns
    -------
    Forecaster, SpaceTimeClassifier or model of `tsar.hmm`
        Fitted, if it was when it was saved. A network is on the CPU until it forecasts; where
        `device` is one that this machine lacks, use `set_params(device="auto")`.

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
