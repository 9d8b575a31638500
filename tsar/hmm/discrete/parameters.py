"""Parameters of a batch of discrete-state HMMs: start and transition probabilities, emissions."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class HMMParameters:
    """Markov chains of hidden states, one for each model of a batch.

    Transitions are from each state (first state axis) to each (last axis).
    """

    startprob: Float[Tensor, "model state"]
    transmat: Float[Tensor, "model state state"]

    @property
    def n_chain_parameters(self) -> int:
        """Free parameters of the start and transition probabilities of one model."""
        n_components = self.startprob.shape[1]
        return n_components * n_components - 1


@dataclass(frozen=True)
class GaussianParameters(HMMParameters):
    """HMMs with Gaussian emissions.

    `covars` are variances (model, state, feature), or covariances (model, state, feature, feature).
    """

    means: Float[Tensor, "model state feature"]
    covars: Float[Tensor, "model state *shape"]


@dataclass(frozen=True)
class CategoricalParameters(HMMParameters):
    """HMMs with categorical emissions."""

    emissionprob: Float[Tensor, "model state symbol"]


P = TypeVar("P", bound=HMMParameters)


def reorder_states(parameters: P, order: Int[Tensor, "model state"]) -> P:
    """Permute the states of each model: new state k is state ``order[:, k]``."""
    row = torch.arange(len(order), device=order.device)[:, None]
    by_state = {f.name: getattr(parameters, f.name)[row, order] for f in fields(parameters)}
    transmat = parameters.transmat[row[:, :, None], order[:, :, None], order[:, None]]
    return replace(parameters, **{**by_state, "transmat": transmat})


def check_model(parameters: HMMParameters) -> None:
    """Check a model whose attributes may have been set by hand."""
    startprob, transmat = parameters.startprob[0], parameters.transmat[0]
    emission = fields(parameters)[-1].name
    states = len(startprob)
    shapes = {"transmat_": tuple(transmat.shape), "states": len(getattr(parameters, emission)[0])}
    if shapes != {"transmat_": (states, states), "states": states}:
        raise ValueError(
            f"startprob_, transmat_ and the emissions must have the same number of states; got "
            f"{states} and {shapes}. Set all of them."
        )
    for name, rows in (("startprob_", startprob[None]), ("transmat_", transmat)):
        if not bool((rows >= 0).all()) or not bool(((rows.sum(1) - 1).abs() < 1e-6).all()):
            raise ValueError(
                f"{name} must be probabilities that add up to 1 in each row; got {rows.tolist()}. "
                "Normalize them."
            )
    if isinstance(parameters, GaussianParameters):
        variances = parameters.covars[0]
        if variances.ndim == 3:
            variances = variances.diagonal(dim1=1, dim2=2)
        if not bool((variances > 0).all()):
            raise ValueError(
                f"covars_ must have variances above 0; got {variances.tolist()}. Raise them."
            )
