"""How the indexes and frames of pandas come apart into arrays and lists, and together again."""

from typing import Any

import numpy as np
import pandas as pd


def _split_index(index: pd.Index) -> list[Any]:
    numeric = isinstance(index.dtype, np.dtype) and index.dtype.kind in "biuf"
    return [str(index.dtype), index.to_numpy() if numeric else index.tolist(), index.name]


def _join_index(parts: list[Any]) -> pd.Index:
    dtype, values, name = parts
    return pd.Index(values, dtype=dtype, name=name)


def _split_range(index: pd.RangeIndex) -> list[Any]:
    return [index.start, index.stop, index.step, index.name]


def _join_range(parts: list[Any]) -> pd.RangeIndex:
    start, stop, step, name = parts
    return pd.RangeIndex(start, stop, step, name=name)


def _split_times(index: pd.DatetimeIndex) -> list[Any]:
    zone = None if index.tz is None else str(index.tz)
    return [index.asi8, index.unit, zone, index.name]


def _join_times(parts: list[Any]) -> pd.DatetimeIndex:
    numbers, unit, zone, name = parts
    times = pd.DatetimeIndex(numbers.view(f"M8[{unit}]"), name=name)
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone)


def _split_periods(index: pd.PeriodIndex) -> list[Any]:
    return [index.asi8, index.freqstr, index.name]


def _join_periods(parts: list[Any]) -> pd.PeriodIndex:
    numbers, freq, name = parts
    return pd.PeriodIndex.from_ordinals(numbers, freq=freq, name=name)


def _split_categories(index: pd.CategoricalIndex) -> list[Any]:
    return [np.asarray(index.codes), index.categories, index.ordered, index.name]


def _join_categories(parts: list[Any]) -> pd.CategoricalIndex:
    codes, categories, ordered, name = parts
    values = pd.Categorical.from_codes(codes, categories=categories, ordered=ordered)
    return pd.CategoricalIndex(values, name=name)


def _split_levels(index: pd.MultiIndex) -> list[Any]:
    return [list(index.levels), [np.asarray(codes) for codes in index.codes], list(index.names)]


def _join_levels(parts: list[Any]) -> pd.MultiIndex:
    levels, codes, names = parts
    return pd.MultiIndex(levels=levels, codes=codes, names=names)


def _split_frame(frame: pd.DataFrame) -> list[Any]:
    values = [frame.iloc[:, k].to_numpy() for k in range(frame.shape[1])]
    return [frame.index, frame.columns, values]


def _join_frame(parts: list[Any]) -> pd.DataFrame:
    index, columns, values = parts
    return pd.DataFrame(dict(enumerate(values)), index=index).set_axis(columns, axis=1)


FRAME_CODECS = {
    "index": (pd.Index, _split_index, _join_index),
    "range": (pd.RangeIndex, _split_range, _join_range),
    "times": (pd.DatetimeIndex, _split_times, _join_times),
    "periods": (pd.PeriodIndex, _split_periods, _join_periods),
    "categories": (pd.CategoricalIndex, _split_categories, _join_categories),
    "levels": (pd.MultiIndex, _split_levels, _join_levels),
    "frame": (pd.DataFrame, _split_frame, _join_frame),
}
