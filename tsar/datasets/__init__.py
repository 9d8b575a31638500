"""Public data sets by name, each checked by its SHA-256.

Some come with a package that tsar needs anyway. The others are found in the folder that the
variable ``TSAR_DATA`` names, or in the cache (``TSAR_CACHE``, else ``~/.cache/tsar``), or are
downloaded.
Like the panel, this module reads frames with pandas; it does not load torch.
"""

from typing import overload

import pandas as pd

from tsar.datasets.files import find, locate
from tsar.datasets.layouts import READERS, mend
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
    """Return what is known about one data set, or a table of all of them.

    Parameters
    ----------
    name
        One of `names()`; None for the table, whose column ``here`` says which sets need no
        download.

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
    """Return a data set, fetching its files if they are not here.

    Parameters
    ----------
    name
        One of `names()`.
    raw
        Rows, values and column names exactly as published, for published protocols. Otherwise
        known defects are mended where they cannot be read: `weather` marks missing values by -9999
        and has a row twice. Gaps in time stay in either case. See ``describe(name).note``.

    Returns
    -------
    pandas.DataFrame
        Wide (the index ``ds``, a column a series) where the file is; else long, with the columns
        ``unique_id``, ``ds`` and ``y``. Missing values are NaN.

    Raises
    ------
    ValueError
        If there is no data set of that name, or a file has another SHA-256 than it should.
    OSError
        If a file is not here and cannot be downloaded.

    Warns
    -----
    UserWarning
        If the digest of a file is not known yet, so that its first copy is trusted.

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
    paths = [find(file) for file in dataset.files]
    frame = READERS[dataset.layout](dataset, paths)
    return frame if raw else mend(frame, dataset)
