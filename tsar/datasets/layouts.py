"""Reading the files of a data set into a frame: one function for each file layout."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.datasets.files import open_file
from tsar.datasets.registry import Dataset

Reader = Callable[[Dataset, Sequence[Path]], pd.DataFrame]


def clean(frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Correct the defects listed in the registry. Gaps in time are kept."""
    if dataset.rename:
        frame = frame.rename(columns=dict(dataset.rename))
    if dataset.missing_value is not None:
        frame = frame.mask(frame == dataset.missing_value)
    if dataset.repeated_rows:
        frame = frame[~frame.reset_index().duplicated().to_numpy()]
    return frame


def _read_wide(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    frame = _read_csv(paths[0])
    frame["date"] = pd.to_datetime(frame["date"])
    return frame.set_index("date").rename_axis("ds")


def _read_m4(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    train, test = (_read_csv(path).set_index("V1") for path in paths)
    joined = np.hstack([train.to_numpy(float), test.loc[train.index].to_numpy(float)])
    observed = ~np.isnan(joined)  # each file is padded to its longest series
    return _long_frame(train.index, observed.sum(axis=1), joined[observed])


def _read_tsf(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    """Read Monash's tsf: a header, ``@data``, and a line ``name:start:value,...`` per series."""
    with open_file(paths[0]) as stream:
        lines = io.TextIOWrapper(stream, encoding="latin-1").read().splitlines()
    rows = [line.split(":") for line in lines[lines.index("@data") + 1 :] if line]
    names, starts, texts = zip(*rows, strict=True)
    values = [np.array(text.replace("?", "nan").split(","), dtype=float) for text in texts]
    lengths = np.array([len(series) for series in values])
    frame = _long_frame(names, lengths, np.concatenate(values))
    dates = pd.to_datetime(list(starts), format="%Y-%m-%d %H-%M-%S")
    times = [
        pd.date_range(start, periods=length, freq=dataset.freq).to_numpy()
        for start, length in zip(dates, lengths, strict=True)
    ]
    frame["ds"] = np.concatenate(times)
    return frame


def _read_years(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    table = _read_csv(paths[0])
    years = pd.to_datetime(table.iloc[:, 0].astype(str), format="%Y")
    return _one_series(dataset, years, table.iloc[:, 1])


def _read_days(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    table = _read_csv(paths[0])
    days = pd.to_datetime(table.iloc[:, 0].astype(str), format="%Y%m%d")
    return _one_series(dataset, days, table.iloc[:, 1])


def _read_year_by_month(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    table = _read_csv(paths[0]).set_index("YEAR")
    months = pd.date_range(f"{table.index[0]}-01-01", periods=table.size, freq="MS")
    return _one_series(dataset, months, table.to_numpy(float).ravel())


def _read_quarters(dataset: Dataset, paths: Sequence[Path]) -> pd.DataFrame:
    table = _read_csv(paths[0])
    months = {"year": table.pop("year"), "month": 3 * table.pop("quarter") - 2, "day": 1}
    times = pd.to_datetime(pd.DataFrame(months))
    return table.astype(float).set_index(pd.DatetimeIndex(times, name="ds"))


def _read_csv(path: Path) -> pd.DataFrame:
    with open_file(path) as stream:
        return pd.read_csv(stream, encoding="utf-8")


def _long_frame(
    ids: Sequence[str] | pd.Index, lengths: np.ndarray, values: np.ndarray
) -> pd.DataFrame:
    """Return a long frame of series end to end, with times 1, 2, 3, ..."""
    times = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
    repeated = np.repeat(np.asarray(ids), lengths)
    return pd.DataFrame({"unique_id": repeated, "ds": times, "y": values})


def _one_series(
    dataset: Dataset,
    times: pd.DatetimeIndex | pd.Series,
    values: NDArray[np.float64] | list[float] | pd.Series,
) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": dataset.name, "ds": times, "y": np.asarray(values, float)})


READERS: dict[str, Reader] = {
    "wide": _read_wide,
    "m4": _read_m4,
    "tsf": _read_tsf,
    "years": _read_years,
    "days": _read_days,
    "year_by_month": _read_year_by_month,
    "quarters": _read_quarters,
}
