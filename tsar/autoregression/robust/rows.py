"""Rows of regressions on lags: those whose target and active regressors are observed."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.design import Design
from tsar.autoregression.segments import Segments
from tsar.runtime.memory import MAX_ELEMENTS


@dataclass(frozen=True)
class Rows:
    """Regressions of some groups, padded with rows of weight 0.

    Attributes
    ----------
    regressors
        Deviations from `mean`; 0 in rows of weight 0 and for terms that are not active.
    target
        Targets, 0 in rows of weight 0.
    weight
        Weight of each row.
    mean
        Mean of each regressor.
    active
        Which terms are regressors; the others pad.
    """

    regressors: Float[Tensor, "group term row"]
    target: Float[Tensor, "group row"]
    weight: Float[Tensor, "group row"]
    mean: Float[Tensor, "group term"]
    active: Bool[Tensor, "group term"]

    @property
    def nobs(self) -> Float[Tensor, " group"]:
        """Sum of the weights."""
        return self.weight.sum(dim=1)

    def take(self, groups: Int[Tensor, " taken"]) -> "Rows":
        """Rows of some groups."""
        return Rows(*(getattr(self, field.name)[groups] for field in fields(self)))

    def residuals(
        self, coef: Float[Tensor, "group term"], intercept: Float[Tensor, " group"]
    ) -> Float[Tensor, "group row"]:
        """Residuals; the intercept is that of centred regressors."""
        fitted = (self.regressors * coef[:, :, None]).sum(dim=1)
        return self.target - fitted - intercept[:, None]

    def gram(self, weight: Float[Tensor, "group row"]) -> Float[Tensor, "group term term"]:
        """Weighted products of the regressors."""
        return (self.regressors * weight[:, None]) @ self.regressors.mT

    def cross(self, values: Float[Tensor, "group row"]) -> Float[Tensor, "group term"]:
        """Products of the regressors with some values."""
        return (self.regressors * values[:, None]).sum(dim=2)


@dataclass(frozen=True)
class RowSource:
    """Series that rows are read from.

    Parameters
    ----------
    channels
        The regressors' channels in the order of `Design`, series end to end; NaN where missing.
        Of series with missing points there may be several completed copies, one after the other.
    target
        The target, as long as a copy; rows whose target is missing do not count.
    spans
        Span of each series, or of each of its copies, and its group.
    share
        Weight of each row of a group.
    design
        Regressors.
    """

    channels: Float[Tensor, "channel total"]
    target: Float[Tensor, " copy"]
    spans: Segments
    share: Float[Tensor, " group"]
    design: Design

    def counts(self) -> Int[Tensor, " group"]:
        """Points of each group."""
        count = torch.zeros(self.spans.n_groups, dtype=torch.int64)
        return count.index_add(0, self.spans.group, self.spans.lengths)

    def read(
        self,
        groups: Int[Tensor, " taken"],
        step: int,
        active: Bool[Tensor, "taken term"],
        size: int,
    ) -> tuple[Rows, Int[Tensor, "taken active"]]:
        """Rows of some groups for one step, and the terms of their columns, at most `size`."""
        terms = (~active).long().argsort(dim=1, stable=True)[:, :size]
        chosen = active.gather(1, terms)
        position, first = self._positions(groups, size)
        inside = position >= 0
        position = position.clamp(min=0)
        target = self.target[position % len(self.target)]
        channel, lag = self._columns(step)
        index = position[:, None] - lag[terms][:, :, None]
        columns = self.channels[channel[terms][:, :, None], index.clamp(min=0)].double()
        known = (index >= first[:, None]) & columns.isfinite()
        known = (known | ~chosen[:, :, None]).all(dim=1)
        valid = inside & known & target.isfinite()
        weight = valid * self.share[groups][:, None]
        used = valid[:, None] & chosen[:, :, None]
        columns = torch.where(used, columns, 0.0)
        mean = (columns * weight[:, None]).sum(dim=2) / weight.sum(dim=1).clamp(min=1)[:, None]
        columns = (columns - mean[:, :, None]) * used
        target = torch.where(valid, target.double(), 0.0)
        return Rows(columns, target, weight, mean, chosen), terms

    def _columns(self, step: int) -> tuple[Int[Tensor, " term"], Int[Tensor, " term"]]:
        """Channel of each term, and its lag behind the target."""
        lagged = 1 + self.design.n_past
        lags = torch.arange(1, self.design.order + 1) + step
        channel = torch.arange(lagged).repeat_interleave(self.design.order)
        future = torch.arange(lagged, lagged + self.design.n_future)
        return torch.cat([channel, future]), torch.cat([lags.repeat(lagged), 0 * future])

    def _positions(
        self, groups: Int[Tensor, " taken"], size: int
    ) -> tuple[Int[Tensor, "taken row"], Int[Tensor, "taken row"]]:
        """Positions of the points of groups, -1 for padding, and where their series begin.

        Of a group with more points than memory allows every second, third and so on.
        """
        spans = self.spans.take(groups)
        order = spans.group.argsort(stable=True)
        starts, lengths, group = spans.starts[order], spans.lengths[order], spans.group[order]
        total = torch.zeros(len(groups), dtype=torch.int64).index_add(0, group, lengths)
        width = 2 ** int(total.clamp(min=1).double().log2().ceil().max())
        stride = -(-width * size // MAX_ELEMENTS)
        point = torch.arange(int(lengths.sum()))
        begins = starts.repeat_interleave(lengths)
        position = begins + point - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        row = group.repeat_interleave(lengths)
        rank = point - (total.cumsum(0) - total)[row]
        shape = (len(groups), -(-width // stride))
        taken = rank % stride == 0
        row, rank = row[taken], rank[taken] // stride
        filled = torch.full(shape, -1).index_put((row, rank), position[taken])
        return filled, torch.zeros(shape, dtype=torch.int64).index_put((row, rank), begins[taken])
