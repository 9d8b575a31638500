"""Plots of forecasts with their intervals: one series, or the series of a long frame."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.intervals import LEVEL_MARKERS
from tsar.plotting.style import (
    BLUE,
    DARK_GREY,
    DASHED,
    DOTTED,
    GREY,
    ORANGE,
    Floats,
    add_legend_above,
    format_ticks,
    new_axes,
    new_grid,
    plot_times,
    style_axes,
)

MAX_PANELS = 6
Curve = tuple[Any, Floats]  # times and values


def plot_forecast(
    history: Curve,
    forecast: Curve,
    *,
    bands: Mapping[str, tuple[Floats, Floats]] | None = None,
    actual: Curve | None = None,
    title: str = "",
    label: str = "forecast",
    ax: Any = None,
) -> Any:
    """Plot one series: its history, the forecast, and intervals around it.

    Parameters
    ----------
    history, forecast, actual
        Times and values; `actual` is what was observed after the history, if known.
    bands
        Lower and upper bounds by name, the widest first.
    title, label
        Title of the axes, and name of the forecast in the legend.
    ax
        Matplotlib axes to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(9, 3.4)) if ax is None else ax
    times, values = (np.asarray(array) for array in history)
    ax.plot(times, values, color=DARK_GREY, linewidth=1.3, label="history")
    if actual is not None:
        ax.plot(*_connect((times, values), actual), color=ORANGE, linewidth=1.7, label="actual")
    _draw_forecast(ax, (times, values), forecast, bands or {}, label)
    ax.axvline(times[-1], color=GREY, linewidth=0.9, linestyle=DOTTED)
    style_axes(ax, title)
    format_ticks(ax, dates=times.dtype.kind == "M")
    add_legend_above(ax)
    return ax


def plot_forecasts(
    history: Any,
    forecast: Any,
    *,
    columns: Columns | None = None,
    titles: Mapping[Any, str] | None = None,
) -> Any:
    """Plot the newest history of each series of a long frame, and its forecasts with intervals.

    Parameters
    ----------
    history
        Long frame with the id, time and target, as far as observed.
    forecast
        Long frame from `Forecaster.predict`, or from `tsar.cross_validation` with a forecast for
        each ``cutoff``. The first model is drawn with its intervals, others as dashed lines.
    columns
        Names of the id, time and target columns.
    titles
        Title of each series to plot, by id, in that order. None: the ids of the first six.

    Returns
    -------
    matplotlib.figure.Figure
        With one panel for each series; save it by ``savefig``.

    Raises
    ------
    ImportError
        The plot extra is not installed.
    """
    columns = columns or Columns()
    ids = list(dict.fromkeys(forecast[columns.id]))
    chosen = titles or {name: str(name) for name in ids[:MAX_PANELS]}
    figure, axes = new_grid(len(chosen))
    for ax, (name, title) in zip(axes, chosen.items(), strict=True):
        past = history[history[columns.id] == name].sort_values(columns.time)
        _plot_series(past, forecast[forecast[columns.id] == name], columns, ax)
        style_axes(ax, title)
    handles, labels = axes[0].get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    options = {"loc": "outside lower center", "ncols": len(by_label)}
    figure.legend(by_label.values(), by_label.keys(), **options, frameon=False, fontsize=9)
    if titles is None and len(ids) > len(axes):
        figure.suptitle(f"{len(axes)} of {len(ids)} series", color=GREY, fontsize=9)
    return figure


def _plot_series(past: Any, forecast: Any, columns: Columns, ax: Any) -> None:
    """Draw the newest history of a series, and its forecast after each cutoff."""
    other = {columns.id, columns.time, columns.target, "cutoff"}
    names = [name for name in forecast.columns if name not in other]
    models = [name for name in names if not any(mark in str(name) for mark in LEVEL_MARKERS)]
    windows = [w for _, w in forecast.groupby("cutoff")] if "cutoff" in forecast else [forecast]
    count = (past[columns.time] < forecast[columns.time].min()).sum()
    # Four times the horizon, from 24 to 400 points: the forecast stays readable.
    past = past.iloc[max(count - min(max(4 * len(windows[0]), 24), 400), 0) :]
    times, values = plot_times(past[columns.time]), past[columns.target].to_numpy(np.float64)
    ax.plot(times, values, color=DARK_GREY, linewidth=1.3, label="observed")
    for window in windows:
        window_times = plot_times(window[columns.time])
        curves = {name: window[name].to_numpy(np.float64) for name in names}
        cutoff = int((times < window_times[0]).sum())
        known = (times[:cutoff], values[:cutoff])
        _draw_other_curves(ax, known, window_times, curves, models)
        bands = _bands(models[0], curves)
        _draw_forecast(ax, known, (window_times, curves[models[0]]), bands, models[0])
    if len(times):
        ax.axvline(times[-1], color=GREY, linewidth=1, linestyle=DOTTED, label="last observation")
    format_ticks(ax, dates=times.dtype.kind == "M")


def _draw_other_curves(
    ax: Any, known: Curve, times: Any, curves: Mapping[str, Floats], models: list[str]
) -> None:
    """Draw the other models, and the quantiles of the first, as dashed lines."""
    for name, values in curves.items():
        if name in models[1:] or name.startswith(f"{models[0]}-q-"):
            label = name.removeprefix(f"{models[0]}-")
            curve = _connect(known, (times, values))
            ax.plot(*curve, color=GREY, linestyle=DASHED, label=label)


def _draw_forecast(
    ax: Any,
    history: Curve,
    forecast: Curve,
    bands: Mapping[str, tuple[Floats, Floats]],
    label: str,
) -> None:
    """Draw a forecast and its intervals, connected to the end of the history."""
    times = np.asarray(forecast[0])
    alphas = np.linspace(0.2, 0.3, len(bands))
    for alpha, (name, bounds) in zip(alphas, bands.items(), strict=True):
        (band_times, low), (_, high) = (_connect(history, (times, bound)) for bound in bounds)
        ax.fill_between(band_times, low, high, color=BLUE, alpha=alpha, linewidth=0, label=name)
    ax.plot(*_connect(history, (times, forecast[1])), color=BLUE, linewidth=2, label=label)


def _connect(history: Curve, curve: Curve) -> tuple[NDArray[np.generic], Floats]:
    """Prepend the last point of the history to a curve, unless it is missing."""
    times, values = (np.asarray(array) for array in curve)
    if not len(history[0]) or np.isnan(history[1][-1]):
        return times, values
    return np.append(history[0][-1:], times), np.append(history[1][-1:], values)


def _bands(model: str, curves: Mapping[str, Floats]) -> dict[str, tuple[Floats, Floats]]:
    """Bounds of the intervals of a model, the widest first."""
    prefix = f"{model}-lo-"
    levels = [name.removeprefix(prefix) for name in curves if name.startswith(prefix)]
    return {
        f"{level} % interval": (curves[f"{model}-lo-{level}"], curves[f"{model}-hi-{level}"])
        for level in sorted(levels, key=float, reverse=True)
    }
