"""HMM: forecasts of series that switch between regimes, as mixtures in closed form."""

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
from tsar.forecasters.regimes.ahead import Standing, changes
from tsar.forecasters.regimes.differencing import Modelled, several_changes, with_changes
from tsar.forecasters.regimes.drift import warn_of_drift
from tsar.forecasters.regimes.regimes import (
    lasting,
    regime_numbers,
    regime_summary,
    regime_table,
    states_now,
    states_within,
)
from tsar.forecasters.regimes.search import Search
from tsar.forecasters.regimes.season import less_season, without_season
from tsar.hmm.discrete.fitting import Grouped, Rules
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.selection import CRITERIA, Criterion
from tsar.hmm.em import take
from tsar.hmm.observations import Observations
from tsar.hmm.selection import candidate_states
from tsar.plotting import plot_regimes
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed
from tsar.validation import POSITIVE, Constraint, check_integer, check_parameters, integer, one_of

MOST_CONTEXT = 1000  # points that regimes are filtered over: they forget sooner
NUMBERS = 1 << 22  # float64 of a batch of windows


class HMM(Forecaster):
    """Forecast by regimes: each has a level and a spread, and one follows another by chance.

    The forecast of a step is a mixture of normal distributions, known in closed form: its mean is
    the point forecast, its quantiles are found by inversion. A season is taken off first, as far as
    it is more than chance. Missing points are summed out. Series that drift are forecast by regimes
    of growth. Where a regime is rare and far off, the mean may lie outside an interval.

    Parameters
    ----------
    n_components
        Regimes; ``"auto"``: chosen for each series among 1 to `max_components` by `criterion`.
    season_length
        Points in a season; None for what is usual at the frequency, 1 for none.
    horizon
        Points to forecast.
    differences
        1: regimes of the changes from a point to the next, as of growth (Hamilton 1989); forecasts
        run on from the newest point, and quantiles are those of the sum of the changes. 0: regimes
        of the values. ``"auto"``: of what has the lower mean absolute error of the next point. A
        change beside a missing point is missing; series with less than two are of their values.
    scope
        ``"local"``: a model for each series. ``"global"``: one for all, each in units of its own
        deviation, which also forecasts series that were not fitted.
    context_length
        Points that regimes are told from, and the season; None for the longest series, at most
        1000.
    max_components, criterion
        See `tsar.hmm.GaussianHMM`.
    min_covar
        Least variance of a regime, in units of each series' variance (of its middle half, where
        wild values widen it).
    n_init, n_iter, tol
        Starts, steps, and the gain at which they end; all starts of all series are one batch.
    columns
        How to read frames.
    device
        ``"cpu"``, ``"cuda"``, ``"auto"``: where to compute.
    random_state
        Seed of the starts, and of sample paths.

    Attributes
    ----------
    n_components_
        Regimes of each model.
    differences_
        1 for models of changes, 0 for those of values.
    startprob_, transmat_, means_, covars_
        Of each model (series, or 1 with a global scope): start and transition probabilities, and
        means and variances in units of a series' deviation around its mean (or of its changes).
        States are ordered by their mean; those behind the last of a model have probability zero.
    selection_
        What was measured of each number of regimes with ``"auto"``: a row a series and candidate.

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

    Ten steps up, ten down:

    >>> growth = np.repeat([1.0, -0.5] * 10, 10) + np.random.default_rng(0).normal(0, 0.1, 200)
    >>> model = HMM(2, horizon=3, random_state=0).fit(growth.cumsum())
    >>> print(model.summary())
    HMM
    series regime change a step deviation % of time steps
         0      0       -0.5046   0.09697     52.38    11
         0      1         1.008   0.09533     47.62    10
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
        device: str = "cpu",
        random_state: int | None = None,
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

    @property
    def holds_back(self) -> bool:
        """Whether `fit` holds back the newest points: never."""
        return False

    def _fit(self, panel: Panel) -> None:
        search = self._search()
        self.season_length_ = self.season_length or panel.labels.frequency.season_length
        self.context_length_ = self.context_length or min(int(panel.lengths.max()), MOST_CONTEXT)
        moved, group = changes(panel), self._owners(torch.arange(len(panel)))
        able = several_changes(moved, group)
        if self.differences == 1 and bool(able.all()):
            found, rows = self._model(moved, search), torch.arange(len(able))
        else:
            found, rows = self._model(panel, search), torch.arange(0)
            if self.differences == 0:
                warn_of_drift(found.data, found.learned, panel.labels.ids)
            elif bool(able.any()):
                part = self._model(moved.select(able[group].nonzero()[:, 0].numpy()), search)
                always = self.differences == 1
                found, rows = with_changes(found, part, able.nonzero()[:, 0], always=always)
        self.scaling_, _, (known, self.n_components_, table) = found
        self.differences_ = torch.zeros_like(self.n_components_).index_fill(0, rows, 1)
        self.startprob_, self.transmat_ = known.startprob, known.transmat
        self.means_, self.covars_ = known.center[:, :, 0], known.spread[:, :, 0]
        if table is not None:
            ids = panel.labels.ids if self.scope == "local" else pd.Index(["all series"])
            kind = self.differences_.numpy()[table["group"]]
            names = ids[table["group"]].astype(str)
            self.selection_ = table.assign(group=names, differences=kind)

    def _owners(self, rows: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """Model of each series."""
        return torch.zeros_like(rows) if self.scope == "global" else rows

    def _model(self, panel: Panel, search: Search) -> Modelled:
        """Models of what a panel shows, with its units and the series as they were modelled."""
        scaling = Scaling.of(panel)
        standard = scaling.apply(panel)
        data = self._data(standard)
        return Modelled(scaling, data, search.learn(data, standard.values))

    def _search(self) -> Search:
        check_parameters("HMM", self, CONSTRAINTS)
        for name in ("season_length", "context_length"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        self.seed_ = resolve_seed(self.random_state)
        return Search(
            candidate_states(self.n_components, self.max_components),
            self.criterion if self.n_components == "auto" else None,
            self.n_init,
            Rules(self.n_iter, self.tol, 1.0, 1.0),
            self.min_covar,
            self.seed_,
        )

    def _data(self, standard: Panel) -> Grouped:
        """Series without their season, each a group or all of one."""
        values = less_season(standard.values, standard.offsets, self.season_length_)
        group = self._owners(torch.arange(len(standard)))
        device = resolve_device(self.device)
        moved = Observations(values[:, None].to(device), standard.offsets.to(device))
        return Grouped(moved, group.to(device))

    def _reach(self, panel: Panel) -> int:
        return int(self.context_length_) + int(self._differences.max())

    def _batches(self, windows: Windows) -> Iterator[tuple[Tensor, Tensor]]:
        """Contexts, and the row of each's series among the fitted ones; a batch at a time."""
        rows = self._rows(windows.panel)[windows.series]
        size = max(1, NUMBERS // (self.context_length_ * self.means_.shape[1] * 4))
        for first in range(0, len(windows), size):
            part = slice(first, first + size)
            yield windows.batch(part).context.values, rows[part]

    def _rows(self, panel: Panel) -> Int[Tensor, " series"]:
        """Row of each series among the fitted ones; -1 for others, with a global scope."""
        local = self.scope == "local"
        ids, fitted = panel.labels.ids, self.context_.labels.ids
        known = fitted_rows(panel, self.context_, "HMM") if local else fitted.get_indexer(ids)
        return torch.from_numpy(np.asarray(known, dtype=np.int64))

    def _models(
        self, rows: Int[Tensor, " window"]
    ) -> tuple[Parameters, Bool[Tensor, "window state"]]:
        """A model for each window, and which states it has."""
        means, covars = self.means_[:, :, None], self.covars_[:, :, None]
        known = Parameters(self.startprob_, self.transmat_, means, covars)
        used, place = self._owners(rows).unique(return_inverse=True)
        models, inside = lasting(take(known, used), self.n_components_[used])
        return take(models, place), inside[place]

    def _standard(
        self, values: Float[Tensor, "window time"], rows: Int[Tensor, " window"], horizon: int
    ) -> tuple[Scaling, Float[Tensor, "window time"], Float[Tensor, "window horizon"]]:
        """Contexts in units of their series without the season, and the season ahead."""
        scaling = self.scaling_.select_with_fallback(rows, Scaling.of_contexts(values))
        standard = scaling.scale(values)
        return scaling, *without_season(standard, self.season_length_, horizon)

    def _standings(self, windows: Windows) -> Iterator[Standing]:
        """Where the series of windows stand; a batch at a time."""
        device = resolve_device(self.device)
        for values, rows in self._batches(windows):
            changed, modelled = self._changed(rows), values
            if bool(self._differences.any()):
                modelled = torch.where(changed[:, None], values.diff(dim=1), values[:, 1:])
            scaling, standard, season = self._standard(modelled, rows, windows.horizon)
            models, inside = self._models(rows)
            models = Parameters(*(part.to(device) for part in vars(models).values()))
            inside, season = inside.to(device), season.to(device)
            now = states_now(models, inside, standard.to(device))
            changed = changed.to(device)
            yield Standing(models, inside, now, season, scaling, changed, values[:, -1])

    def _changed(self, rows: Int[Tensor, " row"]) -> Bool[Tensor, " row"]:
        """Whether the regimes of series are of changes."""
        return self._differences[self._owners(rows)] > 0

    @property
    def _differences(self) -> Int[Tensor, " model"]:
        # A model that was saved before there were any has none.
        return getattr(self, "differences_", torch.zeros_like(self.n_components_))

    def _forecast(self, windows: Windows, levels: tuple[float, ...]) -> Forecast:
        points, quantiles = [], []
        for standing in self._standings(windows):
            points.append(standing.point())
            quantiles.append(standing.quantiles(levels))
        if not points:
            empty = torch.empty(0, windows.horizon, dtype=torch.float64)
            return Forecast(empty, empty[:, :, None].expand(-1, -1, len(levels)))
        return Forecast(torch.cat(points), torch.cat(quantiles))

    def sample_windows(self, windows: Windows, paths: int) -> Float[Tensor, "window path horizon"]:
        """Sample paths of the targets of windows: regimes, and points of each."""
        changed = self._changed(self._rows(windows.panel)[windows.series])
        replace(windows, cutoffs=windows.cutoffs[changed]).check_last_observed()
        generator = torch.Generator().manual_seed(self.seed_)
        # The same numbers for every window: none depends on the others.
        shape, device = (paths, windows.horizon), resolve_device(self.device)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64).to(device)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
        drawn = [standing.draw(uniform, noise) for standing in self._standings(windows)]
        return torch.cat(drawn)

    def regimes(self, frame: Any = None) -> pd.DataFrame:
        """Probability of each regime at each point, given all points of the series.

        Parameters
        ----------
        frame
            Newer history of the fitted series, or others with a global scope; None for the end of
            what was fitted, `context_length` points.

        Returns
        -------
        frame
            Long: the id, the time, the value, ``regime`` (the most probable one, 0 for the lowest
            level) and a column ``regime-0``, ``regime-1``, ... for the probability of each.
        """
        check_is_fitted(self, "context_")
        return self._regimes(self.context_ if frame is None else self._read(frame))

    def _regimes(self, panel: Panel) -> pd.DataFrame:
        rows, states = self._rows(panel), self.means_.shape[1]
        found = torch.zeros(len(panel.values), states, dtype=torch.float64)
        changed = self._changed(rows)[panel.series]
        modelled = torch.where(changed, changes(panel).values, panel.values)[:, None]
        for block in Observations(modelled, panel.offsets).blocks(4 * states):
            time = block.values.shape[1]
            step = torch.arange(time) - (time - block.lengths)[:, None]  # all end together
            inside, step = step >= 0, step.clamp(min=0)
            values = block.values[:, :, 0].gather(1, step).masked_fill(~inside, torch.nan)
            row = rows[block.sequences]
            _, standard, _ = self._standard(values, row, 1)
            posterior = states_within(*self._models(row), standard)
            found[block.rows.gather(1, step)[inside]] = posterior[inside]
        return regime_table(panel, found.numpy())

    def plot_regimes(self, series: Any = None, *, ax: Any = None) -> Any:
        """Plot a series, each stretch in the colour of its most probable regime.

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
        if series is not None and series not in ids:
            raise ValueError(
                f"series must be one that was fitted; got {series!r}. They are {ids[:10]}."
            )
        place = 0 if series is None else ids.index(series)
        row = 0 if self.scope == "global" else place
        table = self._regimes(self.context_.select(np.array([place])))
        level = self.means_[row] * self.scaling_.deviation[place] + self.scaling_.mean[place]
        return plot_regimes(
            table[names.time],
            table[names.target].to_numpy(),
            table["regime"].to_numpy(),
            level[: int(self.n_components_[row])].numpy(),
            changes=bool(self._differences[row]),
            title=f"HMM: {ids[place]}",
            ax=ax,
        )

    def summary(self) -> str:
        """Table of the regimes: level, spread, share of time and steps that each lasts."""
        check_is_fitted(self, "context_")
        ids, scaling = list(self.context_.labels.ids), self.scaling_
        if self.scope == "global":
            ids, scaling = ["all series"], Scaling(torch.zeros(1).double(), torch.ones(1).double())
        numbers = regime_numbers(self.transmat_, self.n_components_, self.means_, self.covars_)
        return regime_summary(ids, self.n_components_, numbers, scaling, self._differences)


CONSTRAINTS: dict[str, Constraint] = {
    "differences": one_of(("auto", 0, 1)),
    "scope": one_of(("local", "global")),
    "criterion": one_of(CRITERIA),
    "max_components": integer(1),
    "min_covar": POSITIVE,
    "n_init": integer(1),
    "n_iter": integer(1),
    "tol": POSITIVE,
}
