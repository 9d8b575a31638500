"""Expectation-maximization of a batch of models; models that have converged leave the batch."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

ROUNDING = 1e-9  # relative decrease of the objective that counts as rounding
P = TypeVar("P")  # a dataclass of tensors (model, ...)


@dataclass(frozen=True)
class EMResult(Generic[P]):
    """Result of expectation-maximization for each model of a batch.

    Attributes
    ----------
    parameters
        Parameters after the last M-step.
    objective
        Penalized log-likelihood of the parameters before that step.
    n_iter, converged
        Number of iterations; whether the gain fell below the tolerance without the objective
        decreasing by more than rounding or becoming NaN.
    history
        Objective at each iteration, NaN after the last.
    """

    parameters: P
    objective: Float[Tensor, " model"]
    n_iter: Int[Tensor, " model"]
    converged: Bool[Tensor, " model"]
    history: Float[Tensor, "model iteration"]


def run_em(
    parameters: P,
    step: Callable[[P, Int[Tensor, " active"]], tuple[P, Float[Tensor, " active"]]],
    *,
    n_iter: int,
    tol: float,
    progress: bool = False,
) -> EMResult[P]:
    """Repeat an EM step until it gains less than `tol`, for each model by itself.

    `parameters` are a dataclass of tensors whose first axis is the model. `step` is a function of
    the parameters of the active models and of their indices; it returns the updated parameters, and
    the objective of the parameters before the update. With `progress`, EM displays a progress bar
    if it takes longer than a second.
    """
    first = next(iter(_tensors(parameters).values()))
    n_models, device = len(first), first.device
    active = torch.arange(n_models, device=device)
    history = torch.full((n_models, n_iter), torch.nan, dtype=torch.float64, device=device)
    previous = torch.full((n_models,), -torch.inf, dtype=torch.float64, device=device)
    iterations = torch.zeros(n_models, dtype=torch.int64, device=device)
    converged = torch.zeros(n_models, dtype=torch.bool, device=device)
    disable = None if progress else True  # None: no bar where the output is not a terminal
    for iteration in tqdm(range(n_iter), "EM", disable=disable, delay=1, leave=False):
        updated, objective = step(select_models(parameters, active), active)
        parameters = replace_models(parameters, active, updated)
        history[active, iteration] = objective.double()
        gain = objective.double() - previous[active]
        previous[active] = objective.double()
        iterations[active] += 1
        converged[active] = (gain < tol) & (gain >= -ROUNDING * previous[active].abs())
        active = active[gain >= tol]  # device synchronization, once an iteration
        if not len(active):
            break
    return EMResult(
        parameters, previous, iterations, converged, history[:, : int(iterations.max())]
    )


def select_models(parameters: P, models: Int[Tensor, " chosen"]) -> P:
    """Parameters of the models with these indices; an index may occur more than once."""
    chosen = {name: tensor[models] for name, tensor in _tensors(parameters).items()}
    return replace(parameters, **chosen)  # type: ignore[type-var]


def replace_models(parameters: P, models: Int[Tensor, " model"], updated: P) -> P:
    """Parameters of all models, those with these indices replaced by `updated`."""
    new = _tensors(updated)
    changed = {k: v.index_copy(0, models, new[k]) for k, v in _tensors(parameters).items()}
    return replace(parameters, **changed)  # type: ignore[type-var]


def _tensors(parameters: Any) -> dict[str, Tensor]:
    return {field.name: getattr(parameters, field.name) for field in fields(parameters)}
