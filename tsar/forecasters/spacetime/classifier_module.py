"""Network of SpaceTimeClassifier, and the labeled sequences that it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsar.forecasters.spacetime.layers import CompanionSSM, pointwise_conv
from tsar.forecasters.spacetime.preprocessing import N_FILTERS, preprocess
from tsar.nn.module import TrainableModule


@dataclass(frozen=True)
class LabeledSequences:
    """Sequences and the indices of their classes: a training set, or one batch of it."""

    values: Float[Tensor, "sequence channel time"]
    labels: Int[Tensor, " sequence"]

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Device of the sequences."""
        return self.values.device

    @property
    def settings(self) -> tuple[int, ...]:
        """Empty: `tensors` determine the sequences."""
        return ()

    @property
    def count(self) -> Tensor:
        """Number of terms in the mean loss."""
        return self.labels.new_tensor(len(self))

    def tensors(self) -> list[Tensor]:
        """Tensors that hold the sequences."""
        return [self.values, self.labels]

    def batch(self, rows: Int[Tensor, " row"] | slice) -> "LabeledSequences":
        """Batch of some sequences."""
        return LabeledSequences(self.values[rows], self.labels[rows])

    def batches(self, size: int) -> Iterator["LabeledSequences"]:
        """All sequences in order, in batches of `size`."""
        for first in range(0, len(self), size):
            yield self.batch(slice(first, first + size))

    def split(self, validation: float) -> tuple["LabeledSequences", "LabeledSequences"]:
        """Training and validation sequences: an evenly spaced fraction of each class.

        At least one sequence of each class is left for training.
        """
        is_validation = torch.zeros(len(self), dtype=torch.bool)
        labels = self.labels.cpu()
        for label in labels.unique():
            rows = (labels == label).nonzero()[:, 0]
            count = min(round(len(rows) * validation), len(rows) - 1)
            is_validation[rows[torch.arange(count) * len(rows) // max(count, 1)]] = True
        rows = torch.arange(len(self))
        return self.batch(rows[~is_validation]), self.batch(rows[is_validation])


class SpaceTimeClassifierModule(TrainableModule):
    """Preprocessing filters, companion layers, and a linear head on pooled features.

    Features are pooled over time by their mean, maximum and last value.

    Parameters
    ----------
    channels, classes
        Number of channels of a sequence, which must be standardized, and of classes.
    state_size, width, depth, dropout
        See `tsar.SpaceTimeClassifier`.
    class_weights
        Weight of each class in the loss.
    """

    class_weights: Float[Tensor, " class"]

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        state_size: int,
        width: int,
        depth: int,
        dropout: float,
        class_weights: Float[Tensor, " class"],
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights.float())
        self.embed = nn.Conv1d(channels * N_FILTERS, width, 1)
        self.layers = nn.Sequential(*(_Layer(width, state_size, dropout) for _ in range(depth)))
        self.norm = nn.GroupNorm(1, width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * width, classes)

    def loss(self, batch: LabeledSequences) -> Float[Tensor, ""]:
        """Cross entropy, weighted by class.

        A mean over sequences, not over weights, so that the losses of batches add up.
        """
        losses = nn.functional.cross_entropy(self(batch.values), batch.labels, reduction="none")
        return (losses * self.class_weights[batch.labels]).mean()

    def forward(self, values: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch class"]:
        """Logits of the classes."""
        filtered = preprocess(values.flatten(0, 1)).unflatten(0, values.shape[:2]).flatten(1, 2)
        hidden = self.norm(self.layers(self.embed(filtered)))
        pooled = torch.cat([hidden.mean(dim=2), hidden.amax(dim=2), hidden[..., -1]], dim=1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


class _Layer(nn.Module):
    """Residual layer: normalization, companion SSM, GELU and a pointwise convolution."""

    def __init__(self, width: int, state_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.ssm = CompanionSSM(width, state_size, stability="reflection")
        self.dropout = nn.Dropout1d(dropout)
        self.pointwise = nn.Conv1d(width, width, 1)

    def forward(
        self, hidden: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        filtered = self.ssm(self.norm(hidden)[:, None])[:, 0]
        weight, bias = self.pointwise.weight[:, :, 0], cast(Tensor, self.pointwise.bias)
        mapped = pointwise_conv(weight, nn.functional.gelu(filtered), self.dropout)
        return hidden + mapped + bias[:, None]
