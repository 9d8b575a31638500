"""Speculation: a cheap draft proposes several steps, and the module checks them in one pass.

Source: Leviathan, Kalman & Matias 2023 (arXiv 2211.17192), with segments of a series for words.
Rows keep different numbers of proposals. What a row does not keep stays in the cache, masked: no
row waits for another, and none depends on another. A row that has all its steps leaves the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.batch import Context
from tsar.nn.draft import Draft
from tsar.nn.module import Reading, ReadingModule
from tsar.nn.normalization import forward_fill


@dataclass(frozen=True)
class Speculation:
    """How to speculate.

    Attributes
    ----------
    draft
        Proposes.
    tolerance
        Proposals are kept as long as they differ from the module's own forecast by at most that, as
        a root mean square in deviations of the context. At 0 the forecast is the plain one.
    ahead
        Steps that are proposed at once.
    """

    draft: Draft
    tolerance: float
    ahead: int


class Speculated(NamedTuple):
    """What was forecast, and what it took: proposals made and kept, and passes of the module."""

    output: Float[Tensor, "batch horizon output"]
    proposed: int
    kept: int
    passes: int


class Proposal(NamedTuple):
    """Proposed steps, in the units that came in, and what the draft expected of them in its own."""

    points: Float[Tensor, "batch piece step"]
    expected: Float[Tensor, "batch piece step"]


class Judged(NamedTuple):
    """How many proposals each row keeps, and what is given out: of these and of one step more."""

    kept: Int[Tensor, " batch"]
    given: Float[Tensor, "batch piece step output"]


# Judges proposals by the module's outputs (batch, piece + 1, step, output) at them and behind.
Judge = Callable[[Reading, Proposal, Tensor], Judged]


def can_speculate(module: ReadingModule, context: Context, horizon: int, how: Speculation) -> bool:
    """Whether all that may be proposed stays within the reach of the module's attention.

    Beyond it, proposals that were not kept would push out what is to be seen: they take room.
    """
    if module.reach is None:
        return True
    steps = -(-horizon // module.horizon) - 1
    slots = -(-context.values.shape[1] // module.horizon)
    # If nothing is kept, each pass gives a step, and proposes no further than the horizon.
    slots += sum(1 + min(how.ahead, left) for left in range(steps))
    return slots <= module.reach


def speculate(
    module: ReadingModule, context: Context, horizon: int, how: Speculation
) -> Speculated:
    """Forecast any horizon, by the module's own outputs behind proposals that are close to them."""

    def judge(reading: Reading, proposal: Proposal, output: Tensor) -> Judged:
        error = output[:, :-1, :, module.point] - proposal.points
        miss = error.square().mean(dim=2).sqrt() / reading.units.scale
        return Judged(_prefix(miss <= how.tolerance), output)

    reading, first = module.read(context)
    history, pieces = _history(reading, context, how.draft), -(-horizon // module.horizon)
    run = _Run(module, reading, history, first, pieces, how, drawn=False)
    return run.finish(judge, horizon)


def speculate_paths(
    module: ReadingModule, context: Context, horizon: int, how: Speculation
) -> Speculated:
    """Draw one path for each context, whose density is the module's own.

    A proposal x of the draft's density q is kept with probability min(1, p(x) / q(x)), p the
    module's; the first that is not is replaced by a draw of max(0, p - q), scaled to 1. Then what
    is drawn has the density p (theorem 1 of the source). The global generator draws.
    """
    density = module.density
    if density is None:
        raise ValueError("module must have a density to draw paths; got one without.")

    def draw(output: Tensor) -> Tensor:
        shape = (*output.shape[:-1], 2)
        uniform = 1 - torch.rand(shape, device=output.device, dtype=output.dtype)
        return density.draw(output, uniform)

    def judge(reading: Reading, proposal: Proposal, output: Tensor) -> Judged:
        proposed = how.draft.log_prob(proposal.points, proposal.expected, reading.units)
        ratio = (density.log_prob(output[:, :-1], proposal.points) - proposed).sum(dim=2)
        kept = _prefix(torch.rand_like(ratio).log() < ratio)
        given = torch.cat([proposal.points, draw(output[:, -1:])], dim=1)
        open_rows = (kept < ratio.shape[1]).nonzero()[:, 0]
        while len(open_rows):  # of what is drawn from p, what max(0, p - q) leaves of it
            place = kept[open_rows]
            told, mean = output[open_rows, place], proposal.expected[open_rows, place]
            points = draw(told)
            own = density.log_prob(told, points).sum(dim=1)
            units = reading.units.select(open_rows)
            theirs = how.draft.log_prob(points, mean, units).sum(dim=1)
            taken = torch.rand_like(own) > torch.exp(theirs - own)
            given[open_rows[taken], place[taken]] = points[taken]
            open_rows = open_rows[~taken]
        return Judged(kept, given[..., None])

    reading, first = module.read(context)
    history, pieces = _history(reading, context, how.draft), -(-horizon // module.horizon)
    own = draw(first)[..., None]
    return _Run(module, reading, history, own, pieces, how, drawn=True).finish(judge, horizon)


class _Run:
    """Rows that go on from step to step, each at its own pace.

    `own` is the step behind what was read: its outputs, or where paths are drawn its points.
    """

    def __init__(
        self,
        module: ReadingModule,
        reading: Reading,
        history: Float[Tensor, "batch order"],
        own: Float[Tensor, "batch step output"],
        pieces: int,
        how: Speculation,
        *,
        drawn: bool,
    ) -> None:
        self.module, self.reading, self.history, self.own = module, reading, history, own
        self.how, self.last, self.drawn = how, pieces - 1, drawn
        self.point = 0 if drawn else module.point
        self.rows = torch.arange(len(own), device=own.device)
        self.given = own.new_empty(len(own), pieces + how.ahead + 1, *own.shape[1:])
        self.given[:, 0] = own
        self.done = torch.zeros_like(self.rows)  # the step that is known of each row
        self.counts, self.passes = self.done.new_zeros(2), 1

    def finish(self, judge: Judge, horizon: int) -> Speculated:
        """Go on until all rows have all their steps."""
        while self._go_on_with(self.done < self.last):
            least = int(self.done.min())  # the host waits here
            self._pass(min(self.how.ahead, self.last - 1 - least), judge)
        proposed, kept = self.counts.tolist()
        output = self.given[:, : self.last + 1].flatten(1, 2)[:, :horizon]
        return Speculated(output, proposed, kept, self.passes)

    def _go_on_with(self, wanted: Bool[Tensor, " batch"]) -> bool:
        """Leave the other rows out of all that follows; whether any is left."""
        left = wanted.nonzero()[:, 0]  # the host waits here
        if 0 < len(left) < len(wanted):
            self.reading = self.reading.select(left)
            self.history, self.own = self.history[left], self.own[left]
            self.rows, self.done = self.rows[left], self.done[left]
        return len(left) > 0

    def _pass(self, ahead: int, judge: Judge) -> None:
        """Read what is known and what is proposed behind it; keep what the module agrees with."""
        units, points = self.reading.units, self.own[..., self.point]
        history = torch.cat([self.history, units.normalize(points)], dim=1)
        proposals, expected = self.how.draft.propose(history, ahead, drawn=self.drawn)
        if not self.drawn:  # a context that stays where it is is forecast to
            proposals = torch.where(units.varies[:, :, None], proposals, 0.0)
        proposal = Proposal(units.denormalize(proposals.flatten(1)).view_as(proposals), expected)
        fed = torch.cat([points, proposal.points.flatten(1)], dim=1)
        reading, output = self.module.go_on(self.reading, fed)
        self.passes += 1
        judged = judge(reading, proposal, output.unflatten(1, (ahead + 1, -1)))
        kept = torch.minimum(judged.kept, self.last - 1 - self.done)
        self.counts += torch.stack([kept.new_tensor(len(kept) * ahead), kept.sum()])
        self._give(judged.given, kept)
        # Tokens behind those that are kept were never there.
        lost = torch.arange(ahead + 1, device=kept.device) > kept[:, None]
        self.reading = reading.without(lost, self.module.horizon)
        end = history.shape[1] + kept * self.module.horizon
        steps = torch.arange(-self.how.draft.order, 0, device=kept.device)
        self.history = torch.cat([history, proposals.flatten(1)], dim=1).gather(
            1, end[:, None] + steps
        )

    def _give(
        self, given: Float[Tensor, "batch piece step output"], kept: Int[Tensor, " batch"]
    ) -> None:
        """Note the steps of the rows; later ones overwrite what was not kept."""
        places = self.done[:, None] + 1 + torch.arange(given.shape[1], device=kept.device)
        self.given[self.rows[:, None], places] = given
        self.own = given[torch.arange(len(kept), device=kept.device), kept]
        self.done = self.done + 1 + kept


def _history(reading: Reading, context: Context, draft: Draft) -> Float[Tensor, "batch order"]:
    """Newest points of contexts in their own units; 0, the mean, where there are none."""
    signal = forward_fill(reading.units.normalize(context.values))[:, -draft.order :]
    return torch.nn.functional.pad(signal, (draft.order - signal.shape[1], 0))


def _prefix(kept: Bool[Tensor, "batch piece"]) -> Int[Tensor, " batch"]:
    """How many are kept before the first that is not."""
    return kept.long().cumprod(dim=1).sum(dim=1)
