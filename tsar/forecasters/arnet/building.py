"""The module of an ARNet, made from its parameters and fitted attributes."""

from typing import Any

from tsar.forecasters.arnet.equations import map_steps
from tsar.forecasters.arnet.module import AutoregressionModule


def build_module(model: Any) -> AutoregressionModule:
    """Module of an `ARNet`, in float64 where it is not trained."""
    n_past, n_future = len(model.past_scaling_.mean), len(model.future_scaling_.mean)
    steps = int(model.horizon) if model.strategy == "direct" else 1
    if model.strategy == "recursive" and not (model.trains or n_future or n_past):
        steps = map_steps(model.horizon, model.n_groups_ * model.order_)
    module = AutoregressionModule(
        model.n_groups_,
        model.order_,
        steps,
        n_past=n_past,
        n_future=n_future,
        hidden=tuple(model.hidden),
        loss=model.loss,
        quantile_levels=tuple(model.quantile_levels),
        huber_delta=model.huber_delta_,
    )
    module = module if model.trains else module.double()
    for kind, scaling in (("past", model.past_scaling_), ("future", model.future_scaling_)):
        getattr(module, f"{kind}_mean").copy_(scaling.mean)
        getattr(module, f"{kind}_scale").copy_(scaling.deviation)
    return module
