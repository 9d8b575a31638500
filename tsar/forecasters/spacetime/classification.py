"""SpaceTimeNetwork: companion layers that read whole sequences and name their class."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.spacetime.channels import mix
from tsar.forecasters.spacetime.recurrence import OpenLoop
from tsar.forecasters.spacetime.sequences import Sequences
from tsar.forecasters.spacetime.views import VIEWS, views
from tsar.nn.module import Learner


class SpaceTimeNetwork(Learner):
    """Views of each channel, companion layers, and what they hold over time: mean, most, last.

    Parameters
    ----------
    channels, classes
        Channels of a sequence, which come standardized; classes to tell apart.
    state_size, width, depth, dropout
        See `tsar.SpaceTime`.
    weights
        Weight of each class in the loss.
    """

    weights: Float[Tensor, " class"]

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        state_size: int,
        width: int,
        depth: int,
        dropout: float,
        weights: Float[Tensor, " class"],
    ) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float())
        self.embed = nn.Conv1d(channels * VIEWS, width, 1)
        self.layers = nn.Sequential(*(_Layer(width, state_size, dropout) for _ in range(depth)))
        self.norm = nn.GroupNorm(1, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * width, classes)

    def loss(self, batch: Sequences) -> Float[Tensor, ""]:
        """Cross entropy, weighted by class; a mean over sequences, so that batches add up."""
        each = nn.functional.cross_entropy(self(batch.values), batch.codes, reduction="none")
        return (each * self.weights[batch.codes]).mean()

    def forward(self, values: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch class"]:
        """Logits of each class."""
        seen = views(values.flatten(0, 1)).unflatten(0, values.shape[:2]).flatten(1, 2)
        hidden = self.norm(self.layers(self.embed(seen)))
        told = torch.cat([hidden.mean(dim=2), hidden.amax(dim=2), hidden[..., -1]], dim=1)
        logits: Tensor = self.head(self.dropout(told))
        return logits


class _Layer(nn.Module):
    """Norm, companion filter, GELU, mixing of the channels, and a skip around all."""

    def __init__(self, width: int, state_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.filter = OpenLoop(width, state_size, stability="reflection")
        self.dropout = nn.Dropout1d(dropout)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(
        self, hidden: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        filtered = self.filter(self.norm(hidden)[:, None])[:, 0]
        mixed = mix(self.mix.weight[:, :, 0], nn.functional.gelu(filtered), self.dropout)
        return hidden + mixed + cast(Tensor, self.mix.bias)[:, None]
