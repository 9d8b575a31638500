"""Choosing a size by validation losses: the smallest within one standard error of the best."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.complexity.bootstrap import block_length, moving_block_bootstrap
from tsar.complexity.risk import RiskCurves
from tsar.complexity.splits import Split

# Features per row, around the interpolation threshold, at which ridgeless heads are unreliable.
THRESHOLD_RANGE = (0.5, 2.0)


def eligible(table: pd.DataFrame, head: str) -> NDArray[np.bool_]:
    """Candidates that may be recommended: ridgeless heads only away from the threshold."""
    mask = table["head"].isin(["mean", head])
    if head == "ridgeless":
        mask &= (table["ratio"] <= THRESHOLD_RANGE[0]) | (table["ratio"] >= THRESHOLD_RANGE[1])
    return np.asarray(mask)


def smallest_within_std_err(
    losses: Float[Tensor, "candidate row"], samples: Int[Tensor, "bootstrap row"]
) -> tuple[int, int]:
    """The first candidate within one standard error of the best, and the best.

    The standard error is that of the difference of their losses, by bootstrap samples of the rows.

    Examples
    --------
    >>> losses = torch.tensor([[2.0, 2.0], [1.0, 1.2], [1.1, 1.0]])
    >>> smallest_within_std_err(losses, torch.tensor([[0, 0], [1, 1], [0, 1]]))
    (1, 2)
    """
    best = int(losses.mean(dim=1).argmin())
    excess = losses - losses[best]
    std_err = excess[:, samples].mean(dim=2).std(dim=1)
    near = excess.mean(dim=1) <= std_err
    near[best] = True
    return int(near.long().argmax()), best


def select_sizes_of_series(
    curves: RiskCurves, split: Split, n_series: int, *, head: str, horizon: int, seed: int
) -> list[int | None]:
    """The size for each series alone, by its own validation rows; None with fewer than two."""
    generator = torch.Generator().manual_seed(seed)
    candidates = eligible(curves.table, head).nonzero()[0]
    losses = curves.losses[torch.from_numpy(candidates)]
    series = split.validation.series
    sizes: list[int | None] = []
    for index in range(n_series):
        own = losses[:, series == index]
        n_rows = own.shape[1]
        if n_rows < 2:
            sizes.append(None)
            continue
        one_series = torch.zeros(n_rows, dtype=torch.long)
        length, n_bootstrap = block_length(n_rows, horizon), len(curves.samples)
        samples = moving_block_bootstrap(one_series, length, n_bootstrap, generator)
        selected, _ = smallest_within_std_err(own, samples)
        sizes.append(int(curves.table["size"].iloc[int(candidates[selected])]))
    return sizes


def latent_dimension(features: Float[Tensor, "row feature"]) -> int:
    """Number of principal components before the largest eigengap; 0 if no feature varies.

    The eigengap is the ratio of consecutive eigenvalues of the covariance, over the first half of
    those above rounding errors.

    Examples
    --------
    >>> strong = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> weak = torch.randn(100, 20, generator=torch.Generator().manual_seed(1))
    >>> latent_dimension(torch.cat([9 * strong, weak], dim=1).double())
    3
    """
    centred = features - features.mean(dim=0)
    centred = centred if len(centred) <= centred.shape[1] else centred.T
    # Of the Gram matrix, in a fifth of the time of an SVD: none below 1e-10 of the largest counts.
    eigenvalues = torch.linalg.eigvalsh(centred @ centred.T).flip(0)
    eigenvalues = eigenvalues[eigenvalues > 1e-10 * eigenvalues[:1]]
    half = eigenvalues[: max(len(eigenvalues) // 2, 2)]
    return int((half[:-1] / half[1:]).argmax()) + 1 if len(half) > 1 else len(half)
