"""Second moments of windows: the points of a target and the lags before it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.gram import lagged_moments
from tsar.autoregression.segments import Segments


@dataclass(frozen=True)
class WindowMoments:
    """Centred second moments of the windows of each series.

    The terms are the points of a window, newest first: the steps of the target from the last to the
    first, then lag 1 and so on, or sums over groups of lags (`grouped`). Sums of squared errors of
    linear forecasts are quadratic forms in them, so that no window is ever built.

    Attributes
    ----------
    gram, mean
        Sums of products of deviations from the mean, and the mean.
    nobs
        Number of windows.

    Examples
    --------
    >>> segments = Segments(torch.tensor([0]), torch.tensor([4]), torch.tensor([0]), 1)
    >>> moments = WindowMoments.of(torch.tensor([1.0, 2.0, 4.0, 3.0]), segments, 3)
    >>> moments.mean, moments.nobs
    (tensor([[3.5000, 3.0000, 1.5000]], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """

    gram: Float[Tensor, "series term term"]
    mean: Float[Tensor, "series term"]
    nobs: Float[Tensor, " series"]

    @classmethod
    def of(cls, values: Float[Tensor, " total"], segments: Segments, size: int) -> "WindowMoments":
        """Moments of all windows of `size` points that lie within a segment."""
        moments = lagged_moments(values[None], segments, size - 1)
        return cls(moments.gram, moments.mean, moments.nobs)

    def __add__(self, other: "WindowMoments") -> "WindowMoments":
        """Moments of the windows of both."""
        nobs = self.nobs + other.nobs
        share = other.nobs / nobs.clamp(min=1)
        gap = other.mean - self.mean
        between = _outer(gap, (self.nobs * share)[:, None] * gap)
        mean = self.mean + share[:, None] * gap
        return WindowMoments(self.gram + other.gram + between, mean, nobs)

    def pooled(self) -> "WindowMoments":
        """Moments of the windows of all series together."""
        nobs = self.nobs.sum()
        mean = self.nobs @ self.mean / nobs.clamp(min=1)
        gap = self.mean - mean
        gram = self.gram.sum(dim=0) + (self.nobs[:, None] * gap).T @ gap
        return WindowMoments(gram[None], mean[None], nobs[None])

    def grouped(self, horizon: int, sizes: Int[Tensor, " group"]) -> "WindowMoments":
        """Moments with sums over groups of consecutive lags, divided by the root of their size."""
        steps, lags = torch.arange(horizon), torch.arange(len(sizes)).repeat_interleave(sizes)
        group = torch.cat([steps, horizon + lags])
        used, n_terms = len(group), horizon + len(sizes)
        scale = torch.cat([self.mean.new_ones(horizon), sizes.to(self.mean).rsqrt()])
        shape = (len(self.gram), n_terms)
        rows = self.gram.new_zeros(*shape, used).index_add_(1, group, self.gram[:, :used, :used])
        gram = rows.new_zeros(*shape, n_terms).index_add_(2, group, rows)
        mean = rows.new_zeros(shape).index_add_(1, group, self.mean[:, :used])
        return WindowMoments(gram * scale[:, None] * scale, mean * scale, self.nobs)

    def about(self, origin: Float[Tensor, "series term"]) -> Float[Tensor, "series term term"]:
        """Sums of products of deviations from another origin than the mean."""
        gap = self.mean - origin
        return self.gram + _outer(gap, self.nobs[:, None] * gap)

    def about_baseline(
        self, baseline: Float[Tensor, " term"], unit: Float[Tensor, " term"]
    ) -> Float[Tensor, "series term term"]:
        """Sums of products of deviations from a weighted sum of each window's own points.

        `baseline` are the weights, and `unit` what a level of 1 adds to each term.
        """
        product = self.gram @ baseline
        half = product - (product @ baseline / 2)[:, None] * unit
        gap = self.mean - (self.mean @ baseline)[:, None] * unit
        units = unit.expand_as(half)
        left = torch.stack([half, units, self.nobs[:, None] * gap], dim=2)
        right = torch.stack([-units, -half, gap], dim=1)
        return torch.baddbmm(self.gram, left, right)


def _outer(
    left: Float[Tensor, "series term"], right: Float[Tensor, "series term"]
) -> Float[Tensor, "series term term"]:
    return left[:, :, None] * right[:, None]
