"""Pictures: coefficients by lag, and forecasts with their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLUE, ORANGE, GREY = "#2a5caa", "#d1651f", "#8a8a8a"


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
    ax.vlines(lags[used], 0, coef[used], color=BLUE, linewidth=1.5)
    ax.plot(lags[used], coef[used], "o", color=BLUE, markersize=5)
    if error is not None:
        ax.errorbar(
            lags[used], coef[used], 1.96 * error[used], fmt="none", ecolor=ORANGE, capsize=2
        )
    ax.set(xlabel="lag", ylabel="coefficient", title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    _clean(ax)
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
    ax.plot(*history, color="black", linewidth=1, label="history")
    shades = np.linspace(0.15, 0.35, max(len(bands or {}), 1))
    for shade, (name, (low, high)) in zip(shades, (bands or {}).items(), strict=False):
        ax.fill_between(forecast[0], low, high, color=BLUE, alpha=shade, linewidth=0, label=name)
    if actual is not None:
        ax.plot(*actual, color="black", linewidth=1, linestyle=":", label="actual")
    ax.plot(*forecast, color=BLUE, linewidth=1.6, label=label)
    ax.set_title(title, loc="left", fontsize=10)
    ax.legend(loc="upper left", frameon=False, fontsize=8, ncols=4)
    _clean(ax)
    return ax


def new_axes(*, figsize: tuple[float, float], rows: int = 1) -> Any:
    """New axes of matplotlib, one or a column of them.

    Raises
    ------
    ImportError
        The plot extra is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need the plot extra. Run: pip install 'tsar[plot]'") from error
    # A figure of its own, without pyplot: no global state, no window, no backend to choose.
    figure = Figure(figsize=(figsize[0], figsize[1] * rows), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    return axes[0] if rows == 1 else axes


def _clean(ax: Any) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    ax.set_axisbelow(True)


__all__: Sequence[str] = ("new_axes", "plot_coefficients", "plot_forecast")
