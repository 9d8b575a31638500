"""Panel: many series end to end in one tensor, with the ids and times to build frames again."""

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
from tsar.data.panel.layout import Layout, build_frame
from tsar.data.panel.reading import read_rows
from tsar.data.panel.regular import check_observed, regularize
from tsar.data.panel.static import category_codes, numeric_features
from tsar.data.segments import common_length, segment_rows
from tsar.records import record


class TimeShift(NamedTuple):
    """Shift of the earlier times of each series, in ordinals: those before `at` are `by` earlier.

    A prompt is put before a context, but was taken from an earlier part of a series.
    """

    at: NDArray[np.int64]
    by: NDArray[np.int64]


@record("labels")
@dataclass(frozen=True)
class Labels:
    """Ids, times and layout of a panel, kept on the host.

    Attributes
    ----------
    ids
        Id of each series.
    starts
        Ordinal of each series' first time, before any time shift.
    frequency, layout, columns
        Frequency of the times, and how the frame looked and was read.
    categories
        Names of the category codes, a tuple for each categorical static column.
    time_shift
        Shift of the times of prompts; None without prompts.
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
    """Many series end to end in one tensor, with the ids and times to build frames again.

    Attributes
    ----------
    values
        The target, NaN where missing.
    offsets
        Series i is ``values[offsets[i]:offsets[i + 1]]``.
    past, future
        Covariates, a row for each point.
    static, category
        Numeric static covariates and category codes, a row for each series.
    labels
        Ids and times, on the host.

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

        Each series must have an observed value unless `observed` is False (new points to append).
        """
        columns = columns or Columns()
        regular = regularize(read_rows(frame, columns), columns)
        if observed:
            check_observed(regular)
        rows, lengths = regular.rows, regular.lengths
        codes, categories = category_codes(rows.static, len(rows.ids))
        return cls(
            values=torch.from_numpy(rows.target),
            offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
            past=_features(rows.covariates, columns.past, len(rows.target)),
            future=_features(rows.covariates, columns.future, len(rows.target)),
            static=torch.from_numpy(numeric_features(rows.static, rows.ids)),
            category=torch.from_numpy(codes),
            labels=Labels(
                rows.ids, regular.starts, regular.frequency, rows.layout, columns, categories
            ),
        )

    @classmethod
    def from_tensor(cls, values: Float[Tensor, "series time"]) -> "Panel":
        """Panel of series of equal length, with integers as ids and times."""
        n_series, length = values.shape
        empty = values.new_empty
        return cls(
            values=values.reshape(-1),
            offsets=torch.arange(n_series + 1, device=values.device) * length,
            past=empty(n_series * length, 0),
            future=empty(n_series * length, 0),
            static=empty(n_series, 0),
            category=torch.empty(n_series, 0, dtype=torch.int64, device=values.device),
            labels=Labels(
                pd.RangeIndex(n_series),
                np.zeros(n_series, dtype=np.int64),
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
        """Length of all series if they are equally long (one device synchronization)."""
        return common_length(self.offsets)

    @cached_property
    def gapless(self) -> bool:
        """Whether no point of the target is missing (one device synchronization)."""
        return not bool(self.values.isnan().any())

    @property
    def series(self) -> Int[Tensor, " time"]:
        """Position of the series of each point."""
        return self.per_point(torch.arange(len(self), device=self.offsets.device))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Panel":
        """Panel on a device; `dtype` applies to the floating-point tensors."""
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
        """Points from `first` up to but excluding `last` of each series, counted from its start."""
        last = torch.minimum(last, self.lengths).clamp(min=0)
        first = torch.minimum(first.clamp(min=0), last)
        rows, offsets = segment_rows(self.offsets[:-1] + first, last - first)
        starts = self.labels.starts + first.cpu().numpy() * self.labels.frequency.step
        return replace(
            self,
            values=self.values[rows],
            offsets=offsets,
            past=self.past[rows],
            future=self.future[rows],
            labels=replace(self.labels, starts=starts),
        )

    def observed_span(self) -> "Panel":
        """Points from the first observed one of each series to the last; all where none is."""
        if self.gapless:
            return self
        observed = (~self.values.isnan()).nonzero()[:, 0]
        series = self.series[observed]
        first, last = self.offsets[:-1].clone(), self.offsets[1:] - 1
        first.scatter_reduce_(0, series, observed, "amin", include_self=False)
        last.scatter_reduce_(0, series, observed, "amax", include_self=False)
        return self.slice(first - self.offsets[:-1], last + 1 - self.offsets[:-1])

    def tail(self, points: int) -> "Panel":
        """Last `points` of each series."""
        return self.slice(self.lengths - points, self.lengths)

    def without_last(self, points: int | Int[Tensor, " series"]) -> "Panel":
        """All but the last `points` of each series."""
        return self.slice(torch.zeros_like(self.lengths), self.lengths - points)

    def select(self, rows: NDArray[np.intp]) -> "Panel":
        """Panel of some of the series, in the order of `rows`."""
        index = torch.as_tensor(rows, device=self.offsets.device)
        points, offsets = segment_rows(self.offsets[index], self.lengths[index])
        return type(self)(
            self.values[points],
            offsets,
            self.past[points],
            self.future[points],
            self.static[index],
            self.category[index],
            self.labels.select(rows),
        )

    def pad(self, left: int, right: int) -> "Panel":
        """Panel with `left` missing points before each series and `right` after it."""
        lengths = self.lengths + left + right
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        rows = torch.arange(len(self.values), device=offsets.device)
        rows = rows + self.series * (left + right) + left
        starts = self.labels.starts - left * self.labels.frequency.step
        return replace(
            self,
            values=_scatter(self.values, rows, int(offsets[-1])),
            past=_scatter(self.past, rows, int(offsets[-1])),
            future=_scatter(self.future, rows, int(offsets[-1])),
            offsets=offsets,
            labels=replace(self.labels, starts=starts),
        )

    def extend(self, future: Float[Tensor, "series horizon future"]) -> "Panel":
        """Panel with the horizon after each series: NaN, except for the future covariates."""
        horizon = future.shape[1]
        padded = self.pad(0, horizon)
        rows = padded.offsets[1:, None] - horizon + torch.arange(horizon, device=future.device)
        return replace(padded, future=padded.future.index_put((rows,), future.to(padded.future)))

    def append(self, new: "Panel", rows: NDArray[np.intp]) -> "Panel":
        """Panel with the points of `new` appended to its series at positions `rows`.

        The series of `new` begin where those of this panel end; other series are unchanged.
        """
        chosen = torch.from_numpy(rows)
        added = torch.zeros_like(self.lengths).index_copy(0, chosen, new.lengths)
        offsets = self.offsets + torch.cat([added.new_zeros(1), added.cumsum(0)])
        old_rows = torch.arange(len(self.values)) + (offsets - self.offsets)[:-1][self.series]
        begin = offsets[1:][chosen] - new.lengths
        new_rows = torch.arange(len(new.values)) + (begin - new.offsets[:-1])[new.series]

        def merge(old: Tensor, other: Tensor) -> Tensor:
            merged = old.new_empty(int(offsets[-1]), *old.shape[1:])
            return merged.index_copy_(0, old_rows, old).index_copy_(0, new_rows, other)

        return replace(
            self,
            offsets=offsets,
            values=merge(self.values, new.values),
            past=merge(self.past, new.past),
            future=merge(self.future, new.future),
        )

    def per_point(self, values: Shaped[Tensor, " series"]) -> Shaped[Tensor, " time"]:
        """Repeat the value of each series for each of its points (a view of a single series)."""
        if len(self) == 1:
            return values.expand(len(self.values))
        if self.common_length is not None:
            return values[:, None].expand(-1, self.common_length).reshape(-1)
        return values.repeat_interleave(self.lengths, output_size=len(self.values))

    def missing_before(
        self, series: Int[Tensor, " window"], points: Int[Tensor, " window"]
    ) -> Int[Tensor, " window"]:
        """Missing points just before given points of series; -1 if all before are missing."""
        if self.gapless:  # needs no memory
            return torch.where(points > 0, 0, -1)
        rows = torch.arange(len(self.values), device=self.offsets.device)
        last_observed = torch.where(self.values.isnan(), -1, rows).cummax(dim=0).values
        first = self.offsets[series]
        before = first + points - 1
        last = last_observed[before.clamp(min=0)]
        return torch.where((last >= first) & (points > 0), before - last, -1)

    def end_ordinals(self, steps: int = 0) -> NDArray[np.int64]:
        """Ordinal of each series' last time, or of the time `steps` after it."""
        lengths = self.lengths.cpu().numpy()
        return self.labels.starts + (lengths - 1 + steps) * self.labels.frequency.step

    @cached_property
    def starts(self) -> Int[Tensor, " series"]:
        """Ordinal of each series' first time, on the device."""
        return torch.from_numpy(self.labels.starts).to(self.offsets.device)

    @cached_property
    def time_shift(self) -> Int[Tensor, "2 series"] | None:
        """Time shift of each series (`at`, `by`) on the device; None without prompts."""
        shift = self.labels.time_shift
        return None if shift is None else torch.from_numpy(np.stack(shift)).to(self.offsets.device)

    def ordinals_at(
        self, series: Int[Tensor, " row"], rows: Int[Tensor, " row"]
    ) -> Int[Tensor, " row"]:
        """Ordinals of the times of rows of `values`, given the series of each row."""
        return self.starts[series] + (rows - self.offsets[series]) * self.labels.frequency.step

    def future_times(self, horizon: int) -> pd.Index:
        """Times of the horizon after each series, end to end."""
        steps = np.arange(horizon) * self.labels.frequency.step
        return self.labels.frequency.to_times((self.end_ordinals(1)[:, None] + steps).reshape(-1))

    def to_frame(self, columns: dict[str, NDArray[np.generic]]) -> Any:
        """Frame of (series, horizon) arrays after each series, in the layout of the input."""
        horizon = next(iter(columns.values())).shape[1]
        names = self.labels.columns
        return build_frame(
            self.labels.layout,
            (names.id, names.time),
            self.labels.ids,
            self.future_times(horizon),
            columns,
            self.labels.frequency.offset,
        )


def _scatter(values: Tensor, rows: Int[Tensor, " row"], length: int) -> Tensor:
    """Put `values` at `rows` of a longer tensor of NaN."""
    return values.new_full((length, *values.shape[1:]), torch.nan).index_copy_(0, rows, values)


def _features(
    covariates: dict[str, NDArray[np.float64]], names: tuple[str, ...], length: int
) -> Float[Tensor, "time feature"]:
    if not names:
        return torch.empty(length, 0, dtype=torch.float64)
    return torch.from_numpy(np.stack([covariates[name] for name in names], axis=1))
