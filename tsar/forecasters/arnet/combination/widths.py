"""Widths of intervals, from errors at earlier origins of each series and from those of others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

from tsar.records import record
from tsar.runtime.memory import BLOCK_ELEMENTS, chunked, rows_within

# Coverages at which the errors of a series are measured; between them widths are interpolated.
COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
# Errors of a series count as much as those of this many origins of others, which resemble Student's
# t with TAIL_DF degrees of freedom, times a factor for each third of the horizon.
PRIOR_ORIGINS, TAIL_DF, THIRDS = 6.0, 5.0, (0.8, 0.95, 1.0)
POOL_SERIES = 20.0  # series that the prior of pooled errors counts as
MAX_SCORE = 25.0  # largest error that counts: after a constant stretch any is beyond all deviations


@record("interval_widths")
@dataclass(frozen=True)
class Widths:
    """Half widths of central intervals, in units of the standard deviation that a forecast states.

    Attributes
    ----------
    quantiles
        Half width at each of `COVERAGES`, for each third of the horizon.
    horizon
        Steps whose thirds these are; later ones count as the last third.
    """

    quantiles: Float[Tensor, "series third coverage"]
    horizon: int

    @classmethod
    def of(cls, scores: Float[Tensor, "series origin horizon"], *, pool: bool = False) -> "Widths":
        """Widths from absolute errors in units of their standard deviation; NaN where unknown.

        With `pool` the errors of all series count in those of others, the more the more they are.
        """
        horizon = scores.shape[2]
        third = _third(horizon, horizon)
        prior = torch.from_numpy(_tails(COVERAGES))
        parts = []
        for index, factor in enumerate(THIRDS):
            own = scores[:, :, third == index].clamp(max=MAX_SCORE)
            n_origins = (~own.isnan()).any(dim=2).sum(dim=1)[:, None]
            quantiles = _row_quantiles(own.flatten(1)).nan_to_num(0.0)
            expected = _pooled(own, factor * prior) if pool else factor * prior
            total = PRIOR_ORIGINS * expected + n_origins * quantiles
            parts.append(total / (PRIOR_ORIGINS + n_origins))
        return cls(torch.stack(parts, dim=1), horizon)

    def factors(
        self, rows: Int[Tensor, " window"], horizon: int, levels: Sequence[float]
    ) -> Float[Tensor, "window horizon level"]:
        """Distance of quantiles from the point forecast, in standard deviations; signed."""
        coverages = [abs(2 * level - 1) for level in levels]
        signs = torch.tensor(levels, dtype=torch.float64).sub(0.5).sign()
        widths = _interpolate(self.quantiles[rows], coverages)
        return (widths * signs)[:, _third(horizon, self.horizon)]


def _pooled(
    scores: Float[Tensor, "series origin step"], prior: Float[Tensor, " coverage"]
) -> Float[Tensor, " coverage"]:
    """Quantiles of the errors of all series together, and of as many as `POOL_SERIES` before."""
    known = scores[~scores.isnan()].numpy()
    if not len(known):
        return prior
    count = int((~scores.isnan()).flatten(1).any(dim=1).sum())
    quantiles = torch.from_numpy(np.quantile(known, COVERAGES))
    return (POOL_SERIES * prior + count * quantiles) / (POOL_SERIES + count)


def _third(steps: int, horizon: int) -> Int[Tensor, " step"]:
    """Third of the horizon of each step, numbered from 0."""
    return (torch.arange(steps) * len(THIRDS) // horizon).clamp(max=len(THIRDS) - 1)


def _tails(coverages: Sequence[float]) -> Float[np.ndarray, " coverage"]:
    """Half widths of central intervals of Student's t."""
    tails: Float[np.ndarray, " coverage"] = stdtrit(TAIL_DF, 0.5 + np.asarray(coverages) / 2)
    return tails


def _row_quantiles(values: Float[Tensor, "series value"]) -> Float[Tensor, "series coverage"]:
    """Quantiles of each row without its missing values; NaN for empty rows."""
    levels = torch.tensor(COVERAGES, dtype=values.dtype)
    if not values.shape[1]:
        return values.new_full((len(values), len(levels)), torch.nan)

    def of(rows: slice) -> Float[Tensor, "row coverage"]:
        return values[rows].nanquantile(levels, dim=1).mT

    return torch.cat(list(chunked(of, len(values), rows_within(BLOCK_ELEMENTS, values.shape[1]))))


def _interpolate(
    quantiles: Float[Tensor, "series third coverage"], coverages: Sequence[float]
) -> Float[Tensor, "series third level"]:
    """Half widths at any coverage, linear in those of Student's t, and in proportion beyond."""
    known, wanted = (torch.from_numpy(_tails(each)) for each in (COVERAGES, coverages))
    nodes = torch.cat([known.new_zeros(1), known])
    heights = torch.nn.functional.pad(quantiles, (1, 0))
    right = torch.searchsorted(nodes, wanted).clamp(1, len(nodes) - 1)
    share = (wanted - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
    inner = torch.lerp(heights[..., right - 1], heights[..., right], share.expand_as(right))
    beyond = heights[..., -1:] * (wanted / known[-1])
    return torch.where(wanted > known[-1], beyond, inner)
