"""Combinations of all series of a panel: one for each set of seasons."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.forecasters.arnet.combination.choice import seasons_of
from tsar.forecasters.arnet.combination.combination import Combination
from tsar.forecasters.arnet.combination.rolling import FitEquation
from tsar.forecasters.arnet.combination.season_search import find_seasons
from tsar.forecasters.forecast import Forecast
from tsar.records import record

MIN_POINTS = 8  # points below which a series is reported


def seasons_by_series(
    panel: Panel, season_length: int | Sequence[int] | None
) -> list[tuple[int, ...]]:
    """Seasons of each series: given, of the frequency, or found where times are integers."""
    frequency = panel.labels.frequency
    if season_length is None and frequency.kind == "integer":
        return find_seasons(panel)
    return [seasons_of(frequency, season_length)] * len(panel)


@record("combinations")
@dataclass(frozen=True)
class Combinations:
    """Combinations for the series of a panel, whose seasons may differ.

    Attributes
    ----------
    parts
        A combination for the series of each set of seasons.
    part, row
        Index of the combination of each series, and its row there.
    """

    parts: tuple[Combination, ...]
    part: Int[Tensor, " series"]
    row: Int[Tensor, " series"]

    @classmethod
    def fit(
        cls,
        panel: Panel,
        seasons: Sequence[tuple[int, ...]],
        horizon: int,
        fit_equation: FitEquation,
        *,
        pool: bool = False,
    ) -> "Combinations":
        """Fit a combination to the series of each set of seasons; see `Combination.fit`."""
        _warn_of_short_series(panel)
        distinct = sorted(set(seasons))
        part = torch.tensor([distinct.index(own) for own in seasons])
        row, parts = torch.zeros_like(part), []
        for index, own in enumerate(distinct):
            rows = (part == index).nonzero()[:, 0]
            row[rows] = torch.arange(len(rows))
            some = panel if len(distinct) == 1 else panel.select(rows.numpy())
            parts.append(Combination.fit(some, own, horizon, fit_equation, pool=pool))
        return cls(tuple(parts), part, row)

    @property
    def context_length(self) -> int:
        """Newest points that the members read."""
        return max(part.context_length for part in self.parts)

    @property
    def equation_weights(self) -> Float[Tensor, " series"]:
        """Weight of the equation in levels of each series."""
        weights = torch.empty(len(self.part), dtype=torch.float64)
        for index, part in enumerate(self.parts):
            rows = self.part == index
            weights[rows] = part.weights[self.row[rows], 0]
        return weights

    def of(self, series: int) -> tuple[Combination, int]:
        """Return the combination of a series, and its row there."""
        return self.parts[int(self.part[series])], int(self.row[series])

    def combine(
        self,
        forecast: Forecast,
        windows: Windows,
        rows: Int[Tensor, " series"],
        levels: Sequence[float],
    ) -> Forecast:
        """Combined forecasts of windows; see `Combination.combine`."""
        fitted = rows[windows.series]
        if len(self.parts) == 1:
            return self.parts[0].combine(forecast, windows, self.row[fitted], levels)
        point = torch.empty_like(forecast.point)
        quantiles = forecast.quantiles.new_empty(*point.shape, len(levels))
        for index, part in enumerate(self.parts):
            some = (self.part[fitted] == index).nonzero()[:, 0]
            if len(some):
                own = Forecast(forecast.point[some], forecast.quantiles[some])
                combined = part.combine(own, windows.take(some), self.row[fitted[some]], levels)
                point[some], quantiles[some] = combined.point, combined.quantiles
        return Forecast(point, quantiles if levels else forecast.quantiles)


def _warn_of_short_series(panel: Panel) -> None:
    """Warn of series that are too short to tell one member from another."""
    short = (panel.lengths < MIN_POINTS).nonzero()[:, 0].tolist()
    if short:
        name, count = panel.labels.ids[short[0]], int(panel.lengths[short[0]])
        others = f", and {len(short) - 1} more series are as short" if len(short) > 1 else ""
        warnings.warn(
            f"series {name!r} has only {count} points{others}: its forecast is little more than "
            f"its last level, and its interval is rough. Give at least {MIN_POINTS} points, or "
            "leave it out.",
            stacklevel=2,
        )
