"""Shared by ARNet and the networks: held-back windows, calibration, forecasts in data units."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.batch import Context
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.data.windows import Windows
from tsar.forecasters.forecast import Forecast
from tsar.intervals import MAX_SCORES, Calibration
from tsar.nn.module import ForecastModule
from tsar.rollout import Generate, forecast_windows
from tsar.runtime.memory import chunked
from tsar.training import EpochMetrics, Training
from tsar.validation import check_integer


class ScaledBatch(NamedTuple):
    """Contexts of a chunk of windows, in the units that the network works in.

    `rows` are the positions of these windows among all that are forecast.
    """

    context: Context
    rows: range


class Prediction(NamedTuple):
    """Outputs of a network for a chunk of windows, in the units that it works in.

    `point` is the point forecast in float64 on the CPU; `output` holds all outputs on the device.
    """

    point: Float[Tensor, "batch horizon"]
    output: Float[Tensor, "batch horizon output"]
    context: Context
    rows: range


# Quantiles (batch, horizon, level) of a prediction, in the same units, in float64 on the CPU.
QuantileFunction = Callable[[Prediction], Tensor]


def map_windows(
    compute: Callable[[ScaledBatch], Float[Tensor, "batch horizon value"]],
    module: ForecastModule,
    windows: Windows,
    rows: Int[Tensor, " series"],
    scaling: Scaling,
    *,
    batch_size: int,
    device: torch.device,
) -> Float[Tensor, "window horizon value"]:
    """Compute values of windows chunk by chunk in scaled units; return them in data units.

    Parameters
    ----------
    compute
        Values of a chunk of windows, in scaled units, in float64 on the CPU.
    module
        The network behind `compute`: it is moved to `device` and put into eval mode, and its
        contexts have the dtype of its parameters.
    rows
        Row of each series of the windows' panel among the fitted ones, -1 where it is not fitted.
    scaling
        Scaling of the fitted series; other series are scaled by what the panel holds of them
        before each window, as the fitted ones were by their history.
    batch_size
        Windows of a chunk, until memory runs out.
    """
    check_integer("inference_batch_size", batch_size)  # it may be set after fit
    module.to(device).eval()
    dtype = next(module.parameters()).dtype
    module.prepare_times(windows.times, windows.horizon)
    window_scaling = _window_scaling(windows, rows, scaling)

    def run(chunk: slice) -> Tensor:
        context = windows.batch(chunk).context
        scale = window_scaling.select(torch.arange(chunk.start, chunk.stop))
        scaled = replace(
            context, series=rows[context.series], values=scale.scale(context.values)
        ).to(device, dtype)
        with torch.inference_mode():
            values = compute(ScaledBatch(scaled, range(chunk.start, chunk.stop)))
        return scale.invert(values)

    return torch.cat(list(chunked(run, len(windows), batch_size)))


def forecast_in_units(
    generate: Generate,
    quantiles: QuantileFunction | None,
    module: ForecastModule,
    windows: Windows,
    rows: Int[Tensor, " series"],
    scaling: Scaling,
    *,
    batch_size: int,
    device: torch.device,
    clean: Callable[[Context], Context] | None = None,
) -> Forecast:
    """Forecast windows in data units, with a network that works in scaled units.

    Parameters
    ----------
    generate
        Outputs of the network for contexts and a horizon.
    quantiles
        Quantiles of a prediction; None for none.
    module, windows, rows, scaling, batch_size, device
        See `map_windows`.
    clean
        Contexts as they are to be read; None: as they are.
    """

    def compute(batch: ScaledBatch) -> Tensor:
        batch = batch if clean is None else batch._replace(context=clean(batch.context))
        output = generate(batch.context, windows.horizon)
        point = output[..., module.point].cpu().double()
        columns = [point[:, :, None]]
        if quantiles is not None:
            columns.append(quantiles(Prediction(point, output, *batch)))
        return torch.cat(columns, dim=2)

    values = map_windows(
        compute, module, windows, rows, scaling, batch_size=batch_size, device=device
    )
    return Forecast(values[:, :, 0], values[:, :, 1:])


def _window_scaling(windows: Windows, rows: Int[Tensor, " series"], fitted: Scaling) -> Scaling:
    """Scaling of each window: of its series where that was fitted, else by its own history."""
    series = windows.series
    row = rows[series]
    if bool((row >= 0).all()):
        return fitted.select(row)
    return fitted.select_with_fallback(row, Scaling.before(windows.panel, series, windows.cutoffs))


def check_training(training: Training | None, recipe: Training | None = None) -> Training:
    """Training options, or those of a recipe where they are None."""
    if training is None:
        return recipe or Training()
    if not isinstance(training, Training):
        raise TypeError(f"training must be a tsar.Training; got {training!r}. Build one.")
    return training


def held_back_windows(
    panel: Panel, held_back: Int[Tensor, " series"], context_length: int, horizon: int
) -> Windows:
    """Windows whose targets are among the points held back; none of series that hold none back."""
    lengths = panel.lengths
    held_back = held_back.to(lengths.device)
    first = torch.where(held_back > 0, lengths - held_back, lengths)
    return Windows.sliding(panel, context_length, horizon, first=first)


def calibrate(
    module: ForecastModule, windows: Windows, batch_size: int, generate: Generate | None = None
) -> Calibration:
    """Conformal calibration by the errors of a network on windows that it was not trained on."""
    windows = windows.subsample(MAX_SCORES)
    if not len(windows):
        return Calibration(torch.empty(windows.horizon, 0, dtype=torch.float64))
    point = forecast_windows(module, windows, batch_size, generate)[..., module.point]
    target = torch.cat([batch.target for batch in windows.batches(batch_size)])
    return Calibration.from_errors((target - point).double().cpu())


def calibrate_held_back(
    module: ForecastModule,
    held_back: Windows,
    trained: Windows,
    batch_size: int,
    generate: Generate | None = None,
) -> Calibration:
    """Calibration by held-back windows; without any, by raised errors of those of training.

    Errors of n windows by a map of k points are smaller than others by a factor of about
    1 - k / n; they are raised by 1 + k / n, at most twofold.
    """
    calibration = calibrate(module, held_back, batch_size, generate)
    if not bool(calibration.scores.isnan().all()) or not len(trained):
        return calibration
    scores = calibrate(module, trained, batch_size, generate).scores
    raised = 1 + min(trained.context_length / len(trained), 1.0)
    return Calibration(scores * raised, in_sample=True)


def history_frame(history: list[EpochMetrics]) -> pd.DataFrame:
    """Losses of each epoch as a frame, indexed by epoch; epoch 0 is before training."""
    frame = pd.DataFrame(history, columns=["epoch", "train_loss", "validation_loss"])
    return frame.astype({"epoch": int}).set_index("epoch")
