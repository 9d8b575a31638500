"""Codecs of pandas' indexes and frames: conversion to arrays and lists, and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

Parts = dict[str, Any]


def _split_index(index: pd.Index) -> Parts:
    numeric = isinstance(index.dtype, np.dtype) and index.dtype.kind in "biuf"
    values = index.to_numpy() if numeric else index.tolist()
    return {"values": values, "dtype": str(index.dtype), "name": index.name}


def _join_index(parts: Parts) -> pd.Index:
    return pd.Index(parts["values"], dtype=parts["dtype"], name=parts["name"])


def _split_times(index: pd.DatetimeIndex) -> Parts:
    zone = None if index.tz is None else str(index.tz)
    return {"values": index.asi8, "unit": index.unit, "timezone": zone, "name": index.name}


def _join_times(parts: Parts) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(parts["values"].view(f"M8[{parts['unit']}]"), name=parts["name"])
    zone = parts["timezone"]
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone)


def _join_periods(parts: Parts) -> pd.PeriodIndex:
    return pd.PeriodIndex.from_ordinals(parts["values"], freq=parts["freq"]).rename(parts["name"])


def _split_categories(index: pd.CategoricalIndex) -> Parts:
    return {
        "codes": np.asarray(index.codes),
        "categories": index.categories,
        "ordered": index.ordered,
        "name": index.name,
    }


def _join_categories(parts: Parts) -> pd.CategoricalIndex:
    values = pd.Categorical.from_codes(parts["codes"], parts["categories"], parts["ordered"])
    return pd.CategoricalIndex(values, name=parts["name"])


def _split_levels(index: pd.MultiIndex) -> Parts:
    codes = [np.asarray(codes) for codes in index.codes]
    return {"levels": list(index.levels), "codes": codes, "names": list(index.names)}


def _split_frame(frame: pd.DataFrame) -> Parts:
    values = [frame.iloc[:, k].to_numpy() for k in range(frame.shape[1])]
    return {"index": frame.index, "columns": frame.columns, "values": values}


def _join_frame(parts: Parts) -> pd.DataFrame:
    frame = pd.DataFrame(dict(enumerate(parts["values"])), index=parts["index"])
    return frame.set_axis(parts["columns"], axis=1)


FRAME_CODECS: dict[str, tuple[type[Any], Callable[[Any], Parts], Callable[[Parts], Any]]] = {
    "index": (pd.Index, _split_index, _join_index),
    "range": (
        pd.RangeIndex,
        lambda index: {name: getattr(index, name) for name in ("start", "stop", "step", "name")},
        lambda parts: pd.RangeIndex(**parts),
    ),
    "times": (pd.DatetimeIndex, _split_times, _join_times),
    "periods": (
        pd.PeriodIndex,
        lambda index: {"values": index.asi8, "freq": index.freqstr, "name": index.name},
        _join_periods,
    ),
    "categories": (pd.CategoricalIndex, _split_categories, _join_categories),
    "levels": (pd.MultiIndex, _split_levels, lambda parts: pd.MultiIndex(**parts)),
    "frame": (pd.DataFrame, _split_frame, _join_frame),
}
