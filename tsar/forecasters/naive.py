"""Naive and SeasonalNaive: baselines that repeat the last value or the last season."""

import warnings
from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.panel.values import format_value
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast
from tsar.intervals import student_quantiles
from tsar.metrics import seasonal_squared_scale
from tsar.validation import check_integer


class RepeatingForecaster(Forecaster):
    """Repeat the last season; a missing point is taken from the season before it."""

    @abstractmethod
    def _season(self, panel: Panel) -> int:
        """Number of points that are repeated."""

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: never."""
        return False

    def _fit(self, panel: Panel) -> None:
        self.season_length_ = self._season(panel)
        squares = seasonal_squared_scale(panel.values, self.season_length_, panel.offsets)
        n_observed = torch.bincount(panel.series[~panel.values.isnan()], minlength=len(panel))
        n_errors = count_errors(panel, self.season_length_)
        spread = 2 * observed_variance(panel)
        # A constant series has no scale, but errors of 0.
        self.sigma_ = torch.where(n_errors > 0, squares.nan_to_num(0.0), spread).sqrt().numpy()
        self.n_errors_ = n_errors.numpy()
        self.df_resid_ = torch.where(n_errors > 0, n_errors, n_observed - 1).numpy()

    def _reach(self, panel: Panel) -> int:
        season = self.season_length_
        if not bool(panel.values.isnan().any()):
            return season
        # With gaps, the newest value of a phase may be anywhere: all seasons are needed.
        return season * -(-int(panel.lengths.max()) // season)

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        season = self.season_length_
        batches = windows.batches(4096)
        point = torch.cat(
            [repeat_season(b.context.values, season, windows.horizon) for b in batches]
        )
        if not levels:
            return Forecast(point, point[:, :, None][:, :, :0])
        rows = fitted_rows(windows.panel, self.context_, type(self).__name__)
        self._warn_of_short_series(rows)
        sigma = torch.from_numpy(self.sigma_[rows])[windows.series]
        known = getattr(self, "df_resid_", np.full(len(self.sigma_), np.inf))
        df_resid = torch.from_numpy(known[rows])[windows.series].double()
        # Hyndman & Athanasopoulos 2021 (FPP3 section 5.5): the variance is that of one error times
        # the number of seasons ahead.
        repeats = torch.arange(windows.horizon) // season + 1
        deviation = sigma[:, None] * repeats.sqrt()
        return Forecast(point, student_quantiles(point, deviation, df_resid[:, None], levels))

    def _warn_of_short_series(self, rows: NDArray[np.intp]) -> None:
        """Warn of series without two observed points one season apart."""
        # Models that were saved earlier lack the number of errors.
        short = rows[getattr(self, "n_errors_", np.ones_like(self.sigma_))[rows] == 0]
        if len(short):
            others = f" and {len(short) - 1} more" if len(short) > 1 else ""
            warnings.warn(
                f"series {format_value(self.context_.labels.ids[short[0]])}{others} has no two "
                f"observed points {self.season_length_} apart: its interval is that of values "
                "without any dependence, or NaN where only one is observed. Give more points, or a "
                "shorter season_length.",
                stacklevel=2,
            )

    def _facts(self) -> list[tuple[str, str]]:
        label = "sigma" if len(self.sigma_) == 1 else "median sigma"
        return [
            ("season length", str(self.season_length_)),
            (label, f"{np.median(self.sigma_):.4g}"),
        ]


class Naive(RepeatingForecaster):
    """Forecast the last observed value; intervals are those of a random walk.

    Parameters
    ----------
    horizon
        Points to forecast.
    columns
        How to read frames.

    Attributes
    ----------
    sigma_
        Root mean square of the one-step errors, of shape (series,).
    n_errors_, df_resid_
        Number of these errors, and degrees of freedom of intervals by Student's t.
    season_length_
        1.

    Examples
    --------
    >>> from tsar import Naive
    >>> Naive(horizon=2).fit([1.0, 2.0, 4.0]).predict()
    array([4., 4.])
    """

    def __init__(self, horizon: int = 1, *, columns: Columns | None = None) -> None:
        self.horizon = horizon
        self.columns = columns

    def _season(self, panel: Panel) -> int:
        return 1


class SeasonalNaive(RepeatingForecaster):
    """Forecast the value of one season before; intervals are those of a seasonal random walk.

    Parameters
    ----------
    season_length
        Points in a season; None for what is usual at the frequency (24 hourly, 7 daily, 52
        weekly, 12 monthly, 4 quarterly, else 1).
    horizon
        Points to forecast.
    columns
        How to read frames.

    Attributes
    ----------
    season_length_
        Points in a season.
    sigma_
        Root mean square of the errors one season ahead, of shape (series,); without any, the root
        of twice the variance of the values, as if they did not depend on each other.
    n_errors_, df_resid_
        Number of these errors, and degrees of freedom of intervals by Student's t.

    Examples
    --------
    >>> from tsar import SeasonalNaive
    >>> SeasonalNaive(2, horizon=3).fit([1.0, 2.0, 3.0, 4.0]).predict()
    array([3., 4., 3.])
    """

    def __init__(
        self,
        season_length: int | None = None,
        *,
        horizon: int = 1,
        columns: Columns | None = None,
    ) -> None:
        self.season_length = season_length
        self.horizon = horizon
        self.columns = columns

    def _season(self, panel: Panel) -> int:
        if self.season_length is None:
            return panel.labels.frequency.season_length
        return check_integer("season_length", self.season_length)


def observed_variance(panel: Panel) -> Float[Tensor, " series"]:
    """Unbiased variance of the observed values of each series; NaN of a single one."""
    observed = ~panel.values.isnan()
    values, series = panel.values[observed], panel.series[observed]
    zeros = panel.values.new_zeros(len(panel))
    count = zeros.index_add(0, series, torch.ones_like(values))
    gap = values - (zeros.index_add(0, series, values) / count)[series]
    return zeros.index_add(0, series, gap.square()) / (count - 1)


def count_errors(panel: Panel, season_length: int) -> Int[Tensor, " series"]:
    """Number of pairs of observed points one season apart in each series."""
    observed, series = ~panel.values.isnan(), panel.series
    pairs = observed[season_length:] & observed[:-season_length]
    pairs = pairs & (series[season_length:] == series[:-season_length])
    return torch.bincount(series[season_length:][pairs], minlength=len(panel))


def repeat_season(
    values: Float[Tensor, "window time"], season_length: int, horizon: int
) -> Float[Tensor, "window horizon"]:
    """Newest observed value of each phase of the season, repeated over the horizon.

    A phase that was never observed takes the newest observed value of all.
    """
    window, time = values.shape
    seasons = values.reshape(window, time // season_length, season_length)
    newest = last_observed(seasons)
    newest = torch.where(newest.isnan(), last_observed(values[:, :, None]), newest)
    return newest.repeat(1, -(-horizon // season_length))[:, :horizon]


def last_observed(values: Float[Tensor, "window time phase"]) -> Float[Tensor, "window phase"]:
    """Newest observed value along the time axis; NaN where there is none."""
    steps = torch.arange(values.shape[1], device=values.device)[:, None]
    newest = torch.where(values.isnan(), -1, steps).amax(dim=1, keepdim=True)
    return values.gather(1, newest.clamp(min=0))[:, 0]
