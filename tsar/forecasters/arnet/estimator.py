"""ARNet: autoregression at any order, in closed form, with its sparse lags chosen by itself."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.autoregression import (
    ClosedForm,
    Terms,
    gaussian_criteria,
    is_stable,
    roots,
)
from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.scaling import Scaling, standardize
from tsar.data.windows import Windows
from tsar.forecasters.arnet.equations import (
    Equations,
    group_scale,
    load_closed_form,
    used_lags,
)
from tsar.forecasters.arnet.module import AutoregressionModule, Loss
from tsar.forecasters.arnet.options import (
    BRIDGE,
    CHECKED,
    check_options,
    check_recursion,
    choose_order,
    corrects,
    plain_sparsity,
)
from tsar.forecasters.arnet.quantiles import Errors, closed_form_quantiles
from tsar.forecasters.arnet.report import details, draw_coefficients, group_row, lines
from tsar.forecasters.arnet.solving import Scales, solve
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast
from tsar.forecasters.neural import (
    Shown,
    calibrate,
    check_training,
    forecast_in_units,
    held_back_windows,
    history_frame,
)
from tsar.intervals import select_quantiles
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed, seeded
from tsar.training import Training, train
from tsar.validation import check_integer

BLOCK = 64  # steps that one product gives; the recursion within is folded into the matrix
ROOM = 2**22  # elements of such matrices over all groups, 32 MB in float64


class ARNet(Forecaster):
    """Autoregression at any order: exact, sparse where that is better, and fast.

    Linear with squared loss it is least squares in closed form, in float64, for all series at
    once. What is not linear (`hidden`, another `loss`) starts from there and goes through the
    shared training loop, so that it never ends worse on the validation tail than it started. Gaps
    of a context are bridged by one-step forecasts, whose errors count in closed-form intervals.

    Parameters
    ----------
    context_length
        The order: lags 1 to `context_length` may enter. None: two seasons that are usual at the
        frequency, at least 24 (months and quarters: two years) and at most 800, of hours and
        quarters of them a week and a day; with integers as times 24, from 500 points on 200;
        at most a third of the shortest series.
    horizon
        Points to forecast.
    strategy
        ``"recursive"``: one equation, its forecasts fed back, any horizon. ``"direct"``: an
        equation for each step of the horizon; robust where the order is wrong.
    scope
        ``"local"``: each series has coefficients of its own. ``"global"``: all share one set, in
        units of each series' own deviation; series that were not fitted can be forecast too.
    sparsity
        ``"auto"``: order and lags by an information criterion. None: all lags. A number in (0, 1]:
        the share of lags expected to matter, with AR-Net's own penalty (equations 2-4); the
        survivors are refitted without shrinkage.
    ridge
        Penalty on the squared standardized coefficients; with `sparsity=None` only.
    bias_correction
        Whether the sum of the coefficients, which least squares finds too low, is raised by
        up to (1 + 3 sum) / n, to 1 at most (a random walk with drift), and growth kept from running
        away unless it is beyond doubt. ``"auto"``: of one equation with ``sparsity="auto"``.
    hidden
        Widths of a network on the lags and covariates, whose output is added to the linear map's.
    loss
        ``"mse"``, ``"huber"`` (linear beyond 1.345 deviations of the residuals, which their median
        size tells) or ``"quantile"``.
    quantile_levels
        Levels that ``loss="quantile"`` fits, 0.5 among them.
    training
        How to train what is not linear least squares; None for `Training()`.
    columns
        How to read frames; past and future covariates enter linearly and into the network.
    batch_size
        Most contexts that are forecast at once, fewer where memory is short: changes no result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of the network and of the windows' order; above 0: a bar.

    Attributes
    ----------
    coef_
        Coefficients, lag 1 first: (group, lag), or (group, horizon, lag) when direct. A group is a
        series in the order of their ids, or the one group of ``scope="global"``.
    intercept_
        Constants in the units of the series; of standardized series with ``scope="global"``.
    past_coef_, future_coef_
        Coefficients of the covariates: (..., covariate, lag) and (..., covariate).
    lags_, order_
        A list for each group of the lags in use (by any step, when direct), and the order.
    coef_se_, intercept_se_, past_coef_se_, future_coef_se_
        Standard errors of the coefficients; in closed form only, as are those below.
    sigma_, aic_, bic_, n_windows_
        Residual deviation, information criteria (when direct those of the first step), and the
        number of windows.
    module_
        The fitted map, in standardized units.
    history_
        Losses of each epoch, where something was trained.

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
        context_length: int | None = None,
        *,
        horizon: int = 1,
        strategy: Literal["recursive", "direct"] = "recursive",
        scope: Literal["local", "global"] = "local",
        sparsity: float | int | str | None = "auto",
        ridge: float = 0.0,
        bias_correction: bool | Literal["auto"] = "auto",
        hidden: Sequence[int] = (),
        loss: Loss = "mse",
        quantile_levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        training: Training | None = None,
        columns: Columns | None = None,
        batch_size: int = 1024,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.strategy = strategy
        self.scope = scope
        self.sparsity = sparsity
        self.ridge = ridge
        self.bias_correction = bias_correction
        self.hidden = hidden
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.training = training
        self.columns = columns
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, panel: Panel) -> None:
        self._check(panel)
        frequency, targets = panel.labels.frequency, panel.lengths - self._steps
        self.order_ = choose_order(self.context_length, frequency, targets)
        options = check_training(self.training)
        held = options.validation_points(panel.lengths, self.horizon)
        known = panel.without_last(held) if self.holds_back else panel
        self.scaling_, scaled = standardize(known)
        self.past_scaling_ = Scaling.of_contexts(known.past.T)
        self.future_scaling_ = Scaling.of_contexts(known.future.T)
        solution = self._solve(scaled)
        del scaled  # as large as the data
        self.groups_ = len(solution.coef)
        self.delta_ = 1.0  # until the errors of the closed form are known
        resumable = self.holds_back and options.checkpoint is not None
        seed = resolve_seed(self.random_state, resumable=resumable) if self.holds_back else 0
        with seeded(seed):
            self.module_ = self._build()
        load_closed_form(self.module_, solution, self._steps, self.quantile_levels)
        if self.holds_back:
            self._train(panel, known, held, options, seed)
        else:
            self._describe(solution)
        self._describe_map()

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: where something is trained."""
        return bool(self.hidden) or self.loss != "mse"

    @property
    def _steps(self) -> int:
        return int(self.horizon) if self.strategy == "direct" else 1

    def _solve(self, scaled: Panel) -> ClosedForm:
        scales = self._scales()
        return solve(
            scaled,
            scales,
            Terms(self.order_, self._steps, *(len(scale.mean) for scale in scales[1:])),
            resolve_device(self.device),
            local=self.scope == "local",
            held=self.holds_back,
            corrected=corrects(self.bias_correction, self.sparsity, self.strategy, self.holds_back),
            sparsity=plain_sparsity(self.sparsity),
            ridge=self.ridge,
        )

    def _scales(self) -> Scales:
        own = group_scale(self.scope, self.scaling_)
        return Scales(own, self.past_scaling_, self.future_scaling_)

    def _build(self) -> AutoregressionModule:
        """Make the module, from parameters and fitted attributes alone."""
        past, future = len(self.past_scaling_.mean), len(self.future_scaling_.mean)
        most = min(int(self.horizon), BLOCK)
        folded = self.strategy == "recursive" and not (self.holds_back or future or past)
        steps = most if folded and self.groups_ * self.order_ * most <= ROOM else self._steps
        module = AutoregressionModule(
            self.groups_,
            self.order_,
            steps,
            past=past,
            future=future,
            hidden=tuple(self.hidden),
            loss=self.loss,
            levels=tuple(self.quantile_levels),
            delta=self.delta_,
        )
        module = module if self.holds_back else module.double()
        for kind, scaling in (("past", self.past_scaling_), ("future", self.future_scaling_)):
            getattr(module, f"{kind}_mean").copy_(scaling.mean)
            getattr(module, f"{kind}_scale").copy_(scaling.deviation)
        return module

    def _train(
        self, panel: Panel, known: Panel, held: Tensor, options: Training, seed: int
    ) -> None:
        device = resolve_device(self.device)
        self.module_.to(device)
        scaled = self.scaling_.apply(panel).to(device, torch.float32)
        windows = Windows.sliding(
            self.scaling_.apply(known).to(device, torch.float32), self.order_, self._steps
        )
        if self.loss == "huber":
            # The median error, for outliers inflate the deviation that they are judged by.
            errors = calibrate(self.module_, windows, self.batch_size).scores
            self.delta_ = self.module_.delta = 1.345 * 1.4826 * float(errors.nanmedian())
        validation = held_back_windows(scaled, held, self.order_, self._steps)
        history = train(
            self.module_, windows, validation, options, seed=seed, progress=self.verbose > 0
        )
        self.history_ = history_frame(history)
        steps = max(min(self.horizon, int(held.max())), 1)
        ahead = held_back_windows(scaled, held, self.order_, steps)
        self.calibration_ = calibrate(self.module_, ahead, self.batch_size)

    def _describe(self, solution: ClosedForm) -> None:
        """Standard errors, deviation and criteria, in the units of the series."""
        scales, none = self._scales(), torch.zeros_like(solution.intercept)
        error = Equations.of_terms(solution.error, none, self.order_, len(scales.past.mean))
        error, scale = error.in_units(*scales), scales.series
        self.errors_ = Errors.of(solution)
        self.coef_se_ = self._stepped(error.lags)
        self.past_coef_se_, self.future_coef_se_ = map(self._stepped, (error.past, error.future))
        self.intercept_se_ = self._stepped(solution.intercept_error * scale.deviation[:, None])
        self.sigma_ = self._stepped(solution.deviation * scale.deviation[:, None])
        power = solution.power[:, 0] * scale.deviation**2
        criteria = gaussian_criteria(power, solution.count, solution.count - solution.freedom[:, 0])
        self.aic_, self.bic_ = criteria.aic.numpy(), criteria.bic.numpy()
        self.n_windows_ = solution.count.long().numpy()

    def _describe_map(self) -> None:
        fitted = Equations.of_module(self.module_, self._steps).in_units(*self._scales())
        self.coef_, self.intercept_ = self._stepped(fitted.lags), self._stepped(fitted.constant)
        self.past_coef_, self.future_coef_ = map(self._stepped, (fitted.past, fitted.future))
        self.lags_ = used_lags(fitted.lags)

    def _stepped(self, values: Tensor) -> np.ndarray:
        """Values (group, step, ...), without the step axis where there is one step only."""
        return (values[:, 0] if self.strategy == "recursive" else values).cpu().numpy()

    @property
    def roots_(self) -> np.ndarray:
        """Inverse roots of each group's characteristic polynomial; stable where all are below 1."""
        return roots(self._recursion()).numpy()

    @property
    def is_stable_(self) -> np.ndarray:
        """Whether the recursion of each group dies out; with a persistence of 1 it does not."""
        return is_stable(self._recursion()).numpy()

    def _recursion(self) -> Float[Tensor, "group lag"]:
        check_is_fitted(self, "context_")
        if self.strategy == "direct":
            raise AttributeError("a direct ARNet has no recursion, so no roots; use 'recursive'.")
        return torch.from_numpy(self.coef_)

    def summary(self, series: Any = None) -> str:
        """Table of the coefficients of a series, or a line for each series where there are many.

        Parameters
        ----------
        series
            Id of a series; None for the only one, or for the line of each.
        """
        check_is_fitted(self, "context_")
        names = self._group_names()
        if series is None and self.groups_ > 1:
            return lines(self, names)
        return details(self, names, group_row(names, series), self._columns())

    def plot_coefficients(self, series: Any = None, *, ax: Any = None) -> Any:
        """Plot the coefficient of each lag, with 95 % intervals where they are known.

        Parameters
        ----------
        series
            Id of a series; None for the first.
        ax
            Axes of matplotlib to draw on; None for new ones.

        Returns
        -------
        matplotlib.axes.Axes
        """
        check_is_fitted(self, "context_")
        return draw_coefficients(self, self._group_names(), series, ax)

    def _group_names(self) -> list[Any]:
        return ["all series"] if self.scope == "global" else list(self.context_.labels.ids)

    def _reach(self, panel: Panel) -> int:
        return self.order_ if panel.gapless else BRIDGE * self.order_

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        known = self.context_.labels.ids.get_indexer(windows.panel.labels.ids)
        if self.scope == "local":  # or an error
            fitted_rows(windows.panel, self.context_, "ARNet(scope='local')")
        return forecast_in_units(
            self.module_,
            windows,
            torch.from_numpy(known),
            self.scaling_,
            partial(self._quantiles, levels=levels, lead=windows.lead) if levels else None,
            batch_size=self.batch_size,
            device=resolve_device(self.device),
        )

    def _quantiles(
        self, shown: Shown, *, levels: tuple[float, ...], lead: int
    ) -> Float[Tensor, "batch horizon level"]:
        """Quantiles in standardized units: fitted ones, conformal ones, or in closed form."""
        if self.loss == "quantile":
            picked = select_quantiles(
                shown.output, self.quantile_levels, levels, self.horizon, lead
            )
            return picked.cpu().double()
        if self.holds_back:
            return self.calibration_.quantiles(shown.point, levels, lead)
        # A model that was saved earlier has the deviations alone.
        errors = getattr(self, "errors_", None) or Errors.of_deviation(self.sigma_scaled_)
        direct = lead if self.strategy == "direct" else None
        return closed_form_quantiles(
            self.module_, shown.context, shown.point, errors, levels, direct
        )

    def _check(self, panel: Panel) -> None:
        check_integer("batch_size", self.batch_size)
        check_options(**{name: getattr(self, name) for name in CHECKED})
        if self.strategy == "recursive":
            check_recursion(self.horizon, self.loss, panel.labels.columns.past)
