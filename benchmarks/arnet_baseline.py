"""AR-Net as its authors train it, by gradient descent: the baseline of the closed form.

Triebe, Laptev & Rajagopal 2019 (arXiv 1911.12436) do not state the optimizer; the constants are
those of the code that they published with the paper (version 0.1): a linear layer, Adam with a
learning rate of 2e-4 that decays by a tenth each epoch, 10 epochs of batches of 128, mean squared
error plus the regularizer of their equation 4, whose weight grows linearly with the epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from synthetic import Floats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH, RATE, DECAY = 10, 128, 2e-4, 0.9
STRENGTH, STEEPNESS, POWER = 0.02, 3.0, 3.0


@dataclass(frozen=True)
class LinearFit:
    """Coefficients, lag 1 first, and intercept."""

    coef: Floats
    intercept: float


def fit(series: Floats, order: int, density: float, *, seed: int, loader: bool) -> LinearFit:
    """Train a linear layer on all windows of a series by AR-Net's recipe.

    Parameters
    ----------
    series
        Observations (time,), with a mean near zero.
    order
        Number of lags.
    density
        Share of lags that are not zero, which AR-Net takes as known; 1 disables the penalty.
    loader
        Make batches by torch's Dataset and DataLoader, as the authors' code does; otherwise by one
        index operation per batch, so that only the arithmetic is timed.
    """
    torch.manual_seed(seed)
    values = torch.from_numpy(series).float()
    inputs, targets = values.unfold(0, order, 1)[:-1], values[order:, None]
    layer = nn.Linear(order, 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=DECAY)
    for epoch in range(EPOCHS):
        weight = STRENGTH * (1 / density - 1) * epoch / EPOCHS
        for batch, target in _batches(inputs, targets, loader):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(layer(batch), target)
            if weight:
                loss = loss + weight * regularizer(layer.weight)
            loss.backward()
            optimizer.step()
        schedule.step()
    coef = layer.weight.detach()[0].flip(0).double().numpy()
    return LinearFit(coef, float(layer.bias.detach()[0]))


def regularizer(weights: Tensor) -> Tensor:
    """Equation 4: the mean of ``2 / (1 + exp(-c1 |w|^(1/c2))) - 1``."""
    power = weights.abs().pow(1 / POWER)
    return (2 / (1 + (-STEEPNESS * power).exp()) - 1).mean()


def _batches(inputs: Tensor, targets: Tensor, loader: bool) -> Iterator[tuple[Tensor, Tensor]]:
    if loader:
        yield from DataLoader(TensorDataset(inputs, targets), batch_size=BATCH, shuffle=True)
        return
    for rows in torch.randperm(len(targets)).split(BATCH):
        yield inputs[rows], targets[rows]
