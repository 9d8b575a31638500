"""AutoregressionModule: a linear map of lags and covariates for each group, and a small network."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsar.batch import Batch, Context
from tsar.nn.module import ForecastModule, fill_target, masked_mean

Loss = Literal["mse", "huber", "quantile"]


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
        self.register_buffer("active", torch.ones(groups, rows, context_length, dtype=torch.bool))
        self.register_buffer("past_mean", torch.zeros(past))
        self.register_buffer("past_scale", torch.ones(past))
        self.register_buffer("future_mean", torch.zeros(future))
        self.register_buffer("future_scale", torch.ones(future))
        inputs = context_length * (1 + past) + horizon * future
        self.network = _network(inputs, hidden, rows) if hidden else None

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to `self.horizon` points; gaps of the context by the map's own forecasts."""
        group = self._group(context)
        values = self._fill(context.values[:, -self.context_length :], group)
        return self._outputs(context, values, group, horizon)[:, :horizon]

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss over the observed targets; gaps of the context count as the mean."""
        context = batch.context
        values = context.values.nan_to_num(0.0)
        forecast = self._outputs(context, values, self._group(context), self.horizon)
        target, mask = fill_target(batch)
        error = target[:, :, None] - forecast
        return masked_mean(self._point_loss(error), mask[:, :, None].expand_as(error))

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
        horizon: int,
    ) -> Float[Tensor, "batch step output"]:
        past = self._past(context)
        known = self._future(context, horizon)
        weight = torch.cat([self.lags * self.active, self.past], dim=2)
        lagged = grouped_linear(torch.cat([values, past], dim=1), weight, self.constant, group)
        output = lagged.view(len(values), self.horizon, self.outputs)
        if known.shape[2]:
            output = output + torch.einsum("bhf,bhof->bho", known, self.future[group])
        if self.network is not None:
            inputs = torch.cat([values, past, known.flatten(1)], dim=1)
            output = output + self.network(inputs).view_as(output)
        return output

    def _past(self, context: Context) -> Float[Tensor, "batch column"]:
        past = context.past[:, -self.context_length :]
        standard = ((past - self.past_mean) / self.past_scale).nan_to_num(0.0)
        return standard.transpose(1, 2).flatten(1)

    def _future(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon future"]:
        """Future covariates at the steps of the horizon, the mean beyond those that are known."""
        begin = context.values.shape[1]
        known = context.future[:, begin : begin + self.horizon]
        standard = ((known - self.future_mean) / self.future_scale).nan_to_num(0.0)
        return nn.functional.pad(standard, (0, 0, 0, self.horizon - standard.shape[1]))

    def _fill(
        self, values: Float[Tensor, "batch context"], group: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch context"]:
        """Contexts whose missing points are the one-step forecasts from the points before them."""
        gaps = values.isnan()
        places = gaps.any(dim=0).nonzero()[:, 0].tolist()  # the host waits here
        if not places:
            return values
        low = values.nan_to_num(torch.inf).amin(dim=1)
        high = values.nan_to_num(-torch.inf).amax(dim=1)
        middle = self.outputs // 2 if self.outputs > 1 else 0
        weight, constant = (self.lags * self.active)[group, middle], self.constant[group, middle]
        filled = values.nan_to_num(0.0)
        for place in places:
            before = filled[:, :place]
            guess = constant + (before * weight[:, self.context_length - place :]).sum(dim=1)
            # An explosive map must not run away in a long gap.
            guess = guess.clamp(low, high).nan_to_num(0.0, 0.0, 0.0)
            filled[:, place] = torch.where(gaps[:, place], guess, filled[:, place])
        return filled


def _network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for width, following in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(width, following), nn.GELU()]
    last = nn.Linear(widths[-1], outputs)
    # Zero, so that training starts from the linear map and never from something worse.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


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
