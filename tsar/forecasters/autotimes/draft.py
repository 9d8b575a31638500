"""Draft model of speculative decoding: a linear autoregression that proposes segments."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.autotimes.layers import ridge_regression

PENALTY = 1e-3  # share of the variance of each input


class Draft(nn.Module):
    """Linear map from the newest points to the next segment, fitted in closed form.

    It works in normalized units. Until it is fitted it proposes their mean, 0.

    Parameters
    ----------
    order, segment_length
        Number of points that it reads, and of a segment.
    """

    weight: Float[Tensor, "order segment"]
    bias: Float[Tensor, " segment"]

    def __init__(self, order: int, segment_length: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(order, segment_length))
        self.register_buffer("bias", torch.zeros(segment_length))

    @property
    def order(self) -> int:
        """Number of points that it reads."""
        return len(self.weight)

    def fit(
        self, inputs: Float[Tensor, "sample order"], targets: Float[Tensor, "sample segment"]
    ) -> None:
        """Fit by ridge regression."""
        weight, bias = ridge_regression(inputs.double(), targets.double(), PENALTY)
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def propose(
        self, history: Float[Tensor, "batch order"], count: int
    ) -> Float[Tensor, "batch count segment"]:
        """Propose the next `count` segments; each proposal becomes the history of the next."""
        proposals = history.new_empty(len(history), count, len(self.bias))
        history = history[:, -self.order :]
        for index in range(count):
            proposals[:, index] = history @ self.weight + self.bias
            history = torch.cat([history, proposals[:, index]], dim=1)[:, -self.order :]
        return proposals
