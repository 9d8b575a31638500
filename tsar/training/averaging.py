"""Exponential moving average (EMA) of a network's parameters during training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class ExponentialMovingAverage:
    """Exponential moving average of parameters over the optimizer steps.

    The decay is warmed up so that the average soon forgets the initial parameters: after `t` steps
    it is at most ``(1 + t) / (10 + t)``. A `decay` of 0 turns averaging off: no `averages`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.averages = [p.detach().clone() for p in self.parameters] if decay else []

    def update(self, step: int) -> None:
        """Add the current parameters to the average; the first step is number 0."""
        if self.averages:
            decay = min(self.decay, (1 + step) / (10 + step))
            current: list[Tensor] = [p.detach() for p in self.parameters]
            get_ema_multi_avg_fn(decay)(self.averages, current, step)

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """Set the parameters to their averages within the block, and restore them after it."""
        current = [p.detach().clone() for p in self.parameters] if self.averages else []
        self.copy_to_parameters()
        try:
            yield
        finally:
            self._set(current)

    def copy_to_parameters(self) -> None:
        """Set the parameters to their averages."""
        self._set(self.averages)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=False):
            parameter.copy_(value)
