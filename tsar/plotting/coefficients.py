"""Stem plot of autoregressive coefficients by lag."""

from typing import Any

import numpy as np

from tsar.plotting.style import BLUE, GREY, ORANGE, Floats, new_axes, style_axes


def plot_coefficients(
    coef: Floats, std_err: Floats | None = None, *, title: str = "", ax: Any = None
) -> Any:
    """Plot the coefficient of each lag as a stem, with 95 % intervals; zeros as small dots.

    Source: AR-Net (arXiv 1911.12436), figures 3 and 6.

    Parameters
    ----------
    coef, std_err
        Coefficients, lag 1 first, and their standard errors.
    title
        Title of the axes.
    ax
        Matplotlib axes to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(8, 3.2)) if ax is None else ax
    lags = np.arange(1, len(coef) + 1)
    nonzero = coef != 0
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.plot(lags[~nonzero], coef[~nonzero], ".", color=GREY, markersize=3)
    ax.vlines(lags[nonzero], 0, coef[nonzero], color=BLUE, linewidth=2)
    if std_err is not None:
        error, style = 1.96 * std_err[nonzero], {"ecolor": ORANGE, "elinewidth": 1.2, "capsize": 3}
        ax.errorbar(lags[nonzero], coef[nonzero], error, fmt="none", **style)
    ax.plot(lags[nonzero], coef[nonzero], "o", color=BLUE, markersize=5)
    ax.set(xlabel="lag", ylabel="coefficient")
    ax.xaxis.get_major_locator().set_params(integer=True)
    style_axes(ax, title)
    return ax
