"""Baselines of tsar's SpaceTime: the released SpaceTime, LSTMs, a Transformer and S4D.

`Released` repeats the arithmetic of the code that Zhang et al. 2023 (arXiv 2303.09489) published,
in the configuration of its README, inefficiencies included: its cost is what is compared.
`LSTMForecaster` and `TransformerForecaster` are the baselines of the paper's speed table;
`S4DForecaster` and `LSTMRollout` forecast by feeding their one-step forecasts back.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

CONTEXT, HORIZON, WIDTH, STATE = 336, 720, 128, 64
# The released preprocessing: 4 differences, then 4 moving averages of 4 to 63 points, per group.
VIEWS, SHORTEST, LONGEST = 8, 4, 64


def rmse(forecast: Tensor, target: Tensor) -> Tensor:
    """Root mean squared error; its gradient at a perfect forecast is not finite."""
    return (forecast - target).square().mean().sqrt()


def convolve(inputs: Tensor, kernels: Tensor) -> Tensor:
    """Causal convolution of (batch, channel, time) with (channel, time) by FFT of 2 * time."""
    length = inputs.shape[-1]
    spectrum = torch.fft.rfft(inputs, 2 * length) * torch.fft.rfft(kernels, 2 * length)
    return torch.fft.irfft(spectrum, 2 * length)[..., :length]


def krylov(matrix: Tensor, start: Tensor, length: int) -> Tensor:
    """``start, A start, ..., A^(length - 1) start``, (..., state, length), by repeated squaring."""
    columns = start.unsqueeze(-1)
    while (known := columns.shape[-1]) < length:
        following = matrix @ columns[..., : length - known]
        columns = torch.cat([columns, following], dim=-1)
        if columns.shape[-1] < length:
            matrix = matrix @ matrix
    return columns


def _normalized(vectors: Tensor) -> Tensor:
    # As in the released code, `item` synchronizes with the device.
    norm = vectors.abs().sum(-1, keepdim=True)
    return vectors / norm if norm.mean().item() > 1e-4 else vectors


class _Companion(nn.Module):
    """Kernels of companion matrices: ones below the diagonal, `a` in the last column."""

    def __init__(self, kernels: int, state: int, width: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(kernels, state))
        self.b = nn.Parameter(torch.randn(kernels, state))
        self.c = nn.Parameter(torch.randn(kernels, state))
        self.skip = nn.Parameter(torch.randn(width))
        # Plain tensors, not buffers: the released code copies them to the device in every forward.
        self.shift = torch.diag(torch.ones(state - 1), -1).repeat(kernels, 1, 1)
        self.last = torch.eye(state)[-1].repeat(kernels, 1)

    def matrix(self) -> Tensor:
        """Dense (kernel, state, state), with `a` scaled to an l1 norm of 1."""
        a = _normalized(self.a)
        return self.shift.to(a) + a.unsqueeze(-1) * self.last.to(a).unsqueeze(-2)


class _Preprocess(nn.Module):
    """Fixed filters: differences of order 0 to 3 and residuals of four moving averages."""

    filters: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        filters = torch.zeros(width // VIEWS, VIEWS, LONGEST)
        for order in range(4):
            for lag in range(order + 1):
                filters[:, order, lag] = (-1) ** lag * math.comb(order, lag)
        windows = torch.randint(SHORTEST, LONGEST, (width // VIEWS, VIEWS - 4, 1))
        filters[:, 4:] = (torch.arange(LONGEST) < windows) / -windows
        filters[:, 4:, 0] += 1
        self.register_buffer("filters", filters.flatten(0, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Filter (batch, time, channel)."""
        length = inputs.shape[1]
        kernels = nn.functional.pad(self.filters, (0, max(0, length - LONGEST)))[:, :length]
        return convolve(inputs.transpose(1, 2), kernels).transpose(1, 2)


class _Encoder(nn.Module):
    """Preprocessing, companion SSM, MLP, and the skip around the last two."""

    def __init__(self, width: int, state: int, dropout: float) -> None:
        super().__init__()
        self.preprocess = _Preprocess(width)
        self.ssm = _Companion(width // VIEWS, state, width)
        self.mlp = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Encode (batch, time, channel)."""
        views = self.preprocess(inputs)
        states = krylov(self.ssm.matrix(), self.ssm.b, views.shape[1])
        kernels = torch.einsum("knl,kn->kl", states, self.ssm.c).repeat_interleave(VIEWS, dim=0)
        hidden = convolve(views.transpose(1, 2), kernels).transpose(1, 2) + views * self.ssm.skip
        return hidden + self.mlp(hidden) + views


class _Decoder(_Companion):
    """Companion SSM that generates its own next inputs; one kernel per channel, `skip` unused."""

    def __init__(self, width: int, state: int) -> None:
        super().__init__(width, state, width)
        self.k = nn.Parameter(torch.randn(width, state))

    def forward(self, inputs: Tensor, horizon: int) -> Tensor:
        """Closed loop: (batch, time, channel) to (batch, horizon, channel)."""
        matrix, length = self.matrix(), inputs.shape[1]
        kernels = krylov(matrix, self.b, length).transpose(1, 2)
        spectrum = torch.fft.rfft(inputs.transpose(1, 2), 2 * length)
        spectrum = spectrum.unsqueeze(-1) * torch.fft.rfft(kernels, 2 * length, dim=1)
        # States of all times, of which only the last is used: 1.1 GB twice at the README's sizes.
        states = torch.fft.irfft(spectrum, 2 * length, dim=2)[:, :, :length]
        closed = matrix + _normalized(self.b).unsqueeze(-1) * _normalized(self.k).unsqueeze(-2)
        future = krylov(closed, states[:, :, -1], horizon)
        return torch.einsum("bknh,kn->bhk", future, _normalized(self.c))

    def open_loop(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and forecasts of the next input at each time, both (batch, time, channel)."""
        states = krylov(self.matrix(), _normalized(self.b), inputs.shape[1])
        outputs, following = (
            convolve(inputs.transpose(1, 2), torch.einsum("knl,kn->kl", states, _normalized(row)))
            for row in (self.c, self.k)
        )
        return outputs.transpose(1, 2), following.transpose(1, 2)


class Released(nn.Module):
    """The released SpaceTime: one encoder block, a closed-loop decoder, a linear head.

    52,737 trainable parameters at the defaults, of which the decoder's 128 skips are never used.
    A training step at those, with a context of 336 and a batch of 50, takes 9 GB.

    `width` counts channels, a multiple of 8; `state` is the size of each companion matrix.
    """

    def __init__(
        self, horizon: int = HORIZON, width: int = WIDTH, state: int = STATE, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.horizon, self.width, self.state = horizon, width, state
        self.encoder = _Encoder(width, state, dropout)
        self.decoder = _Decoder(width, state)
        self.head = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(self, context: Tensor) -> Tensor:
        """Forecast: (batch, context) to (batch, horizon)."""
        mean = context.mean(1, keepdim=True)
        return self._closed(self._encode(context - mean)) + mean

    def loss(self, context: Tensor, target: Tensor, *, auxiliary: bool) -> Tensor:
        """Error of the closed loop's forecast.

        `auxiliary` adds the errors of the open loop's next outputs and of the decoder's next
        inputs. The released code has them in its first epoch only: its first validation disables
        them. They skip ``state - 1`` times, so the context must be longer than the state.
        """
        mean = context.mean(1, keepdim=True)
        encoded = self._encode(context - mean)
        loss = rmse(self._closed(encoded) + mean, target)
        if not auxiliary:
            return loss
        if context.shape[1] <= self.state:
            raise ValueError(f"context {context.shape[1]} must exceed state {self.state}")
        outputs, following = self.decoder.open_loop(encoded)
        values = torch.cat([context, target[:, :1]], dim=1)
        first = self.state - 1
        loss = loss + rmse(self.head(outputs[:, first:])[..., 0] + mean, values[:, self.state :])
        # As released: the encoding is a target here and has a gradient.
        return loss + rmse(following[:, first:-1], encoded[:, self.state :])

    def _encode(self, centred: Tensor) -> Tensor:
        return self.encoder(centred.unsqueeze(-1).repeat(1, 1, self.width))

    def _closed(self, encoded: Tensor) -> Tensor:
        return self.head(self.decoder(encoded, self.horizon))[..., 0]


class LSTMForecaster(nn.Module):
    """Sequence to sequence: an LSTM reads the context, another unrolls over the horizon."""

    def __init__(self, width: int, layers: int, context: int, horizon: int) -> None:
        super().__init__()
        self.context, self.horizon = context, horizon
        self.encoder = nn.LSTM(1, width, layers, batch_first=True)
        self.decoder = nn.LSTM(1, width, layers, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, context: Tensor, target: Tensor | None = None) -> Tensor:
        """Forecast: (batch, context) to (batch, horizon).

        With a `target`, the decoder reads it instead of its own forecasts (teacher forcing), in one
        call instead of one call per step.
        """
        value = context[:, -1:, None]
        _, state = self.encoder(context.unsqueeze(-1))
        if target is not None:
            known = torch.cat([value, target[:, :-1, None]], dim=1)
            return self.head(self.decoder(known, state)[0])[..., 0]
        values = []
        for _ in range(self.horizon):
            hidden, state = self.decoder(value, state)
            value = self.head(hidden)
            values.append(value)
        return torch.cat(values, dim=1)[..., 0]


class TransformerForecaster(nn.Module):
    """Encoder and decoder as in Informer's Transformer baseline, without its time features.

    The decoder has one layer. It reads the second half of the context, then zeros for the horizon,
    and returns all forecasts at once.
    """

    positions: Tensor

    def __init__(self, width: int, layers: int, heads: int, context: int, horizon: int) -> None:
        super().__init__()
        self.context, self.horizon = context, horizon
        self.embed_encoder, self.embed_decoder = nn.Linear(1, width), nn.Linear(1, width)
        options: dict[str, Any] = dict(dropout=0.05, activation="gelu", batch_first=True)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, **options)
        norm = nn.LayerNorm(width)
        self.encoder = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoderLayer(width, heads, 4 * width, **options)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        channel = torch.arange(width)
        angle = torch.arange(context + horizon)[:, None] / 10_000 ** (channel // 2 * 2 / width)
        positions = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, context: Tensor) -> Tensor:
        """Forecast: (batch, context) to (batch, horizon)."""
        label = context[:, -(context.shape[1] // 2) :]
        known = nn.functional.pad(label, (0, self.horizon))
        memory = self.encoder(self._embed(self.embed_encoder, context))
        hidden = self._embed(self.embed_decoder, known)
        size = known.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(size, known.device, known.dtype)
        hidden = self.decoder(hidden, memory, tgt_mask=mask, tgt_is_causal=True)
        return self.head(hidden[:, -self.horizon :])[..., 0]

    def _embed(self, layer: nn.Module, values: Tensor) -> Tensor:
        return layer(values.unsqueeze(-1)) + self.positions[: values.shape[1]]


class DiagonalSSM(nn.Module):
    """S4D-Lin: a diagonal complex state per channel, zero-order hold with a learned step.

    `width` counts channels, each with its own system; `state` is the real size of the state: half
    as many complex modes, whose conjugates are implied.
    """

    def __init__(self, width: int, state: int) -> None:
        super().__init__()
        modes = state // 2
        self.log_step = nn.Parameter(torch.empty(width).uniform_(math.log(1e-3), math.log(1e-1)))
        self.log_decay = nn.Parameter(torch.full((width, modes), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(modes).float().repeat(width, 1))
        self.output = nn.Parameter(torch.randn(width, modes, 2) * math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(width))

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithm of the transition, gain of the input, and output, each (width, modes)."""
        poles = torch.complex(-self.log_decay.exp(), self.frequency)
        exponent = poles * self.log_step.exp().unsqueeze(-1)
        return exponent, (exponent.exp() - 1) / poles, torch.view_as_complex(self.output)

    def kernel(self, length: int) -> Tensor:
        """Impulse response without the skip, (width, length), by a Vandermonde product."""
        exponent, gain, output = self.system()
        return 2 * torch.einsum("hn,hnl->hl", gain * output, _powers(exponent, length)).real

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs for (batch, time, width), by FFT."""
        outputs = convolve(inputs.transpose(1, 2), self.kernel(inputs.shape[1]))
        return outputs.transpose(1, 2) + inputs * self.skip

    def read(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """State after (batch, time, width), and the system, so that a rollout computes it once."""
        exponent, gain, output = self.system()
        powers = _powers(exponent, inputs.shape[1]).flip(-1)
        state = torch.einsum("blh,hnl->bhn", inputs.to(powers.dtype), powers) * gain
        return state, exponent.exp(), gain, output

    def step(self, inputs: Tensor, memory: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """One step of the recurrence: outputs for (batch, width), and the next memory."""
        state, transition, gain, output = memory
        state = transition * state + gain * inputs.unsqueeze(-1)
        outputs = 2 * (output * state).real.sum(-1) + self.skip * inputs
        return outputs, (state, transition, gain, output)


def _powers(exponent: Tensor, length: int) -> Tensor:
    return (exponent.unsqueeze(-1) * torch.arange(length, device=exponent.device)).exp()


class _Rollout(nn.Module):
    """A one-step model; `_read` takes (batch, time) and a state, None at the start."""

    def _read(self, values: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError

    def one_step(self, context: Tensor) -> Tensor:
        """Forecast of the next value at each time, (batch, context)."""
        return self._read(context, None)[0]

    def forecast(self, context: Tensor, horizon: int) -> Tensor:
        """Feed one-step forecasts back: (batch, context) to (batch, horizon)."""
        following, state = self._read(context, None)
        values = [following[:, -1:]]
        while len(values) < horizon:
            following, state = self._read(values[-1], state)
            values.append(following)
        return torch.cat(values, dim=1)


class S4DForecaster(_Rollout):
    """Layers of `DiagonalSSM`, GELU and a gated linear map, each with a skip.

    No layer norm: after the embedding of a scalar it would remove the scalar's magnitude.
    """

    def __init__(self, width: int, state: int, layers: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(1, width), nn.Linear(width, 1)
        self.ssms: Any = nn.ModuleList(DiagonalSSM(width, state) for _ in range(layers))
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.GELU(), nn.Linear(width, 2 * width), nn.GLU()) for _ in range(layers)
        )

    def one_step(self, context: Tensor) -> Tensor:
        """Forecast of the next value at each time, (batch, context)."""
        hidden = self.embedding(context.unsqueeze(-1))
        for ssm, mix in zip(self.ssms, self.mixes, strict=True):
            hidden = hidden + mix(ssm(hidden))
        return self.head(hidden)[..., 0]

    def _read(self, values: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden = self.embedding(values.unsqueeze(-1))
        memories: list[tuple[Tensor, ...]] = []
        for layer, (ssm, mix) in enumerate(zip(self.ssms, self.mixes, strict=True)):
            if state is None:
                outputs, memory = ssm(hidden), ssm.read(hidden)
            else:
                outputs, memory = ssm.step(hidden[:, 0], state[layer])
                outputs = outputs.unsqueeze(1)
            memories.append(memory)
            hidden = hidden + mix(outputs)
        return self.head(hidden)[..., 0], memories


class LSTMRollout(_Rollout):
    """One LSTM layer and a linear head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(1, width, batch_first=True), nn.Linear(width, 1)

    def _read(self, values: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = self.lstm(values.unsqueeze(-1), state)
        return self.head(hidden)[..., 0], state


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def with_parameters(kind: str, parameters: int, context: int, horizon: int) -> nn.Module:
    """Build an "lstm" or "transformer" of the width whose parameter count is nearest.

    The LSTMs have one layer; the Transformer has 4 heads, 2 encoder layers and 1 decoder layer.
    """
    heads = {"lstm": 1, "transformer": 4}[kind]

    def build(width: int) -> nn.Module:
        if kind == "lstm":
            return LSTMForecaster(width, 1, context, horizon)
        return TransformerForecaster(width, 2, heads, context, horizon)

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(parameter_count(build(width)) - parameters)

    width = heads
    while distance(width + heads) < distance(width):
        width += heads
    return build(width)
