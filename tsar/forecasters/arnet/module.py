"""AutoregressionModule: a linear map of lags and covariates for each group, and a small network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tsar.data.batch import Batch, Context
from tsar.nn.module import ForecastModule, fill_target, masked_mean

Loss = Literal["mse", "huber", "quantile"]


@dataclass(frozen=True)
class Weights:
    """The linear map of each group: input columns have the oldest point first."""

    lags: Float[Tensor, "group row context"]
    past: Float[Tensor, "group row column"]
    future: Float[Tensor, "group horizon output future"]


class AutoregressionModule(ForecastModule):
    """``constant + lags + past + future``, a linear map for each group, plus a network of all.

    Everything is in standardized units. `Context.series` says which group a context belongs to
    (all to group 0 where there is one). A forecast has an output for each quantile level, or one.

    Parameters
    ----------
    groups, context_length, horizon
        Linear maps; points that they read; points that they give.
    past, future
        Numbers of covariates.
    hidden
        Widths of the network's layers; none: no network.
    loss, levels, delta
        What `loss` minimizes: squares, Huber's function beyond `delta`, or the quantile losses of
        `levels`.
    """

    active: Bool[Tensor, "group row context"]
    active_past: Bool[Tensor, "group row column"]
    active_future: Bool[Tensor, "group horizon output future"]
    past_mean: Float[Tensor, " past"]
    past_scale: Float[Tensor, " past"]
    future_mean: Float[Tensor, " future"]
    future_scale: Float[Tensor, " future"]

    def __init__(
        self,
        groups: int,
        context_length: int,
        horizon: int,
        *,
        past: int,
        future: int,
        hidden: Sequence[int],
        loss: Loss,
        levels: Sequence[float],
        delta: float,
    ) -> None:
        super().__init__()
        self.context_length, self.horizon, self.reads_past = context_length, horizon, past > 0
        self.outputs = len(levels) if loss == "quantile" else 1
        self.point = int(torch.tensor(levels).sub(0.5).abs().argmin()) if self.outputs > 1 else 0
        self.kind, self.levels, self.delta = loss, tuple(levels), delta
        rows = horizon * self.outputs
        # Input columns: lags oldest first, past covariates (feature by feature), future ones.
        self.lags = nn.Parameter(torch.zeros(groups, rows, context_length))
        self.past = nn.Parameter(torch.zeros(groups, rows, past * context_length))
        self.future = nn.Parameter(torch.zeros(groups, horizon, self.outputs, future))
        self.constant = nn.Parameter(torch.zeros(groups, rows))
        # Terms that were left out stay out, however long the others are trained.
        self.register_buffer("active", torch.ones_like(self.lags, dtype=torch.bool))
        self.register_buffer("active_past", torch.ones_like(self.past, dtype=torch.bool))
        self.register_buffer("active_future", torch.ones_like(self.future, dtype=torch.bool))
        self.register_buffer("past_mean", torch.zeros(past))
        self.register_buffer("past_scale", torch.ones(past))
        self.register_buffer("future_mean", torch.zeros(future))
        self.register_buffer("future_scale", torch.ones(future))
        inputs = context_length * (1 + past) + future
        self.network = _Network(inputs, hidden, horizon, self.outputs) if hidden else None

    def weights(self) -> Weights:
        """The linear map, zero where a term was left out.

        There the parameters are zero themselves; in training the mask keeps their gradients so.
        """
        if not self.training:
            return Weights(self.lags, self.past, self.future)
        return Weights(
            self.lags * self.active,
            self.past * self.active_past,
            self.future * self.active_future,
        )

    def prepare(self, context: Context) -> Context:
        """The newest points with their gaps filled, so that no later step fills them otherwise."""
        older = max(context.values.shape[1] - self.context_length, 0)
        return replace(
            context,
            values=self._fill(context, self._group(context))[:, older:],
            past=context.past[:, older:],
            future=context.future[:, older:],
            gapless=True,
        )

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to `self.horizon` points; gaps of the context by the map's own forecasts."""
        group = self._group(context)
        values = self._fill(context, group)[:, -self.context_length :]
        return self._outputs(context, values, group)[:, :horizon]

    def terms(
        self,
        context: Context,
        point: Float[Tensor, "batch horizon"],
        places: Int[Tensor, "batch kept"],
    ) -> Float[Tensor, "batch horizon kept"]:
        """What each step of a forecast by one equation was made of, by its own point forecasts.

        Terms are lags of the target, the newest first, then of each past covariate (which is known
        for the first step alone), then the future ones; `places` says which of them are wanted. The
        context is one that was prepared.
        """
        steps, length = point.shape[1], self.context_length
        wanted = places[:, None].expand(-1, steps, -1)
        known = torch.cat([context.values[:, -length:], point[:, :-1]], dim=1)
        own = known.unfold(1, length, 1).gather(2, (length - 1 - wanted).clamp(min=0))
        if not context.past.shape[2] + context.future.shape[2]:
            return own
        past = self._past(context.past[:, -length:]).flip(1).mT.flatten(1)[:, None]
        past = nn.functional.pad(past, (0, 0, 0, steps - 1))
        others = torch.cat([past, self._ahead(context, steps)], dim=2)
        return torch.where(wanted < length, own, others.gather(2, (wanted - length).clamp(min=0)))

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss over the observed targets; gaps of the context count as the mean."""
        context = batch.context
        values = context.values if context.gapless else context.values.nan_to_num(0.0)
        forecast = self._outputs(context, values, self._group(context))
        target, mask = fill_target(batch)
        error = target[:, :, None] - forecast
        return masked_mean(self._point_loss(error), None if mask is None else mask[:, :, None])

    def _point_loss(self, error: Float[Tensor, "*shape output"]) -> Float[Tensor, "*shape output"]:
        if self.kind == "quantile":
            levels = error.new_tensor(self.levels)
            return torch.maximum(levels * error, (levels - 1) * error)
        if self.kind == "huber":
            small = error.abs() <= self.delta
            tail = self.delta * (error.abs() - self.delta / 2)
            return torch.where(small, error.square() / 2, tail)
        return error.square()

    def _group(self, context: Context) -> Int[Tensor, " batch"]:
        return context.series if len(self.lags) > 1 else torch.zeros_like(context.series)

    def _outputs(
        self,
        context: Context,
        values: Float[Tensor, "batch context"],
        group: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch step output"]:
        past = self._past(context.past[:, -self.context_length :]).transpose(1, 2).flatten(1)
        known = self._ahead(context, self.horizon)
        weights = self.weights()
        inputs, weight = values, weights.lags
        if past.shape[1]:
            inputs = torch.cat([values, past], dim=1)
            weight = torch.cat([weights.lags, weights.past], dim=2)
        lagged = grouped_linear(inputs, weight, self.constant, group)
        output = lagged.view(len(values), self.horizon, self.outputs)
        if known.shape[2]:
            output = output + torch.einsum("bhf,bhof->bho", known, weights.future[group])
        if self.network is not None:
            output = output + self.network(inputs, known)
        return output

    def _past(
        self, past: Float[Tensor, "batch context past"]
    ) -> Float[Tensor, "batch context past"]:
        return ((past - self.past_mean) / self.past_scale).nan_to_num(0.0)

    def _future(
        self, known: Float[Tensor, "batch *span future"]
    ) -> Float[Tensor, "batch *span future"]:
        return ((known - self.future_mean) / self.future_scale).nan_to_num(0.0)

    def _ahead(self, context: Context, steps: int) -> Float[Tensor, "batch step future"]:
        """Future covariates at the steps ahead, the mean beyond those that are known."""
        begin = context.values.shape[1]
        known = self._future(context.future[:, begin : begin + steps])
        return nn.functional.pad(known, (0, 0, 0, steps - known.shape[1]))

    def _fill(
        self, context: Context, group: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch context"]:
        """Contexts whose missing points are the one-step forecasts from the points before them.

        What stands before a series counts as its mean.
        """
        values = context.values
        if context.gapless:
            return values
        gaps = bridged_points(values, self.context_length)
        places = gaps.any(dim=0).nonzero()[:, 0].tolist()  # the host waits here
        if not places:
            return values.nan_to_num(0.0)
        low = values.nan_to_num(torch.inf).amin(dim=1)
        high = values.nan_to_num(-torch.inf).amax(dim=1)
        room = high - low
        lags = self.weights().lags[group, self.point]
        steady = self._without_lags(context, group, places)
        filled = values.nan_to_num(0.0)
        for k, place in enumerate(places):
            first = max(place - self.context_length, 0)
            before = filled[:, first:place] * lags[:, self.context_length - place + first :]
            guess = steady[k] + before.sum(dim=1)
            # An explosive map must not run away in a long gap, nor a trend be cut off in a short.
            guess = guess.clamp(low - room, high + room).nan_to_num(0.0, 0.0, 0.0)
            filled[:, place] = torch.where(gaps[:, place], guess, filled[:, place])
        return filled

    def _without_lags(
        self, context: Context, group: Int[Tensor, " batch"], places: list[int]
    ) -> list[Float[Tensor, " batch"]]:
        """What the constant and the covariates give to one-step forecasts within the context."""
        length, weights = self.context_length, self.weights()
        constant = self.constant[group, self.point]
        if not context.past.shape[2] + context.future.shape[2]:
            return [constant] * len(places)
        past = self._past(context.past).transpose(1, 2)
        weight = weights.past[group, self.point].unflatten(1, (-1, length))
        ahead = weights.future[group, 0, self.point]
        found = []
        for place in places:
            seen = past[..., max(place - length, 0) : place]
            behind = (seen * weight[..., length - seen.shape[2] :]).sum(dim=(1, 2))
            known = self._future(context.future[:, place])
            found.append(constant + behind + (known * ahead).sum(dim=1))
        return found


class _Network(nn.Module):
    """What is added to the linear map; each step sees the covariates of that step alone."""

    def __init__(self, inputs: int, hidden: Sequence[int], horizon: int, outputs: int) -> None:
        super().__init__()
        self.shape = (horizon, outputs)
        layers: list[nn.Module] = []
        for width, following in pairwise([inputs, *hidden]):
            layers += [nn.Linear(width, following), nn.GELU()]
        self.trunk = nn.Sequential(*layers)
        self.last = nn.Linear(hidden[-1], horizon * outputs)
        # Zero, so that training starts from the linear map and never from something worse.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self,
        lagged: Float[Tensor, "batch column"],
        known: Float[Tensor, "batch horizon future"],
    ) -> Float[Tensor, "batch horizon output"]:
        if not known.shape[2]:
            result: Tensor = self.last(self.trunk(lagged))
            return result.unflatten(1, self.shape)
        repeated = lagged[:, None].expand(-1, self.shape[0], -1)
        inner = self.trunk(torch.cat([repeated, known], dim=2))
        weight = self.last.weight.unflatten(0, self.shape)
        return torch.einsum("bhw,how->bho", inner, weight) + self.last.bias.unflatten(0, self.shape)


def bridged_points(
    values: Float[Tensor, "batch context"], newest: int
) -> Bool[Tensor, "batch context"]:
    """Missing points, but for those before a series and the `newest` points.

    However long the context of which a short series is a part, its forecast is one and the same.
    """
    missing = values.isnan()
    begun = (~missing).cumsum(dim=1) > 0
    begun[:, values.shape[1] - newest :] = True
    return missing & begun


def grouped_linear(
    inputs: Float[Tensor, "batch column"],
    weight: Float[Tensor, "group row column"],
    constant: Float[Tensor, "group row"],
    group: Int[Tensor, " batch"],
) -> Float[Tensor, "batch row"]:
    """Apply to each input the linear map of its group: one GEMM, or one batched one."""
    if len(weight) == 1:
        return torch.addmm(constant[0], inputs, weight[0].T)
    present, member = torch.unique(group, return_inverse=True)
    if len(present) == len(group):  # each group once, as in a forecast of a panel
        return constant[group] + torch.einsum("bk,brk->br", inputs, weight[group])
    counts = torch.bincount(member, minlength=len(present))
    order = member.argsort(stable=True)
    first = counts.cumsum(0) - counts
    rank = order.argsort() - first[member]
    room = inputs.new_zeros(len(present), int(counts.max()), inputs.shape[1])
    room = room.index_put((member, rank), inputs)
    mapped = torch.baddbmm(constant[present][:, None], room, weight[present].transpose(1, 2))
    return mapped[member, rank]
