"""Reference implementations for tests: loops over lists, slow and simple."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tsar.data.batch import Context
from tsar.nn.module import ForecastModule


def pad_slice(values: Sequence[float], first: int, last: int) -> list[float]:
    """Points from `first` up to but excluding `last`, NaN outside the series."""
    return [values[k] if 0 <= k < len(values) else math.nan for k in range(first, last)]


def is_observed(values: Sequence[float]) -> bool:
    return any(not math.isnan(value) for value in values)


def sliding_windows(
    series: Sequence[Sequence[float]], context_length: int, horizon: int, first: Sequence[int]
) -> list[tuple[int, int]]:
    """(series, point) of every window whose target begins at point `first` or later.

    A series that is long enough has the windows inside it; a shorter one those whose target is
    inside it; one no longer than the horizon has the window after its first point.
    """
    windows = []
    for row, values in enumerate(series):
        length = len(values)
        if length >= context_length + horizon:
            points = range(context_length, length - horizon + 1)
        else:
            points = range(1, max(length - horizon, 1) + 1 if length > 1 else 1)
        for point in points:
            context = pad_slice(values, point - context_length, point)
            target = pad_slice(values, point, point + horizon)
            if point >= first[row] and is_observed(context) and is_observed(target):
                windows.append((row, point))
    return windows


def value_at(frame: pd.DataFrame, name: str, series: object, time: int) -> float:
    """One cell of a long frame with integer times, NaN if there is no such row."""
    rows = frame[(frame["unique_id"] == series) & (frame["ds"] == time)]
    return float(rows[name].iloc[0]) if len(rows) else math.nan


def rollout_loop(module: ForecastModule, context: Context, horizon: int) -> Tensor:
    """Forecast each window separately, in steps of the module's horizon."""
    rows, length = [], context.values.shape[1]
    for row in range(len(context)):
        values, future = context.values[row].tolist(), context.future[row]
        outputs: list[list[float]] = []
        while len(outputs) < horizon:
            extended = Context(
                values=torch.tensor([values[-length:]], dtype=context.values.dtype),
                past=context.past[row : row + 1],
                future=future[None, len(outputs) :],
                static=context.static[row : row + 1],
                category=context.category[row : row + 1],
                series=context.series[row : row + 1],
                origin=context.origin[row : row + 1] + len(outputs),
            )
            step = min(module.horizon, horizon - len(outputs))
            new = module.forecast(extended, step)[0].tolist()
            outputs += new
            values += [output[module.point] for output in new]
        rows.append(outputs)
    return torch.tensor(rows, dtype=context.values.dtype)


def conformal_half_width(errors: Sequence[float], coverage: float) -> float:
    """Smallest k-th absolute error with k / (n + 1) at least the coverage."""
    ordered = sorted(abs(error) for error in errors if not math.isnan(error))
    for rank, error in enumerate(ordered, start=1):
        if rank >= coverage * (len(ordered) + 1) - 1e-6:
            return error
    return math.inf


def mean_of_observed(values: Sequence[float]) -> float:
    observed = [value for value in values if not math.isnan(value)]
    return float(np.mean(observed)) if observed else math.nan
