"""Joint forecasts: every series sees the values of all series, as past covariates."""

from dataclasses import replace

import pandas as pd
import torch

from tsar.data.panel import Panel


def with_series_as_covariates(panel: Panel, fitted: pd.Index) -> Panel:
    """Return the panel whose every series has the values of all series as past covariates.

    The series must be those that were `fitted` (ids), in the same order, at least two, and begin
    and end together.
    """
    if list(panel.labels.ids) != list(fitted):
        raise ValueError(
            f"frame must hold all {len(fitted)} series that were fitted jointly, in order; got "
            f"{list(panel.labels.ids[:5])}. Give all, or set joint=False."
        )
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
