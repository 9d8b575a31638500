"""Speculative decoding: the draft proposes several segments, the backbone checks them in one pass.

Source: Leviathan, Kalman & Matias 2023 (arXiv 2211.17192), with segments of a series as tokens.
Rows of a batch accept different numbers of proposals. Rejected tokens stay in the cache, masked, so
that no row waits for another and none depends on another. A finished row leaves the batch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.batch import Context
from tsar.forecasters.autotimes.cache import CacheState
from tsar.forecasters.autotimes.draft import Draft
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.nn.normalization import forward_fill


@dataclass(frozen=True)
class Speculation:
    """Options of speculative decoding.

    Attributes
    ----------
    tolerance
        A proposal is accepted if it differs from the backbone's own forecast by at most that, as a
        root mean square in standard deviations of the context. At 0 the forecast is the cached one.
    draft_length
        Segments that are proposed at once.
    """

    tolerance: float
    draft_length: int


class SpeculativeForecast(NamedTuple):
    """Outputs, and the numbers of proposed and accepted segments and of the backbone's passes."""

    output: Float[Tensor, "batch horizon output"]
    proposed: int
    accepted: int
    passes: int


def can_speculate(
    module: AutoTimesModule, context: Context, horizon: int, options: Speculation
) -> bool:
    """Whether all tokens, rejected ones included, fit into the attention window of the backbone.

    Otherwise rejected tokens would displace tokens that must be attended to.
    """
    if module.attention_window is None:
        return True
    segments = -(-horizon // module.horizon) - 1
    slots = -(-context.values.shape[1] // module.horizon)
    # If every proposal is rejected, a pass gives one segment, and proposes up to the horizon.
    slots += sum(1 + min(options.draft_length, left) for left in range(segments))
    return slots <= module.attention_window


def speculate(
    module: AutoTimesModule, context: Context, horizon: int, options: Speculation
) -> SpeculativeForecast:
    """Forecast any horizon by the backbone's outputs after proposals that are close to them."""
    state, first = module.prefill(context)
    history = _history(state, context, module.draft)
    run = _Run(module, state, history, first, -(-horizon // module.horizon), options)
    return run.finish(horizon)


class _Run:
    """Speculative decoding of a batch whose rows advance at their own pace.

    `newest` is the segment after the tokens read so far, as outputs of the network; it is the next
    token. `done` is the index of that segment in each row, `last` the index of the final one.
    """

    def __init__(
        self,
        module: AutoTimesModule,
        state: CacheState,
        history: Float[Tensor, "batch order"],
        newest: Float[Tensor, "batch step output"],
        segments: int,
        options: Speculation,
    ) -> None:
        self.module, self.state, self.history, self.newest = module, state, history, newest
        self.options, self.last = options, segments - 1
        self.rows = torch.arange(len(newest), device=newest.device)
        size = segments + options.draft_length + 1
        self.output = newest.new_empty(len(newest), size, *newest.shape[1:])
        self.output[:, 0] = newest
        self.done = torch.zeros_like(self.rows)
        self.counts, self.passes = self.done.new_zeros(2), 1

    def finish(self, horizon: int) -> SpeculativeForecast:
        """Run passes until every row has all of its segments."""
        while self._select(self.done < self.last):
            slowest = int(self.done.min())  # device synchronization
            self._pass(min(self.options.draft_length, self.last - 1 - slowest))
        proposed, accepted = self.counts.tolist()
        output = self.output[:, : self.last + 1].flatten(1, 2)[:, :horizon]
        return SpeculativeForecast(output, proposed, accepted, self.passes)

    def _select(self, unfinished: Bool[Tensor, " batch"]) -> bool:
        """Drop finished rows; return whether any row is left."""
        rows = unfinished.nonzero()[:, 0]  # device synchronization
        if 0 < len(rows) < len(unfinished):
            self.state = self.state.select(rows)
            self.history, self.newest = self.history[rows], self.newest[rows]
            self.rows, self.done = self.rows[rows], self.done[rows]
        return len(rows) > 0

    def _pass(self, count: int) -> None:
        """Propose `count` segments, read them with the newest one, and accept a prefix of each."""
        module, norm = self.module, self.state.norm
        points = self.newest[..., module.point]
        history = torch.cat([self.history, norm.normalize(points)], dim=1)
        drafted = module.draft.propose(history, count)
        # A constant context is forecast as constant.
        drafted = torch.where(norm.varies[:, :, None], drafted, 0.0)
        proposals = norm.denormalize(drafted.flatten(1)).view_as(drafted)
        tokens = torch.cat([points, proposals.flatten(1)], dim=1)
        state, output = module.extend_cache(self.state, tokens)
        self.passes += 1
        output = output.unflatten(1, (count + 1, -1))
        accepted = torch.minimum(self._accepted(output, proposals), self.last - 1 - self.done)
        self.counts += torch.stack([accepted.new_tensor(len(accepted) * count), accepted.sum()])
        self._store(output, accepted)
        rejected = torch.arange(count + 1, device=accepted.device) > accepted[:, None]
        self.state = state.reject(rejected, module.horizon)
        end = history.shape[1] + accepted * module.horizon
        steps = torch.arange(-module.draft.order, 0, device=accepted.device)
        self.history = torch.cat([history, drafted.flatten(1)], dim=1).gather(
            1, end[:, None] + steps
        )

    def _accepted(
        self,
        output: Float[Tensor, "batch segment step output"],
        proposals: Float[Tensor, "batch proposal step"],
    ) -> Int[Tensor, " batch"]:
        """Proposals of each row before the first that differs by more than the tolerance."""
        error = output[:, :-1, :, self.module.point] - proposals
        distance = error.square().mean(dim=2).sqrt() / self.state.norm.scale
        return (distance <= self.options.tolerance).long().cumprod(dim=1).sum(dim=1)

    def _store(
        self, output: Float[Tensor, "batch segment step output"], accepted: Int[Tensor, " batch"]
    ) -> None:
        """Store the outputs of this pass; the next one overwrites those after rejected tokens."""
        columns = self.done[:, None] + 1 + torch.arange(output.shape[1], device=accepted.device)
        self.output[self.rows[:, None], columns] = output
        self.newest = output[torch.arange(len(accepted), device=accepted.device), accepted]
        self.done = self.done + 1 + accepted


def _history(state: CacheState, context: Context, draft: Draft) -> Float[Tensor, "batch order"]:
    """Newest points of contexts, normalized; 0, the mean, before the first."""
    signal = forward_fill(state.norm.normalize(context.values))[:, -draft.order :]
    return torch.nn.functional.pad(signal, (draft.order - signal.shape[1], 0))
