"""Losses of modules: missing targets are masked."""

import math

import torch

from tsar.data.batch import Batch, Context
from tsar.nn.module import fill_target, masked_mean

NAN = math.nan


def test_masked_mean_averages_the_observed_losses() -> None:
    losses = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert masked_mean(losses, mask).item() == 2.0
    assert masked_mean(losses, torch.zeros_like(mask)).item() == 0.0


def test_missing_targets_have_no_gradient() -> None:
    forecast = torch.tensor([[1.0, 2.0]], requires_grad=True)
    batch = Batch(Context.of(torch.zeros(1, 2)), torch.tensor([[3.0, NAN]]))
    target, mask = fill_target(batch)
    loss = masked_mean((forecast - target) ** 2, mask)
    loss.backward()
    assert loss.item() == 4.0
    assert forecast.grad is not None
    assert forecast.grad.tolist() == [[-4.0, 0.0]]
