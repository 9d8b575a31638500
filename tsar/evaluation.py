"""Evaluation: backtests over cutoffs, and their scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from torch import Tensor

from tsar.conditions import check_whole
from tsar.forecaster import Forecast, Forecaster, named_columns
from tsar.intervals import Levels
from tsar.metrics import METRICS, Metric, seasonal_scale, seasonal_squared_scale
from tsar.panel import Columns, Panel

Models = Forecaster | Sequence[Forecaster] | Mapping[str, Forecaster]

MARKS = ("-lo-", "-hi-", "-q-")  # between a model's name and the level of a column


def cross_validation(
    models: Models,
    frame: Any,
    *,
    horizon: int,
    n_windows: int = 1,
    step_size: int | None = None,
    refit: bool | int = False,
    quantile_levels: Any = None,
    level: Any = None,
) -> pd.DataFrame:
    """Forecast the newest windows of each series from what was known before them.

    Parameters
    ----------
    models
        A forecaster, several, or several by name; they are cloned, not fitted in place.
    frame
        All the data, in any layout that `fit` takes.
    horizon
        Points of a window.
    n_windows
        Windows for each series; the last one ends where the series does.
    step_size
        Points between the cutoffs of two windows; None for `horizon`.
    refit
        False: fit once, before the first window, and forecast the later ones from newer contexts.
        True: fit before each. k: before every k-th.
    quantile_levels, level
        As in `Forecaster.predict`.

    Returns
    -------
    pandas.DataFrame
        Long: id, time, ``cutoff`` (the last time that was known), target, and a column for each
        model. Future covariates take the values that the frame holds.

    Raises
    ------
    ValueError, TypeError
        A series is too short, an argument is not as it must be, or the models do not read frames
        alike.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar.forecasters import Naive
    >>> cross_validation(Naive(), np.arange(6.0), horizon=2, n_windows=2)
      unique_id  ds  cutoff    y  Naive
    0         0   2       1  2.0    1.0
    1         0   3       1  3.0    1.0
    2         0   4       3  4.0    3.0
    3         0   5       3  5.0    3.0
    """
    named = name_models(models)
    check_whole("horizon", horizon)
    check_whole("n_windows", n_windows)
    step = horizon if step_size is None else check_whole("step_size", step_size)
    every = int(refit) if isinstance(refit, bool) else check_whole("refit", refit, least=0)
    back = horizon + step * np.arange(n_windows)[::-1]
    wanted = Levels.of(quantile_levels, level)
    panels = _read_panels(named, frame)
    _check_names(named, next(iter(panels)))
    columns: dict[str, np.ndarray] = {}
    for name, model in named.items():
        panel = panels[model.columns or Columns()]
        _check_lengths(panel, int(back[0]))
        forecast = _backtest(model, panel, horizon, back, every, wanted.levels)
        columns |= named_columns(name, forecast, wanted)
    return _cutoff_frame(next(iter(panels.values())), horizon, back, columns)


def evaluate(
    forecasts: pd.DataFrame,
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
        From `cross_validation`, or a frame of that form.
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
    >>> from tsar.forecasters import Naive
    >>> cv = cross_validation(Naive(), np.arange(6.0), horizon=2, n_windows=2)
    >>> evaluate(cv, ["mae", "mase"], train=np.arange(6.0))
           mae  mase
    model
    Naive  1.5   1.5
    """
    columns = columns or Columns()
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


def name_models(models: Models) -> dict[str, Forecaster]:
    """Forecasters by name: their class's, numbered where it comes again."""
    named = dict(models) if isinstance(models, Mapping) else _numbered(models)
    if not named or not all(isinstance(model, Forecaster) for model in named.values()):
        raise TypeError(
            f"models must be forecasters, or forecasters by name; got {models!r}. Build them first."
        )
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"models must have names that are texts; got {name!r}. Rename it.")
        if any(mark in name for mark in MARKS):
            raise ValueError(
                f"models must not have '-lo-', '-hi-' or '-q-' in a name, which mark intervals and "
                f"quantiles; got {name!r}. Rename it."
            )
    return named


def _numbered(models: Forecaster | Sequence[Forecaster]) -> dict[str, Forecaster]:
    several = models if isinstance(models, Iterable) else [models]
    named: dict[str, Forecaster] = {}
    for model in several:
        name = type(model).__name__
        count = sum(type(other) is type(model) for other in named.values())
        named[f"{name}-{count + 1}" if count else name] = model
    return named


def _check_names(models: Mapping[str, Forecaster], columns: Columns) -> None:
    taken = {columns.id, columns.time, columns.target, "cutoff"}
    for name in models:
        if name in taken:
            raise ValueError(
                f"models must not be named like a column of the result; got {name!r}. Rename it."
            )


def model_names(forecasts: pd.DataFrame, columns: Columns) -> list[str]:
    """Columns that hold the point forecasts of models."""
    known = {columns.id, columns.time, columns.target, "cutoff"}
    names = [name for name in forecasts.columns if name not in known]
    return [name for name in names if not any(mark in str(name) for mark in MARKS)]


# --- backtest ---------------------------------------------------------------------------------


def _read_panels(models: Mapping[str, Forecaster], frame: Any) -> dict[Columns, Panel]:
    """The panel of each way to read the frame; models may differ in their covariates alone."""
    ways = list(dict.fromkeys(model.columns or Columns() for model in models.values()))
    bare = {replace(way, past=(), future=(), static=()) for way in ways}
    if len(bare) > 1:
        raise ValueError(
            f"models must read the frame alike but for covariates; got {list(bare)}. "
            "Give them the same Columns(id, time, target, freq, fill_gaps)."
        )
    panels = {way: Panel.from_frame(frame, way) for way in ways}
    found = [panel.labels.ids for panel in panels.values()]
    for ids in found[1:]:
        if not ids.equals(found[0]):
            raise ValueError(
                f"models must find the same series in the frame; got {list(found[0])[:5]} and "
                f"{list(ids)[:5]}: a column of a wide frame is a series where no covariate has its "
                "name. Leave it out, or give a long frame."
            )
    return panels


def _check_lengths(panel: Panel, back: int) -> None:
    short = panel.lengths <= back
    if bool(short.any()):
        row = int(short.nonzero()[0, 0])
        raise ValueError(
            f"series must have more than {back} points for these windows; got "
            f"{int(panel.lengths[row])} for series {panel.labels.ids[row]!r}. "
            "Lower horizon, n_windows or step_size, or drop short series."
        )


def _backtest(
    model: Forecaster,
    panel: Panel,
    horizon: int,
    back: np.ndarray,
    refit: int,
    levels: tuple[float, ...],
) -> Forecast:
    """Forecasts of all windows, series by series."""
    every = refit if refit else len(back)
    pieces = []
    for first in range(0, len(back), every):
        chosen = torch.as_tensor(back[first : first + every].copy())
        fitted = clone(model).fit_panel(panel.without_last(int(chosen[0])))
        series = torch.arange(len(panel)).repeat_interleave(len(chosen))
        points = (panel.lengths[:, None] - chosen).reshape(-1)
        part = fitted.forecast_panel(panel, horizon, levels, series=series, points=points)
        pieces.append((part.point, part.quantiles))
    return Forecast(*(_join(len(panel), [piece[k] for piece in pieces]) for k in (0, 1)))


def _join(series: int, pieces: list[Tensor]) -> Tensor:
    """Windows of several fits, put back series by series."""
    return torch.cat([piece.unflatten(0, (series, -1)) for piece in pieces], dim=1).flatten(0, 1)


def _cutoff_frame(
    panel: Panel, horizon: int, back: np.ndarray, columns: dict[str, np.ndarray]
) -> pd.DataFrame:
    labels, frequency = panel.labels, panel.labels.frequency
    points = panel.lengths.numpy()[:, None] - back  # (series, window)
    first = labels.starts[:, None] + points * frequency.step
    ordinals = first[:, :, None] + np.arange(horizon) * frequency.step
    rows = (panel.offsets[:-1].numpy()[:, None] + points)[:, :, None] + np.arange(horizon)
    cutoffs = (first - frequency.step)[:, :, None].repeat(horizon, axis=2)
    head = {
        labels.columns.id: labels.ids.repeat(len(back) * horizon),
        labels.columns.time: frequency.to_times(ordinals.reshape(-1)),
        "cutoff": frequency.to_times(cutoffs.reshape(-1)),
        labels.columns.target: panel.values.numpy()[rows.reshape(-1)],
    }
    return pd.DataFrame(head | {name: values.reshape(-1) for name, values in columns.items()})


# --- scores -----------------------------------------------------------------------------------


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
    frequency = panel.labels.frequency
    ends = frequency.to_ordinals(pd.Index(first)) - panel.labels.starts[first.index]
    known = panel.lengths.clone()
    known[torch.tensor(first.index.to_numpy())] = torch.tensor(ends // frequency.step + 1)
    past = panel.slice(torch.zeros_like(known), known)
    season = frequency.season_length if season_length is None else season_length
    row = torch.from_numpy(rows)
    return {
        "scale": seasonal_scale(past.values, season, past.offsets)[row],
        "squared_scale": seasonal_squared_scale(past.values, season, past.offsets)[row],
    }
