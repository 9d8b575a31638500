"""HMM: forecasts of series that switch between regimes, as mixtures in closed form."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.conditions import POSITIVE, Condition, check_options, check_whole, one_of, whole
from tsar.devices import resolve_device
from tsar.following import fitted_rows
from tsar.forecast import Forecast
from tsar.forecaster import Forecaster
from tsar.hmm.ahead import Standing, changes
from tsar.hmm.drift import warn_of_drift
from tsar.hmm.em import take
from tsar.hmm.emissions import DiagonalGaussian
from tsar.hmm.fitting import Grouped, Rules
from tsar.hmm.observations import Observations
from tsar.hmm.parameters import Parameters
from tsar.hmm.profile import phases_back, seasonal_profile, without_season
from tsar.hmm.regimes import (
    lasting,
    regime_cells,
    regime_numbers,
    regime_table,
    side_by_side,
    states_now,
    states_within,
    still,
    tamed,
)
from tsar.hmm.restarts import GaussianFamily, fit_restarts
from tsar.hmm.selection import CRITERIA, Criterion, Fitted, candidate_states, select
from tsar.panel import Columns, Panel
from tsar.plotting import plot_regimes
from tsar.randomness import draw_seed
from tsar.scaling import Scaling
from tsar.summary import series_table
from tsar.windows import Windows

MOST_CONTEXT = 1000  # points that regimes are filtered over: they forget sooner
PRIOR = 1e-5  # scale of the prior of variances, in units of each series' variance
POINTS = 5  # of a series for each state, at least, where their number is chosen
NUMBERS = 1 << 22  # float64 of a batch of windows


class HMM(Forecaster):
    """Forecast by regimes: each has a level and a spread, and one follows another by chance.

    The forecast of a step is a mixture of normal distributions, known in closed form: its mean is
    the point forecast, its quantiles are found by inversion. A season is taken off first, as far as
    it is more than chance. Missing points are summed out. `fit` warns of series that drift: theirs
    are regimes of growth, ``differences=1``.

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
        run on from the newest point, and quantiles are those of the sum of the changes, exactly.
        0: regimes of the values.
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
    startprob_, transmat_, means_, covars_
        Of each model (series, or 1 with a global scope): start and transition probabilities, and
        means and variances in units of a series' deviation around its mean (of its changes with
        ``differences=1``). States are ordered by their mean; those behind the last of a model have
        probability zero.
    selection_
        What was measured of each number of regimes with ``"auto"``: a frame with a row for each
        series and candidate.

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
    >>> model = HMM(2, horizon=3, differences=1, random_state=0).fit(growth.cumsum())
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
        differences: Literal[0, 1] = 0,
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
        candidates = self._check()
        season = self.season_length
        self.season_length_ = panel.labels.frequency.season_length if season is None else season
        self.context_length_ = self.context_length or min(int(panel.lengths.max()), MOST_CONTEXT)
        modelled = self._modelled(panel)
        self.scaling_ = Scaling.of(modelled)
        standard = self.scaling_.apply(modelled)
        data, spans = tamed(plain := self._data(standard))
        self.seed_ = seed = draw_seed(self.random_state)
        family = GaussianFamily(DiagonalGaussian(0.0, 0.0, PRIOR, 1.0, self.min_covar))
        rules = Rules(self.n_iter, self.tol, 1.0, 1.0)

        def fitted(part: Grouped, states: int) -> Fitted:
            return fit_restarts(family, part, states, self.n_init, rules, seed)

        if self.n_components == "auto":
            emission = family.emission
            chosen, models, table = select(emission, data, candidates, self.criterion, fitted)
            ids = panel.labels.ids if self.scope == "local" else pd.Index(["all series"])
            self.selection_ = table.assign(group=ids[table["group"]].astype(str))
        else:
            models, chosen = {}, torch.full((data.groups,), candidates[0])
        chosen = self._bearable(data, chosen.cpu())
        for states in chosen.unique().tolist():
            if states not in models:
                models[states] = fitted(data, states)
        known = side_by_side(chosen, models, spans)
        warn_of_drift(plain, known, chosen, panel.labels.ids, differences=self.differences)
        self.n_components_ = chosen
        self.startprob_, self.transmat_ = known.startprob, known.transmat
        self.means_ = known.center[:, :, 0]
        self.covars_ = still(known.spread[:, :, 0], standard.values, data.of_points.cpu())

    def _modelled(self, panel: Panel) -> Panel:
        """What the regimes are of: the values, or their changes."""
        return changes(panel) if self.differences else panel

    def _bearable(self, data: Grouped, chosen: Int[Tensor, " model"]) -> Int[Tensor, " model"]:
        """No more states than a series has points, nor than a fifth where they were chosen."""
        points = data.points.cpu()
        most = points // POINTS if self.n_components == "auto" else points
        return torch.minimum(chosen, most.clamp(min=1))

    def _check(self) -> list[int]:
        check_options("HMM", self, CONDITIONS)
        for name in ("season_length", "context_length"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        return candidate_states(self.n_components, self.max_components)

    def _data(self, standard: Panel) -> Grouped:
        """Series without their season, each a group or all of one."""
        profile = seasonal_profile(standard.values, standard.offsets, self.season_length_)
        phase = phases_back(standard.offsets, self.season_length_)
        values = standard.values - profile[standard.series, phase]
        group = torch.arange(len(standard))
        if self.scope == "global":
            group = torch.zeros_like(group)
        device = resolve_device(self.device)
        moved = Observations(values[:, None].to(device), standard.offsets.to(device))
        return Grouped(moved, group.to(device))

    def _reach(self, panel: Panel) -> int:
        return int(self.context_length_) + self.differences

    def _batches(self, windows: Windows) -> Iterator[tuple[Tensor, Tensor]]:
        """Contexts, and the row of each's series among the fitted ones; a batch at a time."""
        rows = self._rows(windows.panel)[windows.series]
        size = max(1, NUMBERS // (self.context_length_ * self.means_.shape[1] * 4))
        for first in range(0, len(windows), size):
            part = slice(first, first + size)
            values = windows.batch(part).context.values
            yield values, rows[part]

    def _rows(self, panel: Panel) -> Int[Tensor, " series"]:
        """Row of each series among the fitted ones; -1 for others, with a global scope."""
        if self.scope == "local":
            known = fitted_rows(panel, self.context_, "HMM")
        else:
            known = self.context_.labels.ids.get_indexer(panel.labels.ids)
        return torch.from_numpy(np.asarray(known, dtype=np.int64))

    def _models(
        self, rows: Int[Tensor, " window"]
    ) -> tuple[Parameters, Bool[Tensor, "window state"]]:
        """A model for each window, and which states it has."""
        known = Parameters(
            self.startprob_, self.transmat_, self.means_[:, :, None], self.covars_[:, :, None]
        )
        chosen = torch.zeros_like(rows) if self.scope == "global" else rows
        used, place = chosen.unique(return_inverse=True)
        models, inside = lasting(take(known, used), self.n_components_[used])
        return take(models, place), inside[place]

    def _standard(
        self, values: Float[Tensor, "window time"], rows: Int[Tensor, " window"], horizon: int
    ) -> tuple[Scaling, Float[Tensor, "window time"], Float[Tensor, "window horizon"]]:
        """Contexts in units of their series without the season, and the season ahead."""
        scaling = self.scaling_.select_or(rows, Scaling.of_contexts(values))
        standard = scaling.scale(values)
        return scaling, *without_season(standard, self.season_length_, horizon)

    def _standings(self, windows: Windows) -> Iterator[Standing]:
        """Where the series of windows stand; a batch at a time."""
        device = resolve_device(self.device)
        for values, rows in self._batches(windows):
            modelled = values.diff(dim=1) if self.differences else values
            scaling, standard, season = self._standard(modelled, rows, windows.horizon)
            models, inside = self._models(rows)
            moved = Parameters(*(part.to(device) for part in vars(models).values()))
            inside = inside.to(device)
            now = states_now(moved, inside, standard.to(device))
            newest = values[:, -1] if self.differences else None
            yield Standing(moved, inside, now, season.to(device), scaling, newest)

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
        if self.differences:
            windows.check_ends()
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
        modelled = self._modelled(panel).values[:, None]
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
            changes=bool(self.differences),
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
        cells = regime_cells(ids, self.n_components_, numbers, scaling)
        level = "change a step" if self.differences else "level"
        header = ["series", "regime", level, "deviation", "% of time", "steps"]
        return series_table("HMM", header, cells)


CONDITIONS: dict[str, Condition] = {
    "differences": one_of((0, 1)),
    "scope": one_of(("local", "global")),
    "criterion": one_of(CRITERIA),
    "max_components": whole(1),
    "min_covar": POSITIVE,
    "n_init": whole(1),
    "n_iter": whole(1),
    "tol": POSITIVE,
}
