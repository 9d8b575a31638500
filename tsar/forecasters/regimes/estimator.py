"""HMM: forecasts by Markov-switching models of levels or differences, in closed form."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.data.alignment import fitted_rows
from tsar.data.panel import Columns, Panel
from tsar.data.scaling import Scaling
from tsar.data.windows import Windows
from tsar.forecasters.base import Forecaster
from tsar.forecasters.forecast import Forecast
from tsar.forecasters.regimes.differencing import first_differences, fit_regimes
from tsar.forecasters.regimes.fitting import RegimeFitter
from tsar.forecasters.regimes.inference import filtered_probabilities, smoothed_probabilities
from tsar.forecasters.regimes.prediction import PredictiveDistribution
from tsar.forecasters.regimes.report import regime_summary, regime_table
from tsar.forecasters.regimes.season import deseasonalize_contexts
from tsar.forecasters.summary import series_row
from tsar.hmm.discrete.fitting import EMOptions
from tsar.hmm.discrete.selection import CRITERIA, Criterion
from tsar.hmm.observations import Observations
from tsar.hmm.selection import candidate_states
from tsar.plotting import plot_regimes
from tsar.runtime.devices import resolve_device
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within
from tsar.runtime.seeds import resolve_seed
from tsar.validation import POSITIVE, Constraint, check_parameters, integer, one_of, optional

MAX_CONTEXT_LENGTH = 1000  # default: filtered probabilities forget older points
CONSTRAINTS: dict[str, Constraint] = {
    "differences": one_of(("auto", 0, 1)),
    "scope": one_of(("local", "global")),
    "season_length": optional(integer(1)),
    "context_length": optional(integer(1)),
    "criterion": one_of(CRITERIA),
    "max_components": integer(1),
    "min_covar": POSITIVE,
    "n_init": integer(1),
    "n_iter": integer(1),
    "tol": POSITIVE,
    "verbose": integer(0),
}


class HMM(Forecaster):
    """Forecast by regimes: a Gaussian hidden Markov model of the levels or differences of a series.

    A forecast step is a mixture of normal distributions in closed form: its mean is the point
    forecast, its quantiles are found by inversion. A season is removed first, shrunk to what
    exceeds chance. Missing points are marginalized. Drifting series are modelled by regimes of
    growth. With a rare regime far from the others, the mean may lie outside an interval.

    Parameters
    ----------
    n_components
        Regimes; ``"auto"``: selected for each series among 1 to `max_components` by `criterion`.
    season_length
        Points in a season; None for what is usual at the frequency, 1 for none.
    horizon
        Points to forecast.
    differences
        1: regimes of the first differences, as of growth (Hamilton 1989); forecasts continue from
        the newest point, and quantiles are those of the sum of the differences. 0: regimes of the
        levels. ``"auto"``: whichever has the lower mean absolute one-step error. A difference next
        to a missing point is missing; series with less than two are modelled by their levels.
    scope
        ``"local"``: a model for each series. ``"global"``: one for all, each in units of its own
        standard deviation, which also forecasts series that were not fitted.
    context_length
        Points from which a forecast infers the regime and the season; None for the length of the
        longest series, at most 1000.
    max_components, criterion
        See `tsar.hmm.GaussianHMM`.
    min_covar
        Smallest variance of a regime, as a share of each series' variance (of a robust one, from
        the interquartile range, where outliers inflate it).
    n_init, n_iter, tol
        Random restarts, maximum EM iterations, and the gain in log likelihood at which EM stops;
        all restarts of all series run in one batch.
    columns
        How to read frames.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``: where to compute.
    random_state
        Seed of the restarts, and of sample paths.
    verbose
        1 shows a progress bar of EM where it takes longer than a second.

    Attributes
    ----------
    n_components_
        Regimes of each model, of shape (model,): one per series, or one with a global scope.
    differences_
        1 for models of differences, 0 for those of levels, of shape (model,).
    startprob_, transmat_
        Initial and transition probabilities, of shape (model, state) and (model, state, state).
        States are ordered by their means. A model with fewer states than others is padded with
        states of probability zero.
    means_, covars_
        Mean and variance of each state, of the levels or differences of each series without its
        season, in data units, of shape (series, state); NaN where the model lacks the state.
    n_parameters_
        Free parameters of each model, of shape (model,).
    selection_
        Scores of each number of regimes with ``"auto"``: a row for each series and candidate.
    season_length_, context_length_
        Points in a season, and of a context.

    References
    ----------
    Rabiner 1989, "A Tutorial on Hidden Markov Models"; Hamilton 1989, "A New Approach to the
    Economic Analysis of Nonstationary Time Series", for forecasts by regimes.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import HMM
    >>> series = np.repeat([0.0, 10.0] * 3, 50) + np.random.default_rng(0).normal(size=300)
    >>> model = HMM(2, horizon=2, random_state=0).fit(series)
    >>> model.predict().round(1)
    array([9.8, 9.6])
    >>> model.predict(level=80).round(1)[0]
    array([ 9.8,  8.6, 11.2])
    >>> model.means_.round(1)
    array([[0. , 9.9]])

    Ten steps up, ten down:

    >>> growth = np.repeat([1.0, -0.5] * 10, 10) + np.random.default_rng(0).normal(0, 0.1, 200)
    >>> model = HMM(2, horizon=3, random_state=0).fit(growth.cumsum())
    >>> print(model.summary())
    HMM
    series regime mean change     std % of time duration
         0      0     -0.5046 0.09697     52.38       11
         0      1       1.008 0.09533     47.62       10
    """

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        season_length: int | None = None,
        horizon: int = 1,
        differences: Literal["auto", 0, 1] = "auto",
        scope: Literal["local", "global"] = "local",
        context_length: int | None = None,
        max_components: int = 6,
        criterion: Criterion = "heldout",
        min_covar: float = 1e-8,
        n_init: int = 5,
        n_iter: int = 100,
        tol: float = 1e-2,
        columns: Columns | None = None,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.season_length = season_length
        self.horizon = horizon
        self.differences = differences
        self.scope = scope
        self.context_length = context_length
        self.max_components = max_components
        self.criterion = criterion
        self.min_covar = min_covar
        self.n_init = n_init
        self.n_iter = n_iter
        self.tol = tol
        self.columns = columns
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: never."""
        return False

    def _fit(self, panel: Panel) -> None:
        check_parameters("HMM", self, CONSTRAINTS)
        self.season_length_ = self.season_length or panel.labels.frequency.season_length
        longest = int(panel.lengths.max())
        self.context_length_ = self.context_length or min(longest, MAX_CONTEXT_LENGTH)
        self.seed_ = resolve_seed(self.random_state)
        fitter = RegimeFitter(
            candidate_states(self.n_components, self.max_components),
            self.criterion if self.n_components == "auto" else None,
            self.scope == "global",
            self.season_length_,
            EMOptions(self.n_iter, self.tol, progress=self.verbose > 0),
            self.n_init,
            self.min_covar,
            self.seed_,
            resolve_device(self.device),
        )
        models, _, selection = fit_regimes(fitter, panel, self.differences)
        self._models_ = models  # in standardized units
        self.n_components_ = models.n_components.numpy().copy()
        self.n_parameters_ = self.n_components_**2 - 1 + 2 * self.n_components_
        self.differences_ = models.differences.numpy().copy()
        self.startprob_ = models.startprob.numpy().copy()
        self.transmat_ = models.transmat.numpy().copy()
        means, variances = models.in_data_units(self._model_rows(torch.arange(len(panel))))
        self.means_, self.covars_ = means.numpy(), variances.numpy()
        if selection is not None:
            ids = panel.labels.ids if self.scope == "local" else pd.Index(["all series"])
            group = selection["group"]
            self.selection_ = selection.assign(
                group=ids[group].astype(str), differences=self.differences_[group]
            )

    def _model_rows(self, series: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """Row of the model of each series."""
        return torch.zeros_like(series) if self.scope == "global" else series

    def _reach(self, panel: Panel) -> int:
        return int(self.context_length_) + int(self.differences_.max())

    def _series_rows(self, panel: Panel) -> Int[Tensor, " series"]:
        """Row of each series among the fitted ones; -1 for others, with a global scope."""
        name = "HMM" if self.scope == "local" else None
        return torch.from_numpy(fitted_rows(panel, self.context_, name))

    def _standardize(
        self, values: Float[Tensor, "window time"], rows: Int[Tensor, " window"], horizon: int
    ) -> tuple[Scaling, Float[Tensor, "window time"], Float[Tensor, "window horizon"]]:
        """Scaling, standardized and deseasonalized contexts, and the season of the horizon."""
        scaling = self._models_.scaling.select_with_fallback(rows, Scaling.of_contexts(values))
        standard = scaling.scale(values)
        return scaling, *deseasonalize_contexts(standard, self.season_length_, horizon)

    def _predict(self, windows: Windows) -> Iterator[PredictiveDistribution]:
        """Predictive distributions of windows, in batches of bounded memory."""
        device = resolve_device(self.device)
        all_rows = self._series_rows(windows.panel)[windows.series]
        size = rows_within(BLOCK_ELEMENTS, 4 * self.context_length_ * self.means_.shape[1])
        for first in range(0, len(windows), size):
            batch, rows = slice(first, first + size), all_rows[first : first + size]
            values = windows.batch(batch).context.values
            differenced, modelled = self._is_differenced(rows), values
            if self.differences_.any():
                modelled = torch.where(differenced[:, None], values.diff(dim=1), values[:, 1:])
            scaling, standard, seasonal = self._standardize(modelled, rows, windows.horizon)
            models, has_state = self._models_.stationary(self._model_rows(rows), device)
            yield PredictiveDistribution(
                models,
                has_state,
                filtered_probabilities(models, has_state, standard.to(device)),
                seasonal.to(device),
                scaling,
                differenced.to(device),
                values[:, -1],
            )

    def _is_differenced(self, rows: Int[Tensor, " row"]) -> Bool[Tensor, " row"]:
        """Whether series are modelled by their differences."""
        return self._models_.differences[self._model_rows(rows)] > 0

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        empty = torch.empty(0, windows.horizon, dtype=torch.float64)
        points, quantiles = [empty], [empty[:, :, None].expand(-1, -1, len(levels))]
        for distribution in self._predict(windows):
            points.append(distribution.mean())
            quantiles.append(distribution.quantiles(levels))
        return Forecast(torch.cat(points), torch.cat(quantiles))

    @property
    def can_sample(self) -> bool:
        """Whether sample paths can be drawn: always."""
        return True

    def _sample(self, windows: Windows, n_samples: int) -> Float[Tensor, "window path horizon"]:
        differenced = self._is_differenced(self._series_rows(windows.panel)[windows.series])
        replace(windows, cutoffs=windows.cutoffs[differenced]).check_last_observed()
        generator = torch.Generator().manual_seed(self.seed_)
        # The same random numbers for every window, so that none depends on the others.
        shape, device = (n_samples, windows.horizon), resolve_device(self.device)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64).to(device)
        normal = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
        return torch.cat([found.sample(uniform, normal) for found in self._predict(windows)])

    def regimes(self, frame: Any = None) -> pd.DataFrame:
        """Smoothed probability of each regime at each point, given all points of the series.

        Parameters
        ----------
        frame
            Newer history of the fitted series, or others with a global scope; None for the end of
            the fitted series, `context_length` points.

        Returns
        -------
        frame
            Long: the id, the time, the value, ``regime`` (the most probable one, 0 for the lowest
            mean) and a column ``regime-0``, ``regime-1``, ... for the probability of each.
        """
        check_is_fitted(self, "context_")
        return self._regimes(self.context_ if frame is None else self._read(frame))

    def _regimes(self, panel: Panel) -> pd.DataFrame:
        rows, n_states = self._series_rows(panel), self.means_.shape[1]
        found = torch.zeros(len(panel.values), n_states, dtype=torch.float64)
        differenced = self._is_differenced(rows)[panel.series]
        values = torch.where(differenced, first_differences(panel).values, panel.values)
        for block in Observations(values[:, None], panel.offsets).blocks(4 * n_states):
            time = block.values.shape[1]
            # Right-aligned, as contexts are: the season is counted from the end.
            step = torch.arange(time) - (time - block.lengths)[:, None]
            inside, step = step >= 0, step.clamp(min=0)
            context = block.values[:, :, 0].gather(1, step).masked_fill(~inside, torch.nan)
            row = rows[block.sequences]
            _, standard, _ = self._standardize(context, row, 1)
            models, has_state = self._models_.stationary(self._model_rows(row), row.device)
            probabilities = smoothed_probabilities(models, has_state, standard)
            found[block.rows.gather(1, step)[inside]] = probabilities[inside]
        return regime_table(panel, found.numpy())

    def plot_regimes(self, series: Any = None, *, ax: Any = None) -> Any:
        """Plot a series, shaded by its most probable regime.

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
        names, ids = self._columns(), list(self.context_.labels.ids)
        row = series_row(ids, series)
        table = self._regimes(self.context_.select(np.array([row])))
        return plot_regimes(
            table[names.time],
            table[names.target].to_numpy(),
            table["regime"].to_numpy(),
            self.means_[row],
            differenced=bool(self._is_differenced(torch.tensor([row]))),
            title=f"HMM: {ids[row]}",
            ax=ax,
        )

    def summary(self) -> str:
        """Table of the regimes: mean, standard deviation, share of time and expected duration.

        With a global scope in units of each series' standard deviation around its mean.
        """
        check_is_fitted(self, "context_")
        if self.scope == "global":
            means, variances = self._models_.means, self._models_.variances
            return regime_summary(["all series"], self._models_, means, variances.sqrt())
        means, variances = torch.from_numpy(self.means_), torch.from_numpy(self.covars_)
        ids = list(self.context_.labels.ids)
        return regime_summary(ids, self._models_, means, variances.sqrt())
