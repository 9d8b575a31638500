"""Static columns: one value a series, a number or a category."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsar.data.panel.values import Floats, read_numbers, show

Codes = NDArray[np.intp]


def constant_values(values: pd.Series, name: str, ids: pd.Index, codes: Codes) -> pd.Series:
    """The value of each series in a column that is constant within it; missing rows don't count.

    Raises
    ------
    ValueError
        A series has several values.
    """
    kinds, _ = pd.factorize(values)  # -1 where missing
    known = np.flatnonzero(kinds >= 0)
    first = np.searchsorted(codes, np.arange(len(ids)))
    first[codes[known][::-1]] = known[::-1]  # the first row that is not missing, if there is one
    differ = (kinds >= 0) & (kinds != kinds[first][codes])
    if differ.any():
        row = int(np.flatnonzero(differ)[0])
        raise ValueError(
            f"static column {name!r} must be constant within a series; got "
            f"{show(values.iloc[first[codes[row]]])} and {show(values.iloc[row])} for series "
            f"{show(ids[codes[row]])}. Make it a past or future covariate."
        )
    return values.iloc[first]


def numeric_features(static: dict[str, pd.Series], ids: pd.Index) -> Floats:
    """Numeric static columns, a row for each series."""
    columns = [
        read_numbers(values, name, lambda row: f" for series {show(ids[row])}")
        for name, values in static.items()
        if pd.api.types.is_numeric_dtype(values.dtype)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(ids), 0))


def category_codes(
    static: dict[str, pd.Series], series: int
) -> tuple[NDArray[np.int64], tuple[tuple[str, ...], ...]]:
    """Codes of the other static columns, -1 where missing, and the names behind the codes."""
    pairs = [
        pd.factorize(values.astype(object).map(str, na_action="ignore"), sort=True)
        for values in static.values()
        if not pd.api.types.is_numeric_dtype(values.dtype)
    ]
    if not pairs:
        return np.empty((series, 0), dtype=np.int64), ()
    codes = np.stack([codes for codes, _ in pairs], axis=1).astype(np.int64)
    return codes, tuple(tuple(str(name) for name in names) for _, names in pairs)
