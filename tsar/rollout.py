"""Rollout: from a network that forecasts a few steps to any horizon, on the device."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.data.batch import Context
from tsar.data.windows import Windows
from tsar.nn.module import ForecastModule
from tsar.runtime.memory import chunked

# Forecasts of a context for any horizon, (batch, horizon, output).
Generate = Callable[[Context, int], Tensor]


def rollout(
    module: ForecastModule, context: Context, horizon: int
) -> Float[Tensor, "batch horizon output"]:
    """Forecast any horizon: the point forecasts of a step become the context of the next.

    Raises
    ------
    ValueError
        The horizon exceeds the module's own, and it reads past covariates, which are unknown
        beyond the present.
    """
    if horizon > module.horizon and module.reads_past:
        raise ValueError(
            f"horizon must be at most {module.horizon} with past covariates; got {horizon}. "
            "Fit with a longer horizon, or without the past covariates."
        )
    context = module.prepare(context)
    steps = []
    step_size = horizon if module.unbounded else module.horizon
    for start in range(0, horizon, step_size):
        step = min(step_size, horizon - start)
        steps.append(module.forecast(context, step))
        if start + step < horizon:
            context = advance(context, steps[-1][..., module.point])
    return steps[0] if len(steps) == 1 else torch.cat(steps, dim=1)


def advance(context: Context, points: Float[Tensor, "batch step"]) -> Context:
    """Return the context of the same length that ends with `points`."""
    step = points.shape[1]
    values = torch.cat([context.values, points], dim=1)[:, step:]
    origin = context.origin + step * context.step
    return replace(context, values=values, future=context.future[:, step:], origin=origin)


def forecast_windows(
    module: ForecastModule,
    windows: Windows,
    batch_size: int,
    generate: Generate | None = None,
) -> Float[Tensor, "window horizon output"]:
    """Forecast all windows in order, in the module's eval mode, at most `batch_size` at a time.

    Parameters
    ----------
    generate
        How contexts are forecast for a horizon; None for `rollout` of the module.
    """
    module.eval()

    def forecast(rows: slice) -> Float[Tensor, "batch horizon output"]:
        context = windows.batch(rows).context
        with torch.inference_mode():
            if generate is not None:
                return generate(context, windows.horizon)
            return rollout(module, context, windows.horizon)

    return torch.cat(list(chunked(forecast, len(windows), batch_size)))
