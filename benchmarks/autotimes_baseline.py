"""Reimplementation of the paper's procedure, against which tsar's AutoTimes is measured.

Liu et al. 2024 (arXiv 2402.02370), on any base model of transformers, with the redundant work of
the published code, as its cost is compared. Left out, in its favour: the timestamps of each item,
the language model's head, which is loaded and never called, and the test after every epoch. The
published code trains in float16 on a GPU; this one in float32, as CPUs are slow in float16.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CONTEXT, SEGMENT = 672, 96
HORIZONS = (96, 192, 336, 720)
LEARNING_RATE = 5e-4  # in the script for ETTh1
DROPOUT = 0.1
EPSILON = 1e-5  # added to the variance of a context

Item = tuple[np.ndarray, np.ndarray]


class WindowDataset(Dataset[Item]):
    """Dataset of windows of single channels: slices of float64 rows, channel by channel.

    The target begins one segment after the start of the context: each of its segments follows one
    of the context.

    Parameters
    ----------
    rows
        Scaled values, (time, channel).
    context, segment, horizon
        Points of a context, of a token, and after the context.
    stride
        Step between windows; 1 in the paper.
    """

    def __init__(
        self, rows: np.ndarray, context: int, segment: int, horizon: int, stride: int = 1
    ) -> None:
        self.rows, self.context, self.segment, self.horizon = rows, context, segment, horizon
        self.stride = stride
        self.windows = (len(rows) - context - horizon) // stride + 1

    def __len__(self) -> int:
        return self.windows * self.rows.shape[1]

    def __getitem__(self, item: int) -> Item:
        channel, window = divmod(item, self.windows)
        begin = window * self.stride
        end = begin + self.context
        return (
            self.rows[begin:end, channel : channel + 1],
            self.rows[begin + self.segment : end + self.horizon, channel : channel + 1],
        )


def linear_or_mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """A linear map, or an MLP with one hidden layer."""
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(hidden, outputs)
    )


class PaperModel(nn.Module):
    """The published model: each call encodes every segment and decodes every output.

    The frozen language model is in training mode, so that its own dropout is active. It fills a
    key-value cache, the default of transformers, which is not used.
    """

    def __init__(self, language_model: Any, width: int, segment: int, hidden: int = 0) -> None:
        super().__init__()
        self.segment, self.epsilon = segment, EPSILON
        self.language_model = language_model.requires_grad_(False)
        self.embed, self.project = (
            linear_or_mlp(segment, hidden, width),
            linear_or_mlp(width, hidden, segment),
        )

    def forward(self, values: Tensor) -> Tensor:
        """Forecast the segment after each one: (batch, time, channel), in the same shape."""
        mean = values.mean(1, keepdim=True).detach()
        values = values - mean
        deviation = (values.var(dim=1, keepdim=True, unbiased=False) + self.epsilon).sqrt()
        values = values / deviation
        batch, length, channels = values.shape
        series = values.permute(0, 2, 1).reshape(batch * channels, length)
        segments = series.unfold(dimension=-1, size=self.segment, step=self.segment)
        hidden = self.language_model(inputs_embeds=self.embed(segments)).last_hidden_state
        outputs = self.project(hidden).reshape(batch, channels, -1).permute(0, 2, 1)
        return outputs * deviation + mean


def training_step(
    model: PaperModel, items: WindowDataset, batch_size: int, rate: float = LEARNING_RATE
) -> Callable[[], float]:
    """Return a training step: Adam on the squared error of all outputs."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    loader = DataLoader(items, batch_size, shuffle=True, num_workers=0, drop_last=True)
    batches = _endless(loader)
    error = nn.MSELoss()

    def step() -> float:
        model.train()
        context, target = next(batches)
        optimizer.zero_grad()
        loss = error(model(context.float()), target.float())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _endless(loader: DataLoader[Item]) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


@torch.no_grad()
def rollout(model: PaperModel, context: Tensor, horizon: int) -> Tensor:
    """Forecast (batch, horizon, channel): a full forward pass for every segment.

    Only the last output is used. The oldest segment is dropped and the forecast appended, so that
    the normalization changes.
    """
    segments: list[Tensor] = []
    for _ in range(math.ceil(horizon / model.segment)):
        if segments:
            context = torch.cat([context[:, model.segment :], segments[-1]], dim=1)
        segments.append(model(context)[:, -model.segment :])
    return torch.cat(segments, dim=1)[:, :horizon]


def test(model: PaperModel, items: WindowDataset, batch_size: int) -> dict[str, float]:
    """Errors at one horizon; the paper runs a test for each horizon."""
    model.eval()
    forecasts, targets = [], []
    for context, target in DataLoader(items, batch_size, num_workers=0):
        forecasts.append(rollout(model, context.float(), items.horizon))
        targets.append(target[:, -items.horizon :].float())
    errors = (torch.cat(forecasts) - torch.cat(targets)).numpy()
    return {"mse": float((errors**2).mean()), "mae": float(np.abs(errors).mean())}
