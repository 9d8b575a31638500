"""Draft: a linear autoregression that proposes what a larger network then checks."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.nn.normalization import InstanceNorm
from tsar.nn.ridge import ridge

PENALTY = 1e-3  # of the variance of each input


class Draft(nn.Module):
    """The next segment as a linear map of the points before it, fitted in closed form.

    It works in the units of a context. Errors are taken for normal, each point's with its own
    deviation.

    Parameters
    ----------
    order, segment_length
        Points that it sees, and those that it forecasts.
    """

    weight: Float[Tensor, "order segment"]
    bias: Float[Tensor, " segment"]
    deviation: Float[Tensor, " segment"]

    def __init__(self, order: int, segment_length: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(order, segment_length))
        self.register_buffer("bias", torch.zeros(segment_length))
        self.register_buffer("deviation", torch.ones(segment_length))

    @property
    def order(self) -> int:
        """Points that it sees."""
        return len(self.weight)

    def fit(
        self, inputs: Float[Tensor, "sample order"], targets: Float[Tensor, "sample segment"]
    ) -> None:
        """Fit by ridge regression."""
        inputs, targets = inputs.double(), targets.double()
        weight, bias = ridge(inputs, targets, PENALTY)
        deviation = (targets - inputs @ weight - bias).square().mean(dim=0).sqrt()
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        self.deviation.copy_(deviation.clamp(min=1e-4))

    def propose(
        self, history: Float[Tensor, "batch order"], count: int, *, drawn: bool
    ) -> tuple[Float[Tensor, "batch count segment"], Float[Tensor, "batch count segment"]]:
        """Propose the next `count` segments, drawn or expected; and what was expected of each."""
        proposals, expected = [], []
        history = history[:, -self.order :]
        for _ in range(count):
            mean = history @ self.weight + self.bias
            noise = self.deviation * torch.randn_like(mean) if drawn else 0.0
            proposals.append(mean + noise)
            expected.append(mean)
            history = torch.cat([history, proposals[-1]], dim=1)[:, -self.order :]
        empty = history.new_empty(len(history), 0, len(self.bias))
        return (
            torch.stack(proposals, dim=1) if count else empty,
            torch.stack(expected, dim=1) if count else empty,
        )

    def log_prob(
        self,
        points: Float[Tensor, "batch *count segment"],
        mean: Float[Tensor, "batch *count segment"],
        units: InstanceNorm,
    ) -> Float[Tensor, "batch *count segment"]:
        """Log density of points in the units that came in, around what is expected in its own."""
        shape = (len(points), *[1] * (points.ndim - 1))
        deviation = self.deviation * units.scale.view(shape)
        score = (points - units.denormalize(mean)) / deviation
        return -0.5 * score.square() - deviation.log() - 0.5 * math.log(2 * math.pi)
