"""What hidden Markov models with discrete states are made of, a model a row."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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


def ordered(parameters: Parameters, order: Int[Tensor, "model state"]) -> Parameters:
    """Models with their states in another order."""
    row = torch.arange(len(order), device=order.device)[:, None]
    return Parameters(
        parameters.startprob[row, order],
        parameters.transmat[row[:, :, None], order[:, :, None], order[:, None]],
        parameters.center[row, order],
        parameters.spread[row, order],
    )


def check_chain(parameters: Parameters) -> None:
    """Check a model that may have been set by hand.

    Raises
    ------
    ValueError
        Its parts do not fit together, or are no probabilities.
    """
    start, move = parameters.startprob[0], parameters.transmat[0]
    states = len(start)
    shapes = {"transmat_": tuple(move.shape), "states": len(parameters.center[0])}
    if shapes != {"transmat_": (states, states), "states": states}:
        raise ValueError(
            f"startprob_, transmat_ and the distributions must be of as many states; got {states} "
            f"and {shapes}. Set all of them."
        )
    for name, rows in (("startprob_", start[None]), ("transmat_", move)):
        if not bool((rows >= 0).all()) or not bool(((rows.sum(1) - 1).abs() < 1e-6).all()):
            raise ValueError(
                f"{name} must be probabilities that add up to 1 in each row; got {rows.tolist()}. "
                "Normalize them."
            )
    diagonal = parameters.spread[0]
    if diagonal.ndim == 3:
        diagonal = diagonal.diagonal(dim1=1, dim2=2)
    if not bool((diagonal > 0).all()):
        raise ValueError(
            f"covars_ must have variances above 0; got {diagonal.tolist()}. Raise them."
        )
