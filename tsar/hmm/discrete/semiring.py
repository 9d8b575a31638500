"""Arithmetic of the tensor recursion: scaled probabilities, log-sums, or log-maxima (Viterbi)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Message = Float[Tensor, "row chunk state"]  # of each chunk
Matrix = Float[Tensor, "row state state"]
Values = Float[Tensor, "row *shape state"]


class Semiring(ABC):
    """Sum and product of a recursion over hidden states, and the scaling of its messages."""

    @abstractmethod
    def from_log(self, log_value: Values) -> Values:
        """Convert logarithms to the representation of the semiring."""

    @abstractmethod
    def to_log(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """Convert to logarithms."""

    @abstractmethod
    def update(
        self, predicted: Message, density: Message, updated: Message
    ) -> Float[Tensor, "row chunk 1"]:
        """Write ``predicted * density``, normalized, to `updated`; return its sum."""

    @abstractmethod
    def predict(self, updated: Message, matrix: Matrix, predicted: Message) -> None:
        """Write the product of `updated` and `matrix` to `predicted`."""

    @abstractmethod
    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Logarithm of the sum that `update` returned."""

    @abstractmethod
    def log_sum(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Semiring sum over the last axis, from and to logarithms."""

    @abstractmethod
    def difference(self, before: Message, after: Message) -> float:
        """Maximum relative difference; infinite where only one is zero. Device synchronization."""


class Scaled(Semiring):
    """Probabilities, normalized at every step: two to eight times as fast as logarithms."""

    def from_log(self, log_value: Values) -> Values:
        """Exponential."""
        return log_value.exp()

    def to_log(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """Logarithm."""
        return value.log()

    def update(
        self, predicted: Message, density: Message, updated: Message
    ) -> Float[Tensor, "row chunk 1"]:
        """Product, divided by its sum."""
        torch.mul(predicted, density, out=updated)
        scale = updated.sum(-1, keepdim=True)
        updated.div_(scale)
        return scale

    def predict(self, updated: Message, matrix: Matrix, predicted: Message) -> None:
        """Matrix product."""
        torch.bmm(updated, matrix, out=predicted)

    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Logarithm."""
        return scale.log()

    def log_sum(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Log-sum-exp."""
        return log_value.logsumexp(-1)

    def difference(self, before: Message, after: Message) -> float:
        """Largest ratio of the two, less one."""
        low, high = (after / before).nan_to_num(1.0, posinf=torch.inf).aminmax()
        return float(torch.maximum(1.0 / low, high) - 1.0)


@dataclass(frozen=True)
class Logarithmic(Semiring):
    """Logarithms of probabilities, for chains where some transitions are impossible.

    The total is ``torch.logsumexp`` for sums over paths, ``torch.amax`` for the best path.
    """

    total: Callable[..., Tensor]

    def from_log(self, log_value: Values) -> Values:
        """Identity."""
        return log_value

    def to_log(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """Identity."""
        return value

    def update(
        self, predicted: Message, density: Message, updated: Message
    ) -> Float[Tensor, "row chunk 1"]:
        """Sum of logarithms, less its total; an unreachable state stays at minus infinity."""
        torch.add(predicted, density, out=updated)
        scale = self.log_sum(updated)[:, :, None]
        updated.sub_(scale.clamp(min=torch.finfo(scale.dtype).min))
        return scale

    def predict(self, updated: Message, matrix: Matrix, predicted: Message) -> None:
        """Total over the previous states."""
        self.total(updated[:, :, :, None] + matrix[:, None], 2, out=predicted)

    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Identity."""
        return scale

    def log_sum(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Total."""
        return self.total(log_value, -1)

    def difference(self, before: Message, after: Message) -> float:
        """Largest difference of the logarithms, relative to their size."""
        difference = (after - before).abs() / (1.0 + before.abs())
        return float(difference.where(after != before, 0.0).nan_to_num(torch.inf).amax())


LOG_SUM = Logarithmic(torch.logsumexp)
LOG_MAX = Logarithmic(torch.amax)
