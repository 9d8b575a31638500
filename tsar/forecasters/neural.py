"""NeuralForecaster: the abstract base of forecasters whose network the shared loop trains."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.alignment import fitted_rows
from tsar.data.batch import Context
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.fitting import (
    Prediction,
    calibrate_held_back,
    check_training,
    forecast_in_units,
    held_back_windows,
    history_frame,
)
from tsar.forecasters.forecast import Forecast
from tsar.intervals import select_quantiles
from tsar.nn.module import ForecastModule
from tsar.rollout import rollout
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed, seeded
from tsar.training import Training, train
from tsar.validation import check_integer

INITIALIZATION_WINDOWS = 1024  # training windows that `ForecastModule.initialize` is given


class NeuralForecaster(Forecaster):
    """A forecaster with one network for all series, trained by the shared loop.

    Each series is scaled by its mean and standard deviation before the points held back; a series
    that was not fitted, by those of all that is given of it. Intervals are conformal, from the
    errors on the points held back.

    A child implements `_build`. Hooks that it may override: those of `Forecaster`, and

    ====================  =======================================================================
    `_generate`           outputs of the network for contexts and a horizon
    `_quantiles`          quantiles of a prediction
    `_prepare_windows`    the windows that the network forecasts from
    ====================  =======================================================================
    """

    context_length: int
    training: Training | None
    inference_batch_size: int
    device: str
    random_state: int | None
    verbose: int
    # What `training=None` stands for.
    recipe: ClassVar[Training] = Training()

    @abstractmethod
    def _build(self) -> ForecastModule:
        """Make the network, from parameters and fitted attributes alone."""

    def _generate(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        """Hook: outputs of the network for contexts in scaled units, and any horizon."""
        return rollout(self.module_, context, horizon)

    def _quantiles(
        self, prediction: Prediction, levels: tuple[float, ...], gap: int
    ) -> Float[Tensor, "batch horizon level"]:
        """Hook: quantiles in scaled units (float64, on the CPU), the network's own or conformal."""
        module = self.module_
        if not module.levels:
            return self.calibration_.quantiles(prediction.point, levels, gap)
        output = prediction.output
        picked = select_quantiles(output, module.levels, levels, module.horizon, gap)
        return picked.cpu().double()

    def _prepare_windows(self, windows: Windows) -> Windows:
        """Hook: the windows that the network forecasts from, with covariates in scaled units."""
        return replace(windows, panel=self._scale_covariates(windows.panel))

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: always."""
        return True

    def _fit(self, panel: Panel) -> None:
        check_integer("context_length", self.context_length)
        check_integer("inference_batch_size", self.inference_batch_size)
        options = check_training(self.training, self.recipe)
        device = resolve_device(self.device)
        seed = resolve_seed(self.random_state, resumable=options.checkpoint is not None)
        held_back = options.validation_points(panel.lengths, self.horizon)
        known = panel.without_last(held_back)
        self.scaling_ = Scaling.of(known)
        self.past_scaling_ = Scaling.of_contexts(known.past.T)
        self.future_scaling_ = Scaling.of_contexts(known.future.T)
        self.seed_, self.frequency_ = seed, panel.labels.frequency
        with seeded(seed):
            self.module_ = self._build().to(device)
        windows = Windows.sliding(self._scale(known, device), self.context_length, self.horizon)
        validation = held_back_windows(
            self._scale(panel, device), held_back, self.context_length, self.horizon
        )
        for part in (windows, validation):
            self.module_.prepare_times(part.times, self.horizon)
        if len(windows):
            with seeded(seed):
                sample = windows.subsample(INITIALIZATION_WINDOWS)
                self.module_.initialize(sample.batch(slice(None)))
        history = train(
            self.module_, windows, validation, options, seed=seed, progress=self.verbose > 0
        )
        self.history_ = history_frame(history)
        self.n_parameters_ = sum(p.numel() for p in self.module_.parameters() if p.requires_grad)
        self.calibration_ = calibrate_held_back(
            self.module_, validation, windows, self.inference_batch_size, self._generate
        )

    def _scale(self, panel: Panel, device: torch.device) -> Panel:
        """Panel in scaled units, in float32 on the device."""
        return self._scale_covariates(self.scaling_.apply(panel)).to(device, torch.float32)

    def _scale_covariates(self, panel: Panel) -> Panel:
        if not panel.past.shape[1] + panel.future.shape[1]:
            return panel
        past = self.past_scaling_.scale(panel.past.T).T
        return replace(panel, past=past, future=self.future_scaling_.scale(panel.future.T).T)

    def _reach(self, panel: Panel) -> int:
        return self.context_length

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        windows = self._prepare_windows(windows)

        def quantiles(prediction: Prediction) -> Tensor:
            return self._quantiles(prediction, levels, windows.gap)

        return forecast_in_units(
            self._generate,
            quantiles if levels else None,
            self.module_,
            windows,
            self._fitted_rows(windows.panel),
            self.scaling_,
            batch_size=self.inference_batch_size,
            device=resolve_device(self.device),
        )

    def _fitted_rows(self, panel: Panel) -> Int[Tensor, " series"]:
        """Row of each series among the fitted ones, -1 where it is not."""
        return torch.from_numpy(fitted_rows(panel, self.context_, None))

    def _facts(self) -> list[tuple[str, str]]:
        best = self.history_["validation_loss"].min()
        return [
            ("context", f"{self.context_length} points"),
            ("trained parameters", f"{self.n_parameters_:,}"),
            ("epochs", str(len(self.history_) - 1)),
            ("validation loss", f"{best:.4g}"),
        ]
