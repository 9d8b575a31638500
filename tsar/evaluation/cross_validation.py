"""Time series cross-validation: forecasts from several cutoffs of each series."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from torch import Tensor

from tsar.data.alignment import check_covariates
from tsar.data.panel import Columns, Panel
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast, named_columns
from tsar.intervals import LEVEL_MARKERS, Levels
from tsar.validation import ParameterError, check_integer

Models = Forecaster | Sequence[Forecaster] | Mapping[str, Forecaster]


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
    """Forecast the newest windows of each series from the data before their cutoffs.

    Parameters
    ----------
    models
        A forecaster, a sequence of them, or a dict by name. They are cloned, and their `horizon` is
        set.
    frame
        The data, in any layout that `fit` accepts.
    horizon
        Points to forecast after each cutoff.
    n_windows
        Number of windows of each series; the last one ends with the series.
    step_size
        Points between the cutoffs of two windows; None for `horizon`.
    refit
        False: fit once, before the first window, and forecast later windows from newer contexts.
        True: fit before each window. An integer k: before every k-th window.
    quantile_levels, level
        As in `Forecaster.predict`.

    Returns
    -------
    pandas.DataFrame
        Long frame with id, time, ``cutoff`` (the last observed time), target, and the columns of
        each model. Future covariates are read from the frame.

    Raises
    ------
    ValueError, TypeError
        A series is too short, an argument is invalid, or the models read the frame differently.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar.forecasters import Naive
    >>> from tsar import cross_validation
    >>> cross_validation(Naive(), np.arange(6.0), horizon=2, n_windows=2)
      unique_id  ds  cutoff    y  Naive
    0         0   2       1  2.0    1.0
    1         0   3       1  3.0    1.0
    2         0   4       3  4.0    3.0
    3         0   5       3  5.0    3.0
    """
    models = name_models(models)
    horizon, n_windows = check_integer("horizon", horizon), check_integer("n_windows", n_windows)
    step = horizon if step_size is None else check_integer("step_size", step_size)
    refit = int(refit) if isinstance(refit, bool) else check_integer("refit", refit, min=0)
    steps_back = horizon + step * np.arange(n_windows)[::-1]
    levels = Levels.parse(quantile_levels, level)
    panels = _read_panels(models, frame)
    _check_names(models, next(iter(panels)), levels)
    columns: dict[str, np.ndarray] = {}
    for name, model in models.items():
        panel = panels[model.columns or Columns()]
        _check_lengths(panel, int(steps_back[0]))
        forecast = _backtest(model, panel, horizon, steps_back, refit or n_windows, levels.levels)
        columns |= named_columns(name, forecast, levels)
    return _to_frame(next(iter(panels.values())), horizon, steps_back, columns)


def name_models(models: Models) -> dict[str, Forecaster]:
    """Return forecasters by name: that of their class, with a number from the second one on."""
    named = dict(models) if isinstance(models, Mapping) else _name_by_class(models)
    if not named or not all(isinstance(model, Forecaster) for model in named.values()):
        raise TypeError(
            f"models must be forecasters, or forecasters by name; got {reprlib.repr(models)}. "
            "Give them first, and the data second."
        )
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"models must have strings as names; got {name!r}. Rename it.")
        if any(mark in name for mark in LEVEL_MARKERS):
            raise ValueError(
                f"models must not have '-lo-', '-hi-' or '-q-' in a name, which mark intervals and "
                f"quantiles; got {name!r}. Rename it."
            )
    return named


def _name_by_class(models: Forecaster | Sequence[Forecaster]) -> dict[str, Forecaster]:
    named: dict[str, Forecaster] = {}
    for model in models if isinstance(models, Iterable) else [models]:
        name = type(model).__name__
        count = sum(type(other) is type(model) for other in named.values())
        named[f"{name}-{count + 1}" if count else name] = model
    return named


def _check_names(models: Mapping[str, Forecaster], columns: Columns, levels: Levels) -> None:
    reserved = {columns.id, columns.time, columns.target}
    if "cutoff" in reserved:
        raise ValueError(
            f"columns must not contain 'cutoff', a column of the result; got {columns}. Rename it."
        )
    reserved.add("cutoff")
    for name in models:
        outputs = [name, *(name + suffix for suffix, _ in levels.columns)]
        conflicts = [column for column in outputs if column in reserved]
        if conflicts:
            raise ValueError(
                f"models must not be named like a column of the result; got {name!r}, which gives "
                f"{conflicts[0]!r}. Rename the model, or the column."
            )


def _read_panels(models: Mapping[str, Forecaster], frame: Any) -> dict[Columns, Panel]:
    """Read one panel for each `columns` of the models, which may differ in covariates only."""
    all_columns = list(dict.fromkeys(model.columns or Columns() for model in models.values()))
    without_covariates = {replace(c, past=(), future=(), static=()) for c in all_columns}
    if len(without_covariates) > 1:
        raise ValueError(
            "models must have the same columns, except for covariates; got "
            f"{list(without_covariates)}. Give them the same Columns(id, time, target, freq, "
            "fill_gaps)."
        )
    panels = {columns: Panel.from_frame(frame, columns) for columns in all_columns}
    first, *others = (panel.labels.ids for panel in panels.values())
    for ids in others:
        if not ids.equals(first):
            raise ValueError(
                f"models must find the same series in the frame; got {list(first)[:5]} and "
                f"{list(ids)[:5]}: a column of a wide frame is a series unless it is named as a "
                "covariate. Leave it out, or give a long frame."
            )
    return panels


def _check_lengths(panel: Panel, steps_back: int) -> None:
    short = panel.lengths <= steps_back
    if bool(short.any()):
        row = int(short.nonzero()[0, 0])
        raise ParameterError(
            "series",
            f"have more than {steps_back} points for these windows",
            f"{int(panel.lengths[row])} for series {panel.labels.ids[row]!r}",
            "Lower {horizon}, {n_windows} or {step_size}, or drop short series.",
        )


def _backtest(
    model: Forecaster,
    panel: Panel,
    horizon: int,
    steps_back: np.ndarray,
    refit_every: int,
    levels: tuple[float, ...],
) -> Forecast:
    """Forecasts of all windows, ordered by series and then by window."""
    # Before the first fit, which may take long: whether all future covariates are given.
    series, points = _cutoffs(panel, steps_back)
    no_gap = torch.zeros_like(points)
    check_covariates(panel, series, points, context_length=0, gap=no_gap, horizon=horizon)
    point, quantiles = [], []
    for first in range(0, len(steps_back), refit_every):
        windows = steps_back[first : first + refit_every]
        train = panel.without_last(int(windows[0]))
        fitted = clone(model).set_params(horizon=horizon).fit_panel(train)
        series, points = _cutoffs(panel, windows)
        forecast = fitted.forecast_panel(panel, horizon, levels, series=series, points=points)
        point.append(forecast.point)
        quantiles.append(forecast.quantiles)
    return Forecast(_by_series(point, len(panel)), _by_series(quantiles, len(panel)))


def _cutoffs(panel: Panel, steps_back: np.ndarray) -> tuple[Tensor, Tensor]:
    """Series, and number of points before the cutoff, of each window."""
    series = torch.arange(len(panel)).repeat_interleave(len(steps_back))
    points = panel.lengths[:, None] - torch.as_tensor(steps_back.copy())
    return series, points.reshape(-1)


def _by_series(forecasts: list[Tensor], n_series: int) -> Tensor:
    """Windows of several fits, ordered by series."""
    windows = [forecast.unflatten(0, (n_series, -1)) for forecast in forecasts]
    return torch.cat(windows, dim=1).flatten(0, 1)


def _to_frame(
    panel: Panel, horizon: int, steps_back: np.ndarray, columns: dict[str, np.ndarray]
) -> pd.DataFrame:
    labels, frequency = panel.labels, panel.labels.frequency
    points = panel.lengths.numpy()[:, None] - steps_back  # (series, window)
    first = labels.starts[:, None] + points * frequency.step
    ordinals = first[:, :, None] + np.arange(horizon) * frequency.step
    rows = (panel.offsets[:-1].numpy()[:, None] + points)[:, :, None] + np.arange(horizon)
    cutoffs = (first - frequency.step)[:, :, None].repeat(horizon, axis=2)
    data = {
        labels.columns.id: labels.ids.repeat(len(steps_back) * horizon),
        labels.columns.time: frequency.to_times(ordinals.reshape(-1)),
        "cutoff": frequency.to_times(cutoffs.reshape(-1)),
        labels.columns.target: panel.values.numpy()[rows.reshape(-1)],
    }
    return pd.DataFrame(data | {name: values.reshape(-1) for name, values in columns.items()})
