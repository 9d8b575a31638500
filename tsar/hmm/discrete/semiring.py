"""What to add and what to multiply: sums of probabilities, sums of their logarithms, or maxima."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


class Semiring(ABC):
    """The two operations of a recursion over hidden states, and how its numbers stay in range."""

    @abstractmethod
    def enter(
        self, log_value: Float[Tensor, "row *shape state"]
    ) -> Float[Tensor, "row *shape state"]:
        """Numbers of the semiring, of their logarithms."""

    @abstractmethod
    def weigh(
        self,
        incoming: Float[Tensor, "row chunk state"],
        density: Float[Tensor, "row chunk state"],
        state: Float[Tensor, "row chunk state"],
    ) -> Float[Tensor, "row chunk 1"]:
        """Write the product into `state`, normalized, and return the logarithm's source."""

    @abstractmethod
    def move(
        self,
        state: Float[Tensor, "row chunk state"],
        matrix: Float[Tensor, "row state state"],
        incoming: Float[Tensor, "row chunk state"],
    ) -> None:
        """Write the states one step on into `incoming`."""

    @abstractmethod
    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Logarithm of what `weigh` divided by."""

    @abstractmethod
    def gather(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Logarithm of the sum over the last axis, of logarithms."""

    @abstractmethod
    def apart(
        self, before: Float[Tensor, "row chunk state"], after: Float[Tensor, "row chunk state"]
    ) -> float:
        """Largest relative difference, infinite where one is zero alone; the host waits here."""

    @abstractmethod
    def leave(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """Logarithms of numbers of the semiring."""


class Scaled(Semiring):
    """Probabilities themselves, normalized at every step: two to eight times the speed of logs."""

    def enter(
        self, log_value: Float[Tensor, "row *shape state"]
    ) -> Float[Tensor, "row *shape state"]:
        """Probabilities."""
        return log_value.exp()

    def weigh(
        self,
        incoming: Float[Tensor, "row chunk state"],
        density: Float[Tensor, "row chunk state"],
        state: Float[Tensor, "row chunk state"],
    ) -> Float[Tensor, "row chunk 1"]:
        """Product over its sum."""
        torch.mul(incoming, density, out=state)
        scale = state.sum(-1, keepdim=True)
        state.div_(scale)
        return scale

    def move(
        self,
        state: Float[Tensor, "row chunk state"],
        matrix: Float[Tensor, "row state state"],
        incoming: Float[Tensor, "row chunk state"],
    ) -> None:
        """One product of matrices for each row."""
        torch.bmm(state, matrix, out=incoming)

    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Logarithm."""
        return scale.log()

    def gather(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Logarithm of the sum."""
        return log_value.logsumexp(-1)

    def apart(
        self, before: Float[Tensor, "row chunk state"], after: Float[Tensor, "row chunk state"]
    ) -> float:
        """Of the ratios, from one."""
        least, most = (after / before).nan_to_num(1.0, posinf=torch.inf).aminmax()
        return float(torch.maximum(1.0 / least, most) - 1.0)

    def leave(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """Logarithm."""
        return value.log()


@dataclass(frozen=True)
class Logarithmic(Semiring):
    """Logarithms of probabilities: where some are zero for good, and nothing may underflow.

    Attributes
    ----------
    total
        ``torch.logsumexp`` for sums over paths, ``torch.amax`` for the best of them (Viterbi 1967).
    """

    total: Callable[..., Tensor]

    def enter(
        self, log_value: Float[Tensor, "row *shape state"]
    ) -> Float[Tensor, "row *shape state"]:
        """As it is."""
        return log_value

    def weigh(
        self,
        incoming: Float[Tensor, "row chunk state"],
        density: Float[Tensor, "row chunk state"],
        state: Float[Tensor, "row chunk state"],
    ) -> Float[Tensor, "row chunk 1"]:
        """Sum less its total; a state that nothing leads to stays at minus infinity."""
        torch.add(incoming, density, out=state)
        scale = self.gather(state)[:, :, None]
        state.sub_(scale.clamp(min=torch.finfo(scale.dtype).min))
        return scale

    def move(
        self,
        state: Float[Tensor, "row chunk state"],
        matrix: Float[Tensor, "row state state"],
        incoming: Float[Tensor, "row chunk state"],
    ) -> None:
        """Totals over the states that come before."""
        self.total(state[:, :, :, None] + matrix[:, None], 2, out=incoming)

    def log_scale(self, scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """As it is."""
        return scale

    def gather(self, log_value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape"]:
        """Total."""
        return self.total(log_value, -1)

    def apart(
        self, before: Float[Tensor, "row chunk state"], after: Float[Tensor, "row chunk state"]
    ) -> float:
        """Of the logarithms, by their size."""
        difference = (after - before).abs() / (1.0 + before.abs())
        return float(difference.where(after != before, 0.0).nan_to_num(torch.inf).amax())

    def leave(self, value: Float[Tensor, "*shape state"]) -> Float[Tensor, "*shape state"]:
        """As it is."""
        return value


SUMS = Logarithmic(torch.logsumexp)
BEST = Logarithmic(torch.amax)
