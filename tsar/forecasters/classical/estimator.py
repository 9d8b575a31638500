"""Classical: exponential smoothing and autoregression, as statsmodels fits them."""

import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from torch import Tensor

from tsar.autoregression import horizon_map, psi_weights
from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.classical.smoothing import Smoothing, fit_smoothing, forecast_smoothing
from tsar.forecasters.forecast import Forecast
from tsar.intervals import gaussian_quantiles
from tsar.validation import check_integer

Floats = NDArray[np.float64]


class Classical(Forecaster):
    """Exponential smoothing or autoregression, each series by itself, as statsmodels fits them.

    What is fitted are the parameters. A forecast filters its whole context again with them, so
    that `predict(frame)` with newer history, and a backtest without refit, cost a filter and no
    fit.

    ``"ets"`` is the additive model of statsmodels' state-space `ExponentialSmoothing`: errors add,
    a damped trend where a series has 10 observed points, a season where it has two of them. The
    Kalman filter skips missing values. The states before the first point are those of a line and a
    seasonal pattern, by least squares on the first two seasons or on the whole context, whichever
    is likelier for the fitted series. Series that such a line fits exactly, or with fewer than 4
    points, keep the smoothing parameters that statsmodels starts from. A fit takes 0.2 s for 130
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
        A row for each series. ``"ets"``: smoothing of level, trend and season, then the damping of
        the trend; NaN where the series has no such part. ``"autoreg"``: the constant, then the
        lags from 1 on; 0 beyond the order of the series.
    initial_points_
        First points of a context that give the states before it; 0 for all. ``"ets"`` only.
    sigma_
        Standard deviation of the one-step errors of each series.
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
        self.initial_points_ = np.array([fit.initial_points for fit in fits])
        warn_unless_converged(panel, np.array([fit.converged for fit in fits]))

    def _fit_autoregression(self, panel: Panel, series: list[Floats]) -> None:
        for row, values in enumerate(series):
            self._check_series(panel, row, values)
        fit = delayed(fit_autoregression)
        fits = Parallel(self.n_jobs)(fit(v, self.order, self.season_length_ + 1) for v in series)
        self.params_ = np.zeros((len(fits), max(2, *(len(params) for params, _ in fits))))
        for row, (params, _) in enumerate(fits):
            self.params_[row, : len(params)] = params
        self.sigma_ = np.array([sigma for _, sigma in fits])

    def _check_series(self, panel: Panel, row: int, values: Floats) -> None:
        missing = np.flatnonzero(np.isnan(values))
        if len(missing):
            back = len(values) - int(missing[0])  # steps from the first missing point to the end
            frequency = panel.labels.frequency
            time = frequency.to_times(panel.end_ordinals(1)[[row]] - back * frequency.step)[0]
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
        known = fitted_rows(windows.panel, self.context_, type(self).__name__)
        rows = torch.from_numpy(known)[windows.series]
        forecast = self._smooth if self.model == "ets" else self._iterate
        point, deviation = forecast(windows, rows)
        if not levels:
            return Forecast(point, point[:, :, None][:, :, :0])
        return Forecast(point, gaussian_quantiles(point, deviation, levels))

    def _smooth(self, windows: Windows, rows: Int[Tensor, " window"]) -> tuple[Tensor, Tensor]:
        tasks = (
            delayed(forecast_smoothing)(values, fit, self.season_length_, windows.horizon)
            for values, fit in zip(contexts(windows), self._fits(rows), strict=True)
        )
        found = torch.from_numpy(np.stack(Parallel(self.n_jobs)(tasks)))
        return found[:, 0], found[:, 1]

    def _fits(self, rows: Int[Tensor, " window"]) -> Iterator[Smoothing]:
        for row in rows.tolist():
            points = int(self.initial_points_[row])
            yield Smoothing(self.params_[row], float(self.sigma_[row]), points, True)

    def _iterate(self, windows: Windows, rows: Int[Tensor, " window"]) -> tuple[Tensor, Tensor]:
        context = windows.batch(slice(None)).context.values
        self._check_contexts(windows, context, rows)
        params = torch.from_numpy(self.params_)
        coef = params[:, 1:]
        psi = psi_weights(coef, windows.horizon)
        weights = horizon_map(coef, windows.horizon).flip(2)
        point = (weights[rows] @ context.nan_to_num(0.0)[:, :, None])[:, :, 0]
        point = point + (params[:, :1] * psi.cumsum(1))[rows]
        deviation = torch.from_numpy(self.sigma_)[:, None] * psi.square().cumsum(1).sqrt()
        return point, deviation[rows]

    def _check_contexts(
        self, windows: Windows, context: Float[Tensor, "window time"], rows: Int[Tensor, " window"]
    ) -> None:
        """Refuse contexts that lack a point which the order of their series needs."""
        used = torch.from_numpy(self.params_)[:, 1:].flip(1) != 0
        lacking = (used[rows] & context.isnan()).any(dim=1)
        if lacking.any():
            window = int(lacking.nonzero()[0, 0])
            series = windows.panel.labels.ids[int(windows.series[window])]
            order = int(used[rows[window]].flip(0).nonzero().max()) + 1
            raise ValueError(
                f"frame must end in {order} observed points with model 'autoreg'; got fewer for "
                f"series {series!r}. Give more of its history, or use model='ets' or ARNet."
            )


def trim(values: Floats) -> Floats:
    """Values from the first observed one on."""
    return values[int(np.argmin(np.isnan(values))) :]


def contexts(windows: Windows) -> Iterator[Floats]:
    """Context of each window, without what is missing before it."""
    for batch in windows.batches(256):
        for values in batch.context.values.numpy():
            yield trim(values)


def warn_unless_converged(panel: Panel, converged: NDArray[np.bool_]) -> None:
    """One warning, where there is a reason for one, that names the first series."""
    if not converged.all():
        first = panel.labels.ids[int(np.flatnonzero(~converged)[0])]
        warnings.warn(
            f"statsmodels did not converge for {int((~converged).sum())} of {len(converged)} "
            f"series, first {first!r}: their forecasts are those of the best parameters found.",
            ConvergenceWarning,
            stacklevel=6,
        )


def fit_autoregression(values: Floats, order: int | None, season: int) -> tuple[Floats, float]:
    """Constant and lag coefficients of a complete series, and the deviation of its errors."""
    with warnings.catch_warnings():
        # Collinear lags (a line, a pure season): the shortest of the solutions is as good as any.
        warnings.simplefilter("ignore")
        lags = select_order(values, season) if order is None else order
        if not lags:
            return values.mean(keepdims=True), float(values.std())
        result = AutoReg(values, lags=lags, trend="c").fit()
    return np.asarray(result.params), float(np.sqrt(max(result.sigma2, 0.0)))


def select_order(values: Floats, season: int) -> int:
    """Order of the lowest BIC; 0 for a constant series, and for one too short to tell."""
    most = min(max(int(10 * np.log10(len(values))), season), len(values) // 2 - 1)
    if most < 1 or np.ptp(values) == 0:
        return 0
    lags = ar_select_order(values, most, ic="bic", trend="c").ar_lags
    return max(lags) if lags else 0
