"""Windows: the (context, target) pairs of a panel, gathered on its device batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.batch import Batch, Context, Times
from tsar.data.panel import Panel


@dataclass(frozen=True)
class Windows:
    """(Context, target) pairs of a panel: one int64 per window, one gather per batch.

    Attributes
    ----------
    panel
        Series, padded so that no window reaches into another series.
    cutoffs
        Row of `panel.values` at which each target begins.
    context_length, horizon
        Points of a context and of a target.
    gap
        Number of missing points after the context, which are the first points of the target.
    """

    panel: Panel
    cutoffs: Int[Tensor, " window"]
    context_length: int
    horizon: int
    gap: int = 0

    @classmethod
    def sliding(
        cls,
        panel: Panel,
        context_length: int,
        horizon: int,
        *,
        first: Int[Tensor, " series"] | None = None,
    ) -> "Windows":
        """Every window whose target begins at point `first` of its series or later.

        A series that is too short for a complete window has windows with padding: on the left of
        contexts, and on the right of the target where the series is no longer than the horizon.
        Windows without an observed point in the context or in the target are left out.
        """
        final = torch.maximum(panel.lengths - horizon, torch.ones_like(panel.lengths))
        final = torch.minimum(final, panel.lengths - 1)
        begin = torch.where(final < context_length, 1, context_length)
        begin = begin if first is None else torch.maximum(begin, first)
        counts = (final - begin + 1).clamp(min=0)
        series = torch.arange(len(panel), device=counts.device).repeat_interleave(counts)
        order = torch.arange(len(series), device=counts.device)
        points = order - (counts.cumsum(0) - counts)[series] + begin[series]
        return cls.at(panel, context_length, horizon, series, points).observed()

    @classmethod
    def at(
        cls,
        panel: Panel,
        context_length: int,
        horizon: int,
        series: Int[Tensor, " window"],
        points: Int[Tensor, " window"],
        *,
        gap: int = 0,
    ) -> "Windows":
        """Windows whose targets begin at the given points of the given series."""
        excess = torch.stack([context_length - points, points + horizon - panel.lengths[series]])
        left, right = excess.amax(dim=1).clamp(min=0).tolist() if len(points) else (0, 0)
        padded = panel.pad(int(left), int(right)) if left or right else panel
        cutoffs = padded.offsets[series] + int(left) + points
        return cls(padded, cutoffs, context_length, horizon, gap)

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.cutoffs)

    @property
    def series(self) -> Int[Tensor, " window"]:
        """Position of the series of each window."""
        return _series_of(self.panel, self.cutoffs)

    @property
    def times(self) -> Times:
        """Times of the contexts."""
        series, step = self.series, self.panel.labels.frequency.step
        origins = self.panel.ordinals_at(series, self.cutoffs)
        return Times(origins, step, self.context_length, self._time_shift(series))

    def _time_shift(self, series: Int[Tensor, " row"]) -> Int[Tensor, "row 2"] | None:
        shift = self.panel.time_shift
        return None if shift is None else shift[:, series].mT

    def observed(self) -> "Windows":
        """Windows with an observed point in the context and in the target."""
        cutoffs = self.cutoffs
        count = torch.cat([cutoffs.new_zeros(1), (~self.panel.values.isnan()).cumsum(0)])
        in_target = count[(cutoffs + self.horizon).clamp(max=len(count) - 1)] > count[cutoffs]
        in_context = count[cutoffs] > count[cutoffs - self.context_length]
        return replace(self, cutoffs=cutoffs[in_target & in_context])

    def take(self, rows: Int[Tensor, " row"]) -> "Windows":
        """Some of the windows."""
        return replace(self, cutoffs=self.cutoffs[rows])

    def check_last_observed(self) -> None:
        """Check that every context ends with an observed point."""
        if bool(self.panel.values[self.cutoffs - 1].isnan().any()):
            raise ValueError(
                "context must end with an observed point to sample paths; got a missing one. Drop "
                "the missing points at the end, and sample a longer horizon."
            )

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.cutoffs.device

    @property
    def settings(self) -> tuple[int, ...]:
        """Numbers that, with `tensors`, determine the windows."""
        return self.context_length, self.horizon

    def tensors(self) -> list[Tensor]:
        """All tensors that the batches are gathered from."""
        panel = self.panel
        names = ("values", "offsets", "past", "future", "static", "category")
        return [self.cutoffs, *(getattr(panel, name) for name in names)]

    def batch(self, rows: Int[Tensor, " row"] | slice) -> Batch:
        """Batch of some windows: one gather for the values and for each kind of covariate."""
        cutoffs = self.cutoffs[rows]
        begin = cutoffs - self.context_length
        series = _series_of(self.panel, cutoffs)
        span = _gather(self.panel.values, begin, self.context_length + self.horizon)
        context = Context(
            values=span[:, : self.context_length],
            past=_gather(self.panel.past, begin, self.context_length),
            future=_gather(self.panel.future, begin, self.context_length + self.horizon),
            static=self.panel.static[series],
            category=self.panel.category[series],
            series=series,
            origin=self.panel.ordinals_at(series, cutoffs),
            step=self.panel.labels.frequency.step,
            gapless=self.panel.gapless,
            time_shift=self._time_shift(series),
        )
        return Batch(context, span[:, self.context_length :])

    def batches(self, size: int) -> Iterator[Batch]:
        """All windows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def subsample(self, max_windows: int) -> "Windows":
        """At most `max_windows` windows, evenly spaced."""
        if len(self) <= max_windows:
            return self
        # In integers: float32 is exact up to 2 ** 24 only.
        steps = torch.arange(max_windows, device=self.cutoffs.device)
        rows = steps * (len(self) - 1) // max(max_windows - 1, 1)
        return replace(self, cutoffs=self.cutoffs[rows])


def _series_of(panel: Panel, cutoffs: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
    # A cutoff may be just past the end of its series; the point before it is always inside.
    return torch.searchsorted(panel.offsets, cutoffs - 1, right=True) - 1


def _gather(
    values: Float[Tensor, " time *feature"], begin: Int[Tensor, " row"], length: int
) -> Float[Tensor, "row span *feature"]:
    """Rows of consecutive points: a view of every span, and one index_select of it."""
    if values.ndim == 1:
        return values.unfold(0, length, 1).index_select(0, begin)
    if not values.shape[1]:
        return values.new_empty(len(begin), length, 0)
    return values.unfold(0, length, 1).index_select(0, begin).transpose(1, 2)
