"""Forecaster: the abstract base of all models, from frames or tensors to forecasts."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from tsar.data.alignment import (
    align_to_horizon,
    check_columns,
    check_contexts,
    check_contiguous,
    check_covariates,
    context_ids,
    fitted_rows,
    has_only_new_series,
    read_new_frame,
    repeat_last,
    steps_after_fit,
)
from tsar.data.panel import Columns, Panel, read_future
from tsar.data.windows import Windows
from tsar.forecasters.forecast import Forecast, named_columns
from tsar.forecasters.summary import fact_table
from tsar.intervals import Levels
from tsar.metrics.scaled import series_scale
from tsar.saving import Savable
from tsar.validation import check_integer

# Not typing.Self: a checker of shapes sees a method without its class.
Fitted = TypeVar("Fitted", bound="Forecaster")


class Forecaster(Savable, ABC):
    """Frames in, frames out: `fit`, `predict`, `update`; tensors in, tensors out: `forecast`.

    A forecaster names its parameters in `__init__`, `horizon` and `columns` among them, and
    implements `holds_back`, `_fit`, `_reach` and `_forecast`. Hooks that it may override:
    `can_sample` with `_sample`, `_prepare`, `_remember`, `_read_history`, `_needs_frame`, and
    `_facts` (or all of `summary`).
    """

    horizon: int
    columns: Columns | None
    # Kinds of covariates that the forecaster uses: "past", "future", "static".
    uses: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points, for early stopping."""

    @abstractmethod
    def _fit(self, panel: Panel) -> None:
        """Learn from a panel (float64, on the CPU)."""

    @abstractmethod
    def _reach(self, panel: Panel) -> int:
        """Newest points of each series that a forecast after this panel needs."""

    @abstractmethod
    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        """Forecast the targets of windows (float64, on the CPU)."""

    @property
    def can_sample(self) -> bool:
        """Whether `forecast(n_samples=...)` draws sample paths."""
        return False

    def _sample(self, windows: Windows, n_samples: int) -> Float[Tensor, "window path horizon"]:
        """Hook: sample paths of the targets of windows, where `can_sample` is True."""
        raise NotImplementedError

    def _prepare(self, panel: Panel) -> Panel:
        """Hook: the panel as the forecaster reads it, in `fit` and in every forecast."""
        return panel

    def _read_history(self, frame: Any) -> Panel:
        """Hook: the panel of the frame given to `predict`, the fitted series where it is None."""
        return self.context_ if frame is None else self._read(frame)

    def _needs_frame(self) -> str | None:
        """Hook: what a forecast needs besides contexts, in words; None where they suffice."""
        covariates = self._columns().covariates
        return f"the covariates {covariates}" if covariates else None

    def fit(self: Fitted, frame: Any, y: Any = None) -> Fitted:
        """Fit to the series of a frame.

        Parameters
        ----------
        frame
            A long frame, a wide one, a Series or an array of shape (time, series); see `Columns`.
        y
            Ignored; present for scikit-learn's pipelines. None with a 1-D array.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            A parameter or the frame is invalid; the message says what to change.
        """
        check_integer("horizon", self.horizon)
        if y is not None and isinstance(frame, np.ndarray) and frame.ndim == 1:
            raise ValueError(
                "y must be None with a 1-D array, which is itself the series to forecast; got "
                f"{type(y).__name__}. Call fit(series), or reshape your data to (time, series)."
            )
        panel = Panel.from_frame(frame, self._columns())
        self._forget()
        if panel.labels.layout.style != "long" and np.ndim(frame) == 2:
            validate_data(self, frame, reset=True, skip_check_array=True)
        return self._learn(panel)

    def fit_panel(self: Fitted, panel: Panel) -> Fitted:
        """Fit to a panel; see `fit`."""
        check_integer("horizon", self.horizon)
        self._columns()
        self._forget()
        return self._learn(panel)

    def _forget(self) -> None:
        """Delete the attributes of an earlier fit."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _learn(self: Fitted, panel: Panel) -> Fitted:
        self._fit(self._prepare(panel.observed_span()))
        season = panel.labels.frequency.season_length
        self.scale_ = series_scale(panel.values, season, panel.offsets).numpy()
        return self._remember(panel)

    def _remember(self: Fitted, panel: Panel) -> Fitted:
        """Hook: keep the newest points that a forecast needs, before those missing at the end."""
        missing = panel.missing_before(torch.arange(len(panel)), panel.lengths).clamp(min=0)
        self.context_ = panel.tail(self._reach(panel) + int(missing.max()))
        return self

    def update(self: Fitted, frame: Any) -> Fitted:
        """Append newer points to the fitted series without fitting again.

        Fitted parameters do not change; `predict` forecasts what follows the new points.

        Parameters
        ----------
        frame
            The next points, with their covariates, in the layout that was fitted, NaN where
            missing; of all series, or of some in a long frame.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the points do not follow the fitted ones.
        """
        check_is_fitted(self, "context_")
        newer = self._read(frame, observed=False)
        rows = fitted_rows(newer, self.context_, type(self).__name__)
        check_contiguous(newer, self.context_, rows)
        extended = self.context_.append(newer, rows)
        self._prepare(extended)  # raises if it cannot be forecast, before anything is kept
        return self._remember(extended)

    def predict(
        self,
        frame: Any = None,
        *,
        horizon: int | None = None,
        future: Any = None,
        quantile_levels: Any = None,
        level: Any = None,
    ) -> Any:
        """Forecast what follows the fitted series, or the series of `frame`.

        Parameters
        ----------
        frame
            Newer history of the fitted series, or other series; None for those of `fit`.
        horizon
            Number of points; None for the parameter `horizon`.
        future
            Values of the future covariates at the times to forecast; see `tsar.make_future`.
        quantile_levels
            Quantiles to forecast, each in (0, 1); columns ``NAME-q-0.9``.
        level
            Central intervals in percent; columns ``NAME-lo-80`` and ``NAME-hi-80``.

        Returns
        -------
        frame
            In the layout of the input; ``NAME`` is the name of the class. A wide frame has a
            column for each series, or with intervals (series, column) pairs. An array has shape
            (horizon, series), with intervals (horizon, series, column); a 1-D array the same
            without the series axis.

        Raises
        ------
        NotFittedError
            `fit` was not called.
        ValueError
            An argument is invalid; the message says what to change.
        """
        check_is_fitted(self, "context_")
        horizon = check_integer("horizon", self.horizon if horizon is None else horizon)
        requested = Levels.parse(quantile_levels, level)
        tail = self._read_history(frame)
        extended = tail.extend(read_future(tail, future, horizon))
        forecast = self.forecast_panel(extended, horizon, requested.levels)
        return tail.to_frame(named_columns(type(self).__name__, forecast, requested))

    def forecast(
        self,
        context: Float[Tensor, "batch time"],
        horizon: int | None = None,
        *,
        series: Int[Tensor, " batch"] | None = None,
        quantile_levels: Any = None,
        n_samples: int | None = None,
    ) -> Tensor:
        """Forecast after contexts given as a tensor.

        Parameters
        ----------
        context
            Points in the units of the fitted series, oldest first, NaN where missing.
        horizon
            Number of points; None for the parameter `horizon`.
        series
            Row of each context's series among the fitted ones, -1 for a series that was not
            fitted. None: context i belongs to series i, or all belong to the only series.
        quantile_levels
            Quantiles to forecast, each in (0, 1).
        n_samples
            Number of sample paths of each context, seeded by `random_state`; see `can_sample`.

        Returns
        -------
        tensor
            Of shape (batch, horizon), with `quantile_levels` (batch, horizon, level), with
            `n_samples` (batch, path, horizon).

        Raises
        ------
        NotFittedError, TypeError, ValueError
            `fit` was not called; an argument is invalid, or contexts alone do not suffice.
        """
        check_is_fitted(self, "context_")
        horizon = check_integer("horizon", self.horizon if horizon is None else horizon)
        levels = Levels.parse(quantile_levels).levels
        if levels and n_samples is not None:
            raise ValueError("quantile_levels must be None with n_samples; got both. Ask for one.")
        needed = self._needs_frame()
        if needed is not None:
            raise ValueError(
                f"forecast takes contexts alone, and {type(self).__name__} needs {needed}. Use "
                "predict(frame)."
            )
        context = check_contexts(context)
        panel = Panel.from_tensor(context.to("cpu", torch.float64))
        ids = context_ids(self.context_, len(context), series)
        panel = replace(panel, labels=replace(panel.labels, ids=ids))
        extended = panel.extend(panel.future.new_empty(len(panel), horizon, 0))
        if n_samples is not None:
            return self._sample_panel(extended, horizon, n_samples).to(context)
        forecast = self.forecast_panel(extended, horizon, levels)
        return (forecast.quantiles if levels else forecast.point).to(context)

    def _sample_panel(self, panel: Panel, horizon: int, n_samples: int) -> Tensor:
        """Sample paths of the last `horizon` points of every series."""
        n_samples = check_integer("n_samples", n_samples)
        if not self.can_sample:
            raise ValueError(
                f"n_samples must be None for {type(self).__name__}, which draws no paths; got "
                f"{n_samples}. Use quantile_levels, or a model with a density."
            )
        cutoffs = (torch.arange(len(panel)), panel.lengths - horizon)
        return self._sample(Windows.at(panel, self._reach(panel), horizon, *cutoffs), n_samples)

    def forecast_panel(
        self,
        panel: Panel,
        horizon: int,
        levels: tuple[float, ...] = (),
        *,
        series: Int[Tensor, " window"] | None = None,
        points: Int[Tensor, " window"] | None = None,
    ) -> Forecast:
        """Forecast windows of the series of a panel from the points before each window.

        Where points are missing just before a window, the forecast starts after the last observed
        point, and its intervals grow by the missing steps. Without any it is NaN.

        Parameters
        ----------
        panel
            Series that contain the windows, with the future covariates of these.
        horizon
            Points of a window.
        levels
            Quantile levels, ascending.
        series, points
            Row of the series, and position of the first point, of each window; None: the last
            `horizon` points of every series.
        """
        check_is_fitted(self, "context_")
        if series is None or points is None:
            series, points = torch.arange(len(panel)), panel.lengths - horizon
        gaps = panel.missing_before(series, points)
        # Covariates further back only help to fill gaps, where their mean suffices.
        needs = self._reach(panel.tail(0)) if panel.labels.columns.covariates else 0
        check_covariates(
            panel, series, points, context_length=needs, gap=gaps.clamp(min=0), horizon=horizon
        )
        panel = self._prepare(panel)
        reach = self._reach(panel.without_last(horizon))
        if bool((gaps == 0).all()) or panel.past.shape[1]:
            return self._forecast(Windows.at(panel, reach, horizon, series, points), levels)
        point = panel.values.new_full((len(points), horizon), torch.nan)
        quantiles = point[:, :, None].repeat(1, 1, len(levels))
        for gap in gaps[gaps >= 0].unique().tolist():
            rows = (gaps == gap).nonzero()[:, 0]
            cutoffs = (series[rows], points[rows] - gap)
            windows = Windows.at(panel, reach, horizon + gap, *cutoffs, gap=gap)
            part = self._forecast(windows, levels)
            point[rows], quantiles[rows] = part.point[:, gap:], part.quantiles[:, gap:]
        return Forecast(point, quantiles)

    def score(self, frame: Any, y: Any = None) -> float:
        """Negative mean absolute scaled error of the forecast of `frame`.

        `frame` holds the points after the fitted series, with their covariates. The scale is the
        in-sample error of the seasonal naive forecast (Hyndman & Koehler 2006); series where it is
        zero are left out.
        """
        check_is_fitted(self, "context_")
        actual = self._read(frame)
        rows = fitted_rows(actual, self.context_, type(self).__name__)
        offset = steps_after_fit(actual, self.context_, rows)
        horizon = int((offset + actual.lengths).max())
        tail = self.context_.select(rows)
        future = align_to_horizon(actual, offset, horizon, actual.future)
        future = repeat_last(future, offset + actual.lengths)
        point = self.forecast_panel(tail.extend(future), horizon).point
        target = align_to_horizon(actual, offset, horizon, actual.values[:, None])[:, :, 0]
        errors = (target - point).abs().nanmean(dim=1) / torch.from_numpy(self.scale_[rows])
        return -float(errors[errors.isfinite()].mean())

    def summary(self) -> str:
        """Table of what was fitted, as text."""
        check_is_fitted(self, "context_")
        facts = [("series", f"{len(self.context_):,}"), ("horizon", str(self.horizon))]
        return fact_table(type(self).__name__, facts + self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        """Hook: further rows of `summary`, as (name, value)."""
        return []

    def _read(self, frame: Any, *, any_frequency: bool = False, observed: bool = True) -> Panel:
        """Panel of a frame given after fit, at the fitted frequency or at any."""
        features = getattr(self, "n_features_in_", None)
        panel = read_new_frame(
            frame,
            self._columns(),
            self.context_.labels,
            features,
            any_frequency=any_frequency,
            observed=observed,
        )
        # Columns without names must be as many as in fit, unless all are new series with dates.
        new = any_frequency and panel.labels.frequency.kind != "integer"
        new = new and has_only_new_series(panel, self.context_.labels)
        wide = panel.labels.layout.style != "long" and np.ndim(frame) == 2
        if wide and features is not None and not new:
            validate_data(self, frame, reset=False, skip_check_array=True)
        return panel

    def _columns(self) -> Columns:
        return check_columns(self.columns, self.uses, type(self).__name__)

    def __sklearn_tags__(self) -> Tags:
        """Tags of scikit-learn: missing values are allowed, a target is not needed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        return tags
