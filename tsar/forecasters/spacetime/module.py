"""SpaceTimeModule: companion layers that read a context, and one that runs on in closed loop."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.data.batch import Batch, Context
from tsar.forecasters.spacetime.arma import hannan_rissanen
from tsar.forecasters.spacetime.burg import burg
from tsar.forecasters.spacetime.channels import mix
from tsar.forecasters.spacetime.recurrence import Decoder, Opened, OpenLoop, Stability
from tsar.forecasters.spacetime.views import VIEWS, views
from tsar.nn.module import ForecastModule, fill_target, masked_mean
from tsar.nn.normalization import InstanceNorm, Normalization, forward_fill, instance_norm

Initial = Literal["burg", "arma", "random"]
PIECE = 2048  # steps of the closed loop that are held at once
SHARE = 4  # of so many windows of a batch one teaches the open loop


class SpaceTimeModule(ForecastModule):
    """Reads a context by companion layers, forecasts by running the last one on by itself.

    Parameters
    ----------
    context_length
        Points that a forecast sees.
    state_size, width, depth
        Values of a state; channels, a multiple of 8; layers before the decoder.
    normalization
        What is taken out of each context; see `tsar.nn.normalization`.
    stability, unit_roots
        See `tsar.forecasters.spacetime.recurrence.Recurrence`.
    dropout
        Share of channels' values set to zero in training, before each linear map of them.
    past, future
        Numbers of covariates, which come standardized.
    groups
        Series that weigh the covariates each in its own way; 1: all alike.
    horizon
        Steps of the loss; a forecast has no limit.
    initial
        ``"burg"``, ``"arma"``: see `start`; ``"random"``: weights are drawn.
    levels
        Quantile levels to forecast, 0.5 among them; none: the mean.
    one_step_weight, input_weight
        Weights of the two other losses: of forecasting each next point of the context in open
        loop, and each next input of the decoder.
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
        initial: Initial,
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
        self.initial = initial
        self.weights = (one_step_weight, input_weight)
        known = past + future
        drawn = torch.randn(groups, width, known) / max(known, 1) ** 0.5
        self.covariates = nn.Parameter(drawn)
        self.layers = nn.ModuleList(
            Layer(width, state_size, stability, dropout) for _ in range(depth)
        )
        self.decoder = Decoder(width, state_size, stability=stability, unit_roots=unit_roots)
        self.head = Head(width, self.outputs, future, dropout)

    @torch.no_grad()
    def start(self, batch: Batch) -> None:
        """Begin with the forecasts of an autoregression.

        What the decoder runs on with is fitted to the windows by Burg's method, or with moving
        averages by Hannan and Rissanen's, and the head reads it from the channels that see the
        series as it is. Training goes on from there.
        """
        if self.initial != "random":
            units = instance_norm(batch.context.values, self.normalization)
            whole = units.normalize(torch.cat([batch.context.values, batch.target], dim=1))
            whole, order = forward_fill(whole), self.decoder.loop.order
            arma = self.initial == "arma"
            known = hannan_rissanen(whole, order) if arma else (burg(whole, order), None)
            self.decoder.continue_series(*known)
            self.head.read_views()
            for layer in self.layers:
                cast(Layer, layer).rest()
        if self.levels:
            self.eval()  # nothing is drawn
            forecast = self.forecast(batch.context, batch.target.shape[1])[..., self.point]
            self.train()
            self.head.set_apart(batch.target - forecast, self.levels)

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast any number of points, `PIECE` at a time, by the closed loop."""
        units, signal = self._read(context)
        decoder = self.decoder.prepared(signal.shape[1])
        state = decoder.state(self._encode(signal, context))
        pieces = []
        for first in range(0, horizon, PIECE):
            steps = min(PIECE, horizon - first)
            known = self._ahead(context, first, steps)
            pieces.append(self.head(decoder.run(state, steps), known))
            if first + steps < horizon:
                state = decoder.run_on(state, steps)
        return units.denormalize(torch.cat(pieces, dim=1))

    def hidden(self, context: Context) -> tuple[Float[Tensor, "batch state"], InstanceNorm]:
        """Read a context: the decoder's state, which all forecasts come from, and the units."""
        units, signal = self._read(context)
        decoder = self.decoder.prepared(signal.shape[1])
        return decoder.state(self._encode(signal, context)).flatten(1), units

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Loss of the closed loop over the targets, and those of the open loop over the context."""
        context = batch.context
        units, signal = self._read(context)
        inputs = self._encode(signal, context)
        steps = batch.target.shape[1]
        decoder = self.decoder.prepared(signal.shape[1])
        hidden = decoder.run(decoder.state(inputs), steps)
        forecast = units.denormalize(self.head(hidden, self._ahead(context, 0, steps)))
        total = self._error(forecast, *fill_target(batch))
        if not self.training or not any(self.weights) or signal.shape[1] < 2:
            return total  # what is validated is the forecast
        # A point of the series stands in many windows: a few of them teach the open loop.
        few = slice(0, -(-len(signal) // SHARE))
        opened = decoder.read(inputs[few])
        one_step, guess = self._open_losses(context[few], units, inputs[few], opened)
        return total + self.weights[0] * one_step + self.weights[1] * guess

    def _open_losses(
        self,
        context: Context,
        units: InstanceNorm,
        inputs: Float[Tensor, "batch channel time"],
        opened: Opened,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Losses of the next point of the context and of the next input, forecast at each time."""
        time = inputs.shape[2]
        # The first outputs know too little: as many as the state holds, at most half of all.
        skip = min(self.decoder.loop.order - 1, (time - 1) // 2)
        known = self._within(context)[:, skip + 1 :]
        told = self.head(opened.outputs[..., skip:-1], known)
        forecast = InstanceNorm(*(part[: len(inputs)] for part in units)).denormalize(told)
        truth = context.values[:, -time:][:, skip + 1 :]
        seen = None if context.gapless else ~truth.isnan()
        truth = truth if seen is None else truth.nan_to_num(0.0)
        # Detached, and each channel against its own variance: the layers must not become easy to
        # guess, nor the loud channels drown the others.
        following = inputs[..., skip + 1 :].detach()
        power = following.square().mean(dim=(0, 2)).clamp(min=1e-6)
        miss = (opened.guesses[..., skip:-1] - following).square().mean(dim=(0, 2))
        return self._error(forecast, truth, seen), (miss / power).mean()

    def _error(
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

    def _read(self, context: Context) -> tuple[InstanceNorm, Float[Tensor, "batch time"]]:
        values = context.values[:, -self.context_length :]
        units = instance_norm(values, self.normalization)
        signal = units.normalize(values)
        return units, signal if context.gapless else forward_fill(signal)

    def _encode(
        self, signal: Float[Tensor, "batch time"], context: Context
    ) -> Float[Tensor, "batch channel time"]:
        hidden = views(signal)[:, None]
        if self.covariates.shape[2]:
            time = signal.shape[1]
            # The covariates of the next step, which is the one that is forecast.
            begin = context.values.shape[1]
            ahead = context.future[:, begin - time + 1 : begin + 1]
            ahead = nn.functional.pad(ahead, (0, 0, 0, time - ahead.shape[1]))
            known = torch.cat([context.past[:, -time:], ahead], dim=2).nan_to_num(0.0)
            if len(self.covariates) > 1:
                added = torch.einsum("btk,bck->bct", known, self.covariates[context.series])
            else:
                added = torch.einsum("btk,ck->bct", known, self.covariates[0])
            hidden = hidden + added.unflatten(1, (-1, VIEWS))
        for layer in self.layers:
            hidden = layer(hidden)
        groups = self.covariates.shape[1] // VIEWS
        return hidden.expand(-1, groups, -1, -1).flatten(1, 2)

    def _ahead(
        self, context: Context, first: int, steps: int
    ) -> Float[Tensor, "batch steps future"]:
        """Future covariates at some steps of the horizon, the mean beyond those that are known."""
        begin = context.values.shape[1] + first
        known = context.future[:, begin : begin + steps].nan_to_num(0.0)
        return nn.functional.pad(known, (0, 0, 0, steps - known.shape[1]))

    def _within(self, context: Context) -> Float[Tensor, "batch time future"]:
        """Future covariates at the times of the context."""
        end = context.values.shape[1]
        return context.future[:, max(end - self.context_length, 0) : end].nan_to_num(0.0)


class Layer(nn.Module):
    """A companion layer, a GELU feed-forward map of its channels, and a skip around both."""

    def __init__(self, width: int, state_size: int, stability: Stability, dropout: float) -> None:
        super().__init__()
        self.filter = OpenLoop(width, state_size, stability=stability)
        self.dropout = nn.Dropout1d(dropout)
        # No constants, here and in the head: a context that stays where it is is forecast to.
        self.mix = nn.Conv1d(width, width, 1, bias=False)

    @torch.no_grad()
    def rest(self) -> None:
        """Add nothing, until training says what."""
        self.filter.taps.zero_()

    def forward(
        self, hidden: Float[Tensor, "batch shared view time"]
    ) -> Float[Tensor, "batch group view time"]:
        """Filter and mix channels that stand in groups of views."""
        filtered = self.filter(hidden)
        bent = nn.functional.gelu(filtered.flatten(1, 2))
        mixed = mix(self.mix.weight[:, :, 0], bent, self.dropout)
        return hidden + filtered + mixed.unflatten(1, filtered.shape[1:3])


class Head(nn.Module):
    """From the decoder's channels, and what is known of a step, to its forecasts."""

    def __init__(self, width: int, outputs: int, future: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout1d(dropout)
        self.linear = nn.Linear(width, outputs, bias=False)
        self.bent = nn.Linear(width, outputs, bias=False)
        # Quantiles stand apart from each other wherever the series is.
        self.apart = nn.Parameter(torch.zeros(outputs)) if outputs > 1 else None
        self.known = nn.Linear(future, outputs, bias=False) if future else None

    @torch.no_grad()
    def read_views(self) -> None:
        """Read the channels that hold the series as it is, and nothing else."""
        width = self.linear.in_features
        self.linear.weight.zero_()
        self.linear.weight[:, ::VIEWS] = VIEWS / width
        self.bent.weight.zero_()

    @torch.no_grad()
    def set_apart(self, errors: Float[Tensor, "batch step"], levels: Sequence[float]) -> None:
        """Begin with the quantiles of errors that were made without."""
        seen = errors[~errors.isnan()].sort().values
        if self.apart is not None and len(seen):
            places = torch.tensor(levels, device=seen.device) * (len(seen) - 1)
            self.apart.copy_(seen[places.round().long()])

    def forward(
        self,
        hidden: Float[Tensor, "batch channel step"],
        known: Float[Tensor, "batch step future"],
    ) -> Float[Tensor, "batch step output"]:
        """Forecast each step from its channels."""
        linear = self.linear.weight @ hidden
        outputs = linear + mix(self.bent.weight, nn.functional.gelu(hidden), self.dropout)
        outputs = outputs.mT if self.apart is None else outputs.mT + self.apart
        return outputs if self.known is None else outputs + self.known(known)
