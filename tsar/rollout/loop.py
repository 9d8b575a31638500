"""The loop: a module's own forecasts become its context."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.data.batch import Context
from tsar.data.windows import Windows
from tsar.nn.module import ForecastModule, ReadingModule
from tsar.rollout.speculation import Speculation, can_speculate, speculate
from tsar.runtime.memory import chunked

# "exact": every step reads its whole context anew, without the oldest points; "cached": what was
# read is kept, and the context grows.
Plain = Literal["exact", "cached"]
Generation = Plain | Speculation


def rollout(
    module: ForecastModule, context: Context, horizon: int, generation: Generation = "exact"
) -> Float[Tensor, "batch horizon output"]:
    """Forecast any horizon: the module's own forecasts become its context, on the device.

    Raises
    ------
    ValueError
        The horizon is beyond the module's own, and it reads past covariates, whose values beyond
        the present nobody knows.
    """
    if horizon > module.horizon and module.reads_past:
        raise ValueError(
            f"horizon must be at most {module.horizon} with past covariates; got {horizon}. "
            "Fit with a longer horizon, or without the past covariates."
        )
    context = module.prepare(context)
    if generation != "exact" and isinstance(module, ReadingModule):
        _check_room(module, context, horizon)
        if isinstance(generation, Speculation) and can_speculate(
            module, context, horizon, generation
        ):
            return speculate(module, context, horizon, generation).output
        return _cached(module, context, horizon)
    pieces = []
    most = horizon if module.unbounded else module.horizon
    for done in range(0, horizon, most):
        step = min(most, horizon - done)
        pieces.append(module.forecast(context, step))
        if done + step < horizon:
            context = advance(context, pieces[-1][..., module.point])
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)


def _check_room(module: ReadingModule, context: Context, horizon: int) -> None:
    pieces = -(-context.values.shape[1] // module.horizon)
    needed = pieces - 1 - (-horizon // module.horizon)
    if module.positions is not None and needed > module.positions:
        most = (module.positions + 1 - pieces) * module.horizon
        raise ValueError(
            f"horizon must be at most {most} where a context of {pieces} segments grows: the "
            f"network reads {module.positions} at most; got {horizon}. Use generation='exact', or "
            "a shorter context."
        )


def _cached(
    module: ReadingModule, context: Context, horizon: int
) -> Float[Tensor, "batch horizon output"]:
    reading, piece = module.read(context)
    pieces = [piece]
    for _ in range(module.horizon, horizon, module.horizon):
        reading, piece = module.go_on(reading, pieces[-1][..., module.point])
        pieces.append(piece)
    return torch.cat(pieces, dim=1)[:, :horizon]


def advance(context: Context, points: Float[Tensor, "batch step"]) -> Context:
    """The context of the same length that ends with `points`."""
    step = points.shape[1]
    values = torch.cat([context.values, points], dim=1)[:, step:]
    origin = context.origin + step * context.step
    return replace(context, values=values, future=context.future[:, step:], origin=origin)


def forecast_batches(
    module: ForecastModule, windows: Windows, batch_size: int, generation: Generation = "exact"
) -> Iterator[Float[Tensor, "batch horizon output"]]:
    """Forecasts of all windows in order, at most `batch_size` at a time: as memory holds them."""

    def forecast(rows: slice) -> Float[Tensor, "batch horizon output"]:
        with torch.inference_mode():
            return rollout(module, windows.batch(rows).context, windows.horizon, generation)

    return chunked(forecast, len(windows), batch_size)


def forecast_windows(
    module: ForecastModule, windows: Windows, batch_size: int, generation: Generation = "exact"
) -> Float[Tensor, "window horizon output"]:
    """Forecasts of all windows, in the module's eval mode."""
    module.eval()
    return torch.cat(list(forecast_batches(module, windows, batch_size, generation)))
