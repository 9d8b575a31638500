"""Static covariates: one number or category per series."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.values import Floats, format_value, to_floats

Codes = NDArray[np.intp]


def constant_values(values: pd.Series, name: str, ids: pd.Index, codes: Codes) -> pd.Series:
    """Value of each series in a static column; missing values within a series are skipped."""
    labels, _ = pd.factorize(values)  # -1 where missing
    present = np.flatnonzero(labels >= 0)
    first = np.searchsorted(codes, np.arange(len(ids)))
    first[codes[present][::-1]] = present[::-1]  # the first row that is not missing, if any
    differ = (labels >= 0) & (labels != labels[first][codes])
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        expected, found = values.iloc[first[codes[row]]], values.iloc[row]
        raise ValueError(
            f"static column {name!r} must be constant within a series; got "
            f"{format_value(expected)} and {format_value(found)} for series "
            f"{format_value(ids[codes[row]])}. Make it a past or future covariate."
        )
    return values.iloc[first]


def numeric_features(static: dict[str, pd.Series], ids: pd.Index) -> Floats:
    """Numeric static columns as (series, feature)."""
    columns = [
        to_floats(values, name, lambda row: f" for series {format_value(ids[row])}")
        for name, values in static.items()
        if pd.api.types.is_numeric_dtype(values.dtype)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(ids), 0))


def category_codes(
    static: dict[str, pd.Series], n_series: int
) -> tuple[NDArray[np.int64], tuple[tuple[str, ...], ...]]:
    """Codes of the other static columns (series, feature), -1 where missing, and their names."""
    pairs = [
        pd.factorize(values.astype(object).map(str, na_action="ignore"), sort=True)
        for values in static.values()
        if not pd.api.types.is_numeric_dtype(values.dtype)
    ]
    if not pairs:
        return np.empty((n_series, 0), dtype=np.int64), ()
    codes = np.stack([codes for codes, _ in pairs], axis=1).astype(np.int64)
    return codes, tuple(tuple(str(name) for name in names) for _, names in pairs)
