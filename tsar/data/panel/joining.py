"""Join newer points to the series of a panel."""

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
