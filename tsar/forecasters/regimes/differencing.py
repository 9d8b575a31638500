"""Whether series are of levels or of changes: by which forecast the next point better."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.regimes.regimes import EMISSION, lasting
from tsar.forecasters.regimes.search import Learned
from tsar.hmm.discrete.fitting import Grouped, usual_points


class Modelled(NamedTuple):
    """Series as they were modelled, standardized and without their season, and their models."""

    scaling: Scaling
    data: Grouped
    learned: Learned

    def errors(self) -> Float[Tensor, " time"]:
        """Absolute error of each point by its usual regime, in the units that came in."""
        known, _ = lasting(self.learned.models, self.learned.states)
        told = usual_points(EMISSION, self.data, known)
        away = (self.data.observations.values[:, 0] - told).abs().cpu()
        return away * self.scaling.deviation[self.series]

    def select(self, rows: Int[Tensor, " row"]) -> "Modelled":
        """Some of the series, each of which has a model of its own."""
        moved = rows.to(self.data.group.device)
        data = Grouped(self.data.observations.select(moved), torch.arange(len(rows)).to(moved))
        return Modelled(self.scaling.select(rows), data, self.learned.select(rows))

    @property
    def series(self) -> Int[Tensor, " time"]:
        """Series of each point."""
        lengths = self.data.observations.lengths.cpu()
        return torch.arange(len(lengths)).repeat_interleave(lengths)


def several_changes(changes: Panel, group: Int[Tensor, " series"]) -> Bool[Tensor, " group"]:
    """Whether there are two changes or more, without which nothing is known of their spread."""
    seen = (~changes.values.isnan()).long()
    count = seen.new_zeros(int(group.max()) + 1)
    return count.index_add_(0, group[changes.series], seen) > 1


def with_changes(
    values: Modelled, changes: Modelled, rows: Int[Tensor, " row"], *, always: bool
) -> tuple[Modelled, Int[Tensor, " chosen"]]:
    """Models of values, replaced by those of changes where these are the better ones, and where.

    Parameters
    ----------
    values
        All series.
    changes
        Those of the models `rows` alone.
    always
        Whether they are better whatever they say.
    """
    own = len(values.learned.states) == len(values.scaling.mean)  # a model for each series
    better = torch.ones_like(rows, dtype=torch.bool)
    if not always:
        better = better_as_changes(values.select(rows) if own else values, changes)
    chosen, places = rows[better], better.nonzero()[:, 0]
    if not len(chosen):
        return values, chosen
    scaling = changes.scaling
    if own:
        scaling = values.scaling.replace_rows(chosen, scaling.select(places))
    learned = values.learned.replaced(chosen, changes.learned.select(places))
    return Modelled(scaling, values.data, learned), chosen


def better_as_changes(values: Modelled, changes: Modelled) -> Bool[Tensor, " model"]:
    """Whether the changes of the series of each model are the better ones to model.

    By the mean absolute error of each next point, among those with one before them, from the mean
    of the regime that is the most probable then: of an autoregression of coefficient c and one
    regime where c is above a half. Each series counts in units of its deviation. Levels stay where
    nothing speaks for changes.
    """
    worse = values.errors() - changes.errors()  # NaN without a point before
    told, series = ~worse.isnan(), values.series
    worse = worse / values.scaling.deviation[series]
    model = values.data.of_points.cpu()
    gain = worse.new_zeros(len(values.learned.states))
    gain = gain.index_add_(0, model[told], worse[told])
    return gain > 0
