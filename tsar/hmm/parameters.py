"""What hidden Markov models with discrete states are made of, a model a row."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Parameters:
    """Chains of states, and the distribution of the points in each state.

    Attributes
    ----------
    startprob
        Probability of each state at the first point.
    transmat
        Probability of each state (last axis) after each.
    center
        Gaussian: the means. Categorical: the probability of each symbol.
    spread
        Gaussian: the variances (model, state, feature), or covariances (model, state, feature,
        feature). Categorical: nothing (model, state, 0).
    """

    startprob: Float[Tensor, "model state"]
    transmat: Float[Tensor, "model state state"]
    center: Float[Tensor, "model state value"]
    spread: Float[Tensor, "model state *shape"]

    @property
    def free(self) -> int:
        """Free parameters of a chain."""
        states = self.startprob.shape[1]
        return states * states - 1
