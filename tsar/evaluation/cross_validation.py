"""Evaluation: backtests over cutoffs."""

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
    """Forecast the newest windows of each series from what was known before them.

    Parameters
    ----------
    models
        A forecaster, several, or several by name; they are cloned, not fitted in place, and their
        `horizon` is set.
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
    >>> from tsar import cross_validation
    >>> cross_validation(Naive(), np.arange(6.0), horizon=2, n_windows=2)
      unique_id  ds  cutoff    y  Naive
    0         0   2       1  2.0    1.0
    1         0   3       1  3.0    1.0
    2         0   4       3  4.0    3.0
    3         0   5       3  5.0    3.0
    """
    named = name_models(models)
    horizon, n_windows = check_integer("horizon", horizon), check_integer("n_windows", n_windows)
    step = horizon if step_size is None else check_integer("step_size", step_size)
    every = int(refit) if isinstance(refit, bool) else check_integer("refit", refit, min=0)
    back = horizon + step * np.arange(n_windows)[::-1]
    wanted = Levels.parse(quantile_levels, level)
    panels = _read_panels(named, frame)
    _check_names(named, next(iter(panels)), wanted)
    columns: dict[str, np.ndarray] = {}
    for name, model in named.items():
        panel = panels[model.columns or Columns()]
        _check_lengths(panel, int(back[0]))
        forecast = _backtest(model, panel, horizon, back, every, wanted.levels)
        columns |= named_columns(name, forecast, wanted)
    return _cutoff_frame(next(iter(panels.values())), horizon, back, columns)


def name_models(models: Models) -> dict[str, Forecaster]:
    """Forecasters by name: their class's, numbered where it comes again."""
    named = dict(models) if isinstance(models, Mapping) else _numbered(models)
    if not named or not all(isinstance(model, Forecaster) for model in named.values()):
        raise TypeError(
            f"models must be forecasters, or forecasters by name; got {reprlib.repr(models)}. "
            "Build them first; the data come second."
        )
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"models must have names that are texts; got {name!r}. Rename it.")
        if any(mark in name for mark in LEVEL_MARKERS):
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


def _check_names(models: Mapping[str, Forecaster], columns: Columns, wanted: Levels) -> None:
    own = {columns.id, columns.time, columns.target}
    if "cutoff" in own:
        raise ValueError(
            f"columns must leave the name 'cutoff' to the result; got {columns}. Rename the column."
        )
    for name in models:
        made = [name, *(name + suffix for suffix, _ in wanted.columns)]
        taken = [column for column in made if column in {*own, "cutoff"}]
        if taken:
            raise ValueError(
                f"models must not be named like a column of the result; got {name!r}, which gives "
                f"{taken[0]!r}. Rename the model, or the column."
            )


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
        raise ParameterError(
            "series",
            f"have more than {back} points for these windows",
            f"{int(panel.lengths[row])} for series {panel.labels.ids[row]!r}",
            "Lower {horizon}, {n_windows} or {step_size}, or drop short series.",
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
    series = torch.arange(len(panel)).repeat_interleave(len(back))
    points = (panel.lengths[:, None] - torch.as_tensor(back.copy())).reshape(-1)
    none = torch.zeros_like(points)  # before a long fit what is known without it
    check_covariates(panel, series, points, back=0, lead=none, horizon=horizon)
    every = refit if refit else len(back)
    pieces = []
    for first in range(0, len(back), every):
        chosen = torch.as_tensor(back[first : first + every].copy())
        fitted = (
            clone(model).set_params(horizon=horizon).fit_panel(panel.without_last(int(chosen[0])))
        )
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
