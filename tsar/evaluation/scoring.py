"""Metrics of the forecasts of a cross-validation, by model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tsar.data.panel import Columns, Panel, check_time_zone
from tsar.data.panel.inference import time_zone_of
from tsar.data.panel.layout import to_pandas
from tsar.intervals import LEVEL_MARKERS
from tsar.metrics import METRICS, Metric, seasonal_scale, seasonal_squared_scale


def evaluate(
    forecasts: Any,
    metrics: str | Sequence[str] = ("mae", "rmse", "smape"),
    *,
    by: str | Sequence[str] = (),
    train: Any = None,
    season_length: int | None = None,
    columns: Columns | None = None,
) -> pd.DataFrame:
    """Compute metrics of the forecasts of `cross_validation`, by model.

    Parameters
    ----------
    forecasts
        From `cross_validation`, or a pandas, polars or pyarrow frame with the same columns.
    metrics
        Names in `tsar.metrics.METRICS`, whose docstrings state the definitions. Interval metrics
        give a column for each level, such as ``coverage-80``; quantile metrics use all quantile and
        interval columns.
    by
        Columns to group by, such as ``"unique_id"`` or ``"cutoff"``.
    train
        The training data, for scaled metrics (``mase``); only points up to the first cutoff of each
        series are used.
    season_length
        Points of a season, for scaled metrics; None for the usual season at the frequency.
    columns
        Names of the id, time and target columns.

    Returns
    -------
    pandas.DataFrame
        One row for each model (and value of `by`), one column for each metric.

    Raises
    ------
    ValueError, TypeError
        A metric is unknown or requires inputs that are not given, a column is missing, or `train`
        lacks a series.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar.evaluation.cross_validation import cross_validation
    >>> from tsar.forecasters import Naive
    >>> from tsar import evaluate
    >>> cv = cross_validation(Naive(), np.arange(6.0), horizon=2, n_windows=2)
    >>> evaluate(cv, ["mae", "mase"], train=np.arange(6.0))
           mae  mase
    model
    Naive  1.5   1.5
    """
    columns = columns or Columns()
    forecasts, _ = to_pandas(forecasts)
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    keys = [by] if isinstance(by, str) else list(by)
    models = _check_request(forecasts, metrics, keys, columns)
    groups = _groups(forecasts, keys)
    target = _tensor(forecasts[columns.target])
    scales = _scales(forecasts, metrics, train, season_length, columns)
    tables = []
    for model in models:
        inputs = {"forecast": _tensor(forecasts[model])} | scales | _quantiles(forecasts, model)
        values = _evaluate_model(metrics, groups, target, inputs, _intervals(forecasts, model))
        tables.append(pd.DataFrame(values, index=groups.labels).assign(model=model))
    table = pd.concat(tables)
    if not keys:
        return table.set_index("model")
    return table.set_index("model", append=True).sort_index(level=keys, sort_remaining=False)


def _check_request(
    forecasts: Any, metrics: Sequence[str], keys: Sequence[str], columns: Columns
) -> list[str]:
    """Check the arguments of `evaluate`; return the names of the models."""
    if not isinstance(forecasts, pd.DataFrame):
        raise TypeError(
            f"forecasts must be a DataFrame; got {type(forecasts).__name__}. "
            "Give the result of tsar.cross_validation."
        )
    if not metrics:
        raise ValueError(f"metrics must name at least one of {sorted(METRICS)}; got none. Add it.")
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"metrics must be among {sorted(METRICS)}; got {name!r}. Choose one.")
    for key in keys:
        if key not in forecasts.columns:
            raise ValueError(
                f"by must name columns of the forecasts; got {key!r}. "
                f"They are {list(forecasts.columns)[:10]}."
            )
    _check_column(forecasts, columns.target)
    other = {columns.id, columns.time, columns.target, "cutoff"}
    names = [name for name in forecasts.columns if name not in other]
    models = [name for name in names if not any(mark in str(name) for mark in LEVEL_MARKERS)]
    if not models:
        raise ValueError(
            f"forecasts must have a column for each model; got {list(forecasts.columns)}. "
            "Give the result of tsar.cross_validation."
        )
    return models


def _check_column(forecasts: pd.DataFrame, name: str) -> None:
    if name not in forecasts.columns:
        raise ValueError(
            f"forecasts must have the column {name!r}; got {list(forecasts.columns)[:10]}. "
            "Add it, or name another one: Columns(id=..., time=..., target=...)."
        )


class _Groups(NamedTuple):
    """Number of the group of each row, and the labels of the groups."""

    codes: Tensor
    labels: pd.Index


def _groups(forecasts: pd.DataFrame, keys: list[str]) -> _Groups:
    if not keys:
        return _Groups(torch.zeros(len(forecasts), dtype=torch.int64), pd.RangeIndex(1))
    grouped = forecasts.groupby(keys, sort=True, observed=True)
    return _Groups(torch.tensor(grouped.ngroup().to_numpy(np.int64)), grouped.size().index)


def _tensor(values: pd.Series) -> Tensor:
    return torch.from_numpy(values.to_numpy(np.float64, na_value=np.nan).copy())


def _evaluate_model(
    metrics: Sequence[str],
    groups: _Groups,
    target: Tensor,
    inputs: dict[str, Any],
    intervals: dict[float, dict[str, Any]],
) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for name in metrics:
        metric = METRICS[name]
        if "lower" in metric.required and intervals:
            for level, bounds in intervals.items():
                values[f"{name}-{level:g}"] = _by_group(metric, groups, target, bounds | inputs)
        else:
            values[name] = _by_group(metric, groups, target, inputs)
    return values


def _by_group(
    metric: Metric, groups: _Groups, target: Tensor, inputs: dict[str, Any]
) -> np.ndarray:
    for name in metric.required:
        if name not in inputs:
            raise ValueError(
                f"metrics must be computable from the forecasts; got {metric.name!r}, which needs "
                f"{name}. Forecast with level=... or quantile_levels=..., and pass train=... for "
                "scaled metrics."
            )
    required = {name: inputs[name] for name in metric.required}
    return metric.by_group(groups.codes, len(groups.labels), target, **required).numpy()


def _columns_by_level(forecasts: pd.DataFrame, prefix: str) -> dict[float, Tensor]:
    names = [name for name in forecasts.columns if str(name).startswith(prefix)]
    return {float(name.removeprefix(prefix)): _tensor(forecasts[name]) for name in names}


def _intervals(forecasts: pd.DataFrame, model: str) -> dict[float, dict[str, Any]]:
    lower, upper = (_columns_by_level(forecasts, f"{model}-{end}-") for end in ("lo", "hi"))
    return {
        level: {"lower": lower[level], "upper": upper[level], "level": level}
        for level in sorted(lower)
        if level in upper
    }


def _quantiles(forecasts: pd.DataFrame, model: str) -> dict[str, Any]:
    by_level = _columns_by_level(forecasts, f"{model}-q-")
    for percent, bounds in _intervals(forecasts, model).items():
        by_level.setdefault(round(0.5 - percent / 200, 10), bounds["lower"])
        by_level.setdefault(round(0.5 + percent / 200, 10), bounds["upper"])
    if not by_level:
        return {}
    levels = sorted(by_level)
    quantiles = torch.stack([by_level[level] for level in levels], dim=-1)
    return {"quantiles": quantiles, "quantile_levels": torch.tensor(levels, dtype=torch.float64)}


def _scales(
    forecasts: pd.DataFrame,
    metrics: Sequence[str],
    train: Any,
    season_length: int | None,
    columns: Columns,
) -> dict[str, Tensor]:
    """Scale of the series of each row, from the points up to its first cutoff."""
    required = {name for metric in metrics for name in METRICS[metric].required}
    if train is None or not required & {"scale", "squared_scale"}:
        return {}
    for name in (columns.id, "cutoff"):
        _check_column(forecasts, name)
    panel = Panel.from_frame(train, columns)
    rows = panel.labels.ids.get_indexer(pd.Index(forecasts[columns.id]))
    if (rows < 0).any():
        unknown = forecasts[columns.id].iloc[int(np.flatnonzero(rows < 0)[0])]
        raise ValueError(
            f"train must hold every series of the forecasts; got none of {unknown!r}. Add it."
        )
    first = forecasts.groupby(rows)["cutoff"].min()
    frequency, cutoffs = panel.labels.frequency, pd.Index(first)
    if isinstance(cutoffs, pd.DatetimeIndex):
        check_time_zone(time_zone_of(cutoffs), frequency, "forecasts", "train")
    ends = frequency.to_ordinals(cutoffs) - panel.labels.starts[first.index]
    lengths = panel.lengths.clone()
    lengths[torch.tensor(first.index.to_numpy())] = torch.tensor(ends // frequency.step + 1)
    past = panel.slice(torch.zeros_like(lengths), lengths)
    season = frequency.season_length if season_length is None else season_length
    row = torch.from_numpy(rows)
    return {
        "scale": seasonal_scale(past.values, season, past.offsets)[row],
        "squared_scale": seasonal_squared_scale(past.values, season, past.offsets)[row],
    }
