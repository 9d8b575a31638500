"""Panels joined: newer points behind older ones, and series beside each other."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel.panel import Panel


def join(panel: Panel, newer: Panel, rows: NDArray[np.intp]) -> Panel:
    """Panel with the points of another one behind its own.

    Parameters
    ----------
    newer
        Series that begin where those of `panel` end.
    rows
        Row in `panel` of each series of `newer`; the other series stay as they are.
    """
    chosen = torch.from_numpy(rows)
    added = torch.zeros_like(panel.lengths).index_copy(0, chosen, newer.lengths)
    offsets = panel.offsets + torch.cat([added.new_zeros(1), added.cumsum(0)])
    old = torch.arange(len(panel.values)) + (offsets - panel.offsets)[:-1][panel.series]
    begin = offsets[1:][chosen] - newer.lengths
    new = torch.arange(len(newer.values)) + (begin - newer.offsets[:-1])[newer.series]

    def joined(own: Tensor, other: Tensor) -> Tensor:
        room = own.new_empty(int(offsets[-1]), *own.shape[1:])
        return room.index_copy_(0, old, own).index_copy_(0, new, other)

    return replace(
        panel,
        values=joined(panel.values, newer.values),
        past=joined(panel.past, newer.past),
        future=joined(panel.future, newer.future),
        offsets=offsets,
    )


def beside_each_other(panel: Panel) -> Panel:
    """Panel whose every series has the values of all as past covariates.

    Raises
    ------
    ValueError
        There is one series only, or they do not begin and end together.
    """
    starts = panel.labels.starts
    if len(panel) < 2 or panel.common_length is None or (starts != starts[0]).any():
        lengths = panel.lengths
        raise ValueError(
            "joint must be False where series do not begin and end together, or are alone; got "
            f"{len(panel)} series of {int(lengths.min())} to {int(lengths.max())} points. Set "
            "joint=False, or give all series at their common times."
        )
    values = panel.values.view(len(panel), -1).T.repeat(len(panel), 1)
    return replace(panel, past=torch.cat([panel.past, values], dim=1))
