"""Module of ARNet: a linear map of lags and covariates per group, plus an optional network."""

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

# Contexts are this many orders long where points are missing, so that a wrong value imputed at
# their start decays: it is passed from gap to gap at least three times, by few coefficients each.
CONTEXT_ORDERS = 4


@dataclass(frozen=True)
class LinearMap:
    """Weights of the linear map of each group; input columns have the oldest point first."""

    lags: Float[Tensor, "group row context"]
    past: Float[Tensor, "group row column"]
    future: Float[Tensor, "group horizon output future"]


class AutoregressionModule(ForecastModule):
    """Linear map of lags and covariates for each group, plus a network shared by all groups.

    Everything is in standardized units. `Context.series` is the group of each context; with one
    group all contexts belong to it. A forecast has an output per quantile level, or one output.

    Parameters
    ----------
    n_groups, order, horizon
        Number of linear maps, lags that they read, and steps that they forecast.
    n_past, n_future
        Numbers of past and of future covariates.
    hidden
        Widths of the network's hidden layers; empty: no network.
    loss, quantile_levels, huber_delta
        Loss to minimize: ``"mse"``, ``"huber"`` (linear beyond `huber_delta`), or ``"quantile"``
        (the quantile losses of `quantile_levels`).
    """

    active_lags: Bool[Tensor, "group row context"]
    active_past: Bool[Tensor, "group row column"]
    active_future: Bool[Tensor, "group horizon output future"]
    past_mean: Float[Tensor, " past"]
    past_scale: Float[Tensor, " past"]
    future_mean: Float[Tensor, " future"]
    future_scale: Float[Tensor, " future"]

    def __init__(
        self,
        n_groups: int,
        order: int,
        horizon: int,
        *,
        n_past: int,
        n_future: int,
        hidden: Sequence[int],
        loss: Loss,
        quantile_levels: Sequence[float],
        huber_delta: float,
    ) -> None:
        super().__init__()
        self.order = self.context_length = order
        self.horizon, self.reads_past = horizon, n_past > 0
        self.loss_kind, self.huber_delta = loss, huber_delta
        self.levels = tuple(quantile_levels)
        self.n_outputs = len(self.levels) if loss == "quantile" else 1
        distances = torch.tensor(self.levels).sub(0.5).abs()
        self.point = int(distances.argmin()) if self.n_outputs > 1 else 0
        rows = horizon * self.n_outputs
        # Input columns: lags oldest first, past covariates (feature by feature), future ones.
        self.lag_weight = nn.Parameter(torch.zeros(n_groups, rows, order))
        self.past_weight = nn.Parameter(torch.zeros(n_groups, rows, n_past * order))
        self.future_weight = nn.Parameter(torch.zeros(n_groups, horizon, self.n_outputs, n_future))
        self.intercept = nn.Parameter(torch.zeros(n_groups, rows))
        # Regressors that were not selected keep a weight of zero in training.
        self.register_buffer("active_lags", torch.ones_like(self.lag_weight, dtype=torch.bool))
        self.register_buffer("active_past", torch.ones_like(self.past_weight, dtype=torch.bool))
        self.register_buffer("active_future", torch.ones_like(self.future_weight, dtype=torch.bool))
        self.register_buffer("past_mean", torch.zeros(n_past))
        self.register_buffer("past_scale", torch.ones(n_past))
        self.register_buffer("future_mean", torch.zeros(n_future))
        self.register_buffer("future_scale", torch.ones(n_future))
        n_inputs = order * (1 + n_past) + n_future
        self.network = _Network(n_inputs, hidden, horizon, self.n_outputs) if hidden else None

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters, without the weights of inactive regressors."""
        active = (self.active_lags, self.active_past, self.active_future)
        weights = [] if self.network is None else list(self.network.parameters())
        n_linear = self.intercept.numel() + sum(int(mask.sum()) for mask in active)
        return n_linear + sum(weight.numel() for weight in weights)

    def weights(self) -> LinearMap:
        """Weights of the linear map, zero for inactive regressors.

        Their parameters are zero already; in training the mask also makes their gradients zero.
        """
        if not self.training:
            return LinearMap(self.lag_weight, self.past_weight, self.future_weight)
        return LinearMap(
            self.lag_weight * self.active_lags,
            self.past_weight * self.active_past,
            self.future_weight * self.active_future,
        )

    def prepare(self, context: Context) -> Context:
        """Impute the gaps of the newest points once, so that all steps read the same values."""
        begin = max(context.values.shape[1] - self.order, 0)
        return replace(
            context,
            values=self._impute(context, self._group(context))[:, begin:],
            past=context.past[:, begin:],
            future=context.future[:, begin:],
            gapless=True,
        )

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to `self.horizon` points; gaps of the context are imputed by forecasts."""
        group = self._group(context)
        values = self._impute(context, group)[:, -self.order :]
        return self._output(context, values, group)[:, :horizon]

    def regressors(
        self,
        context: Context,
        point: Float[Tensor, "batch horizon"],
        indices: Int[Tensor, "batch active"],
    ) -> Float[Tensor, "batch horizon active"]:
        """Values of the regressors at each step of a recursive forecast.

        `indices` are those of the lags of the target, lag 1 first, then of each past covariate
        (known for the first step only), then of the future covariates; `point` are the point
        forecasts of prepared contexts.
        """
        steps, order = point.shape[1], self.order
        index = indices[:, None].expand(-1, steps, -1)
        path = torch.cat([context.values[:, -order:], point[:, :-1]], dim=1)
        lags = path.unfold(1, order, 1).gather(2, (order - 1 - index).clamp(min=0))
        if not context.past.shape[2] + context.future.shape[2]:
            return lags
        past = self._scale_past(context.past[:, -order:]).flip(1).mT.flatten(1)[:, None]
        past = nn.functional.pad(past, (0, 0, 0, steps - 1))
        others = torch.cat([past, self._future_steps(context, steps)], dim=2)
        return torch.where(index < order, lags, others.gather(2, (index - order).clamp(min=0)))

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss over the observed targets; gaps of the context are replaced by the mean."""
        context = batch.context
        values = context.values if context.gapless else context.values.nan_to_num(0.0)
        forecast = self._output(context, values, self._group(context))
        target, mask = fill_target(batch)
        error = target[:, :, None] - forecast
        return masked_mean(self._point_loss(error), None if mask is None else mask[:, :, None])

    def _point_loss(self, error: Float[Tensor, "*shape output"]) -> Float[Tensor, "*shape output"]:
        if self.loss_kind == "quantile":
            levels = error.new_tensor(self.levels)
            return torch.maximum(levels * error, (levels - 1) * error)
        if self.loss_kind == "huber":
            delta = self.huber_delta
            small = error.abs() <= delta
            tail = delta * (error.abs() - delta / 2)
            return torch.where(small, error.square() / 2, tail)
        return error.square()

    def _group(self, context: Context) -> Int[Tensor, " batch"]:
        return context.series if len(self.lag_weight) > 1 else torch.zeros_like(context.series)

    def _output(
        self,
        context: Context,
        values: Float[Tensor, "batch context"],
        group: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch step output"]:
        past = self._scale_past(context.past[:, -self.order :]).transpose(1, 2).flatten(1)
        future = self._future_steps(context, self.horizon)
        weights = self.weights()
        inputs, weight = values, weights.lags
        if past.shape[1]:
            inputs = torch.cat([values, past], dim=1)
            weight = torch.cat([weights.lags, weights.past], dim=2)
        lagged = grouped_linear(inputs, weight, self.intercept, group)
        output = lagged.view(len(values), self.horizon, self.n_outputs)
        if future.shape[2]:
            output = output + torch.einsum("bhf,bhof->bho", future, weights.future[group])
        if self.network is not None:
            output = output + self.network(inputs, future)
        return output

    def _scale_past(
        self, past: Float[Tensor, "batch context past"]
    ) -> Float[Tensor, "batch context past"]:
        return ((past - self.past_mean) / self.past_scale).nan_to_num(0.0)

    def _scale_future(
        self, future: Float[Tensor, "batch *span future"]
    ) -> Float[Tensor, "batch *span future"]:
        return ((future - self.future_mean) / self.future_scale).nan_to_num(0.0)

    def _future_steps(self, context: Context, steps: int) -> Float[Tensor, "batch step future"]:
        """Scaled future covariates at the steps of the forecast; zero (the mean) if unknown."""
        begin = context.values.shape[1]
        future = self._scale_future(context.future[:, begin : begin + steps])
        return nn.functional.pad(future, (0, 0, 0, steps - future.shape[1]))

    def _impute(
        self, context: Context, group: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch context"]:
        """Replace missing points by one-step forecasts; points before a series by its mean."""
        values, order = context.values, self.order
        if context.gapless:
            return values
        gaps = imputed_points(values, order)
        positions = gaps.any(dim=0).nonzero()[:, 0].tolist()  # device synchronization
        if not positions:
            return values.nan_to_num(0.0)
        low = values.nan_to_num(torch.inf).amin(dim=1)
        high = values.nan_to_num(-torch.inf).amax(dim=1)
        margin = high - low
        lags = self.weights().lags[group, self.point]
        offsets = self._one_step_offsets(context, group, positions)
        imputed = values.nan_to_num(0.0)
        for offset, position in zip(offsets, positions, strict=True):
            first = max(position - order, 0)
            lagged = imputed[:, first:position] * lags[:, order - position + first :]
            forecast = offset + lagged.sum(dim=1)
            # Bounds for explosive maps in long gaps, wide enough for a trend in a short gap.
            forecast = forecast.clamp(low - margin, high + margin).nan_to_num(0.0, 0.0, 0.0)
            imputed[:, position] = torch.where(gaps[:, position], forecast, imputed[:, position])
        return imputed

    def _one_step_offsets(
        self, context: Context, group: Int[Tensor, " batch"], positions: list[int]
    ) -> list[Float[Tensor, " batch"]]:
        """Intercept and covariate terms of the one-step forecasts of points of the context."""
        order, weights = self.order, self.weights()
        intercept = self.intercept[group, self.point]
        if not context.past.shape[2] + context.future.shape[2]:
            return [intercept] * len(positions)
        past = self._scale_past(context.past).transpose(1, 2)
        past_weight = weights.past[group, self.point].unflatten(1, (-1, order))
        future_weight = weights.future[group, 0, self.point]
        offsets = []
        for position in positions:
            lags = past[..., max(position - order, 0) : position]
            past_term = (lags * past_weight[..., order - lags.shape[2] :]).sum(dim=(1, 2))
            future = self._scale_future(context.future[:, position])
            offsets.append(intercept + past_term + (future * future_weight).sum(dim=1))
        return offsets


class _Network(nn.Module):
    """Network whose output is added to the linear map; a step reads the covariates of that step."""

    def __init__(self, n_inputs: int, hidden: Sequence[int], horizon: int, n_outputs: int) -> None:
        super().__init__()
        self.shape = (horizon, n_outputs)
        layers: list[nn.Module] = []
        for width, next_width in pairwise([n_inputs, *hidden]):
            layers += [nn.Linear(width, next_width), nn.GELU()]
        self.trunk = nn.Sequential(*layers)
        self.last = nn.Linear(hidden[-1], horizon * n_outputs)
        # Zero, so that training starts from the linear map.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(
        self,
        lagged: Float[Tensor, "batch column"],
        future: Float[Tensor, "batch horizon future"],
    ) -> Float[Tensor, "batch horizon output"]:
        if not future.shape[2]:
            result: Tensor = self.last(self.trunk(lagged))
            return result.unflatten(1, self.shape)
        repeated = lagged[:, None].expand(-1, self.shape[0], -1)
        inner = self.trunk(torch.cat([repeated, future], dim=2))
        weight = self.last.weight.unflatten(0, self.shape)
        return torch.einsum("bhw,how->bho", inner, weight) + self.last.bias.unflatten(0, self.shape)


def robust_delta(errors: Float[Tensor, "step window"]) -> float:
    """Huber's delta: 1.345 standard deviations, by the median absolute error because of outliers.

    `errors` are absolute, NaN where unknown.
    """
    return 1.345 * 1.4826 * float(errors.nanmedian())


def imputed_points(
    values: Float[Tensor, "batch context"], newest: int
) -> Bool[Tensor, "batch context"]:
    """Missing points to impute: those after the first observed point, and the `newest` points.

    The forecast of a short series thus does not depend on the length of its padded context.
    """
    missing = values.isnan()
    begun = (~missing).cumsum(dim=1) > 0
    begun[:, values.shape[1] - newest :] = True
    return missing & begun


def grouped_linear(
    inputs: Float[Tensor, "batch column"],
    weight: Float[Tensor, "group row column"],
    intercept: Float[Tensor, "group row"],
    group: Int[Tensor, " batch"],
) -> Float[Tensor, "batch row"]:
    """Apply the linear map of its group to each input: one GEMM, or one batched GEMM."""
    if len(weight) == 1:
        return torch.addmm(intercept[0], inputs, weight[0].T)
    present, member = torch.unique(group, return_inverse=True)
    if len(present) == len(group):  # each group once, as in the forecast of a panel
        return intercept[group] + torch.einsum("bk,brk->br", inputs, weight[group])
    counts = torch.bincount(member, minlength=len(present))
    order = member.argsort(stable=True)
    first = counts.cumsum(0) - counts
    rank = order.argsort() - first[member]
    padded = inputs.new_zeros(len(present), int(counts.max()), inputs.shape[1])
    padded = padded.index_put((member, rank), inputs)
    output = torch.baddbmm(intercept[present][:, None], padded, weight[present].transpose(1, 2))
    return output[member, rank]
