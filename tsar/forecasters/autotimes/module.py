"""AutoTimesModule: segments of a series as tokens of a language model, which predicts the next."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsar.data.batch import Batch, Context, Times, shift_times
from tsar.forecasters.autotimes.backbone import Backbone
from tsar.forecasters.autotimes.cache import CacheState
from tsar.forecasters.autotimes.draft import Draft
from tsar.forecasters.autotimes.heads import Head
from tsar.forecasters.autotimes.layers import mlp
from tsar.forecasters.autotimes.timestamps import TimestampEmbedding
from tsar.nn.module import ForecastModule, masked_mean
from tsar.nn.normalization import InstanceNorm, forward_fill, instance_norm

Init = Literal["ridge", "random"]
FULL_CONTEXT_SHARE = 0.5  # of training windows, whose whole context is treated as observed


class AutoTimesModule(ForecastModule):
    """Embeds segments as tokens of a causal transformer; each output predicts the next segment.

    Inputs are normalized by mean and standard deviation of the observed context. In training the
    first segments of each window are the observed context, of random length; the segments after it
    are normalized alike, as in a forecast of several segments, and only these are predicted. So the
    normalization never uses a target, and contexts of any length are trained.

    Parameters
    ----------
    backbone
        The causal transformer.
    context_length, segment_length
        Number of points of a context and of a segment.
    head
        What is forecast of each point.
    hidden
        Widths of the hidden layers between segments and tokens; empty for linear maps.
    dropout
        Dropout rate of hidden states in training.
    timestamps
        Embedding of the time of each token; None for none.
    init
        ``"ridge"``: see `initialize`; ``"random"``: random initial weights.
    """

    def __init__(
        self,
        backbone: Backbone,
        context_length: int,
        segment_length: int,
        *,
        head: Head,
        hidden: Sequence[int],
        dropout: float,
        timestamps: TimestampEmbedding | None,
        init: Init,
    ) -> None:
        super().__init__()
        self.context_length, self.horizon = context_length, segment_length
        self.head, self.point = head, head.point
        self.levels, self.density = head.levels, head.density
        self.embed = mlp(segment_length, hidden, backbone.width, dropout)
        self.dropout = nn.Dropout(dropout)
        self.project = mlp(backbone.width, hidden, segment_length * head.n_outputs, dropout)
        self.timestamps = timestamps
        self.backbone = backbone
        self.max_positions = backbone.max_positions
        self.attention_window = backbone.attention_window
        self.draft = Draft(2 * segment_length, segment_length)
        self.init = init
        self._check_positions(context_length)
        if isinstance(self.embed, nn.Linear):
            # Embeddings with the norm of those on which the backbone was trained.
            deviation = backbone.token_norm / (segment_length * backbone.width) ** 0.5
            nn.init.normal_(self.embed.weight, std=deviation)

    def _check_positions(self, length: int) -> None:
        if self.max_positions is not None and -(-length // self.horizon) > self.max_positions:
            raise ValueError(
                f"context_length, with prompt_length, must be at most "
                f"{self.max_positions * self.horizon} with segments of {self.horizon} points, as "
                f"the backbone reads {self.max_positions} tokens at most; got {length}. Lower it, "
                "or give longer segments."
            )

    def prepare_times(self, times: Times, horizon: int) -> None:
        """Compute the features of all timestamps of contexts and horizons."""
        if self.timestamps is not None:
            past, future = -(-times.length // self.horizon), -(-horizon // self.horizon)
            steps = torch.arange(-past, future, device=times.origin.device)
            begin = times.origin[:, None] + steps * self.horizon * times.step
            self.timestamps.precompute(shift_times(begin, times.time_shift))

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        """Fit the draft, and with ``init="ridge"`` the projection, by ridge regression."""
        values, n_observed = self._split_window(batch)
        self._fit_draft(values)
        if self.init == "ridge" and isinstance(self.project, nn.Linear):
            self.backbone.eval()  # without dropout
            tokens = self._predicting_tokens(values, n_observed)
            hidden, norm = self._encode_window(batch.context, values, n_observed, tokens)
            target = self._next_segments(norm.normalize(values), tokens)
            self.head.initialize(self.project, hidden, target, self.dropout.p)
            self.backbone.train()

    def _fit_draft(self, values: Float[Tensor, "batch time"]) -> None:
        length = self.draft.order + self.horizon
        if values.shape[1] < length:
            return  # it proposes the mean
        norm = instance_norm(values[:, : -self.horizon], "standardize")
        samples = forward_fill(norm.normalize(values)).unfold(1, length, self.horizon)
        observed = ~values.unfold(1, length, self.horizon).isnan()
        complete = samples[observed.all(dim=2)]
        if len(complete):
            self.draft.fit(complete[:, : self.draft.order], complete[:, self.draft.order :])

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to one segment, without a cache."""
        hidden, norm = self.hidden(context)
        return self.decode(hidden, norm)[:, :horizon]

    def hidden(self, context: Context) -> tuple[Float[Tensor, "batch width"], InstanceNorm]:
        """Hidden state of the last token of each context, and the normalization of the context."""
        values = self._pad_to_segments(context.values)
        norm = instance_norm(values, "standardize")
        first, last = self._first_observed(values), self._last_tokens(values)
        return self._encode(context, values, norm, first, last), norm

    def prefill(self, context: Context) -> tuple[CacheState, Float[Tensor, "batch horizon output"]]:
        """Fill a key-value cache with a context; forecast the next segment."""
        values = self._pad_to_segments(context.values)
        norm = instance_norm(values, "standardize")
        first, last = self._first_observed(values), self._last_tokens(values)
        cache = self.backbone.new_cache()
        hidden = self._encode(context, values, norm, first, last, cache)
        token = torch.arange(values.shape[1] // self.horizon, device=values.device)
        state = CacheState(
            norm=norm,
            cache=cache,
            attention_mask=token >= first[:, None],
            position=len(token) - first,
            origin=context.origin,
            step=context.step,
        )
        return state, self.decode(hidden, norm)

    def extend_cache(
        self, state: CacheState, points: Float[Tensor, "batch time"]
    ) -> tuple[CacheState, Float[Tensor, "batch time output"]]:
        """Add whole segments to the cache; forecast the segment after each of them."""
        segments = state.norm.normalize(points).unflatten(1, (-1, self.horizon))
        count = segments.shape[1]
        token = torch.arange(count, device=points.device)
        begin = state.origin[:, None] + token * self.horizon * state.step
        new_mask = state.attention_mask.new_ones(len(points), count)
        mask = torch.cat([state.attention_mask, new_mask], dim=1)
        position_ids = state.position[:, None] + token
        if self.max_positions is not None:  # proposals beyond the horizon are discarded
            position_ids = position_ids.clamp(max=self.max_positions - 1)
        hidden = self.backbone(
            self._embed_segments(segments, begin),
            attention_mask=mask,
            position_ids=position_ids,
            cache=state.cache,
        )
        extended = replace(
            state,
            attention_mask=mask,
            position=state.position + count,
            origin=state.origin + points.shape[1] * state.step,
        )
        rows = torch.arange(len(points), device=points.device).repeat_interleave(count)
        output = self.decode(hidden.flatten(0, 1), state.norm.select(rows))
        return extended, output.unflatten(0, (-1, count)).flatten(1, 2)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss of the segments after the observed part of each window.

        In training mode the observed part is of random length; else it is the context.
        """
        values, n_observed = self._split_window(batch)
        tokens = self._predicting_tokens(values, n_observed)
        hidden, norm = self._encode_window(batch.context, values, n_observed, tokens)
        rows = tokens // (values.shape[1] // self.horizon - 1)
        output = self.decode(hidden, norm.select(rows))
        target = self._next_segments(values, tokens)
        mask = ~target.isnan()
        losses = self.head.losses(output, torch.where(mask, target, 0.0))
        return masked_mean(torch.where(mask, losses, 0.0), mask)

    def decode(
        self, hidden: Float[Tensor, "token width"], norm: InstanceNorm
    ) -> Float[Tensor, "token point output"]:
        """Forecasts of the next segments, in the units of the input, given hidden states."""
        outputs = self.project(self.dropout(hidden))
        return self.head.denormalize(outputs.unflatten(1, (self.horizon, -1)), norm)

    def _split_window(
        self, batch: Batch
    ) -> tuple[Float[Tensor, "batch time"], Int[Tensor, "batch 1"]]:
        """Context and target in whole segments, and the number of segments that are observed.

        That number is computed on the host, where it determines the number of predictions.
        """
        context = self._pad_to_segments(batch.context.values)
        padding = -batch.target.shape[1] % self.horizon
        target = nn.functional.pad(batch.target, (0, padding), value=torch.nan)
        n_segments = context.shape[1] // self.horizon
        n_observed = torch.full((len(context), 1), n_segments)
        if self.training:
            first = torch.zeros_like(n_observed)
            if not batch.context.gapless:
                first = self._first_observed(context)[:, None].cpu()
            uniform = torch.rand(2, len(context), 1)
            length = (uniform[0] * (n_segments - first)).long().clamp(max=n_segments - first - 1)
            full = uniform[1] < FULL_CONTEXT_SHARE
            n_observed = torch.where(full, n_observed, first + 1 + length)
        return torch.cat([context, target], dim=1), n_observed

    def _encode_window(
        self,
        context: Context,
        values: Float[Tensor, "batch time"],
        n_observed: Int[Tensor, "batch 1"],
        tokens: Int[Tensor, " selected"],
    ) -> tuple[Float[Tensor, "selected width"], InstanceNorm]:
        """Hidden states of some tokens, and each row's normalization by its observed segments."""
        steps = torch.arange(values.shape[1], device=values.device)
        end = n_observed.to(values.device, non_blocking=True) * self.horizon
        norm = instance_norm(values.masked_fill(steps >= end, torch.nan), "standardize")
        inputs = values[:, : -self.horizon]
        return self._encode(context, inputs, norm, self._first_observed(values), tokens), norm

    def _predicting_tokens(
        self, values: Float[Tensor, "batch time"], n_observed: Int[Tensor, "batch 1"]
    ) -> Int[Tensor, " selected"]:
        """Flat indices of the tokens whose outputs are forecasts: from the last observed one on.

        The last segment is not a token, as nothing follows it.
        """
        token = torch.arange(values.shape[1] // self.horizon - 1)
        tokens = (token >= n_observed - 1).flatten().nonzero()[:, 0]
        return tokens.to(values.device, non_blocking=True)

    def _next_segments(
        self, values: Float[Tensor, "batch time"], tokens: Int[Tensor, " selected"]
    ) -> Float[Tensor, "selected point"]:
        """Segments after tokens."""
        return values[:, self.horizon :].unflatten(1, (-1, self.horizon)).flatten(0, 1)[tokens]

    def _pad_to_segments(
        self, values: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch padded"]:
        """Whole segments: padded on the left, so that the newest points are never dropped."""
        return nn.functional.pad(values, (-values.shape[1] % self.horizon, 0), value=torch.nan)

    def _first_observed(self, values: Float[Tensor, "batch time"]) -> Int[Tensor, " batch"]:
        """First segment of each row with an observed point; the last one where there is none."""
        observed = ~values.isnan().unflatten(1, (-1, self.horizon)).all(dim=2)
        first = observed.int().argmax(dim=1)
        return torch.where(observed.any(dim=1), first, observed.shape[1] - 1)

    def _last_tokens(self, values: Float[Tensor, "batch time"]) -> Int[Tensor, " batch"]:
        """Flat index of the last token of each row."""
        count = values.shape[1] // self.horizon
        return torch.arange(count - 1, count * len(values), count, device=values.device)

    def _encode(
        self,
        context: Context,
        values: Float[Tensor, "batch time"],
        norm: InstanceNorm,
        first: Int[Tensor, " batch"],
        tokens: Int[Tensor, " selected"],
        cache: Any = None,
    ) -> Float[Tensor, "selected width"]:
        """Hidden states of some tokens of whole segments; segment `first` has position 0."""
        self._check_positions(values.shape[1])
        padded = bool(context.values.shape[1] % self.horizon) or not context.gapless
        signal = norm.normalize(values)
        signal = forward_fill(signal) if padded else signal
        segments = signal.unflatten(1, (-1, self.horizon))
        token = torch.arange(segments.shape[1], device=values.device)
        # The horizon begins where the context ends, even if segments of the target follow.
        n_context = -(-context.values.shape[1] // self.horizon)
        begin = context.origin[:, None] + (token - n_context) * self.horizon * context.step
        hidden: Tensor = self.backbone(
            self._embed_segments(segments, shift_times(begin, context.time_shift)),
            attention_mask=token >= first[:, None] if padded else None,
            position_ids=(token - first[:, None]).clamp(min=0) if padded else None,
            cache=cache,
            selected=tokens,
        )
        return hidden

    def _embed_segments(
        self, segments: Float[Tensor, "batch token point"], begin: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        tokens: Tensor = self.embed(segments)
        return tokens if self.timestamps is None else tokens + self.timestamps(begin).to(tokens)
