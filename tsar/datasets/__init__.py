"""Public data sets by name, each verified by its SHA-256.

Some are part of a dependency of tsar. The others are searched for in the folder named by the
environment variable ``TSAR_DATA`` and in the cache (``TSAR_CACHE``, else ``~/.cache/tsar``), and
downloaded otherwise. This module does not import torch.
"""

from typing import overload

import pandas as pd

from tsar.datasets.files import find, locate
from tsar.datasets.layouts import READERS, clean
from tsar.datasets.registry import Dataset, DatasetFile, look_up, read_registry

__all__ = ["Dataset", "DatasetFile", "describe", "load", "names"]


def names() -> list[str]:
    """Return the names that `load` knows.

    Examples
    --------
    >>> from tsar.datasets import names
    >>> names()[-5:]
    ['sunspots', 'nile', 'co2', 'elnino', 'macrodata']
    """
    return list(read_registry())


@overload
def describe(name: None = None) -> pd.DataFrame: ...
@overload
def describe(name: str) -> Dataset: ...
def describe(name: str | None = None) -> pd.DataFrame | Dataset:
    """Return the metadata of a data set, or a table of all data sets.

    Parameters
    ----------
    name
        One of `names()`; None for the table, whose column ``here`` is True for sets that need no
        download.

    Returns
    -------
    Dataset or pandas.DataFrame
        The entry of the registry, or a row for each data set.

    Raises
    ------
    ValueError
        If there is no data set of that name.

    Examples
    --------
    >>> from tsar.datasets import describe
    >>> describe("elnino").freq, describe("elnino").season_length
    ('MS', 12)
    >>> describe().loc[["ETTh1", "co2"], ["rows", "series", "freq"]]
            rows  series   freq
    name
    ETTh1  17420       7      h
    co2     2284       1  W-SAT
    """
    if name is not None:
        return look_up(name)
    columns = ["title", "rows", "series", "freq", "season_length", "horizon", "licence"]
    registry = read_registry()
    table = pd.DataFrame(
        [[getattr(dataset, column) for column in columns] for dataset in registry.values()],
        columns=columns,
        index=pd.Index(registry, name="name"),
    )
    table["here"] = [
        all(locate(file) is not None for file in dataset.files) for dataset in registry.values()
    ]
    return table


def load(name: str, *, raw: bool = False) -> pd.DataFrame:
    """Return a data set, downloading its files if they are not on this machine.

    Parameters
    ----------
    name
        One of `names()`.
    raw
        Return rows, values and column names exactly as published, as published protocols need
        them. By default known defects are corrected: `weather` marks missing values by -9999 and
        repeats a row. Gaps in time are kept in either case. See ``describe(name).note``.

    Returns
    -------
    pandas.DataFrame
        Wide (index ``ds``, a column for each series) if the file is wide; otherwise long, with the
        columns ``unique_id``, ``ds`` and ``y``. Missing values are NaN.

    Raises
    ------
    ValueError
        If there is no data set of that name, or a file has an unexpected SHA-256.
    OSError
        If a file is not on this machine and cannot be downloaded.

    Warns
    -----
    UserWarning
        If the registry has no digest of a file, so that its first copy is trusted.

    Examples
    --------
    >>> from tsar.datasets import load
    >>> load("elnino").head(2)
      unique_id         ds      y
    0    elnino 1950-01-01  23.11
    1    elnino 1950-02-01  24.20
    >>> load("macrodata")[["realgdp", "unemp"]].tail(2)
                  realgdp  unemp
    ds
    2009-04-01  12901.504    9.2
    2009-07-01  12990.341    9.6
    """
    dataset = look_up(name)
    frame = READERS[dataset.layout](dataset, [find(file) for file in dataset.files])
    return frame if raw else clean(frame, dataset)
