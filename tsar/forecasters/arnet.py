"""ARNet: autoregression at any order, in closed form, with its sparse lags chosen by itself."""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.autoregression import (
    ClosedForm,
    Runs,
    Sparsity,
    Terms,
    complete_runs,
    fit_closed_form,
    gaussian_criteria,
    horizon_map,
    is_stable,
    psi_weights,
    roots,
)
from tsar.forecaster import Forecast, Forecaster, check_whole, fitted_rows
from tsar.intervals import gaussian_quantiles
from tsar.neural import (
    calibrate,
    check_training,
    draw_seed,
    forecast_in_units,
    held_back_windows,
    history_frame,
    resolve_device,
)
from tsar.nn.autoregression import AutoregressionModule, Loss
from tsar.panel import Columns, Panel
from tsar.plotting import plot_coefficients
from tsar.scaling import Scaling
from tsar.summary import coefficient_table, series_table
from tsar.training import Training, train
from tsar.windows import Windows

BLOCK = 64  # steps that one product gives; the recursion within is folded into the matrix
ROOM = 2**22  # elements of such matrices over all groups, 32 MB in float64


class ARNet(Forecaster):
    """Autoregression at any order: exact, sparse where that is better, and fast.

    Linear with squared loss it is least squares in closed form, in float64, for all series at
    once. What is not linear (`hidden`, another `loss`) starts from there and goes through the
    shared training loop, so that it never ends worse on the validation tail than it started.

    Parameters
    ----------
    context_length
        The order: lags 1 to `context_length` may enter.
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
        Contexts forecast at once: bounds the memory, changes no result.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    random_state
        Seed of the network and of the order of the windows.
    verbose
        Above 0: a progress bar.

    Attributes
    ----------
    coef_
        Coefficients, lag 1 first: (group, lag), or (group, horizon, lag) when direct. A group is a
        series in the order of their ids, or the one group of ``scope="global"``.
    intercept_
        Constants in the units of the series; of standardized series with ``scope="global"``.
    past_coef_, future_coef_
        Coefficients of the covariates: (..., covariate, lag) and (..., covariate).
    lags_
        Lags whose coefficient is not zero, a list for each group (of any step, when direct).
    coef_se_, past_coef_se_, future_coef_se_
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
    >>> noise = np.random.default_rng(0).normal(size=2000)
    >>> y = np.zeros(2000)
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
        context_length: int = 24,
        *,
        horizon: int = 1,
        strategy: Literal["recursive", "direct"] = "recursive",
        scope: Literal["local", "global"] = "local",
        sparsity: float | str | None = "auto",
        ridge: float = 0.0,
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
        self.hidden = hidden
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.training = training
        self.columns = columns
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- fit ----------------------------------------------------------------------------------

    def _fit(self, panel: Panel) -> None:
        self._check(panel)
        options = check_training(self.training)
        held = options.validation_points(panel.lengths, self._steps)
        held = held if self.holds_back else torch.zeros_like(held)
        known = panel.without_last(held) if self.holds_back else panel
        self.scaling_ = Scaling.of(known)
        self._scale_covariates(known)
        solution = self._solve(self.scaling_.apply(known))
        self.groups_ = len(solution.coef)
        self.sigma_scaled_ = solution.deviation
        self.delta_ = 1.0  # until the errors of the closed form are known
        if self.holds_back:
            seed = draw_seed(self.random_state)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.module_ = self._build()
            self._load(self.module_, solution)
            self._train(panel, known, held, options, seed)
        else:
            self.module_ = self._build()
            self._load(self.module_, solution)
            self._describe(solution)
        self._describe_map()

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: where something is trained."""
        return bool(self.hidden) or self.loss != "mse"

    @property
    def _steps(self) -> int:
        """Steps that have an equation of their own."""
        return self.horizon if self.strategy == "direct" else 1

    def _solve(self, scaled: Panel) -> ClosedForm:
        channels = torch.stack(
            [scaled.values, *self._standard_past(scaled).T, *self._standard_future(scaled).T]
        ).to(resolve_device(self.device))
        series = complete_runs(channels, scaled.offsets.to(channels.device))
        runs = series.pooled() if self.scope == "global" else series
        terms = self._terms(scaled)
        self._check_lengths(scaled, runs, terms)
        return fit_closed_form(channels, runs, terms, ridge=self.ridge, sparsity=self._sparsity)

    @property
    def _sparsity(self) -> Sparsity:
        if self.sparsity is None or self.sparsity == "auto":
            return None if self.sparsity is None else "auto"
        return None if self.sparsity == 1 else float(self.sparsity)

    def _terms(self, panel: Panel) -> Terms:
        columns = panel.labels.columns
        return Terms(self.context_length, self._steps, len(columns.past), len(columns.future))

    def _scale_covariates(self, panel: Panel) -> None:
        for kind in ("past", "future"):
            scaling = Scaling.of_contexts(getattr(panel, kind).T)
            setattr(self, f"{kind}_mean_", scaling.mean)
            setattr(self, f"{kind}_scale_", scaling.deviation)

    def _standard_past(self, panel: Panel) -> Float[Tensor, "time past"]:
        return (panel.past - self.past_mean_) / self.past_scale_

    def _standard_future(self, panel: Panel) -> Float[Tensor, "time future"]:
        return (panel.future - self.future_mean_) / self.future_scale_

    def _build(self) -> AutoregressionModule:
        """Make the module, from parameters and fitted attributes alone."""
        past, future = len(self.past_mean_), len(self.future_mean_)
        room = self.groups_ * self.context_length * BLOCK
        folded = self.strategy == "recursive" and not (self.holds_back or future or past)
        steps = min(self.horizon, BLOCK) if folded and room <= ROOM else self._steps
        module = AutoregressionModule(
            self.groups_,
            self.context_length,
            steps,
            past=past,
            future=future,
            hidden=tuple(self.hidden),
            loss=self.loss,
            levels=tuple(self.quantile_levels),
            delta=self.delta_,
        )
        return module if self.holds_back else module.double()

    def _load(self, module: AutoregressionModule, solution: ClosedForm) -> None:
        """Set the linear map to the closed form."""
        order, outputs = self.context_length, module.outputs
        coef, constant = solution.coef[:, :, :order], solution.intercept
        active = solution.active[:, :, :order]
        outside = solution.active[:, :, order:]
        if module.horizon > self._steps:
            psi = psi_weights(coef[:, 0], module.horizon)
            coef = horizon_map(coef[:, 0], module.horizon)
            constant, active = constant * psi.cumsum(dim=1), torch.ones_like(coef, dtype=torch.bool)
        width = len(self.past_mean_) * order
        past, used = (
            part[:, :, :width].unflatten(2, (-1, order)).flip(3).flatten(2)
            for part in (solution.coef[:, :, order:], outside)
        )
        spread = torch.zeros(1, dtype=torch.float64)
        if module.outputs > 1:
            spread = torch.special.ndtri(torch.tensor(self.quantile_levels, dtype=torch.float64))
        constant = constant[:, :, None] + spread * solution.deviation[:, :, None].to(constant)
        with torch.no_grad():
            module.lags.copy_(coef.flip(2).repeat_interleave(outputs, dim=1))
            module.active.copy_(active.flip(2).repeat_interleave(outputs, dim=1))
            module.past.copy_(past.repeat_interleave(outputs, dim=1))
            module.active_past.copy_(used.repeat_interleave(outputs, dim=1))
            module.future.copy_(solution.coef[:, :, None, order + width :].expand_as(module.future))
            module.active_future.copy_(outside[:, :, None, width:].expand_as(module.future))
            module.constant.copy_(constant.flatten(1))
            for name in ("past_mean", "past_scale", "future_mean", "future_scale"):
                getattr(module, name).copy_(getattr(self, f"{name}_"))

    def _train(
        self, panel: Panel, known: Panel, held: Tensor, options: Training, seed: int
    ) -> None:
        device = resolve_device(self.device)
        self.module_.to(device)
        scaled = self.scaling_.apply(panel).to(device, torch.float32)
        windows = Windows.complete(
            self.scaling_.apply(known).to(device, torch.float32), self.context_length, self._steps
        )
        if self.loss == "huber":
            # The median error, for outliers inflate the deviation that they are judged by.
            errors = calibrate(self.module_, windows, self.batch_size).scores
            self.delta_ = self.module_.delta = 1.345 * 1.4826 * float(errors.nanmedian())
        validation = held_back_windows(scaled, held, self.context_length, self._steps)
        history = train(
            self.module_, windows, validation, options, seed=seed, progress=self.verbose > 0
        )
        self.history_ = history_frame(history)
        ahead = held_back_windows(scaled, held, self.context_length, self._calibrated_horizon(held))
        self.calibration_ = calibrate(self.module_, ahead, self.batch_size)

    def _calibrated_horizon(self, held: Tensor) -> int:
        return max(min(self.horizon, int(held.max())), 1)

    # --- what was learned ---------------------------------------------------------------------

    def _describe(self, solution: ClosedForm) -> None:
        """Standard errors, deviation and criteria, in the units of the series."""
        scale = self._group_scale().deviation
        order, error = self.context_length, solution.error.cpu()
        width = len(self.past_mean_) * order
        past = error[:, :, order : order + width].unflatten(2, (-1, order))
        past = past * scale[:, None, None, None] / self.past_scale_[:, None]
        future = error[:, :, order + width :] * scale[:, None, None] / self.future_scale_
        self.coef_se_ = self._stepped(error[:, :, :order])
        self.past_coef_se_, self.future_coef_se_ = self._stepped(past), self._stepped(future)
        self.sigma_ = self._stepped(solution.deviation.cpu() * scale[:, None])
        power = solution.power[:, 0].cpu() * scale**2
        count = solution.count.cpu()
        criteria = gaussian_criteria(power, count, count - solution.freedom[:, 0].cpu())
        self.aic_, self.bic_ = criteria.aic.numpy(), criteria.bic.numpy()
        self.n_windows_ = solution.count.cpu().long().numpy()

    def _describe_map(self) -> None:
        """Coefficients of the linear map, in the units of the series."""
        module, order, scale = self.module_, self.context_length, self._group_scale()
        rows = slice(module.point, self._steps * module.outputs, module.outputs)
        weights = module.weights()
        lags, past, future, constant = (
            part.detach().cpu().double()
            for part in (weights.lags, weights.past, weights.future, module.constant)
        )
        lags = lags[:, rows].flip(2)
        past = past[:, rows].unflatten(2, (-1, order)).flip(3)
        past = past * scale.deviation[:, None, None, None] / self.past_scale_[:, None]
        future = future[:, : self._steps, module.point]
        future = future * scale.deviation[:, None, None] / self.future_scale_
        constant = constant[:, rows] * scale.deviation[:, None]
        constant = constant + scale.mean[:, None] * (1 - lags.sum(dim=2))
        constant = constant - past.sum(dim=3) @ self.past_mean_ - future @ self.future_mean_
        self.coef_ = self._stepped(lags)
        self.past_coef_, self.future_coef_ = self._stepped(past), self._stepped(future)
        self.intercept_ = self._stepped(constant)
        used = (lags != 0).any(dim=1)
        self.lags_ = [(row.nonzero()[:, 0] + 1).tolist() for row in used]

    def _group_scale(self) -> Scaling:
        """Units of the groups: those of each series, or none where all share one map."""
        if self.scope == "local":
            return self.scaling_
        one = torch.ones(1, dtype=torch.float64)
        return Scaling(one - 1, one)

    def _stepped(self, values: Tensor) -> np.ndarray:
        """Values (group, step, ...), without the step axis where there is one step only."""
        return (values[:, 0] if self.strategy == "recursive" else values).cpu().numpy()

    @property
    def roots_(self) -> np.ndarray:
        """Inverse roots of each group's characteristic polynomial; stable where all are below 1."""
        return roots(self._recursive_coef()).numpy()

    @property
    def is_stable_(self) -> np.ndarray:
        """Whether the recursion of each group dies out."""
        return is_stable(self._recursive_coef()).numpy()

    def _recursive_coef(self) -> Float[Tensor, "group lag"]:
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
        header, cells = self._header(), self._cells()
        if series is None and self.groups_ > 1:
            rows = [[str(name), *cells[row]] for row, name in enumerate(self._group_names())]
            return series_table(self._title(), ["series", *header], rows)
        row = self._group_row(series)
        facts = [("series", str(self._group_names()[row])), *zip(header, cells[row], strict=True)]
        names, coef, error = self._first_equation(row)
        return coefficient_table(self._title(), facts, names, coef, error)

    def _title(self) -> str:
        what = f"{self.strategy}, {self.scope}, order {self.context_length}"
        return f"ARNet ({what}, sparsity {self.sparsity}, loss {self.loss})"

    def _header(self) -> list[str]:
        closed = [] if self.holds_back else ["windows", "sigma", "AIC", "BIC"]
        return ["lags used", *closed, *(["stable"] if self.strategy == "recursive" else [])]

    def _cells(self) -> list[list[str]]:
        """What `_header` names, of each group."""
        columns = [[f"{len(lags)} of {self.context_length}" for lags in self.lags_]]
        if not self.holds_back:
            sigma = self.sigma_.reshape(self.groups_, -1)[:, 0]
            columns += [[str(n) for n in self.n_windows_], [f"{s:.4g}" for s in sigma]]
            columns += [[f"{value:.1f}" for value in of] for of in (self.aic_, self.bic_)]
        if self.strategy == "recursive":
            columns.append(["yes" if stable else "no" for stable in self.is_stable_])
        return [list(cells) for cells in zip(*columns, strict=True)]

    def _first_equation(self, row: int) -> tuple[list[str], np.ndarray, np.ndarray | None]:
        """Names, coefficients and errors of the terms that are not zero, of the first step."""

        def first(values: np.ndarray) -> np.ndarray:
            return np.ravel(values[row] if self.strategy == "recursive" else values[row, 0])

        columns, order = self._columns(), self.context_length
        past = [f"{name}.L{lag}" for name in columns.past for lag in range(1, order + 1)]
        names = ["const", *(f"y.L{lag}" for lag in range(1, order + 1)), *past, *columns.future]
        parts = [first(self.intercept_), first(self.coef_)]
        parts += [first(self.past_coef_), first(self.future_coef_)]
        coef = np.concatenate(parts)
        used = np.flatnonzero((coef != 0) | (np.arange(len(coef)) == 0))
        error = None
        if not self.holds_back:
            parts = [self.coef_se_, self.past_coef_se_, self.future_coef_se_]
            error = np.concatenate([[np.nan], *(first(part) for part in parts)])[used]
        return [names[k] for k in used], coef[used], error

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
        row = self._group_row(series)
        coef = np.atleast_2d(self.coef_[row])[0]
        error = None if self.holds_back else np.atleast_2d(self.coef_se_[row])[0]
        return plot_coefficients(coef, error, title=f"ARNet: {self._group_names()[row]}", ax=ax)

    def _group_names(self) -> list[Any]:
        return ["all series"] if self.scope == "global" else list(self.context_.labels.ids)

    def _group_row(self, series: Any) -> int:
        names = self._group_names()
        if series is None:
            return 0
        if series not in names:
            raise ValueError(
                f"series must be one of those fitted; got {series!r}. They are {names[:5]}."
            )
        return names.index(series)

    # --- forecast -----------------------------------------------------------------------------

    def _reach(self, panel: Panel) -> int:
        return self.context_length

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        fitted = self.context_.labels.ids.get_indexer(windows.panel.labels.ids)
        if self.scope == "local":
            fitted = fitted_rows(windows.panel, self.context_, "ARNet(scope='local')")
        rows = torch.from_numpy(np.asarray(fitted))

        def spread(point: Tensor, output: Tensor, series: Tensor) -> Tensor:
            return self._quantiles(point, output, series, levels)

        return forecast_in_units(
            self.module_,
            windows,
            rows,
            self.scaling_,
            spread if levels else None,
            batch_size=self.batch_size,
            device=resolve_device(self.device),
        )

    def _quantiles(
        self,
        point: Float[Tensor, "batch horizon"],
        output: Float[Tensor, "batch horizon output"],
        series: Int[Tensor, " batch"],
        levels: tuple[float, ...],
    ) -> Float[Tensor, "batch horizon level"]:
        """Quantiles in standardized units: fitted ones, conformal ones, or in closed form."""
        if self.loss == "quantile":
            return self._fitted_quantiles(output, levels)
        if self.holds_back:
            return self.calibration_.quantiles(point, levels)
        group = series if self.scope == "local" else torch.zeros_like(series)
        horizon = point.shape[1]
        sigma = self.sigma_scaled_.cpu()
        if self.strategy == "recursive":
            # Var of the h-step error is sigma^2 (psi_0^2 + ... + psi_{h-1}^2).
            present, member = group.unique(return_inverse=True)
            psi = psi_weights(torch.from_numpy(self.coef_)[present], horizon)
            growth = psi.square().cumsum(1).sqrt()[member]
            return gaussian_quantiles(point, sigma[group] * growth, levels)
        if horizon > self.horizon:
            raise ValueError(
                f"horizon must be at most {self.horizon} with intervals when direct; got {horizon}."
                " Fit with a longer horizon, or use strategy='recursive'."
            )
        return gaussian_quantiles(point, sigma[group, :horizon], levels)

    def _fitted_quantiles(
        self, output: Float[Tensor, "batch horizon output"], levels: tuple[float, ...]
    ) -> Float[Tensor, "batch horizon level"]:
        if output.shape[1] > self.horizon:
            raise ValueError(
                f"horizon must be at most {self.horizon} with intervals; got {output.shape[1]}: "
                "quantiles were trained no further. Fit with a longer horizon."
            )
        known = [round(float(level), 10) for level in self.quantile_levels]
        unknown = [level for level in levels if level not in known]
        if unknown:
            raise ValueError(
                f"quantile_levels must be among those fitted, {known}; got {unknown[0]}. "
                "Fit ARNet(quantile_levels=...) with it."
            )
        order = torch.tensor(known).argsort()
        rising = output[:, :, order].sort(dim=2).values  # quantiles must not cross
        place = [sorted(known).index(level) for level in levels]
        return rising[:, :, place].cpu().double()

    # --- border -------------------------------------------------------------------------------

    def _check(self, panel: Panel) -> None:
        check_whole("context_length", self.context_length)
        check_whole("batch_size", self.batch_size)
        _one_of("strategy", self.strategy, ("recursive", "direct"))
        _one_of("scope", self.scope, ("local", "global"))
        _one_of("loss", self.loss, ("mse", "huber", "quantile"))
        _check_hidden(self.hidden)
        _check_sparsity(self.sparsity, self.ridge)
        if self.loss == "quantile":
            _check_levels(self.quantile_levels)
        recursive = self.strategy == "recursive" and self.horizon > 1
        if recursive and panel.labels.columns.past:
            raise ValueError(
                f"strategy must be 'direct' with past covariates beyond one step, whose future "
                f"nobody knows; got 'recursive' with horizon {self.horizon}. Set it."
            )
        if recursive and self.loss == "quantile":
            raise ValueError(
                f"strategy must be 'direct' with loss='quantile' beyond one step; got 'recursive' "
                f"with horizon {self.horizon}. Set it."
            )

    def _check_lengths(self, panel: Panel, runs: Runs, terms: Terms) -> None:
        """Whether every group has the windows that its unknowns need."""
        windows = (runs.lengths - terms.max_lag).clamp(min=0)
        count = torch.zeros(runs.n_groups, dtype=torch.int64, device=windows.device)
        count = count.index_add(0, runs.group, windows).cpu()
        unknowns = self.context_length * (1 + terms.past) + terms.future + 1
        # AR-Net's penalty is in units of the noise, which least squares must be able to tell.
        penalized = self.ridge > 0 or self.sparsity == "auto"
        need = 2 if penalized else unknowns + 1
        if bool((count < need).any()):
            row = int((count < need).nonzero()[0, 0])
            name = self._describe_group(panel, row)
            points = need + terms.max_lag
            raise ValueError(
                f"series must have at least {points} points without a gap ({points} samples; one "
                f"gives 1 sample of {terms.max_lag + 1} points, {need} are needed) for "
                f"context_length={self.context_length}; got {int(count[row])} complete windows for "
                f"{name}. {self._remedy(penalized)}"
            )

    def _remedy(self, penalized: bool) -> str:
        others = ["scope='global'"] if self.scope == "local" else []
        others += [] if penalized else ["sparsity='auto'", "sparsity=None and a ridge"]
        others += ["a smaller Training(validation=...)"] if self.holds_back else []
        return f"Lower context_length{', or set ' if others else ''}{' or '.join(others)}."

    def _describe_group(self, panel: Panel, row: int) -> str:
        return "all series" if self.scope == "global" else f"series {panel.labels.ids[row]!r}"


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}; got {value!r}. Choose one.")


def _check_hidden(hidden: object) -> None:
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, Sequence):
        raise TypeError(
            f"hidden must be the widths of layers, such as (32,); got {hidden!r}. Give a tuple."
        )
    for width in hidden:
        check_whole("hidden", width)


def _check_levels(levels: object) -> None:
    numbers = list(levels) if isinstance(levels, Iterable) else []
    inside = all(isinstance(level, Real) and 0 < float(level) < 1 for level in numbers)
    if not inside or 0.5 not in numbers:
        raise ValueError(
            f"quantile_levels must lie in (0, 1), 0.5 among them; got {levels!r}. Add it."
        )


def _check_sparsity(sparsity: object, ridge: object) -> None:
    number = isinstance(sparsity, Real) and not isinstance(sparsity, bool)
    share = number and 0 < float(sparsity) <= 1  # type: ignore[arg-type]
    if not (sparsity is None or (isinstance(sparsity, str) and sparsity == "auto") or share):
        raise ValueError(
            f"sparsity must be None, 'auto' or a share in (0, 1]; got {sparsity!r}. Choose one."
        )
    if not isinstance(ridge, Real) or not 0 <= float(ridge) < float("inf"):
        raise ValueError(f"ridge must be at least 0 and finite; got {ridge!r}. Use 0 for none.")
    if ridge and sparsity is not None:
        raise ValueError(
            f"ridge must be 0 with a sparsity; got {ridge!r} and {sparsity!r}. Set sparsity=None."
        )
