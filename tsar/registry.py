"""Forecasters by name, and what was saved of them."""

import os
from collections.abc import Iterable

from tsar.forecaster import Forecaster
from tsar.forecasters import FORECASTERS
from tsar.saving import restore


def load(folder: str | os.PathLike[str], *, classes: Iterable[type[Forecaster]] = ()) -> Forecaster:
    """Read the forecaster that was saved to a folder, on the CPU; it forecasts as it did.

    Parameters
    ----------
    folder
        Where `Forecaster.save` wrote it.
    classes
        Forecasters of your own that may be in it, beside those of tsar.

    Returns
    -------
    Forecaster
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
    >>> with TemporaryDirectory() as folder:
    ...     Naive(horizon=2).fit([1.0, 3.0]).save(folder)
    ...     load(folder).predict()
    array([3., 3.])
    """
    model: Forecaster = restore(folder, (*FORECASTERS, *classes))
    return model
