"""A running average of weights, steadier than the weights of any one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class RunningAverage:
    """Exponential moving average of parameters over the steps of a training.

    Early on it forgets faster, so that it does not hold on to where training began: after `t` steps
    its decay is at most ``(1 + t) / (10 + t)``.

    Parameters
    ----------
    parameters
        What is averaged; they stay where they are.
    decay
        Share of the average that a step leaves; 0: the average is the parameters themselves.

    Attributes
    ----------
    values
        The averages, in the order of the parameters; none where `decay` is 0.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.values = [p.detach().clone() for p in self.parameters] if decay else []

    def add(self, step: int) -> None:
        """Take in the parameters as they are after the step of that number, 0 first."""
        if self.values:
            decay = min(self.decay, (1 + step) / (10 + step))
            current: list[Tensor] = [p.detach() for p in self.parameters]
            get_ema_multi_avg_fn(decay)(self.values, current, step)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters be their averages for a while."""
        kept = [p.detach().clone() for p in self.parameters] if self.values else []
        self.apply()
        try:
            yield
        finally:
            self._set(kept)

    def apply(self) -> None:
        """Let the parameters be their averages from now on."""
        self._set(self.values)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=False):
            parameter.copy_(value)
