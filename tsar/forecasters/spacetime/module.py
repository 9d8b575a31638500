"""Network of SpaceTime: companion layers that encode a context, and a closed-loop decoder."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.initialization import burg, hannan_rissanen
from tsar.forecasters.spacetime.layers import (
    ClosedLoopSSM,
    CompanionSSM,
    OpenLoopOutputs,
    Stability,
    pointwise_conv,
)
from tsar.forecasters.spacetime.preprocessing import N_FILTERS, preprocess
from tsar.nn.module import ForecastModule, fill_target, masked_mean
from tsar.nn.normalization import InstanceNorm, Normalization, forward_fill, instance_norm

Init = Literal["burg", "arma", "random"]
MAX_STEPS = 2048  # steps of the closed loop that are computed at once
OPEN_LOOP_STRIDE = 4  # the open-loop losses use one of so many windows of a batch


class SpaceTimeModule(ForecastModule):
    """Companion layers encode a context; the decoder forecasts it in closed loop.

    Parameters
    ----------
    context_length
        Points of a context.
    horizon
        Steps of the training loss; forecasts have no maximum horizon.
    state_size, width, depth
        Order of the recurrences; channels, a multiple of 8; layers before the decoder.
    normalization
        Normalization of each context; see `tsar.nn.normalization`.
    stability, unit_roots
        See `tsar.forecasters.spacetime.layers.Recurrence`.
    dropout
        Probability that a channel is zeroed in training, before each pointwise convolution.
    past, future
        Numbers of past and future covariates, which must be standardized.
    groups
        Number of series with their own weights of the covariates; 1: shared weights.
    init
        ``"burg"``, ``"arma"``: see `initialize`; ``"random"``: random weights.
    levels
        Quantile levels to forecast, 0.5 among them; empty: the mean.
    one_step_weight, input_weight
        Weights of the two open-loop losses: of one-step forecasts within the context, and of the
        decoder's predictions of its next inputs.

    References
    ----------
    Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
    (arXiv 2303.09489), section 3.
    """

    def __init__(
        self,
        context_length: int,
        horizon: int,
        *,
        state_size: int,
        width: int,
        depth: int,
        normalization: Normalization,
        stability: Stability,
        unit_roots: int,
        dropout: float,
        past: int,
        future: int,
        groups: int,
        init: Init,
        levels: Sequence[float],
        one_step_weight: float,
        input_weight: float,
    ) -> None:
        super().__init__()
        self.context_length, self.horizon, self.unbounded = context_length, horizon, True
        self.normalization: Normalization = normalization
        self.levels = tuple(levels)
        self.outputs = max(len(levels), 1)
        self.point = self.levels.index(0.5) if levels else 0
        self.init = init
        self.loss_weights = (one_step_weight, input_weight)
        count = past + future
        self.covariates = nn.Parameter(torch.randn(groups, width, count) / max(count, 1) ** 0.5)
        self.layers = nn.ModuleList(
            Layer(width, state_size, stability, dropout) for _ in range(depth)
        )
        self.decoder = ClosedLoopSSM(width, state_size, stability=stability, unit_roots=unit_roots)
        self.head = Head(width, self.outputs, future, dropout)

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        """Initialize to the forecasts of an autoregression, unless `init` is ``"random"``.

        The closed loop is fitted to the windows by Burg's method, or as an ARMA process by that of
        Hannan and Rissanen. The head reads it from the channels that hold the unfiltered series.
        """
        if self.init != "random":
            norm = instance_norm(batch.context.values, self.normalization)
            windows = norm.normalize(torch.cat([batch.context.values, batch.target], dim=1))
            windows, order = forward_fill(windows), self.decoder.closed_loop.order
            if self.init == "arma":
                self.decoder.set_arma(*hannan_rissanen(windows, order))
            else:
                self.decoder.set_arma(burg(windows, order))
            self.head.read_unfiltered()
            for layer in self.layers:  # without taps a layer is the identity
                cast(Layer, layer).ssm.taps.zero_()
        if self.levels:
            self.eval()  # without dropout
            forecast = self.forecast(batch.context, batch.target.shape[1])[..., self.point]
            self.train()
            self.head.set_offsets(batch.target - forecast, self.levels)

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast any number of points in closed loop, at most `MAX_STEPS` at once."""
        norm, signal = self._normalize(context)
        system = self.decoder.system(signal.shape[1])
        state = system.state(self._encode(signal, context))
        chunks = []
        for first in range(0, horizon, MAX_STEPS):
            steps = min(MAX_STEPS, horizon - first)
            covariates = self._future_covariates(context, first, steps)
            chunks.append(self.head(system.forecast(state, steps), covariates))
            if first + steps < horizon:
                state = system.advance(state, steps)
        return norm.denormalize(torch.cat(chunks, dim=1))

    def hidden(self, context: Context) -> tuple[Float[Tensor, "batch state"], InstanceNorm]:
        """Return the decoder's state after a context, and the normalization of the context."""
        norm, signal = self._normalize(context)
        system = self.decoder.system(signal.shape[1])
        return system.state(self._encode(signal, context)).flatten(1), norm

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Loss of the closed-loop forecasts; in training plus the weighted open-loop losses."""
        context = batch.context
        norm, signal = self._normalize(context)
        inputs, steps = self._encode(signal, context), batch.target.shape[1]
        system = self.decoder.system(signal.shape[1])
        hidden = system.forecast(system.state(inputs), steps)
        forecast = norm.denormalize(self.head(hidden, self._future_covariates(context, 0, steps)))
        total = self._forecast_loss(forecast, *fill_target(batch))
        if not self.training or not any(self.loss_weights) or signal.shape[1] < 2:
            return total
        # Points are in many overlapping windows, so the open-loop losses need only some of these.
        rows = slice(0, -(-len(signal) // OPEN_LOOP_STRIDE))
        one_step_loss, input_loss = self._open_loop_losses(
            context[rows], norm.select(rows), inputs[rows], system.open_loop(inputs[rows])
        )
        return total + self.loss_weights[0] * one_step_loss + self.loss_weights[1] * input_loss

    def _open_loop_losses(
        self,
        context: Context,
        norm: InstanceNorm,
        inputs: Float[Tensor, "batch channel time"],
        predicted: OpenLoopOutputs,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Losses of one-step forecasts of the context, and of the decoder's next inputs."""
        time = inputs.shape[2]
        # Without the first outputs, whose states are incomplete: `order` - 1, at most half of all.
        skip = min(self.decoder.closed_loop.order - 1, (time - 1) // 2)
        begin, end = context.values.shape[1] - time + skip + 1, context.values.shape[1]
        covariates = context.future[:, begin:end].nan_to_num(0.0)
        forecast = norm.denormalize(self.head(predicted.outputs[..., skip:-1], covariates))
        target = context.values[:, begin:]
        mask = None if context.gapless else ~target.isnan()
        target = target if mask is None else target.nan_to_num(0.0)
        # Detached, and relative to the variance of each channel: otherwise the layers could lower
        # the loss by predictable inputs, and channels of high variance would dominate.
        next_inputs = inputs[..., skip + 1 :].detach()
        variance = next_inputs.square().mean(dim=(0, 2)).clamp(min=1e-6)
        error = (predicted.next_inputs[..., skip:-1] - next_inputs).square().mean(dim=(0, 2))
        return self._forecast_loss(forecast, target, mask), (error / variance).mean()

    def _forecast_loss(
        self,
        forecast: Float[Tensor, "batch step output"],
        target: Float[Tensor, "batch step"],
        mask: Tensor | None,
    ) -> Float[Tensor, ""]:
        error = target[:, :, None] - forecast
        if self.levels:
            levels = error.new_tensor(self.levels)
            losses = torch.maximum(levels * error, (levels - 1) * error)
        else:
            losses = error.square()
        return masked_mean(losses, None if mask is None else mask[:, :, None])

    def _normalize(self, context: Context) -> tuple[InstanceNorm, Float[Tensor, "batch time"]]:
        values = context.values[:, -self.context_length :]
        norm = instance_norm(values, self.normalization)
        signal = norm.normalize(values)
        return norm, signal if context.gapless else forward_fill(signal)

    def _encode(
        self, signal: Float[Tensor, "batch time"], context: Context
    ) -> Float[Tensor, "batch channel time"]:
        """Inputs of the decoder."""
        hidden = preprocess(signal)[:, None]
        if self.covariates.shape[2]:
            hidden = hidden + self._covariate_inputs(context, signal.shape[1])
        for layer in self.layers:
            hidden = layer(hidden)
        groups = self.covariates.shape[1] // N_FILTERS
        return hidden.expand(-1, groups, -1, -1).flatten(1, 2)

    def _covariate_inputs(
        self, context: Context, time: int
    ) -> Float[Tensor, "batch group filter time"]:
        """Weighted past covariates of each step, and future covariates of the step after it."""
        start = context.values.shape[1] - time + 1
        future = context.future[:, start : start + time]
        future = nn.functional.pad(future, (0, 0, 0, time - future.shape[1]))
        covariates = torch.cat([context.past[:, -time:], future], dim=2).nan_to_num(0.0)
        if len(self.covariates) > 1:
            inputs = torch.einsum("btk,bck->bct", covariates, self.covariates[context.series])
        else:
            inputs = torch.einsum("btk,ck->bct", covariates, self.covariates[0])
        return inputs.unflatten(1, (-1, N_FILTERS))

    def _future_covariates(
        self, context: Context, first: int, steps: int
    ) -> Float[Tensor, "batch steps future"]:
        """Future covariates of some steps of the horizon; 0, their mean, where unknown."""
        start = context.values.shape[1] + first
        covariates = context.future[:, start : start + steps].nan_to_num(0.0)
        return nn.functional.pad(covariates, (0, 0, 0, steps - covariates.shape[1]))


class Layer(nn.Module):
    """Companion SSM with a residual connection, and a residual GELU and pointwise convolution."""

    def __init__(self, width: int, state_size: int, stability: Stability, dropout: float) -> None:
        super().__init__()
        self.ssm = CompanionSSM(width, state_size, stability=stability)
        self.dropout = nn.Dropout1d(dropout)
        # No bias here and in the head, so that a constant context is forecast to stay constant.
        self.pointwise = nn.Conv1d(width, width, 1, bias=False)

    def forward(
        self, hidden: Float[Tensor, "batch shared filter time"]
    ) -> Float[Tensor, "batch group filter time"]:
        """Filter and map channels, which are in groups of the preprocessing filters."""
        filtered = self.ssm(hidden)
        activated = nn.functional.gelu(filtered.flatten(1, 2))
        mapped = pointwise_conv(self.pointwise.weight[:, :, 0], activated, self.dropout)
        return hidden + filtered + mapped.unflatten(1, filtered.shape[1:3])


class Head(nn.Module):
    """Forecast of each step: linear in the decoder's channels, their GELU, and future covariates.

    Forecasts of several quantiles have constant offsets.
    """

    def __init__(self, width: int, outputs: int, future: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout1d(dropout)
        self.linear = nn.Linear(width, outputs, bias=False)
        self.nonlinear = nn.Linear(width, outputs, bias=False)
        self.offsets = nn.Parameter(torch.zeros(outputs)) if outputs > 1 else None
        self.covariates = nn.Linear(future, outputs, bias=False) if future else None

    @torch.no_grad()
    def read_unfiltered(self) -> None:
        """Set the weights to the mean of the channels that hold the unfiltered series."""
        width = self.linear.in_features
        self.linear.weight.zero_()
        self.linear.weight[:, ::N_FILTERS] = N_FILTERS / width
        self.nonlinear.weight.zero_()

    @torch.no_grad()
    def set_offsets(self, errors: Float[Tensor, "batch step"], levels: Sequence[float]) -> None:
        """Set the offsets to the quantiles of the errors of the point forecast."""
        observed = errors[~errors.isnan()].sort().values
        if self.offsets is not None and len(observed):
            ranks = torch.tensor(levels, device=observed.device) * (len(observed) - 1)
            self.offsets.copy_(observed[ranks.round().long()])

    def forward(
        self,
        hidden: Float[Tensor, "batch channel step"],
        covariates: Float[Tensor, "batch step future"],
    ) -> Float[Tensor, "batch step output"]:
        """Forecast each step from its channels and future covariates."""
        outputs = self.linear.weight @ hidden
        activated = nn.functional.gelu(hidden)
        outputs = outputs + pointwise_conv(self.nonlinear.weight, activated, self.dropout)
        outputs = outputs.mT if self.offsets is None else outputs.mT + self.offsets
        return outputs if self.covariates is None else outputs + self.covariates(covariates)
