"""Tables of fitted regimes: state probabilities by time, and a summary of each regime."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Panel
from tsar.forecasters.regimes.fitting import CONSTANT_VARIANCE, RegimeModels
from tsar.forecasters.regimes.inference import stationary_probabilities
from tsar.forecasters.summary import series_table

MIN_LEAVING = 1e-12  # a smaller probability of leaving a state is rounding


def regime_table(panel: Panel, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Long frame of the values, the most probable regime and the probability of each regime."""
    names, labels = panel.labels.columns, panel.labels
    rows = torch.arange(len(panel.values))
    return pd.DataFrame(
        {
            names.id: labels.ids[panel.series.numpy()],
            names.time: labels.frequency.to_times(panel.ordinals_at(panel.series, rows).numpy()),
            names.target: panel.values.numpy(),
            "regime": probabilities.argmax(axis=1),
            **{f"regime-{k}": column for k, column in enumerate(probabilities.T)},
        }
    )


def regime_summary(
    ids: Sequence[object],
    models: RegimeModels,
    means: Float[Tensor, "model state"],
    stds: Float[Tensor, "model state"],
) -> str:
    """Table with a row per regime of each model; columns that are empty everywhere are left out."""
    share = 100 * stationary_probabilities(models.transmat, models.n_components)[0]
    stds = torch.where(models.variances > CONSTANT_VARIANCE, stds, 0.0)
    # Expected steps in a regime before it is left (Hamilton 1989); infinite if it never is.
    leaving = 1 - models.transmat.diagonal(dim1=1, dim2=2)
    duration = torch.where(leaving > MIN_LEAVING, 1 / leaving, torch.inf)
    statistics = torch.stack([means, stds, share, duration], 2)
    rows = []
    for model, name in enumerate(ids):
        for k in range(int(models.n_components[model])):
            mean, *others = (f"{number:.4g}" for number in statistics[model, k].tolist())
            pair = ["", mean] if models.differences[model] else [mean, ""]
            rows.append([str(name), str(k), *pair, *others])
    header = ["series", "regime", "mean", "mean change", "std", "% of time", "duration"]
    used = [k for k in range(len(header)) if any(row[k] for row in rows)]
    return series_table("HMM", [header[k] for k in used], [[row[k] for k in used] for row in rows])
