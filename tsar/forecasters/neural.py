"""NeuralForecaster: a forecaster whose module is trained by the shared loop."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple, cast

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.batch import Context
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast
from tsar.intervals import MAX_SCORES, Calibration, select_quantiles
from tsar.nn.module import ForecastModule, ReadingModule
from tsar.rollout import (
    PATHS,
    Generation,
    Speculation,
    density_of,
    forecast_windows,
    rollout,
    sample_paths,
    uniforms,
)
from tsar.runtime.devices import resolve_device
from tsar.runtime.memory import chunked
from tsar.runtime.seeds import resolve_seed, seeded
from tsar.training import EpochMetrics, Training, train
from tsar.validation import (
    NONNEGATIVE,
    Constraint,
    check_integer,
    check_parameters,
    integer,
    one_of,
)

GENERATION: dict[str, Constraint] = {
    "generation": one_of(("exact", "cached", "speculative")),
    "tolerance": NONNEGATIVE,
    "ahead": integer(1),
}
SAMPLE = 1024  # windows that a module may set its first weights by


class NeuralForecaster(Forecaster):
    """A forecaster with one module for all series, trained by the shared loop.

    Each series is scaled by its own mean and standard deviation before the validation tail; a
    series that was not fitted, by those of all that is given of it. Intervals are conformal, from
    the errors on the validation tail.
    """

    context_length: int
    training: Training | None
    batch_size: int
    device: str
    random_state: int | None
    verbose: int
    # What `training=None` stands for.
    recipe: ClassVar[Training] = Training()
    # How forecasts go beyond a step of the module; one that can choose makes it a parameter.
    generation: Literal["exact", "cached", "speculative"] = "exact"
    tolerance: float = 0.0
    ahead: int = 1

    @abstractmethod
    def _build(self) -> ForecastModule:
        """Make the module, from parameters and fitted attributes alone."""

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: always."""
        return True

    def _fit(self, panel: Panel) -> None:
        check_integer("context_length", self.context_length)
        check_integer("batch_size", self.batch_size)
        options = check_training(self.training, self.recipe)
        device = resolve_device(self.device)
        seed = resolve_seed(self.random_state, resumable=options.checkpoint is not None)
        held = options.validation_points(panel.lengths, self.horizon)
        known = panel.without_last(held)
        self.scaling_ = Scaling.of(known)
        self.past_scaling_ = Scaling.of_contexts(known.past.T)
        self.future_scaling_ = Scaling.of_contexts(known.future.T)
        self.seed_, self.frequency_ = seed, panel.labels.frequency
        with seeded(seed):
            self.module_ = self._build().to(device)
        before = self._standard(self.scaling_.apply(known)).to(device, torch.float32)
        windows = Windows.sliding(before, self.context_length, self.horizon)
        scaled = self._standard(self.scaling_.apply(panel)).to(device, torch.float32)
        validation = held_back_windows(scaled, held, self.context_length, self.horizon)
        for part in (windows, validation):
            self.module_.expect(part.times, self.horizon)
        if len(windows):
            with seeded(seed):
                self.module_.start(windows.subsample(SAMPLE).batch(slice(None)))
        history = train(
            self.module_, windows, validation, options, seed=seed, progress=self.verbose > 0
        )
        self.history_ = history_frame(history)
        pace = self._generation()
        self.calibration_ = calibrate(self.module_, validation, self.batch_size, pace)

    def _standard(self, panel: Panel) -> Panel:
        """Panel with its covariates in units of their own deviation."""
        if not panel.past.shape[1] + panel.future.shape[1]:
            return panel
        past = self.past_scaling_.scale(panel.past.T).T
        return replace(panel, past=past, future=self.future_scaling_.scale(panel.future.T).T)

    def _reach(self, panel: Panel) -> int:
        return self.context_length

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        return forecast_in_units(
            self.module_,
            replace(windows, panel=self._standard(windows.panel)),
            self._rows(windows),
            self.scaling_,
            self._spread(levels, windows.lead) if levels else None,
            batch_size=self.batch_size,
            device=resolve_device(self.device),
            generation=self._generation(),
        )

    def sample_windows(self, windows: Windows, paths: int) -> Float[Tensor, "window path horizon"]:
        """Sample paths of the targets of windows, of a module with a density."""
        density_of(self.module_)
        windows.check_last_observed()

        def keep(shown: Shown) -> Tensor:
            output = shown.output
            draws = uniforms(shown.windows, paths, output.shape[1], self.seed_).to(output)
            found = sample_paths(self.module_, shown.context, draws, self._pace(), self.batch_size)
            return found.movedim(1, -1).cpu().double()

        told = forecast_in_units(
            self.module_,
            replace(windows, panel=self._standard(windows.panel)),
            self._rows(windows),
            self.scaling_,
            keep,
            batch_size=self.batch_size,
            device=resolve_device(self.device),
            generation=self._generation(),
        )
        return told.quantiles.movedim(-1, 1)

    def _rows(self, windows: Windows) -> Int[Tensor, " series"]:
        """Row of each series among the fitted ones, -1 where it is not."""
        ids = windows.panel.labels.ids
        return torch.from_numpy(self.context_.labels.ids.get_indexer(ids))

    def _pace(self) -> Literal["exact", "cached"]:
        """How paths go on: each of draws of its own, which `speculate_paths` has not."""
        return "exact" if self._generation() == "exact" else "cached"

    def _generation(self) -> Generation:
        """How forecasts go beyond a step of the module, as the loop takes it."""
        check_parameters(type(self).__name__, self, GENERATION)  # it may be set after fit
        if self.generation != "speculative":
            return self.generation
        module = cast(ReadingModule, self.module_)
        return Speculation(module.draft, self.tolerance, self.ahead)

    def _spread(self, levels: tuple[float, ...], lead: int) -> "Spread":
        """Quantiles that the module forecasts, or by its errors on what was held back."""
        module = self.module_

        def spread(shown: Shown) -> Tensor:
            output = shown.output
            if module.levels:
                picked = select_quantiles(output, module.levels, levels, module.horizon, lead)
                return picked.cpu().double()
            if module.density is None:
                return self.calibration_.quantiles(shown.point, levels, lead)
            told = module.density.quantiles(output, levels)
            if output.shape[1] > module.horizon:
                # The same draws for every row: quantiles of a series must not depend on others.
                draws = uniforms([0], PATHS, output.shape[1], 0).to(output)
                draws = draws.expand(len(output), -1, -1, -1)
                paths = sample_paths(module, shown.context, draws, self._pace(), self.batch_size)
                sampled = paths.quantile(output.new_tensor(levels), dim=1).movedim(0, -1)
                # Within a step of the module they are known exactly.
                told[:, module.horizon :] = sampled[:, module.horizon :]
            return told.cpu().double()

        return spread


class Shown(NamedTuple):
    """What quantiles are made of, in standardized units: forecasts, outputs, contexts.

    `windows` are the places of these among all that are forecast.
    """

    point: Float[Tensor, "batch horizon"]
    output: Float[Tensor, "batch horizon output"]
    context: Context
    windows: range


# Quantiles (batch, horizon, level) in the same units.
Spread = Callable[[Shown], Tensor]


def forecast_in_units(
    module: ForecastModule,
    windows: Windows,
    rows: Int[Tensor, " series"],
    scaling: Scaling,
    spread: Spread | None,
    *,
    batch_size: int,
    device: torch.device,
    generation: Generation = "exact",
) -> Forecast:
    """Forecast windows with a module that works in standardized units, batch by batch.

    Parameters
    ----------
    rows
        Row of each series of the windows' panel among the fitted ones, -1 where it is not.
    scaling
        Of the fitted series; others are scaled by all that the panel shows of them before each
        window, as the fitted ones were by their history.
    spread
        Gives the quantiles; None for none.
    """
    check_integer("batch_size", batch_size)  # it may be set after fit
    module.to(device).eval()
    dtype = next(module.parameters()).dtype
    module.expect(windows.times, windows.horizon)
    scales = window_scaling(windows, rows, scaling)

    def forecast(piece: slice) -> tuple[Tensor, Tensor]:
        context = windows.batch(piece).context
        context = replace(context, series=rows[context.series])
        units = scales.select(torch.arange(piece.start, piece.stop))
        scaled = replace(context, values=units.scale(context.values))
        scaled = scaled.to(device, dtype)
        with torch.inference_mode():
            output = rollout(module, scaled, windows.horizon, generation)
        point = output[..., module.point].cpu().double()
        shown = Shown(point, output, scaled, range(piece.start, piece.stop))
        levels = spread(shown) if spread else point[:, :, None][:, :, :0]
        return units.invert(point[:, :, None])[:, :, 0], units.invert(levels)

    points, quantiles = zip(*chunked(forecast, len(windows), batch_size), strict=True)
    return Forecast(torch.cat(points), torch.cat(quantiles))


def check_training(training: Training | None, recipe: Training | None = None) -> Training:
    """The training options, or those of a recipe."""
    if training is None:
        return recipe or Training()
    if not isinstance(training, Training):
        raise TypeError(f"training must be a tsar.Training; got {training!r}. Build one.")
    return training


def held_back_windows(panel: Panel, held: Tensor, context_length: int, horizon: int) -> Windows:
    """Windows whose targets lie in the points held back; none for series that hold none back."""
    lengths = panel.lengths
    held = held.to(lengths.device)
    first = torch.where(held > 0, lengths - held, lengths)
    return Windows.sliding(panel, context_length, horizon, first=first)


def calibrate(
    module: ForecastModule, windows: Windows, batch_size: int, generation: Generation = "exact"
) -> Calibration:
    """Calibration by the errors of a module on windows that it was not trained on."""
    windows = windows.subsample(MAX_SCORES)
    if not len(windows):
        return Calibration(torch.empty(windows.horizon, 0, dtype=torch.float64))
    point = forecast_windows(module, windows, batch_size, generation)[..., module.point]
    target = torch.cat([batch.target for batch in windows.batches(batch_size)])
    return Calibration.from_errors((target - point).double().cpu())


def window_scaling(windows: Windows, rows: Int[Tensor, " series"], fitted: Scaling) -> Scaling:
    """Scaling of each window: of its series where that was fitted, else by its own history."""
    series = windows.series
    row = rows[series]
    if bool((row >= 0).all()):
        return fitted.select(row)
    return fitted.select_with_fallback(row, Scaling.before(windows.panel, series, windows.cutoffs))


def history_frame(history: list[EpochMetrics]) -> pd.DataFrame:
    """History as a frame, a row for each epoch."""
    frame = pd.DataFrame(history, columns=["epoch", "train_loss", "validation_loss"])
    return frame.astype({"epoch": int}).set_index("epoch")
