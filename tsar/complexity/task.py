"""What heads are asked: rows of a panel, the response of each, and which of them come first."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel

LEAST = 10  # rows that a curve needs to train on
MOST_ASKED = 2000  # rows of a stretch that heads are asked about, spread evenly


@dataclass(frozen=True)
class Rows:
    """Points of a panel at which something is forecast, in order of series, then of time.

    Attributes
    ----------
    places
        Rows of ``panel.values``: the last points that are known.
    runs
        Row of the series that each belongs to.
    response
        What comes after each.
    """

    places: Int[Tensor, " row"]
    runs: Int[Tensor, " row"]
    response: Float[Tensor, "row output"]

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: Bool[Tensor, " row"] | Int[Tensor, " chosen"]) -> "Rows":
        """Some of the rows."""
        return Rows(self.places[chosen], self.runs[chosen], self.response[chosen])

    def to(self, device: torch.device) -> "Rows":
        """Rows on a device."""
        return Rows(self.places.to(device), self.runs.to(device), self.response.to(device))

    def parted(self, most: int | None) -> tuple["Rows", "Rows"]:
        """At most `most` rows, spread evenly (None for all), and the others."""
        others = torch.ones(len(self), dtype=torch.bool)
        if most is None or len(self) <= most:
            return self, self.take(~others)
        chosen = torch.arange(most) * (len(self) - 1) // (most - 1)
        return self.take(chosen), self.take(others.index_fill(0, chosen, False))


@dataclass(frozen=True)
class Split:
    """Rows to train on, to choose by, and to report, one after the other in time.

    `spare` are rows of the training stretch that no head is fitted to: they only help to tell what
    the best head is.
    """

    train: Rows
    validation: Rows
    test: Rows
    spare: Rows

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        """Those that risks are measured on, oldest first."""
        return self.train, self.validation, self.test

    @property
    def every(self) -> tuple[Rows, Rows, Rows, Rows]:
        """All rows, the spare ones last: what features are made for."""
        return *self.parts, self.spare


def following(panel: Panel, horizon: int, *, segment: bool) -> Float[Tensor, "time output"]:
    """What comes after each point: the value `horizon` steps on, or all values up to it.

    NaN where that was not observed, or lies behind the end of the series.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> following(panel, 1, segment=False)[:, 0].tolist()
    [2.0, 3.0, nan]
    """
    place = torch.arange(len(panel.values), device=panel.offsets.device)
    end = panel.per_point(panel.offsets[1:])
    steps = range(1, horizon + 1) if segment else (horizon,)
    ahead = torch.stack([place + step for step in steps], dim=1)
    inside = ahead < end[:, None]
    return torch.where(inside, panel.values[ahead.clamp(max=len(place) - 1)], torch.nan)


def cuts(
    lengths: Int[Tensor, " series"], validation: float, test: float
) -> tuple[Int[Tensor, " series"], Int[Tensor, " series"]]:
    """First points of each series that belong to the validation and to the test stretch.

    Examples
    --------
    >>> [int(cut) for cut in cuts(torch.tensor([100]), 0.2, 0.3)]
    [50, 70]
    """
    last = lengths - (lengths * test).round().long()
    return last - (lengths * validation).round().long(), last


def split_rows(
    panel: Panel,
    response: Float[Tensor, "time output"],
    usable: Bool[Tensor, " time"],
    *,
    horizon: int,
    shares: tuple[float, float],
    n_train: int | None,
) -> Split:
    """Split the usable rows of a panel in time, series by series.

    Each stretch ends `horizon` points before the next begins, so that all of its responses are
    known by then.

    Parameters
    ----------
    response, usable
        Of each point; points whose response is missing are left out.
    horizon
        Points that a response reaches ahead.
    shares
        Of validation and test in each series.
    n_train
        Training rows, spread evenly over the training stretch; None for all.
    """
    series = panel.series
    point = torch.arange(len(panel.values), device=series.device) - panel.offsets[series]
    middle, last = (panel.per_point(cut) for cut in cuts(panel.lengths, *shares))
    usable = usable & ~response.isnan().any(dim=1)
    stretches = (
        point < middle - horizon,
        (point >= middle) & (point < last - horizon),
        point >= last,
    )
    found = []
    for stretch in stretches:
        places = (usable & stretch).nonzero()[:, 0]
        found.append(Rows(places, series[places], response[places]))
    train, spare = found[0].parted(n_train)
    split = Split(train, *(part.parted(MOST_ASKED)[0] for part in (*found[1:], spare)))
    _check(split, horizon)
    return split


def _check(split: Split, horizon: int) -> None:
    counts = [len(part) for part in split.parts]
    if counts[0] < LEAST or min(counts) < 2:
        raise ValueError(
            f"frame must give at least {LEAST} training rows, 2 of validation and 2 of test, with "
            f"a gap of horizon={horizon} between; got {counts}. Give longer series, a shorter "
            "horizon, or smaller sizes: where points are missing, a window of lags has to be whole."
        )


def standardized(rows: Rows, level: Tensor, scale: Tensor) -> Rows:
    """Rows with responses in units of their own."""
    return replace(rows, response=(rows.response - level) / scale)
