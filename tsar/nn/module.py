"""Base classes of networks: a loss to minimize, and a forecast for those that forecast."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsar.data.batch import Batch, Context, Times


class TrainableModule(nn.Module, ABC):
    """A network with a loss, which is all that the training loop needs."""

    @abstractmethod
    def loss(self, batch: Any) -> Float[Tensor, ""]:
        """Mean loss over a batch."""


class ForecastModule(TrainableModule):
    """A network that forecasts: implement `loss(batch)` and `forecast(context, horizon)`.

    Three hooks may be overridden, all of which do nothing here: `initialize` (weights in closed
    form, before training), `prepare` (once for each context, before a forecast of several steps)
    and `prepare_times` (before contexts at given times are read).

    Attributes
    ----------
    context_length
        Points of a context that `forecast` reads, the newest ones.
    horizon
        Points that one call of `forecast` returns at most; `tsar.rollout.rollout` goes beyond.
    unbounded
        Whether one call of `forecast` returns any number of points, whatever `horizon` is.
    point
        Index of the output that is the point forecast, which `rollout` feeds back.
    reads_past
        Whether past covariates are read, which are unknown beyond the horizon.
    levels
        Quantile levels of the outputs; empty where the only output is the point forecast.
    """

    context_length: int
    horizon: int
    point: int
    unbounded: bool = False
    reads_past: bool = False
    levels: tuple[float, ...] = ()

    @abstractmethod
    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean loss over the observed targets of a batch."""

    @abstractmethod
    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Forecast up to `self.horizon` points; a shorter forecast is the prefix of a longer one.

        The last axis holds the point forecast, or the quantiles of `levels`.
        """

    def initialize(self, batch: Batch) -> None:
        """Hook: set weights in closed form from a sample of the training windows."""

    def prepare(self, context: Context) -> Context:
        """Hook: transform a context once, before the steps of a rollout read it."""
        return context

    def prepare_times(self, times: Times, horizon: int) -> None:
        """Hook: compute once what depends on the times of all contexts and horizons."""


def masked_mean(
    losses: Float[Tensor, "*shape"], mask: Bool[Tensor, "*#shape"] | None
) -> Float[Tensor, ""]:
    """Mean of the losses where the mask is True, 0 if it is True nowhere; None: of all.

    `losses` must be finite everywhere: NaN times zero is NaN, in the gradient too.
    """
    if mask is None:
        return losses.mean()
    return (losses * mask).sum() / mask.expand_as(losses).sum().clamp(min=1)


def fill_target(
    batch: Batch,
) -> tuple[Float[Tensor, "batch horizon"], Bool[Tensor, "batch horizon"] | None]:
    """Targets with 0 where they are missing, and the mask of the observed; None if all are."""
    if batch.context.gapless:
        return batch.target, None
    mask = batch.mask
    return torch.where(mask, batch.target, 0), mask


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return what training can change: the state of a module without its frozen parameters."""
    parameters = module.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in parameters if not parameter.requires_grad}
    return {name: t.detach() for name, t in module.state_dict().items() if name not in frozen}
