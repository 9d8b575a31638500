"""AutoTimesModule: a language model that reads segments of a series and forecasts the next one."""

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
from tsar.forecasters.autotimes.mlp import mlp
from tsar.forecasters.autotimes.timestamps import Stamps
from tsar.nn.module import ForecastModule, masked_mean
from tsar.nn.normalization import InstanceNorm, forward_fill, instance_norm

Init = Literal["ridge", "random"]
WHOLE = 0.5  # share of the training windows whose whole context sets the units


class AutoTimesModule(ForecastModule):
    """Segments become tokens, a decoder-only model reads them, each output is the next segment.

    Units are the mean and deviation of what is observed. In training that is a part of each window,
    of random length: what comes behind is read in the same units, as it is in a forecast that goes
    on, and is the only part that is forecast. So nothing leaks, and contexts of any length work.

    Parameters
    ----------
    backbone
        Reads the tokens.
    context_length, segment_length
        Points that a forecast sees, and points of a token.
    head
        What is forecast of a point.
    hidden
        Widths of hidden layers between segments and tokens; empty: both maps are linear.
    dropout
        Share of a hidden state that is left out at random in training.
    stamps
        What a token is told of its time; None: nothing.
    init
        ``"ridge"``: see `initialize`; ``"random"``: weights are drawn.
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
        stamps: Stamps | None,
        init: Init,
    ) -> None:
        super().__init__()
        self.context_length, self.horizon = context_length, segment_length
        self.head, self.point = head, head.point
        self.levels, self.density = head.levels, head.density
        self.embed = mlp(segment_length, hidden, backbone.width, dropout)
        self.dropout = nn.Dropout(dropout)
        self.project = mlp(backbone.width, hidden, segment_length * head.outputs, dropout)
        self.stamps = stamps
        self.backbone = backbone
        self.positions, self.reach = backbone.positions, backbone.reach
        self.draft = Draft(2 * segment_length, segment_length)
        self.init = init
        self._check_room(context_length)
        if isinstance(self.embed, nn.Linear):
            # Tokens as long as the words that the backbone has learned to read.
            deviation = backbone.token_norm / (segment_length * backbone.width) ** 0.5
            nn.init.normal_(self.embed.weight, std=deviation)

    @property
    def tokens(self) -> int:
        """Most segments of a context."""
        return -(-self.context_length // self.horizon)

    def _check_room(self, points: int) -> None:
        if self.positions is not None and -(-points // self.horizon) > self.positions:
            raise ValueError(
                f"context_length, with prompt_length, must be at most "
                f"{self.positions * self.horizon} with segments of {self.horizon} points, for the "
                f"backbone reads {self.positions} tokens at most; got {points}. Lower it, or give "
                "longer segments."
            )

    def prepare_times(self, times: Times, horizon: int) -> None:
        """Make ready for contexts at given times."""
        if self.stamps is not None:
            tokens, ahead = -(-times.length // self.horizon), -(-horizon // self.horizon)
            steps = torch.arange(-tokens, ahead, device=times.origin.device)
            begin = times.origin[:, None] + steps * self.horizon * times.step
            self.stamps.learn(shift_times(begin, times.time_shift))

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        """Fit the draft, and the projection to the backbone's outputs, by ridge regression."""
        values, observed = self._window(batch)
        self._fit_draft(values)
        if self.init == "ridge" and isinstance(self.project, nn.Linear):
            self.backbone.eval()  # nothing is drawn
            places = self._scored(values, observed)
            hidden, units = self._read_window(batch.context, values, observed, places)
            target = self._behind(units.normalize(values), places)
            self.head.start(self.project, hidden, target, self.dropout.p)
            self.backbone.train()

    def _fit_draft(self, values: Float[Tensor, "batch time"]) -> None:
        length = self.draft.order + self.horizon
        if values.shape[1] < length:
            return  # it proposes the mean
        units = instance_norm(values[:, : -self.horizon], "standardize")
        spans = forward_fill(units.normalize(values)).unfold(1, length, self.horizon)
        observed = ~values.unfold(1, length, self.horizon).isnan()
        complete = spans[observed.all(dim=2)]
        if len(complete):
            self.draft.fit(complete[:, : self.draft.order], complete[:, self.draft.order :])

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to a segment, from a context that is read anew."""
        hidden, units = self.hidden(context)
        return self._points(hidden, units)[:, :horizon]

    def hidden(self, context: Context) -> tuple[Float[Tensor, "batch width"], InstanceNorm]:
        """Read a context: the backbone's last hidden state of each, and the context's units."""
        values = self._padded(context.values)
        first = _first_present(values, self.horizon)
        units = instance_norm(values, "standardize")
        return self._read(context, values, units, first, _newest(values, self.horizon)), units

    def prefill(self, context: Context) -> tuple[CacheState, Float[Tensor, "batch horizon output"]]:
        """Read a context and keep what was read; the forecast of the segment behind it."""
        values = self._padded(context.values)
        first = _first_present(values, self.horizon)
        units = instance_norm(values, "standardize")
        cache = self.backbone.new_cache()
        hidden = self._read(context, values, units, first, _newest(values, self.horizon), cache)
        token = torch.arange(values.shape[1] // self.horizon, device=values.device)
        state = CacheState(
            units=units,
            cache=cache,
            mask=token >= first[:, None],
            position=len(token) - first,
            origin=context.origin,
            step=context.step,
        )
        return state, self._points(hidden, units)

    def extend_cache(
        self, state: CacheState, points: Float[Tensor, "batch time"]
    ) -> tuple[CacheState, Float[Tensor, "batch time output"]]:
        """Read whole segments behind those that were read; forecasts of the segment behind each."""
        segments = state.units.normalize(points).unflatten(1, (-1, self.horizon))
        count = segments.shape[1]
        token = torch.arange(count, device=points.device)
        begin = state.origin[:, None] + token * self.horizon * state.step
        mask = torch.cat([state.mask, state.mask.new_ones(len(points), count)], dim=1)
        positions = state.position[:, None] + token
        if self.positions is not None:  # what is proposed beyond the horizon is not kept
            positions = positions.clamp(max=self.positions - 1)
        hidden = self.backbone(
            self._tokens(segments, begin), mask=mask, positions=positions, cache=state.cache
        )
        later = replace(
            state,
            mask=mask,
            position=state.position + count,
            origin=state.origin + points.shape[1] * state.step,
        )
        rows = torch.arange(len(points), device=points.device).repeat_interleave(count)
        output = self._points(hidden.flatten(0, 1), state.units.select(rows))
        return later, output.unflatten(0, (-1, count)).flatten(1, 2)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Loss of the segments behind the observed part of each window.

        In training the observed part is of random length; else it is the context.
        """
        values, observed = self._window(batch)
        places = self._scored(values, observed)
        hidden, units = self._read_window(batch.context, values, observed, places)
        rows = places // (values.shape[1] // self.horizon - 1)
        output = self._points(hidden, units.select(rows))
        target = self._behind(values, places)
        seen = ~target.isnan()
        losses = self.head.losses(output, torch.where(seen, target, 0.0))
        return masked_mean(torch.where(seen, losses, 0.0), seen)

    def _window(self, batch: Batch) -> tuple[Float[Tensor, "batch time"], Int[Tensor, "batch 1"]]:
        """Whole segments of context and target, and how many of them count as observed.

        That is told on the host, where the tokens are counted whose outputs are scored.
        """
        context = self._padded(batch.context.values)
        ahead = -batch.target.shape[1] % self.horizon
        target = nn.functional.pad(batch.target, (0, ahead), value=torch.nan)
        whole = context.shape[1] // self.horizon
        observed = torch.full((len(context), 1), whole)
        if self.training:
            first = torch.zeros_like(observed)
            if not batch.context.gapless:
                first = _first_present(context, self.horizon)[:, None].cpu()
            draw = torch.rand(2, len(context), 1)
            part = first + 1 + (draw[0] * (whole - first)).long().clamp(max=whole - first - 1)
            observed = torch.where(draw[1] < WHOLE, observed, part)
        return torch.cat([context, target], dim=1), observed

    def _read_window(
        self,
        context: Context,
        values: Float[Tensor, "batch time"],
        observed: Int[Tensor, "batch 1"],
        places: Int[Tensor, " scored"],
    ) -> tuple[Float[Tensor, "scored width"], InstanceNorm]:
        """Hidden states of scored tokens, and the units of the observed segments of each row."""
        steps = torch.arange(values.shape[1], device=values.device)
        end = observed.to(values.device, non_blocking=True) * self.horizon
        units = instance_norm(values.masked_fill(steps >= end, torch.nan), "standardize")
        known = values[:, : -self.horizon]
        first = _first_present(values, self.horizon)
        return self._read(context, known, units, first, places), units

    def _scored(
        self, values: Float[Tensor, "batch time"], observed: Int[Tensor, "batch 1"]
    ) -> Int[Tensor, " scored"]:
        """Tokens whose outputs are forecasts: from the last observed one on.

        The last segment is no token: it is forecast alone.
        """
        token = torch.arange(values.shape[1] // self.horizon - 1)
        places = (token >= observed - 1).flatten().nonzero()[:, 0]
        return places.to(values.device, non_blocking=True)

    def _behind(
        self, values: Float[Tensor, "batch time"], places: Int[Tensor, " scored"]
    ) -> Float[Tensor, "scored point"]:
        """Segments behind tokens."""
        return values[:, self.horizon :].unflatten(1, (-1, self.horizon)).flatten(0, 1)[places]

    def _padded(self, values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch padded"]:
        """Whole segments: room on the left, so that the newest points are never dropped."""
        return nn.functional.pad(values, (-values.shape[1] % self.horizon, 0), value=torch.nan)

    def _read(
        self,
        context: Context,
        values: Float[Tensor, "batch time"],
        units: InstanceNorm,
        first: Int[Tensor, " batch"],
        wanted: Int[Tensor, " wanted"],
        cache: Any = None,
    ) -> Float[Tensor, "wanted width"]:
        """Hidden states of some of the whole segments; the first observed one has position 0."""
        self._check_room(values.shape[1])
        ragged = bool(context.values.shape[1] % self.horizon) or not context.gapless
        signal = units.normalize(values)
        signal = forward_fill(signal) if ragged else signal
        segments = signal.unflatten(1, (-1, self.horizon))
        token = torch.arange(segments.shape[1], device=values.device)
        # The context ends where the horizon begins, whatever of the target is read behind it.
        inside = -(-context.values.shape[1] // self.horizon)
        begin = context.origin[:, None] + (token - inside) * self.horizon * context.step
        return self.backbone(
            self._tokens(segments, shift_times(begin, context.time_shift)),
            mask=token >= first[:, None] if ragged else None,
            positions=(token - first[:, None]).clamp(min=0) if ragged else None,
            cache=cache,
            wanted=wanted,
        )

    def _tokens(
        self, segments: Float[Tensor, "batch token point"], begin: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        tokens: Tensor = self.embed(segments)
        return tokens if self.stamps is None else tokens + self.stamps(begin).to(tokens)

    def _points(
        self, hidden: Float[Tensor, "token width"], units: InstanceNorm
    ) -> Float[Tensor, "token point output"]:
        """Forecasts of the segments behind tokens, each with its units, in those that came in."""
        outputs = self.project(self.dropout(hidden))
        return self.head.invert(outputs.unflatten(1, (self.horizon, -1)), units)


def _first_present(
    values: Float[Tensor, "batch time"], segment_length: int
) -> Int[Tensor, " batch"]:
    """First segment with an observed point; the last one where there is none."""
    present = ~values.isnan().unflatten(1, (-1, segment_length)).all(dim=2)
    first = present.int().argmax(dim=1)
    return torch.where(present.any(dim=1), first, present.shape[1] - 1)


def _newest(values: Float[Tensor, "batch time"], segment_length: int) -> Int[Tensor, " batch"]:
    """Place of the last segment of each row."""
    count = values.shape[1] // segment_length
    return torch.arange(count - 1, count * len(values), count, device=values.device)
