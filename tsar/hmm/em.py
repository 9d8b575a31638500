"""Expectation-maximization of many models at once: those that converged leave the batch."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

ROUNDING = 1e-9  # of the objective
P = TypeVar("P")  # a dataclass of tensors (model, ...)


@dataclass(frozen=True)
class Maximum(Generic[P]):
    """Where expectation-maximization ended, for each model of the batch.

    Attributes
    ----------
    parameters
        Those of the last maximization step.
    objective
        Penalized log likelihood of the parameters before that step.
    iterations, converged
        Steps taken; whether the gain fell below the tolerance, and the objective did not fall by
        more than rounding nor stopped to be a number.
    history
        Objective at each step, NaN after the last.
    """

    parameters: P
    objective: Float[Tensor, " model"]
    iterations: Int[Tensor, " model"]
    converged: Bool[Tensor, " model"]
    history: Float[Tensor, "model iteration"]


def maximize(
    parameters: P,
    step: Callable[[P, Int[Tensor, " active"]], tuple[P, Float[Tensor, " active"]]],
    *,
    n_iter: int,
    tol: float,
    progress: bool = False,
) -> Maximum[P]:
    """Repeat a step until it gains less than `tol`, for each model by itself.

    Parameters
    ----------
    parameters
        Where to start: a dataclass of tensors whose first axis is the model.
    step
        Of the parameters of some models, and which models they are: better parameters, and the
        objective of those that came in.
    n_iter
        Steps at most.
    tol
        Gain of the objective below which a model is done.
    progress
        Whether to show a progress bar if the fit takes longer than a second.
    """
    models = len(getattr(parameters, fields(parameters)[0].name))  # type: ignore[arg-type]
    device = getattr(parameters, fields(parameters)[0].name).device  # type: ignore[arg-type]
    active = torch.arange(models, device=device)
    history = torch.full((models, n_iter), torch.nan, dtype=torch.float64, device=device)
    last = torch.full((models,), -torch.inf, dtype=torch.float64, device=device)
    iterations = torch.zeros(models, dtype=torch.int64, device=device)
    converged = torch.zeros(models, dtype=torch.bool, device=device)
    # disable=None: no bar where the output is not a terminal.
    disable = None if progress else True
    for iteration in tqdm(range(n_iter), "EM", disable=disable, delay=1, leave=False):
        better, objective = step(take(parameters, active), active)
        parameters = put(parameters, active, better)
        history[active, iteration] = objective.double()
        gain = objective.double() - last[active]
        last[active] = objective.double()
        iterations[active] += 1
        converged[active] = (gain < tol) & (gain >= -ROUNDING * last[active].abs())
        active = active[gain >= tol]  # the host waits here, once a step
        if not len(active):
            break
    return Maximum(parameters, last, iterations, converged, history[:, : int(iterations.max())])


def take(parameters: P, models: Int[Tensor, " chosen"]) -> P:
    """Parameters of some models."""
    return replace(parameters, **{k: v[models] for k, v in tensors(parameters).items()})  # type: ignore[type-var]


def put(parameters: P, models: Int[Tensor, " chosen"], better: P) -> P:
    """Parameters with those of some models replaced."""
    news = tensors(better)
    changed = {k: v.index_copy(0, models, news[k]) for k, v in tensors(parameters).items()}
    return replace(parameters, **changed)  # type: ignore[type-var]


def tensors(parameters: Any) -> dict[str, Tensor]:
    """Tensors of a dataclass, by the names of their fields."""
    return {field.name: getattr(parameters, field.name) for field in fields(parameters)}
