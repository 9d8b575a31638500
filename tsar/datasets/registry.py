"""Registry of the data sets: the entries of datasets/registry.toml."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class DatasetFile:
    """A file of a data set.

    Parameters
    ----------
    name
        File name of the uncompressed file.
    url
        Address to download it from, plain or compressed; None if a package contains it.
    package
        Package that contains it; None if it is downloaded.
    sha256
        SHA-256 of the uncompressed content; None if it is not known.
    """

    name: str
    url: str | None = None
    package: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Metadata of a data set.

    Parameters
    ----------
    name, title
        Name for `load`, and what was measured.
    source, licence
        Publisher and licence.
    layout
        Layout of its files, one of `READERS` in `tsar.datasets.layouts`.
    freq
        Frequency: a pandas alias, or the step of integer times.
    season_length, horizon
        Points per season, and the usual number of points to forecast.
    rows, series
        Size of the files as published: times of a wide file, points of all series of the others.
    files
        The files.
    split
        Rows of the training, validation and test part, in this order, as used by published results
        of long-horizon forecasting; None for other sets.
    missing_value, rename, repeated_rows
        Defects to correct: the number that marks a missing value, new names of columns, and
        whether rows are repeated.
    note
        What to know before using it.
    """

    name: str
    title: str
    source: str
    licence: str
    layout: str
    freq: str | int
    season_length: int
    horizon: int
    rows: int
    series: int
    files: tuple[DatasetFile, ...]
    split: tuple[int, int, int] | None = None
    missing_value: float | None = None
    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    repeated_rows: bool = False
    note: str = ""


@cache
def read_registry() -> Mapping[str, Dataset]:
    """Return all entries of the registry, in the order of the file."""
    installed = resources.files("tsar") / "_datasets"  # else next to the source of tsar
    folder = installed if installed.is_dir() else resources.files("tsar") / "../datasets"
    entries = tomllib.loads((folder / "registry.toml").read_text(encoding="utf-8"))
    return MappingProxyType({name: _dataset(name, entry) for name, entry in entries.items()})


def look_up(name: str) -> Dataset:
    """Return the entry of a name; the error for an unknown one suggests the most similar name."""
    registry = read_registry()
    if name in registry:
        return registry[name]
    folded = {known.casefold(): known for known in registry}
    similar = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.0)
    raise ValueError(
        f"name must be one of tsar.datasets.names(); got {name!r}. "
        f"Did you mean {folded[similar[0]]!r}?"
    )


def _dataset(name: str, entry: dict[str, Any]) -> Dataset:
    files = tuple(DatasetFile(**file) for file in entry.pop("files"))
    split = tuple(entry.pop("split")) if "split" in entry else None
    return Dataset(name=name, files=files, split=split, **entry)
