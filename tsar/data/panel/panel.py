"""Panel: many series end to end in one tensor, with the labels and times to get back."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel.columns import Columns
from tsar.data.panel.frequency import Frequency
from tsar.data.panel.layout import Layout, write
from tsar.data.panel.reading import read
from tsar.data.panel.regular import check_observed, regularize
from tsar.data.panel.static import category_codes, numeric_features
from tsar.data.segments import common_length
from tsar.records import record


class TimeShift(NamedTuple):
    """Where the times of each series jump: those that would be before `at` are `by` earlier.

    In ordinals; a prompt stands before a context, and was taken from elsewhere.
    """

    at: NDArray[np.int64]
    by: NDArray[np.int64]


@record("labels")
@dataclass(frozen=True)
class Labels:
    """What the host keeps of a panel: names, times, and how the frame looked.

    `starts` are the ordinals of each series' first time, as if none jumped; `categories` the names
    behind the category codes, a tuple for each categorical static column.
    """

    ids: pd.Index
    starts: NDArray[np.int64]
    frequency: Frequency
    layout: Layout
    columns: Columns
    categories: tuple[tuple[str, ...], ...] = ()
    time_shift: TimeShift | None = None

    def select(self, rows: NDArray[np.intp]) -> "Labels":
        """Labels of some of the series, in the order of `rows`."""
        time_shift = self.time_shift and TimeShift(*(part[rows] for part in self.time_shift))
        return replace(self, ids=self.ids[rows], starts=self.starts[rows], time_shift=time_shift)


@record("panel")
@dataclass(frozen=True)
class Panel:
    """Many series end to end in one tensor, with the labels and times to get back.

    Attributes
    ----------
    values
        The target, NaN where it is missing.
    offsets
        Series i stands at ``values[offsets[i]:offsets[i + 1]]``.
    past, future
        Covariates, a row for each point.
    static, category
        Numeric facts and category codes, a row for each series.
    labels
        Names and times, on the host.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"unique_id": list("aab"), "ds": [0, 1, 0], "y": [1.0, 2.0, 3.0]})
    >>> Panel.from_frame(frame).lengths.tolist()
    [2, 1]
    """

    values: Float[Tensor, " time"]
    offsets: Int[Tensor, " border"]
    past: Float[Tensor, "time past"]
    future: Float[Tensor, "time future"]
    static: Float[Tensor, "series static"]
    category: Int[Tensor, "series category"]
    labels: Labels

    @classmethod
    def from_frame(
        cls, frame: Any, columns: Columns | None = None, *, observed: bool = True
    ) -> "Panel":
        """Panel of a long or wide frame, a Series or an array (see `Columns`).

        Parameters
        ----------
        observed
            Whether each series must have an observed value; the newest points of one need not.

        Raises
        ------
        ValueError, TypeError
            Whatever is wrong with the frame: what must hold, what came, where, what to do.
        """
        columns = columns or Columns()
        rows = regularize(read(frame, columns), columns)
        if observed:
            check_observed(rows)
        codes, categories = category_codes(rows.static, len(rows.ids))
        return cls(
            values=torch.from_numpy(rows.target),
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(rows.lengths)])),
            past=_features(rows.covariates, columns.past, len(rows.target)),
            future=_features(rows.covariates, columns.future, len(rows.target)),
            static=torch.from_numpy(numeric_features(rows.static, rows.ids)),
            category=torch.from_numpy(codes),
            labels=Labels(rows.ids, rows.starts, rows.frequency, rows.layout, columns, categories),
        )

    @classmethod
    def from_tensor(cls, values: Float[Tensor, "series time"]) -> "Panel":
        """Panel of series of one length, with integers for names and times."""
        series, length = values.shape
        empty = values.new_empty
        return cls(
            values=values.reshape(-1),
            offsets=torch.arange(series + 1, device=values.device) * length,
            past=empty(series * length, 0),
            future=empty(series * length, 0),
            static=empty(series, 0),
            category=torch.empty(series, 0, dtype=torch.int64, device=values.device),
            labels=Labels(
                pd.RangeIndex(series),
                np.zeros(series, dtype=np.int64),
                Frequency("1", "integer", 1),
                Layout("array"),
                Columns(),
            ),
        )

    def __len__(self) -> int:
        """Count the series."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[Tensor, " series"]:
        """Points of each series."""
        return self.offsets.diff()

    @cached_property
    def common_length(self) -> int | None:
        """Points of every series where they are as many; the host waits for it once."""
        return common_length(self.offsets)

    @cached_property
    def gapless(self) -> bool:
        """Whether no point of the target is missing; the host waits for it once."""
        return not bool(self.values.isnan().any())

    @property
    def series(self) -> Int[Tensor, " time"]:
        """Row of the series that each point belongs to."""
        return self.per_point(torch.arange(len(self), device=self.offsets.device))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Panel":
        """Panel on a device; `dtype` is that of its real numbers."""
        dtype = dtype or self.values.dtype
        # Cast first: some devices have no float64.
        real = {
            name: getattr(self, name).to(dtype).to(device)
            for name in ("values", "past", "future", "static")
        }
        return replace(
            self, offsets=self.offsets.to(device), category=self.category.to(device), **real
        )

    def slice(self, first: Int[Tensor, " series"], last: Int[Tensor, " series"]) -> "Panel":
        """Points `first` up to and without `last` of each series, counted from its start."""
        last = torch.minimum(last, self.lengths).clamp(min=0)
        first = torch.minimum(first.clamp(min=0), last)
        lengths = last - first
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = (self.offsets[:-1] + first - offsets[:-1]).repeat_interleave(lengths)
        rows = torch.arange(len(shift), device=shift.device) + shift
        step = self.labels.frequency.step
        starts = self.labels.starts + first.cpu().numpy() * step
        return replace(
            self,
            values=self.values[rows],
            offsets=offsets,
            past=self.past[rows],
            future=self.future[rows],
            labels=replace(self.labels, starts=starts),
        )

    def tail(self, points: int) -> "Panel":
        """Last `points` of each series."""
        return self.slice(self.lengths - points, self.lengths)

    def without_last(self, points: int | Int[Tensor, " series"]) -> "Panel":
        """All but the last `points` of each series."""
        return self.slice(torch.zeros_like(self.lengths), self.lengths - points)

    def select(self, rows: NDArray[np.intp]) -> "Panel":
        """Panel of some of the series, in the order of `rows`."""
        chosen = torch.as_tensor(rows, device=self.offsets.device)
        lengths = self.lengths[chosen]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = (self.offsets[chosen] - offsets[:-1]).repeat_interleave(lengths)
        points = torch.arange(len(shift), device=shift.device) + shift
        return type(self)(
            self.values[points],
            offsets,
            self.past[points],
            self.future[points],
            self.static[chosen],
            self.category[chosen],
            self.labels.select(rows),
        )

    def pad(self, left: int, right: int) -> "Panel":
        """Panel with room of NaN before and behind each series; times are those of the points."""
        lengths = self.lengths + left + right
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        rows = torch.arange(len(self.values), device=offsets.device)
        rows = rows + self.series * (left + right) + left
        starts = self.labels.starts - left * self.labels.frequency.step
        return replace(
            self,
            values=_spread(self.values, rows, int(offsets[-1])),
            past=_spread(self.past, rows, int(offsets[-1])),
            future=_spread(self.future, rows, int(offsets[-1])),
            offsets=offsets,
            labels=replace(self.labels, starts=starts),
        )

    def extend(self, future: Float[Tensor, "series horizon future"]) -> "Panel":
        """Panel with the horizon behind each series: NaN, but for the covariates known ahead."""
        horizon = future.shape[1]
        padded = self.pad(0, horizon)
        ahead = padded.offsets[1:, None] - horizon + torch.arange(horizon, device=future.device)
        known = padded.future.index_put((ahead,), future.to(padded.future))
        return replace(padded, future=known)

    def per_point(self, facts: Shaped[Tensor, " series"]) -> Shaped[Tensor, " time"]:
        """A fact of each series at each of its points; of one series a view."""
        if len(self) == 1:
            return facts.expand(len(self.values))
        if self.common_length is not None:
            return facts[:, None].expand(-1, self.common_length).reshape(-1)
        return facts.repeat_interleave(self.lengths, output_size=len(self.values))

    def missing_before(
        self, series: Int[Tensor, " window"], points: Int[Tensor, " window"]
    ) -> Int[Tensor, " window"]:
        """Missing points just before given points of series; -1 where none before was observed."""
        if self.gapless:  # no memory for what is not there
            return torch.where(points > 0, 0, -1)
        rows = torch.arange(len(self.values), device=self.offsets.device)
        newest = torch.where(self.values.isnan(), -1, rows).cummax(dim=0).values
        first = self.offsets[series]
        before = first + points - 1
        seen = newest[before.clamp(min=0)]
        return torch.where((seen >= first) & (points > 0), before - seen, -1)

    def end_ordinals(self, lead: int = 0) -> NDArray[np.int64]:
        """Ordinal of each series' last time, or of the `lead`-th time after it."""
        lengths = self.lengths.cpu().numpy()
        return self.labels.starts + (lengths - 1 + lead) * self.labels.frequency.step

    @cached_property
    def starts(self) -> Int[Tensor, " series"]:
        """Ordinal of each series' first time, on the device."""
        return torch.from_numpy(self.labels.starts).to(self.offsets.device)

    @cached_property
    def time_shift(self) -> Int[Tensor, "2 series"] | None:
        """Where the times of each series jump, and by how much, on the device; None: nowhere."""
        time_shift = self.labels.time_shift
        if time_shift is None:
            return None
        return torch.from_numpy(np.stack(time_shift)).to(self.offsets.device)

    def ordinals_at(
        self, series: Int[Tensor, " row"], rows: Int[Tensor, " row"]
    ) -> Int[Tensor, " row"]:
        """Ordinals of the times at which rows of `values` stand, each of a series."""
        return self.starts[series] + (rows - self.offsets[series]) * self.labels.frequency.step

    def future_times(self, horizon: int) -> pd.Index:
        """Times of the horizon after each series, end to end."""
        steps = np.arange(horizon) * self.labels.frequency.step
        return self.labels.frequency.to_times((self.end_ordinals(1)[:, None] + steps).reshape(-1))

    def to_frame(self, columns: dict[str, NDArray[np.generic]]) -> Any:
        """Frame of (series, horizon) arrays at the times after each series, as it came in."""
        horizon = next(iter(columns.values())).shape[1]
        names = self.labels.columns
        return write(
            self.labels.layout,
            (names.id, names.time),
            self.labels.ids,
            self.future_times(horizon),
            columns,
            self.labels.frequency.name,
        )


def _spread(values: Tensor, rows: Int[Tensor, " row"], length: int) -> Tensor:
    """Put `values` at `rows` of a longer tensor of NaN."""
    return values.new_full((length, *values.shape[1:]), torch.nan).index_copy_(0, rows, values)


def _features(
    covariates: dict[str, NDArray[np.float64]], names: tuple[str, ...], length: int
) -> Float[Tensor, "time feature"]:
    if not names:
        return torch.empty(length, 0, dtype=torch.float64)
    return torch.from_numpy(np.stack([covariates[name] for name in names], axis=1))
