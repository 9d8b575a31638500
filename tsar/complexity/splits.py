"""Rows and responses for linear heads, split in time into training, validation and test."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel

MIN_TRAIN_ROWS = 10
MAX_EVALUATION_ROWS = 2000  # of the validation and of the test part, evenly spaced


@dataclass(frozen=True)
class Rows:
    """Rows of a design matrix: points of a panel with their responses, by series, then by time.

    Positions are indices into ``panel.values`` of the newest point that is known.
    """

    positions: Int[Tensor, " row"]
    series: Int[Tensor, " row"]
    response: Float[Tensor, "row output"]

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, rows: Bool[Tensor, " row"] | Int[Tensor, " selected"]) -> "Rows":
        """Some of the rows, by mask or by index."""
        return Rows(self.positions[rows], self.series[rows], self.response[rows])

    def to(self, device: torch.device) -> "Rows":
        """Rows on a device."""
        return Rows(self.positions.to(device), self.series.to(device), self.response.to(device))

    def subsample(self, max_rows: int | None) -> tuple["Rows", "Rows"]:
        """At most `max_rows` evenly spaced rows (None: all of them), and the other rows."""
        others = torch.ones(len(self), dtype=torch.bool)
        if max_rows is None or len(self) <= max_rows:
            return self, self.select(~others)
        chosen = torch.arange(max_rows) * (len(self) - 1) // (max_rows - 1)
        return self.select(chosen), self.select(others.index_fill(0, chosen, False))

    def standardize(self, level: Float[Tensor, "row 1"], scale: Float[Tensor, "row 1"]) -> "Rows":
        """Rows whose responses are in units of their own contexts."""
        return replace(self, response=(self.response - level) / scale)


@dataclass(frozen=True)
class Split:
    """Rows for training, for choosing a size, and for reporting its risk, in order of time.

    `extra` are further rows of the training period. No head is fitted to them; they only help to
    estimate the best linear head.
    """

    train: Rows
    validation: Rows
    test: Rows
    extra: Rows

    @property
    def measured(self) -> tuple[Rows, Rows, Rows]:
        """Rows on which risks are measured, oldest first."""
        return self.train, self.validation, self.test

    @property
    def all_rows(self) -> tuple[Rows, Rows, Rows, Rows]:
        """All rows in the order of the design matrix: the extra ones last."""
        return *self.measured, self.extra


def future_values(panel: Panel, horizon: int, *, segment: bool) -> Float[Tensor, "time output"]:
    """Response of each point: its value `horizon` steps ahead, or all values up to there.

    NaN where the value is missing or after the end of the series.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> future_values(panel, 1, segment=False)[:, 0].tolist()
    [2.0, 3.0, nan]
    """
    position = torch.arange(len(panel.values), device=panel.offsets.device)
    end = panel.per_point(panel.offsets[1:])
    steps = range(1, horizon + 1) if segment else (horizon,)
    ahead = torch.stack([position + step for step in steps], dim=1)
    inside = ahead < end[:, None]
    return torch.where(inside, panel.values[ahead.clamp(max=len(position) - 1)], torch.nan)


def split_points(
    lengths: Int[Tensor, " series"], validation: float, test: float
) -> tuple[Int[Tensor, " series"], Int[Tensor, " series"]]:
    """Index of the first validation and of the first test point of each series.

    Examples
    --------
    >>> [int(point) for point in split_points(torch.tensor([100]), 0.2, 0.3)]
    [50, 70]
    """
    first_test = lengths - (lengths * test).round().long()
    return first_test - (lengths * validation).round().long(), first_test


def rows_by_period(
    panel: Panel,
    response: Float[Tensor, "time output"],
    usable: Bool[Tensor, " time"],
    horizon: int,
    shares: tuple[float, float],
) -> tuple[Rows, Rows, Rows]:
    """Usable rows of the training, the validation and the test period of each series.

    Each period ends `horizon` points before the next begins, so that all of its responses are
    known by then. Rows with a missing response are left out.
    `shares` are those of the validation and of the test period in each series.
    """
    series = panel.series
    point = torch.arange(len(panel.values), device=series.device) - panel.offsets[series]
    first_validation, first_test = (
        panel.per_point(points) for points in split_points(panel.lengths, *shares)
    )
    usable = usable & ~response.isnan().any(dim=1)
    periods = (
        point < first_validation - horizon,
        (point >= first_validation) & (point < first_test - horizon),
        point >= first_test,
    )
    positions = ((usable & period).nonzero()[:, 0] for period in periods)
    train, validation, test = (Rows(rows, series[rows], response[rows]) for rows in positions)
    return train, validation, test


def split_rows(
    panel: Panel,
    response: Float[Tensor, "time output"],
    usable: Bool[Tensor, " time"],
    *,
    horizon: int,
    shares: tuple[float, float],
    n_train: int | None,
) -> Split:
    """Split the usable rows of a panel in time, see `rows_by_period`.

    The `n_train` training rows (None: all) are evenly spaced over the training period.
    """
    early, validation, test = rows_by_period(panel, response, usable, horizon, shares)
    train, extra = early.subsample(n_train)
    others = (rows.subsample(MAX_EVALUATION_ROWS)[0] for rows in (validation, test, extra))
    split = Split(train, *others)
    counts = [len(rows) for rows in split.measured]
    if counts[0] < MIN_TRAIN_ROWS or min(counts) < 2:
        raise ValueError(
            f"frame must give at least {MIN_TRAIN_ROWS} training rows, 2 validation rows and 2 "
            f"test rows, with a gap of horizon={horizon} between them; got {counts}. Give longer "
            "series, a shorter horizon, or smaller sizes: a window of lags must have no missing "
            "point."
        )
    return split
