"""What is known about each data set: the entries of datasets/registry.toml."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class DatasetFile:
    """A file of a data set.

    Parameters
    ----------
    name
        Its name when unzipped.
    url
        Where it can be downloaded, plain or zipped; None if a package ships it.
    package
        The package whose folder holds it; None if it is downloaded.
    sha256
        The SHA-256 of its unzipped content; None if it is not known.
    """

    name: str
    url: str | None = None
    package: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set.

    Parameters
    ----------
    name, title
        What `load` calls it, and what was measured.
    source, licence
        Who published it, and on what terms.
    layout
        How its files are read.
    freq
        The distance of two points: a pandas alias, or a number where times are numbers.
    season_length, horizon
        Points a season, and how many points one usually forecasts.
    rows, series
        Of the files as published: times of a wide file, points of all series of the others.
    files
        Its files.
    split
        Rows of the training, validation and test part, in order, as the published numbers of
        long-horizon forecasting use them; None for other sets.
    missing_value, rename, repeated_rows
        What is mended on reading: the number that marks a missing value, names of columns, and
        whether a row is printed twice.
    note
        What one should know before using it.
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
    """Return every entry of the registry, in its order."""
    text = (registry_folder() / "registry.toml").read_text(encoding="utf-8")
    return MappingProxyType(
        {name: _dataset(name, entry) for name, entry in tomllib.loads(text).items()}
    )


def look_up(name: str) -> Dataset:
    """Return the entry of a name, or say which name is nearest."""
    registry = read_registry()
    if name in registry:
        return registry[name]
    by_folded = {known.casefold(): known for known in registry}
    near = difflib.get_close_matches(str(name).casefold(), by_folded, n=1, cutoff=0.0)
    raise ValueError(
        f"name must be one of tsar.datasets.names(); got {name!r}. "
        f"Did you mean {by_folded[near[0]]!r}?"
    )


def registry_folder() -> Traversable:
    """Return the folder of the registry: inside an installed tsar, or beside its source."""
    installed = resources.files("tsar") / "_datasets"
    return installed if installed.is_dir() else resources.files("tsar") / "../datasets"


def _dataset(name: str, entry: dict[str, Any]) -> Dataset:
    files = tuple(DatasetFile(**file) for file in entry.pop("files"))
    split = tuple(entry.pop("split")) if "split" in entry else None
    return Dataset(name=name, files=files, split=split, **entry)
