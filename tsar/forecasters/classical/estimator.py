"""Classical: exponential smoothing and autoregression of statsmodels, one series at a time."""

import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.autoregression import horizon_map, psi_weights
from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.classical.autoregression import fit_autoregression
from tsar.forecasters.classical.smoothing import fit_smoothing, forecast_smoothing
from tsar.forecasters.forecast import Forecast
from tsar.forecasters.summary import series_table
from tsar.intervals import gaussian_quantiles
from tsar.validation import check_integer

Floats = NDArray[np.float64]


class Classical(Forecaster):
    """Exponential smoothing or autoregression of statsmodels, fitted to each series by itself.

    `fit` estimates the parameters. A forecast filters its whole context with them, so that
    `predict(frame)` with newer history, and a backtest without refit, cost a filter and no fit.

    ``"ets"`` is the additive model of statsmodels' state-space `ExponentialSmoothing`: errors add,
    a damped trend where a series has 10 observed points, a season where it has two seasons of
    them. The Kalman filter skips missing values. The initial states are those of a line and
    seasonal effects, by least squares on the first two seasons or on the whole context, whichever
    is likelier for the fitted series. Series that such a line fits exactly, or with fewer than 4
    points, keep the initial smoothing parameters of statsmodels. A fit takes 0.2 s for 130
    points of a season of 12, but 5 s for 2000 of 52: shorter `season_length` or `n_jobs` help.

    ``"autoreg"`` is `AutoReg`: a constant and lags, by least squares. It can't skip missing values;
    those before the first observed one are dropped.

    Parameters
    ----------
    model
        ``"ets"`` or ``"autoreg"``.
    season_length
        Points in a season; None for what is usual at the frequency. With ``"autoreg"``, lags up to
        one more than a season are tried.
    order
        Lags of ``"autoreg"``; None for the number that has the lowest BIC, up to ten times the
        decimal logarithm of the length, or a season and one. None with ``"ets"``.
    horizon
        Points to forecast.
    columns
        How to read frames.
    n_jobs
        Processes that fit and forecast series, as in joblib; None for one.

    Attributes
    ----------
    params_
        Of shape (series, parameter). ``"ets"``: smoothing of level (alpha), trend (beta) and season
        (gamma), then the damping of the trend (phi); NaN where the model of a series has no such
        component. ``"autoreg"``: the constant, then the coefficients, lag 1 first; 0 beyond the
        order of the series.
    order_
        Lags of each series, of shape (series,). ``"autoreg"`` only.
    initial_points_
        First points of a context that determine its initial states; 0 for all. ``"ets"`` only.
    sigma_
        Standard deviation of the one-step errors, of shape (series,).
    aic_
        Akaike information criterion as in statsmodels, of shape (series,); NaN where nothing was
        estimated.
    season_length_
        Points in a season.

    References
    ----------
    Hyndman, Koehler, Ord & Snyder 2008, "Forecasting with Exponential Smoothing", chapters 2-5.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import Classical
    >>> wave = 10 + np.sin(np.arange(48) * 2 * np.pi / 12)
    >>> Classical(season_length=12, horizon=3).fit(wave).predict().round(2)
    array([10. , 10.5 , 10.87])
    """

    def __init__(
        self,
        model: Literal["ets", "autoreg"] = "ets",
        *,
        season_length: int | None = None,
        order: int | None = None,
        horizon: int = 1,
        columns: Columns | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.season_length = season_length
        self.order = order
        self.horizon = horizon
        self.columns = columns
        self.n_jobs = n_jobs

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: never."""
        return False

    def _fit(self, panel: Panel) -> None:
        self._check()
        self.season_length_ = self.season_length or panel.labels.frequency.season_length
        series = [trim(values.numpy()) for values in panel.values.split(panel.lengths.tolist())]
        if self.model == "ets":
            self._fit_smoothing(panel, series)
        else:
            self._fit_autoregression(panel, series)

    def _check(self) -> None:
        if self.model not in ("ets", "autoreg"):
            raise ValueError(f"model must be 'ets' or 'autoreg'; got {self.model!r}. Choose one.")
        if self.season_length is not None:
            check_integer("season_length", self.season_length)
        if self.order is not None:
            check_integer("order", self.order)
        if self.order is not None and self.model == "ets":
            raise ValueError(
                f"order must be None with model 'ets', which has no lags; got {self.order!r}. "
                "Leave it out, or use model='autoreg'."
            )

    def _fit_smoothing(self, panel: Panel, series: list[Floats]) -> None:
        fit = delayed(fit_smoothing)
        fits = Parallel(self.n_jobs)(fit(values, self.season_length_) for values in series)
        self.params_ = np.stack([fit.params for fit in fits])
        self.sigma_ = np.array([fit.sigma for fit in fits])
        self.aic_ = np.array([fit.aic for fit in fits])
        self.initial_points_ = np.array([fit.initial_points for fit in fits])
        warn_unless_converged(panel, np.array([fit.converged for fit in fits]))

    def _fit_autoregression(self, panel: Panel, series: list[Floats]) -> None:
        for row, values in enumerate(series):
            self._check_series(panel, row, values)
        fit = delayed(fit_autoregression)
        fits = Parallel(self.n_jobs)(fit(v, self.order, self.season_length_ + 1) for v in series)
        self.order_ = np.array([len(fit.params) - 1 for fit in fits])
        self.params_ = np.zeros((len(fits), 1 + max(1, int(self.order_.max()))))
        for row, fitted in zip(self.params_, fits, strict=True):
            row[: len(fitted.params)] = fitted.params
        self.sigma_ = np.array([fit.sigma for fit in fits])
        self.aic_ = np.array([fit.aic for fit in fits])

    def _check_series(self, panel: Panel, row: int, values: Floats) -> None:
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            steps = len(values) - int(missing[0])  # from the first missing point to the end
            frequency = panel.labels.frequency
            time = frequency.to_times(panel.end_ordinals(1)[[row]] - steps * frequency.step)[0]
            raise ValueError(
                f"frame must have no missing values with model 'autoreg'; got {len(missing)} for "
                f"series {panel.labels.ids[row]!r}, first at {time}. Use model='ets' or ARNet, "
                "which skip them."
            )
        if self.order is not None and len(values) < 2 * self.order + 2:
            raise ValueError(
                f"order must leave more points than it has coefficients; got {self.order} with "
                f"{len(values)} points for series {panel.labels.ids[row]!r}. Lower it to "
                f"{max(len(values) // 2 - 1, 1)}, or give {2 * self.order + 2} points."
            )

    def _reach(self, panel: Panel) -> int:
        return int(panel.lengths.max()) if self.model == "ets" else self.params_.shape[1] - 1

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        fitted = fitted_rows(windows.panel, self.context_, type(self).__name__)
        rows = torch.from_numpy(fitted)[windows.series]
        forecast = self._smooth if self.model == "ets" else self._iterate
        point, std = forecast(windows, rows)
        return Forecast(point, gaussian_quantiles(point, std, levels))

    def _smooth(self, windows: Windows, rows: Int[Tensor, " window"]) -> tuple[Tensor, Tensor]:
        forecast = delayed(forecast_smoothing)
        columns = self.params_, self.sigma_.tolist(), self.initial_points_.tolist()
        fitted = list(zip(*columns, strict=True))
        tasks = (
            forecast(values, *fitted[row], self.season_length_, windows.horizon)
            for values, row in zip(contexts(windows), rows.tolist(), strict=True)
        )
        found = torch.from_numpy(np.stack(Parallel(self.n_jobs)(tasks)))
        return found[:, 0], found[:, 1]

    def _iterate(self, windows: Windows, rows: Int[Tensor, " window"]) -> tuple[Tensor, Tensor]:
        context = windows.batch(slice(None)).context.values
        self._check_contexts(windows, context, rows)
        params = torch.from_numpy(self.params_)
        coef = params[:, 1:]
        psi = psi_weights(coef, windows.horizon)
        weights = horizon_map(coef, windows.horizon).flip(2)
        point = (weights[rows] @ context.nan_to_num(0.0)[:, :, None])[:, :, 0]
        point = point + (params[:, :1] * psi.cumsum(1))[rows]
        std = torch.from_numpy(self.sigma_)[:, None] * psi.square().cumsum(1).sqrt()
        return point, std[rows]

    def _check_contexts(
        self, windows: Windows, context: Float[Tensor, "window time"], rows: Int[Tensor, " window"]
    ) -> None:
        """Refuse contexts in which a lag that the series uses is missing."""
        used = torch.from_numpy(self.params_)[:, 1:].flip(1) != 0
        incomplete = (used[rows] & context.isnan()).any(dim=1)
        if incomplete.any():
            window = int(incomplete.nonzero()[0, 0])
            series = windows.panel.labels.ids[int(windows.series[window])]
            order = int(used[rows[window]].flip(0).nonzero().max()) + 1
            raise ValueError(
                f"frame must end in {order} observed points with model 'autoreg'; got fewer for "
                f"series {series!r}. Give more of its history, or use model='ets' or ARNet."
            )

    def summary(self) -> str:
        """Table with the model of each series: its parameters, error and AIC.

        ``"ets"``: alpha, beta and gamma smooth level, trend and season, phi damps the trend; a dash
        marks a component that the model lacks. ``"autoreg"``: order, constant, and the sum of the
        coefficients.
        """
        check_is_fitted(self, "context_")
        if self.model == "ets":
            header = ["alpha", "beta", "gamma", "phi"]
            values = self.params_
            names = [
                f"ETS(A,{'N' if np.isnan(beta) else 'Ad'},{'N' if np.isnan(gamma) else 'A'})"
                for _, beta, gamma, _ in self.params_
            ]
        else:
            header = ["const", "sum of coef"]
            values = np.stack([self.params_[:, 0], self.params_[:, 1:].sum(axis=1)], axis=1)
            names = [f"AR({order})" for order in self.order_]
        table = np.column_stack([values, self.sigma_, self.aic_])
        rows = [
            [str(series), name, *("-" if np.isnan(x) else f"{x:.4g}" for x in numbers)]
            for series, name, numbers in zip(self.context_.labels.ids, names, table, strict=True)
        ]
        title = f"Classical ({self.model}, season length {self.season_length_})"
        return series_table(title, ["series", "model", *header, "sigma", "AIC"], rows)


def trim(values: Floats) -> Floats:
    """Values from the first observed one on."""
    return values[int(np.argmin(np.isnan(values))) :]


def contexts(windows: Windows) -> Iterator[Floats]:
    """Context of each window, from its first observed value on."""
    for batch in windows.batches(256):
        for values in batch.context.values.numpy():
            yield trim(values)


def warn_unless_converged(panel: Panel, converged: NDArray[np.bool_]) -> None:
    """Warn once of series whose fit did not converge, and name the first."""
    if not converged.all():
        first = panel.labels.ids[int(np.flatnonzero(~converged)[0])]
        warnings.warn(
            f"statsmodels did not converge for {int((~converged).sum())} of {len(converged)} "
            f"series, first {first!r}: their forecasts are those of the best parameters found.",
            ConvergenceWarning,
            stacklevel=6,
        )
