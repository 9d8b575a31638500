"""The procedure that tsar's AutoTimes is measured against: that of the paper and its code.

Liu et al. 2024 (arXiv 2402.02370), on any body of transformers: wasteful where the published code
is, since its cost is what is compared. Left out, to its favour: the marks of the time that come
with each item, the language model's head, which is loaded and never called, and the test that is
run after every epoch. It trains in float16 on a GPU; a CPU is not fast at that: float32.
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
RATE = 5e-4  # of the script for ETTh1
DROPOUT = 0.1
EPSILON = 1e-5  # that the variance of a context gets

Item = tuple[np.ndarray, np.ndarray]


class Pairs(Dataset[Item]):
    """A window of one channel an item: a slice of float64 rows, channel by channel.

    The target begins a segment behind the beginning of the context: each of its segments follows
    one of the context's.

    Parameters
    ----------
    rows
        Scaled values, (time, channel).
    context, segment, horizon
        Points of a context, of a token and behind the context.
    stride
        From one window to the next; the paper's is 1.
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


def maps(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """A linear map, or an MLP with one hidden layer."""
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(hidden, outputs)
    )


class Paper(nn.Module):
    """The published model: every segment is read and every output is decoded, at each call.

    The body is frozen but trains along: its own dropout, where it has any, is on in training. It
    keeps keys and values, as transformers does where it is not told otherwise; nobody reads them.
    """

    def __init__(self, body: Any, width: int, segment: int, hidden: int = 0) -> None:
        super().__init__()
        self.segment, self.epsilon = segment, EPSILON
        self.body = body.requires_grad_(False)
        self.embed, self.project = maps(segment, hidden, width), maps(width, hidden, segment)

    def forward(self, values: Tensor) -> Tensor:
        """Forecast the segment behind each one: (batch, time, channel), the same shape back."""
        mean = values.mean(1, keepdim=True).detach()
        values = values - mean
        deviation = (values.var(dim=1, keepdim=True, unbiased=False) + self.epsilon).sqrt()
        values = values / deviation
        batch, length, channels = values.shape
        series = values.permute(0, 2, 1).reshape(batch * channels, length)
        segments = series.unfold(dimension=-1, size=self.segment, step=self.segment)
        hidden = self.body(inputs_embeds=self.embed(segments)).last_hidden_state
        outputs = self.project(hidden).reshape(batch, channels, -1).permute(0, 2, 1)
        return outputs * deviation + mean


def steps(model: Paper, items: Pairs, batch_size: int, rate: float = RATE) -> Callable[[], float]:
    """Return one step of training: Adam on the squared error of all outputs."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=rate)
    loader = DataLoader(items, batch_size, shuffle=True, num_workers=0, drop_last=True)
    batches = _forever(loader)
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


def _forever(loader: DataLoader[Item]) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


@torch.no_grad()
def roll(model: Paper, context: Tensor, horizon: int) -> Tensor:
    """Forecast (batch, horizon, channel): a whole forward for each segment, of which one is kept.

    The oldest segment is dropped and the forecast one appended, so that the units change.
    """
    pieces: list[Tensor] = []
    for _ in range(math.ceil(horizon / model.segment)):
        if pieces:
            context = torch.cat([context[:, model.segment :], pieces[-1]], dim=1)
        pieces.append(model(context)[:, -model.segment :])
    return torch.cat(pieces, dim=1)[:, :horizon]


def test(model: Paper, items: Pairs, batch_size: int) -> dict[str, float]:
    """Errors of one horizon; the paper tests each in a run of its own."""
    model.eval()
    forecasts, targets = [], []
    for context, target in DataLoader(items, batch_size, num_workers=0):
        forecasts.append(roll(model, context.float(), items.horizon))
        targets.append(target[:, -items.horizon :].float())
    errors = (torch.cat(forecasts) - torch.cat(targets)).numpy()
    return {"mse": float((errors**2).mean()), "mae": float(np.abs(errors).mean())}
