"""ARNet: autoregression of any order in closed form, with automatic lag selection."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.autoregression import is_stable, roots
from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.scaling import Scaling, standardize
from tsar.data.windows import Windows
from tsar.forecasters.arnet.building import build_module
from tsar.forecasters.arnet.cleaning import clean_contexts, context_reach, read_outliers
from tsar.forecasters.arnet.closed_form import Scales, group_scaling
from tsar.forecasters.arnet.combination import SIGMA_LEVEL, fit_combination
from tsar.forecasters.arnet.equations import Equations, load_closed_form
from tsar.forecasters.arnet.fit import fit_equations
from tsar.forecasters.arnet.module import CONTEXT_ORDERS, AutoregressionModule, Loss, robust_delta
from tsar.forecasters.arnet.options import averages_maps, check_options
from tsar.forecasters.arnet.quantiles import closed_form_quantiles
from tsar.forecasters.arnet.report import coefficient_summary, draw_coefficients
from tsar.forecasters.arnet.statistics import set_statistics
from tsar.forecasters.base import Forecaster
from tsar.forecasters.fitting import (
    Prediction,
    calibrate,
    calibrate_held_back,
    check_training,
    forecast_in_units,
    held_back_windows,
    history_frame,
)
from tsar.forecasters.forecast import Forecast
from tsar.intervals import select_quantiles
from tsar.rollout import rollout
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed, seeded
from tsar.training import Training, train


class ARNet(Forecaster):
    """Autoregression of any order by least squares: exact, sparse where that is better, and fast.

    Without hidden layers it is fitted in float64, for all series at once: by least squares in
    closed form, or to the lags that this selects by the minimum of another `loss`. With `hidden`,
    training starts there and returns a model that is no worse on the validation tail. Gaps of a
    context are imputed by one-step forecasts, whose errors widen closed-form intervals.

    Parameters
    ----------
    order
        Number of lags: lags 1 to `order` may enter. None: a season and one lag, at least 24 (months
        and quarters: a year and one) and at most 800; for parts of a day a week and a day; with
        integers as times 24, or 200 for 500 points and more; for each series at most a third of
        its points (`scope="global"`: of the median series).
    horizon
        Points to forecast.
    strategy
        ``"recursive"``: one equation, its forecasts fed back, any horizon. ``"direct"``: an
        equation for each step of the horizon; robust where the order is wrong. Without an order
        the mean of ridge regressions on two contexts, up to 1/24 and 1/12 of a series, with and
        without its level: for long horizons of long series.
    scope
        ``"local"``: each series has its own coefficients. ``"global"``: all share one set, in units
        of each series' standard deviation; series that were not fitted can be forecast too. With
        ``strategy="direct"`` and no order, own and shared coefficients are blended.
    sparsity
        ``"auto"``: order and lags by an information criterion. None: all lags. A number in (0, 1]:
        the expected share of nonzero coefficients, with AR-Net's own penalty (equations 2-4); the
        selected ones are refitted without shrinkage.
    ridge
        Penalty on the squared standardized coefficients, at least 0; with `sparsity=None` only.
    bias_correction
        Whether to raise the sum of the coefficients, which least squares underestimates, by up to
        (1 + 3 sum) / n, to 1 at most (a random walk with drift), and to limit explosive roots
        unless growth is significant. ``"auto"``: for one equation with ``sparsity="auto"``.
    combine
        ``"auto"``: where nothing else about the equation is given and there is no covariate, the
        forecast is a weighted mean of the equation and others: of first and seasonal differences,
        without a seasonal profile, and exponential smoothing. Weights fall with the errors at
        earlier origins of the series itself, the faster the more there are. None: one equation.
    season_length
        Points in the season of the combination, or in several, 1 for none; None: usual ones of
        the frequency, and with integers as times those found in each series.
    pool
        Whether the intervals of the combination also count the errors of the other series, in
        units of what each states; for many short series that are alike. Point forecasts of a local
        model never depend on other series.
    hidden
        Widths of the hidden layers of a network on the lags and covariates, whose output is added
        to that of the linear map; empty: no network.
    loss
        ``"mse"``, ``"huber"`` (linear beyond 1.345 robust deviations of the residuals) or
        ``"quantile"``. With the last two outliers are read as missing, in `fit` and in contexts:
        points far from those around them and of the same season, shocks that decay among them. Up
        to 15 % of the points may thus be wrong by any amount. In `fit` so are points that the
        equation of their series, with no covariates, would not expect between the others.
    quantile_levels
        Levels in (0, 1) that ``loss="quantile"`` fits, 0.5 among them.
    training
        Options of training, with `hidden`; None for `Training()`.
        The share `validation` also selects the ridge of direct forecasts without an order.
    columns
        Names of the columns of frames; covariates enter linearly and into the network.
    inference_batch_size
        Maximum number of contexts that are forecast at once, fewer where memory is short; does not
        affect the result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of training; above 0: a progress bar.

    Attributes
    ----------
    coef_
        Coefficients, lag 1 first: (group, lag), or (group, horizon, lag) when direct. A group is a
        series in the order of their ids, or the one group of ``scope="global"``.
    intercept_
        Intercepts, (group,) or (group, horizon), in the units of the series; of standardized series
        with ``scope="global"``.
    past_coef_, future_coef_
        Coefficients of the covariates: (..., covariate, lag) and (..., covariate).
    lags_, order_
        List of the active lags (of any step, when direct) for each group; number of candidates.
    n_groups_, n_parameters_
        Number of groups; number of coefficients and intercepts, or of trained parameters.
    contexts_
        Lengths of the contexts of each series (one entry if global) of averaged direct
        regressions, whose standard errors and criteria are NaN; otherwise None.
    coef_std_err_, intercept_std_err_, past_coef_std_err_, future_coef_std_err_
        Standard errors, in the units of the coefficients; without `hidden` only, as those below.
        NaN of quantiles, as are their criteria.
    sigma_, nobs_, aic_, bic_
        Standard deviation of the residuals in the units of `intercept_`, a robust one with
        ``loss="huber"``, number of complete windows, and information criteria (when direct those
        of the first step).
    n_outliers_
        Points of each series that were read as missing, with a robust loss.
    combination_
        Members of the combination, their equations and weights; None for one equation.
    module_
        The fitted linear map and network, in standardized units.
    history_
        Losses of each epoch, if the model was trained.

    References
    ----------
    Triebe, Laptev & Rajagopal 2019, "AR-Net: A simple Auto-Regressive Neural Network for
    time-series" (arXiv 1911.12436).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import ARNet
    >>> noise, y = np.random.default_rng(0).normal(size=2000), np.zeros(2000)
    >>> for t in range(10, 2000):
    ...     y[t] = 0.2 * y[t - 1] + 0.3 * y[t - 3] - 0.5 * y[t - 10] + noise[t]
    >>> model = ARNet(20, horizon=3).fit(y)
    >>> model.lags_
    [[1, 3, 10]]
    >>> model.predict(level=80).shape
    (3, 3)
    """

    uses: ClassVar[frozenset[str]] = frozenset({"past", "future"})

    def __init__(
        self,
        order: int | None = None,
        *,
        horizon: int = 1,
        strategy: Literal["recursive", "direct"] = "recursive",
        scope: Literal["local", "global"] = "local",
        sparsity: float | int | Literal["auto"] | None = "auto",
        ridge: float = 0.0,
        bias_correction: bool | Literal["auto"] = "auto",
        combine: Literal["auto"] | None = "auto",
        season_length: int | Sequence[int] | None = None,
        pool: bool = False,
        hidden: Sequence[int] = (),
        loss: Loss = "mse",
        quantile_levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        training: Training | None = None,
        columns: Columns | None = None,
        inference_batch_size: int = 1024,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.order = order
        self.horizon = horizon
        self.strategy = strategy
        self.scope = scope
        self.sparsity = sparsity
        self.ridge = ridge
        self.bias_correction = bias_correction
        self.combine = combine
        self.season_length = season_length
        self.pool = pool
        self.hidden = hidden
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.training = training
        self.columns = columns
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, panel: Panel) -> None:
        check_options(self, panel.labels.columns.past)
        panel = read_outliers(self, panel)
        options = check_training(self.training)
        held = options.validation_points(panel.lengths, self.horizon)
        history = panel.without_last(held) if self.trains else panel
        self.scaling_, scaled = standardize(history)
        self.past_scaling_ = Scaling.of_contexts(history.past.T)
        self.future_scaling_ = Scaling.of_contexts(history.future.T)
        results, quantiles = fit_equations(self, scaled, held)
        del scaled  # as large as the data
        self.n_groups_ = len(results.coef)
        self.huber_delta_ = 1.0  # until the residuals of the closed form are known
        resumable = self.trains and options.checkpoint is not None
        seed = resolve_seed(self.random_state, resumable=resumable) if self.trains else 0
        with seeded(seed):
            self.module_ = self._build()
        load_closed_form(self.module_, results, self._steps, quantiles)
        if self.trains:
            self._train(panel, history, held, options, seed)
        else:
            set_statistics(self, results)
        self._set_coefficients()
        self.combination_ = fit_combination(self, panel)

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points for validation, at first or for good."""
        covariates = (self.columns or Columns()).covariates
        return self.trains or averages_maps(self, covariates)

    @property
    def trains(self) -> bool:
        """Whether the training loop fits the model: a network."""
        # Models that were saved earlier were also trained with other losses than squares.
        return bool(self.hidden) or hasattr(self, "calibration_")

    @property
    def _steps(self) -> int:
        return int(self.horizon) if self.strategy == "direct" else 1

    def _scales(self) -> Scales:
        series = group_scaling(self.scope, self.scaling_)
        return Scales(series, self.past_scaling_, self.future_scaling_)

    def _build(self) -> AutoregressionModule:
        """Make the module, from parameters and fitted attributes alone."""
        return build_module(self)

    def _train(
        self, panel: Panel, history: Panel, held: Tensor, options: Training, seed: int
    ) -> None:
        device = resolve_device(self.device)
        module = self.module_.to(device)
        scaled, scaled_history = (
            self.scaling_.apply(data).to(device, torch.float32) for data in (panel, history)
        )
        windows = Windows.sliding(scaled_history, self.order_, self._steps)
        if self.loss == "huber":
            errors = calibrate(module, windows, self.inference_batch_size).scores
            self.huber_delta_ = module.huber_delta = robust_delta(errors)
        validation = held_back_windows(scaled, held, self.order_, self._steps)
        epochs = train(module, windows, validation, options, seed=seed, progress=self.verbose > 0)
        self.history_ = history_frame(epochs)
        self.n_parameters_ = module.n_parameters
        steps = max(min(self.horizon, int(held.max())), 1)
        held_back = held_back_windows(scaled, held, self.order_, steps)
        trained = Windows.sliding(scaled_history, self.order_, steps)
        self.calibration_ = calibrate_held_back(
            module, held_back, trained, self.inference_batch_size
        )

    def _set_coefficients(self) -> None:
        fitted = Equations.from_module(self.module_, self._steps).in_data_units(self._scales())
        self.coef_, self.intercept_ = self._array(fitted.lags), self._array(fitted.intercept)
        self.past_coef_, self.future_coef_ = self._array(fitted.past), self._array(fitted.future)
        self.lags_ = fitted.active_lags()

    def _array(self, values: Tensor) -> np.ndarray:
        """Array of values (group, step, ...), without the step axis unless direct."""
        return (values[:, 0] if self.strategy == "recursive" else values).cpu().numpy()

    @property
    def roots_(self) -> np.ndarray:
        """Inverse roots of each group's characteristic polynomial; stable if all are inside 1."""
        return roots(self._recursion()).numpy()

    @property
    def is_stable_(self) -> np.ndarray:
        """Whether each group's recursion is stable; with coefficients that sum to 1 it is not."""
        return is_stable(self._recursion()).numpy()

    def _recursion(self) -> Float[Tensor, "group lag"]:
        check_is_fitted(self, "context_")
        if self.strategy == "direct":
            raise AttributeError("strategy must be 'recursive' for roots; got 'direct'. Set it.")
        return torch.from_numpy(self.coef_)

    def summary(self, series: Any = None) -> str:
        """Table of the coefficients of a series, or a row per series if there are several.

        Parameters
        ----------
        series
            Id of a series; None for the only one, or for a row per series.
        """
        check_is_fitted(self, "context_")
        return coefficient_summary(self, series)

    def plot_coefficients(self, series: Any = None, *, ax: Any = None) -> Any:
        """Plot the coefficient of each lag, with 95 % intervals in closed form.

        Parameters
        ----------
        series
            Id of a series; None for the first.
        ax
            Axes of matplotlib to plot on; None for new ones.

        Returns
        -------
        matplotlib.axes.Axes
        """
        check_is_fitted(self, "context_")
        return draw_coefficients(self, series, ax)

    def _reach(self, panel: Panel) -> int:
        reach = self.order_ if panel.gapless else CONTEXT_ORDERS * self.order_
        if getattr(self, "seasons_", None):  # models that were saved earlier lack it
            return max(CONTEXT_ORDERS * self.order_, context_reach(self.seasons_))
        combination = getattr(self, "combination_", None)
        return max(reach, combination.context_length) if combination else reach

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        name = "ARNet(scope='local')" if self.scope == "local" else None
        rows = torch.from_numpy(fitted_rows(windows.panel, self.context_, name))
        combination = getattr(self, "combination_", None)
        used = (SIGMA_LEVEL,) if combination else levels
        seasons = getattr(self, "seasons_", [])
        forecast = forecast_in_units(
            partial(rollout, self.module_),
            partial(self._quantiles, levels=used, gap=windows.gap) if levels else None,
            self.module_,
            windows,
            rows,
            self.scaling_,
            batch_size=self.inference_batch_size,
            device=resolve_device(self.device),
            clean=partial(clean_contexts, seasons=seasons) if seasons else None,
        )
        return combination.combine(forecast, windows, rows, levels) if combination else forecast

    def _quantiles(
        self, prediction: Prediction, *, levels: tuple[float, ...], gap: int
    ) -> Float[Tensor, "batch horizon level"]:
        """Quantiles in standardized units: fitted, conformal, or in closed form."""
        if self.loss == "quantile":
            output, fitted = prediction.output, self.quantile_levels
            return select_quantiles(output, fitted, levels, self.horizon, gap).cpu().double()
        if self.trains:
            return self.calibration_.quantiles(prediction.point, levels, gap)
        direct = gap if self.strategy == "direct" else None
        return closed_form_quantiles(
            self.module_, prediction.context, prediction.point, self.error_model_, levels, direct
        )
