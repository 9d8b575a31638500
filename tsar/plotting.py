"""Pictures: coefficients by lag, and forecasts with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsar.data.panel.columns import Columns
from tsar.intervals import LEVEL_MARKERS

Floats = NDArray[np.float64]

# Told apart by every eye, and in grey (Okabe & Ito 2008, darkened for thin lines).
BLUE, ORANGE, INK, GREY, PALE = "#1f66b0", "#d55e00", "#333a44", "#8d949e", "#e4e7eb"
REGIMES = (BLUE, ORANGE, "#4c9f70", "#8e6bb0", "#c9a227", "#3aa6b9")
MOST_PANELS = 6
DASHES, DOTS = (0, (4, 2)), (0, (2, 3))


def plot_coefficients(
    coef: Floats, error: Floats | None = None, *, title: str = "", ax: Any = None
) -> Any:
    """Plot the coefficient of each lag as a stem; zeros are small, intervals 95 %.

    Source: AR-Net (arXiv 1911.12436), figures 3 and 6.

    Parameters
    ----------
    coef, error
        Coefficients, lag 1 first, and their standard errors.
    title
        Above the picture.
    ax
        Axes of matplotlib to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(8, 3.2)) if ax is None else ax
    lags = np.arange(1, len(coef) + 1)
    used = coef != 0
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.plot(lags[~used], coef[~used], ".", color=GREY, markersize=3)
    ax.vlines(lags[used], 0, coef[used], color=BLUE, linewidth=2)
    if error is not None:
        ax.errorbar(
            lags[used],
            coef[used],
            1.96 * error[used],
            fmt="none",
            ecolor=ORANGE,
            elinewidth=1.2,
            capsize=3,
        )
    ax.plot(lags[used], coef[used], "o", color=BLUE, markersize=5)
    ax.set(xlabel="lag", ylabel="coefficient")
    ax.xaxis.get_major_locator().set_params(integer=True)
    _clean(ax, title)
    return ax


def plot_forecast(
    history: tuple[Any, Floats],
    forecast: tuple[Any, Floats],
    *,
    bands: Mapping[str, tuple[Floats, Floats]] | None = None,
    actual: tuple[Any, Floats] | None = None,
    title: str = "",
    label: str = "forecast",
    ax: Any = None,
) -> Any:
    """Plot one series: its history, the forecast, and the intervals around it.

    Parameters
    ----------
    history, forecast, actual
        Times and values; `actual` is what came after the history, where it is known.
    bands
        Lower and upper bounds by name, the widest first.
    title, label
        Texts.
    ax
        Axes of matplotlib to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(9, 3.4)) if ax is None else ax
    times, values = (np.asarray(part) for part in history)
    ax.plot(times, values, color=INK, linewidth=1.3, label="history")
    if actual is not None:
        ax.plot(*_joined((times, values), actual), color=ORANGE, linewidth=1.7, label="actual")
    _draw(ax, (times, values), forecast, bands or {}, label)
    ax.axvline(times[-1], color=GREY, linewidth=0.9, linestyle=DOTS)
    _clean(ax, title)
    _format_ticks(ax, dates=times.dtype.kind == "M")
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    ax.legend(**place, frameon=False, fontsize=8, ncols=len(ax.get_legend_handles_labels()[0]))
    return ax


def plot_forecasts(
    history: Any,
    forecast: Any,
    *,
    columns: Columns | None = None,
    titles: Mapping[Any, str] | None = None,
) -> Any:
    """Plot the end of each series of a long frame and its forecasts with their intervals.

    Parameters
    ----------
    history
        A long frame with the id, time and target, as far as they are known.
    forecast
        A long frame of `Forecaster.predict`, or of `tsar.cross_validation` with a forecast for
        each ``cutoff``: the first model with its intervals, others as dashed lines.
    columns
        Names of the id, time and target columns.
    titles
        What to write above a series instead of its id; says which series to draw, and in which
        order. None: the first six.

    Returns
    -------
    matplotlib.figure.Figure
        With a panel for each series; write it by ``savefig``.

    Raises
    ------
    ImportError
        The plot extra is not installed.
    """
    columns = columns or Columns()
    ids = list(dict.fromkeys(forecast[columns.id]))
    chosen = titles or {name: str(name) for name in ids[:MOST_PANELS]}
    figure, axes = _new_grid(len(chosen))
    for ax, (name, title) in zip(axes, chosen.items(), strict=True):
        past = history[history[columns.id] == name].sort_values(columns.time)
        _plot_series(past, forecast[forecast[columns.id] == name], columns, ax)
        _clean(ax, title)
    _add_legend(figure, axes[0])
    if titles is None and len(ids) > len(axes):
        figure.suptitle(f"{len(axes)} of {len(ids)} series", color=GREY, fontsize=9)
    return figure


def plot_regimes(
    times: Any,
    values: Floats,
    regimes: NDArray[np.int64],
    levels: Floats,
    *,
    changes: bool = False,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Plot a series over the regimes that it passes, each a shade, and its level in them.

    Parameters
    ----------
    times, values
        The series.
    regimes
        Number of the regime at each point.
    levels
        Mean of each regime.
    changes
        Whether those are means of the changes a step, which have no place to be drawn at.
    title
        Above the picture.
    ax
        Axes of matplotlib to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(9, 3.4)) if ax is None else ax
    ticks = _plain_times(times)
    borders = np.flatnonzero(np.diff(regimes)) + 1
    shown: set[int] = set()
    kind = "change" if changes else "level"
    for first, last in zip([0, *borders], [*borders, len(regimes)], strict=True):
        regime = int(regimes[first])
        label = None if regime in shown else f"regime {regime} ({kind} {levels[regime]:.4g})"
        shown.add(regime)
        color = REGIMES[regime % len(REGIMES)]
        end = min(last, len(regimes) - 1)
        ax.axvspan(ticks[first], ticks[end], color=color, alpha=0.22, linewidth=0, label=label)
        if not changes:
            ax.hlines(levels[regime], ticks[first], ticks[end], color=color, linewidth=1.6)
    ax.plot(ticks, values, color=INK, linewidth=1.0)
    _clean(ax, title)
    _format_ticks(ax, dates=ticks.dtype.kind == "M")
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=labels.__getitem__)
    ax.legend(
        [handles[k] for k in order],
        [labels[k] for k in order],
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        frameon=False,
        fontsize=8,
        ncols=min(len(order), 4),
    )
    return ax


def new_axes(*, figsize: tuple[float | int, float | int], rows: int = 1) -> Any:
    """New axes of matplotlib, one or a column of them.

    Raises
    ------
    ImportError
        The plot extra is not installed.
    """
    figure = _new_figure((figsize[0], figsize[1] * rows))
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    return axes[0] if rows == 1 else axes


def _new_figure(size: tuple[float | int, float | int]) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("plots need the plot extra. Run: pip install 'tsar[plot]'") from error
    # A figure of its own, without pyplot: no global state, no window, no backend to choose.
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches
    figure = Figure(figsize=size, layout=layout, dpi=150)
    FigureCanvasAgg(figure)
    return figure


def _new_grid(panels: int) -> tuple[Any, list[Any]]:
    """A figure, and axes in one column up to two, in two from there; an odd first one is wide."""
    columns = 1 if panels <= 2 else 2
    rows = -(-panels // columns)
    figure = _new_figure((10, 2.7 * rows + 0.7))
    grid = figure.add_gridspec(rows, columns)
    odd = panels % columns
    wide = [figure.add_subplot(grid[0, :])] if odd else []
    places = range(columns if odd else 0, rows * columns)
    return figure, wide + [figure.add_subplot(grid[divmod(k, columns)]) for k in places]


def _add_legend(figure: Any, ax: Any) -> None:
    """Say once, below all panels, what each line and band is."""
    handles, labels = ax.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    place = {"loc": "outside lower center", "ncols": len(named)}
    figure.legend(named.values(), named.keys(), **place, frameon=False, fontsize=9)


def _plot_series(past: Any, forecast: Any, columns: Columns, ax: Any) -> None:
    """Draw the end of a series, and its forecast after each cutoff."""
    known = {columns.id, columns.time, columns.target, "cutoff"}
    lines = [name for name in forecast.columns if name not in known]
    models = [name for name in lines if not any(mark in str(name) for mark in LEVEL_MARKERS)]
    windows = [w for _, w in forecast.groupby("cutoff")] if "cutoff" in forecast else [forecast]
    before = (past[columns.time] < forecast[columns.time].min()).sum()
    # As much history as tells the story without hiding the forecast.
    past = past.iloc[max(before - min(max(4 * len(windows[0]), 24), 400), 0) :]
    times, values = _plain_times(past[columns.time]), past[columns.target].to_numpy(np.float64)
    ax.plot(times, values, color=INK, linewidth=1.3, label="observed")
    for window in windows:
        ahead = _plain_times(window[columns.time])
        numbers = {name: window[name].to_numpy(np.float64) for name in lines}
        end = int((times < ahead[0]).sum())
        start = (times[:end], values[:end])
        for name, line in numbers.items():
            if name in models[1:] or name.startswith(f"{models[0]}-q-"):
                label = name.removeprefix(f"{models[0]}-")
                ax.plot(*_joined(start, (ahead, line)), color=GREY, linestyle=DASHES, label=label)
        _draw(ax, start, (ahead, numbers[models[0]]), _bands(models[0], numbers), models[0])
    if len(times):
        ax.axvline(times[-1], color=GREY, linewidth=1, linestyle=DOTS, label="last observation")
    _format_ticks(ax, dates=times.dtype.kind == "M")


def _draw(
    ax: Any,
    history: tuple[Any, Floats],
    forecast: tuple[Any, Floats],
    bands: Mapping[str, tuple[Floats, Floats]],
    label: str,
) -> None:
    """Draw a forecast and its intervals, from where the history ends."""
    times = np.asarray(forecast[0])
    for shade, (name, bounds) in zip(np.linspace(0.2, 0.3, len(bands)), bands.items(), strict=True):
        (ahead, low), (_, high) = (_joined(history, (times, bound)) for bound in bounds)
        ax.fill_between(ahead, low, high, color=BLUE, alpha=shade, linewidth=0, label=name)
    ahead, values = _joined(history, (times, forecast[1]))
    ax.plot(ahead, values, color=BLUE, linewidth=2, label=label)


def _joined(
    history: tuple[Any, Floats], after: tuple[Any, Floats]
) -> tuple[NDArray[np.generic], Floats]:
    """Times and values with the newest point of the history before them, if it is known."""
    times, values = (np.asarray(part) for part in after)
    if not len(history[0]) or np.isnan(history[1][-1]):
        return times, values
    return np.append(history[0][-1:], times), np.append(history[1][-1:], values)


def _bands(model: str, lines: Mapping[str, Floats]) -> dict[str, tuple[Floats, Floats]]:
    """Intervals of a model, the widest first."""
    marks = [name.removeprefix(f"{model}-lo-") for name in lines if f"{model}-lo-" in name]
    widest = sorted(marks, key=float, reverse=True)
    return {
        f"{mark} % interval": (lines[f"{model}-lo-{mark}"], lines[f"{model}-hi-{mark}"])
        for mark in widest
    }


def _plain_times(times: Any) -> Any:
    """Times as matplotlib draws them: the clock on the wall, or integers."""
    if hasattr(times.dtype, "freq"):
        return times.dt.to_timestamp().to_numpy()
    if getattr(times.dtype, "tz", None) is not None:
        return times.dt.tz_localize(None).to_numpy()
    return times.to_numpy()


def _clean(ax: Any, title: str) -> None:
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(colors=INK, labelsize=8.5, length=0)
    ax.tick_params(axis="x", length=3, color=GREY)
    ax.grid(axis="y", color=PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.margins(x=0.01)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, size=9)
    ax.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")


def _format_ticks(ax: Any, *, dates: bool) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if dates:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


__all__: Sequence[str] = (
    "new_axes",
    "plot_coefficients",
    "plot_forecast",
    "plot_forecasts",
    "plot_regimes",
)
