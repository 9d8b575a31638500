"""What is trained: a network with a loss; and what forecasts, with a second verb."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tsar.data.batch import Batch, Context, Times
from tsar.nn.density import Density
from tsar.nn.draft import Draft
from tsar.nn.normalization import InstanceNorm


class Learner(nn.Module, ABC):
    """A network with a loss, which is all that the training loop asks for."""

    @abstractmethod
    def loss(self, batch: Any) -> Float[Tensor, ""]:
        """Mean loss over what a batch counts."""


class ForecastModule(Learner):
    """A network with two verbs: `loss(batch)` and `forecast(context, horizon)`.

    Attributes
    ----------
    context_length
        Points of a context that `forecast` reads, the newest ones.
    horizon
        Points that the network was made to forecast, and the most that one call of `forecast`
        gives; `rollout` goes beyond.
    unbounded
        Whether one call of `forecast` gives any number of points all the same.
    point
        Which output is the point forecast, fed back by `rollout`.
    reads_past
        Whether past covariates are read, which nobody knows beyond the horizon.
    levels
        Quantile levels of the outputs; none where there is one output, the point forecast.
    density
        The density whose parameters the outputs are; None where they are none.
    """

    context_length: int
    horizon: int
    point: int
    unbounded: bool = False
    reads_past: bool = False
    levels: tuple[float, ...] = ()
    density: Density | None = None

    def expect(self, times: Times, horizon: int) -> None:
        """Make ready for contexts that stand at given times: if it reads times."""

    @abstractmethod
    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss over the observed targets of a batch."""

    def start(self, batch: Batch) -> None:
        """Set weights in closed form, by a sample of the windows, before training: if it can."""

    def prepare(self, context: Context) -> Context:
        """Make of a context, once, what the rollout goes on from; it may stay as it is."""
        return context

    @abstractmethod
    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to `self.horizon` points; a shorter forecast is the prefix of a longer one.

        The last axis holds one point forecast, or the quantiles of the levels trained for.
        """


@dataclass(frozen=True)
class Reading:
    """What was read of contexts, and of points behind them.

    Attributes
    ----------
    units
        Level and scale, of the observed context alone.
    cache
        What the network keeps of all tokens.
    mask
        True where a token counts.
    position
        Position of the next token.
    origin, step
        Ordinal of the first time behind what was read, and from one time to the next.
    """

    units: InstanceNorm
    cache: Any
    mask: Bool[Tensor, "batch token"]
    position: Int[Tensor, " batch"]
    origin: Int[Tensor, " batch"]
    step: int

    def select(self, rows: Int[Tensor, " row"]) -> "Reading":
        """Reading of some rows, which takes the cache over: this one is gone on from no more."""
        self.cache.batch_select_indices(rows)
        return replace(
            self,
            units=self.units.select(rows),
            mask=self.mask[rows],
            position=self.position[rows],
            origin=self.origin[rows],
        )

    def without(self, rejected: Bool[Tensor, "batch token"], length: int) -> "Reading":
        """Reading that ignores some of its newest tokens, which are of `length` points each."""
        lost = rejected.sum(dim=1)
        kept = rejected.shape[1]
        mask = torch.cat([self.mask[:, :-kept], self.mask[:, -kept:] & ~rejected], dim=1)
        origin = self.origin - lost * length * self.step
        return replace(self, mask=mask, position=self.position - lost, origin=origin)


class ReadingModule(ForecastModule):
    """A network that can go on from what it has read, and reads several steps at once.

    Points that it reads come in pieces of `horizon`.

    Attributes
    ----------
    positions
        Most pieces that it can read; None: no limit.
    reach
        Most pieces in the cache that all see each other, masked ones too; None: no limit.
    draft
        Proposes pieces, for the network to check.
    """

    positions: int | None
    reach: int | None
    draft: Draft

    @abstractmethod
    def read(self, context: Context) -> tuple[Reading, Float[Tensor, "batch horizon output"]]:
        """Read a context and keep what was read; the forecast of the piece behind it."""

    @abstractmethod
    def go_on(
        self, reading: Reading, points: Float[Tensor, "batch time"]
    ) -> tuple[Reading, Float[Tensor, "batch time output"]]:
        """Read whole pieces behind those that were read; forecasts of the piece behind each.

        The reading that is given shares its cache with the one that is returned: only the newest
        one is gone on from.
        """


def masked_mean(
    losses: Float[Tensor, "*shape"], mask: Bool[Tensor, "*#shape"] | None
) -> Float[Tensor, ""]:
    """Mean of the losses where the mask is True, 0 where it is nowhere so; None: of all.

    `losses` must be finite everywhere: NaN times zero is NaN, in the gradient too.
    """
    if mask is None:
        return losses.mean()
    return (losses * mask).sum() / mask.expand_as(losses).sum().clamp(min=1)


def fill_target(
    batch: Batch,
) -> tuple[Float[Tensor, "batch horizon"], Bool[Tensor, "batch horizon"] | None]:
    """Targets with 0 where they are missing, and the mask of the others; None where none is."""
    if batch.context.gapless:
        return batch.target, None
    mask = batch.mask
    return torch.where(mask, batch.target, 0), mask


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """What training can change: all of a module's state but frozen parameters."""
    parameters = module.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in parameters if not parameter.requires_grad}
    return {name: t.detach() for name, t in module.state_dict().items() if name not in frozen}
