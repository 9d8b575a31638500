"""Scoring: the forecasts of a backtest, by model."""

from collections.abc import Sequence
from typing import Any

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
    """Score the forecasts of `cross_validation`, by model.

    Parameters
    ----------
    forecasts
        From `cross_validation`, or a frame of that form, of polars or pyarrow too.
    metrics
        Names in `tsar.metrics.METRICS`, whose docstrings state the definitions. Those of
        intervals give a column for each level, ``coverage-80``; those of quantiles use every
        quantile and interval column.
    by
        Columns to score apart, such as ``"unique_id"`` or ``"cutoff"``.
    train
        The data that were fitted, for scaled metrics (``mase``); only points up to each series'
        first cutoff count.
    season_length
        Of the scale; None for what is usual at the frequency.
    columns
        Names of the id, time and target columns.

    Returns
    -------
    pandas.DataFrame
        A row for each model (and value of `by`), a column for each metric.

    Raises
    ------
    ValueError, TypeError
        A metric is unknown or needs what the forecasts do not hold, a column is absent, or `train`
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
    group, labels = _groups(forecasts, keys)
    target = _tensor(forecasts[columns.target])
    scales = _scales(forecasts, metrics, train, season_length, columns)
    tables = []
    for model in models:
        inputs = {"forecast": _tensor(forecasts[model])} | scales | _quantiles(forecasts, model)
        scores = _score(metrics, group, len(labels), target, inputs, _intervals(forecasts, model))
        tables.append(pd.DataFrame(scores, index=labels).assign(model=model))
    table = pd.concat(tables)
    if not keys:
        return table.set_index("model")
    return table.set_index("model", append=True).sort_index(level=keys, sort_remaining=False)


def model_names(forecasts: pd.DataFrame, columns: Columns) -> list[str]:
    """Columns that hold the point forecasts of models."""
    known = {columns.id, columns.time, columns.target, "cutoff"}
    names = [name for name in forecasts.columns if name not in known]
    return [name for name in names if not any(mark in str(name) for mark in LEVEL_MARKERS)]


def _check_request(
    forecasts: Any, metrics: Sequence[str], keys: Sequence[str], columns: Columns
) -> list[str]:
    """Names of the models to score, if all that was asked for is there."""
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
    models = model_names(forecasts, columns)
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
            "Add it, or say its name: Columns(id=..., time=..., target=...)."
        )


def _groups(forecasts: pd.DataFrame, keys: list[str]) -> tuple[Tensor, pd.Index]:
    if not keys:
        return torch.zeros(len(forecasts), dtype=torch.int64), pd.RangeIndex(1)
    grouped = forecasts.groupby(keys, sort=True, observed=True)
    labels = grouped.size().index
    return torch.tensor(grouped.ngroup().to_numpy(np.int64)), labels


def _tensor(values: pd.Series) -> Tensor:
    return torch.from_numpy(values.to_numpy(np.float64, na_value=np.nan).copy())


def _score(
    metrics: Sequence[str],
    group: Tensor,
    n_groups: int,
    target: Tensor,
    inputs: dict[str, Any],
    intervals: dict[float, dict[str, Any]],
) -> dict[str, np.ndarray]:
    scores: dict[str, np.ndarray] = {}
    for name in metrics:
        metric = METRICS[name]
        if "lower" in metric.needs and not intervals:
            raise _absent(metric, "lower")
        if "lower" in metric.needs:
            for percent, bounds in intervals.items():
                known = bounds | inputs
                scores[f"{name}-{percent:g}"] = _by_group(metric, group, n_groups, target, known)
        else:
            scores[name] = _by_group(metric, group, n_groups, target, inputs)
    return scores


def _by_group(
    metric: Metric, group: Tensor, n_groups: int, target: Tensor, inputs: dict[str, Any]
) -> np.ndarray:
    for need in metric.needs:
        if need not in inputs:
            raise _absent(metric, need)
    needed = {need: inputs[need] for need in metric.needs}
    return metric.by_group(group, n_groups, target, **needed).numpy()


def _absent(metric: Metric, need: str) -> ValueError:
    return ValueError(
        f"metrics must be ones that the forecasts can give; {metric.name!r} needs {need}. "
        "Forecast with level=... or quantile_levels=..., and pass train=... for scaled metrics."
    )


def _suffixed(forecasts: pd.DataFrame, model: str, mark: str) -> dict[float, Tensor]:
    start = f"{model}{mark}"
    names = [name for name in forecasts.columns if str(name).startswith(start)]
    return {float(name[len(start) :]): _tensor(forecasts[name]) for name in names}


def _intervals(forecasts: pd.DataFrame, model: str) -> dict[float, dict[str, Any]]:
    low, high = (_suffixed(forecasts, model, mark) for mark in ("-lo-", "-hi-"))
    return {
        percent: {"lower": low[percent], "upper": high[percent], "level": percent}
        for percent in sorted(low)
        if percent in high
    }


def _quantiles(forecasts: pd.DataFrame, model: str) -> dict[str, Any]:
    found = _suffixed(forecasts, model, "-q-")
    for percent, bounds in _intervals(forecasts, model).items():
        found.setdefault(round(0.5 - percent / 200, 10), bounds["lower"])
        found.setdefault(round(0.5 + percent / 200, 10), bounds["upper"])
    if not found:
        return {}
    levels = sorted(found)
    quantiles = torch.stack([found[level] for level in levels], dim=-1)
    return {"quantiles": quantiles, "quantile_levels": torch.tensor(levels, dtype=torch.float64)}


def _scales(
    forecasts: pd.DataFrame,
    metrics: Sequence[str],
    train: Any,
    season_length: int | None,
    columns: Columns,
) -> dict[str, Tensor]:
    """Scale of each row's series, from the points up to its first cutoff."""
    needs = {need for name in metrics for need in METRICS[name].needs}
    if train is None or not needs & {"scale", "squared_scale"}:
        return {}
    for name in (columns.id, "cutoff"):
        _check_column(forecasts, name)
    panel = Panel.from_frame(train, columns)
    rows = panel.labels.ids.get_indexer(pd.Index(forecasts[columns.id]))
    if (rows < 0).any():
        unknown = forecasts[columns.id].iloc[int(np.flatnonzero(rows < 0)[0])]
        raise ValueError(f"train must hold every series scored; got none of {unknown!r}. Add it.")
    first = forecasts.groupby(rows)["cutoff"].min()
    frequency, cutoffs = panel.labels.frequency, pd.Index(first)
    if isinstance(cutoffs, pd.DatetimeIndex):
        check_time_zone(time_zone_of(cutoffs), frequency, "forecasts", "train")
    ends = frequency.to_ordinals(cutoffs) - panel.labels.starts[first.index]
    known = panel.lengths.clone()
    known[torch.tensor(first.index.to_numpy())] = torch.tensor(ends // frequency.step + 1)
    past = panel.slice(torch.zeros_like(known), known)
    season = frequency.season_length if season_length is None else season_length
    row = torch.from_numpy(rows)
    return {
        "scale": seasonal_scale(past.values, season, past.offsets)[row],
        "squared_scale": seasonal_squared_scale(past.values, season, past.offsets)[row],
    }
