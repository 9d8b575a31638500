"""What follows the fitted series: whose it is, how far behind, at which steps."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.panel import Panel, beside_each_other


def fitted_rows(panel: Panel, fitted: Panel, name: str) -> NDArray[np.intp]:
    """Row of each series of a panel among those that were fitted.

    Raises
    ------
    ValueError
        A series was not fitted.
    """
    rows = fitted.labels.ids.get_indexer(panel.labels.ids)
    if (rows < 0).any():
        unknown = panel.labels.ids[int(np.flatnonzero(rows < 0)[0])]
        raise ValueError(
            f"frame must hold series that {name} was fitted to; got series {unknown!r}. Fit with "
            "it; predict(frame) of a model across series forecasts others too."
        )
    return np.asarray(rows)


def steps_behind(actual: Panel, fitted: Panel, rows: NDArray[np.intp]) -> Int[Tensor, " series"]:
    """Steps from the end of what was fitted to the start of each series; 0 where it follows.

    Raises
    ------
    ValueError
        A series begins before the end of what was fitted.
    """
    step = actual.labels.frequency.step
    if actual.labels.layout.style in ("array", "vector"):
        lead = np.zeros(len(actual), dtype=np.int64)  # an array has no times: it follows
    else:
        lead = (actual.labels.starts - fitted.ordinals(1)[rows]) // step
    if (lead < 0).any():
        series = actual.labels.ids[int(np.flatnonzero(lead < 0)[0])]
        raise ValueError(
            f"frame must begin after what was fitted; got earlier times for series {series!r}. "
            "Give the points that follow, or fit on fewer."
        )
    return torch.from_numpy(lead)


def together(panel: Panel, fitted: Panel) -> Panel:
    """Panel whose series see each other: those that were fitted, in the same order.

    Raises
    ------
    ValueError
        They are others, or do not begin and end together.
    """
    if list(panel.labels.ids) != list(fitted.labels.ids):
        raise ValueError(
            f"frame must hold all {len(fitted)} series that were fitted where they see each "
            f"other; got {list(panel.labels.ids[:5])}. Give all, or set joint=False."
        )
    return beside_each_other(panel)


def place(
    panel: Panel, lead: Int[Tensor, " series"], horizon: int, values: Float[Tensor, "time feature"]
) -> Float[Tensor, "series horizon feature"]:
    """Points of each series at the steps of the horizon where they stand, NaN elsewhere."""
    room = values.new_full((len(panel), horizon, values.shape[1]), torch.nan)
    step = torch.arange(len(values)) - panel.offsets[:-1][panel.series] + lead[panel.series]
    room[panel.series, step] = values
    return room
