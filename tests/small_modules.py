"""Small forecast modules for tests of training and rollout."""

import torch
from torch import Tensor, nn

from tsar.data.batch import Batch, Context
from tsar.nn.module import ForecastModule, fill_target, masked_mean


class Linear(ForecastModule):
    """A linear map of the context, with optional dropout of its inputs."""

    def __init__(self, context_length: int, horizon: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.context_length, self.horizon, self.point = context_length, horizon, 0
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(context_length, horizon)
        # Number of calls of `loss` in training, and the call that interrupts the run.
        self.calls = {"losses": 0, "stop_at": 0}

    def forecast(self, context: Context, horizon: int) -> Tensor:
        return self.linear(self.dropout(context.values.nan_to_num(0.0)))[:, :horizon, None]

    def loss(self, batch: Batch) -> Tensor:
        if self.training:
            self.calls["losses"] += 1
            if self.calls["losses"] == self.calls["stop_at"]:
                self.interrupt()
        target, mask = fill_target(batch)
        forecast = self.forecast(batch.context, self.horizon)[..., 0]
        return masked_mean((forecast - target).square(), mask)

    def interrupt(self) -> None:
        raise InterruptedError("interrupted")


class Covariates(ForecastModule):
    """Two outputs per step, from the context, a static covariate and the step's covariates."""

    def __init__(self, context_length: int, horizon: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.context_length, self.horizon, self.point = context_length, horizon, 1
        # Small, so that forecasts of forecasts do not explode.
        weight = torch.randn(context_length, horizon, 2, generator=generator)
        self.weight = nn.Parameter(weight / context_length**0.5)

    def forecast(self, context: Context, horizon: int) -> Tensor:
        steps = slice(self.context_length, self.context_length + horizon)
        values = torch.einsum("bt,thk->bhk", context.values, self.weight.to(context.values))
        known = context.future[:, steps, :1] + context.static[:, None, :1]
        return values[:, :horizon] + known

    def loss(self, batch: Batch) -> Tensor:
        return self.forecast(batch.context, self.horizon).mean()
