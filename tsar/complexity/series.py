"""What each series of a panel asks for: how many lags, and how much of it can be forecast."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.complexity.representations import whole_windows
from tsar.complexity.task import Rows, cuts, following
from tsar.data.panel import Panel

CHUNK = 2**24  # values of lag windows that are held at once
JITTER = 1e-10  # of the variance, a row for each lag: no triangle is singular
ROWS_A_LAG = 3  # an order needs at least as many training rows a lag


@dataclass(frozen=True)
class _Stretch:
    """Windows of several series, rows of zeros where one has fewer."""

    windows: Float[Tensor, "series row lag"]
    target: Float[Tensor, "series row"]
    mask: Bool[Tensor, "series row"]

    def around(self, level: Tensor, mean: Tensor) -> "_Stretch":
        """The same around the means of the lags and of the target."""
        mask = self.mask.to(self.windows)
        windows = (self.windows - level[:, None]) * mask[:, :, None]
        return _Stretch(windows, (self.target - mean[:, None]) * mask, self.mask)


def series_table(panel: Panel, shares: tuple[float, float], most: int) -> pd.DataFrame:
    """Order, risk and predictability of each series, one step ahead: a row a series.

    All orders come from one triangular decomposition: with lags made orthogonal one after the
    other, the forecast of order p is a sum of p terms. The order is the smallest whose validation
    error is within one standard error of the best.

    Parameters
    ----------
    panel
        Standardized series.
    shares
        Of validation and test in each series.
    most
        The highest order to try.

    Returns
    -------
    frame
        By id: ``rows`` (training), ``order``, ``risk`` and ``null`` (squared errors on the test
        stretch of that order, and of the training mean), ``predictability`` (``1 - risk / null``)
        and ``entropy_rate`` in nats a point (of a Gaussian with the error's variance, in units of
        the standardized series). NaN where a series is too short.

    Examples
    --------
    >>> noise = torch.randn(1, 600, generator=torch.Generator().manual_seed(0)).double()
    >>> for point in range(2, 600):
    ...     noise[0, point] += 0.9 * noise[0, point - 2]
    >>> int(series_table(Panel.from_tensor(noise), (0.2, 0.2), 8)["order"].iloc[0])
    2
    """
    found = torch.full((len(panel), 5), math.nan, dtype=torch.float64)
    response = following(panel, 1, segment=False)
    usable = whole_windows(panel, most) & ~response.isnan().any(dim=1)
    middle, last = (panel.per_point(cut) for cut in cuts(panel.lengths, *shares))
    point = torch.arange(len(panel.values)) - panel.offsets[panel.series]
    stretches = (point < middle - 1, (point >= middle) & (point < last - 1), point >= last)
    rows = [_rows(panel, response, usable & stretch) for stretch in stretches]
    counts = torch.stack([torch.bincount(part.runs, minlength=len(panel)) for part in rows])
    able = (counts[0] >= 2 * ROWS_A_LAG) & (counts[1:] >= 2).all(dim=0)
    for chosen in _chunks(able.nonzero()[:, 0], int(counts.max()) * most):
        parts = [_stretch(panel, part, chosen, most) for part in rows]
        found[chosen] = _measured(parts, most)
    columns = ["rows", "order", "risk", "null", "entropy_rate"]
    table = pd.DataFrame(found.numpy(), columns=columns, index=panel.labels.ids)
    table["entropy_rate"] += 0.0
    table.insert(4, "predictability", 1 - table["risk"] / table["null"])
    return table.astype({"rows": "Int64", "order": "Int64"})


def _rows(panel: Panel, response: Tensor, wanted: Tensor) -> Rows:
    places = wanted.nonzero()[:, 0]
    return Rows(places, panel.series[places], response[places])


def _chunks(series: Int[Tensor, " series"], each: int) -> Iterator[Int[Tensor, " chosen"]]:
    if len(series):
        yield from series.split(max(CHUNK // max(each, 1), 1))


def _stretch(panel: Panel, rows: Rows, chosen: Int[Tensor, " chosen"], most: int) -> _Stretch:
    """Rows of some series side by side."""
    row = torch.full((len(panel),), -1)
    row[chosen] = torch.arange(len(chosen))
    mine = rows.take(row[rows.runs] >= 0)
    place = torch.arange(len(mine)) - torch.searchsorted(mine.runs, mine.runs)
    shape = len(chosen), int(place.max()) + 1
    windows = panel.values.new_zeros(*shape, most)
    target = panel.values.new_zeros(shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    where = row[mine.runs], place
    windows[where] = panel.values.unfold(0, most, 1)[mine.places - most + 1].flip(1)
    target[where] = mine.response[:, 0]
    mask[where] = True
    return _Stretch(windows, target, mask)


def _measured(parts: list[_Stretch], most: int) -> Float[Tensor, "series fact"]:
    """Training rows, order, risk, null risk and entropy rate of each series."""
    train = parts[0]
    count = train.mask.sum(dim=1)
    level = train.windows.sum(dim=1) / count[:, None]
    mean = train.target.sum(dim=1) / count
    train, validation, test = (part.around(level, mean) for part in parts)
    jitter = (JITTER * count).sqrt()[:, None, None] * torch.eye(most).double()
    left, triangle = torch.linalg.qr(torch.cat([train.windows, jitter], dim=1))
    weight = (left[:, : train.target.shape[1]].mT @ train.target[:, :, None])[:, :, 0]
    losses = _losses_of_orders(validation, triangle, weight)
    order = _smallest(losses, validation.mask, count)
    told = _losses_of_orders(test, triangle, weight).sum(dim=1) / test.mask.sum(dim=1)[:, None]
    risk, null = told.gather(1, order[:, None])[:, 0], told[:, 0]
    rate = 0.5 * (2 * math.pi * math.e * risk).log()
    return torch.stack([count.to(risk), order.to(risk), risk, null, rate], dim=1)


def _losses_of_orders(
    stretch: _Stretch,
    triangle: Float[Tensor, "series lag lag"],
    weight: Float[Tensor, "series lag"],
) -> Float[Tensor, "series row order"]:
    """Squared errors of order 0, which says the mean, and of each higher one."""
    scores = torch.linalg.solve_triangular(triangle, stretch.windows, upper=True, left=False)
    said = torch.nn.functional.pad((scores * weight[:, None]).cumsum(dim=2), (1, 0))
    return (stretch.target[:, :, None] - said).square()


def _smallest(
    losses: Float[Tensor, "series row order"],
    mask: Bool[Tensor, "series row"],
    count: Int[Tensor, " series"],
) -> Int[Tensor, " series"]:
    """The smallest order that is not worse than the best by more than a standard error."""
    number = mask.sum(dim=1)[:, None]
    risk = losses.sum(dim=1) / number
    allowed = torch.arange(risk.shape[1]) <= count[:, None] // ROWS_A_LAG
    best = torch.where(allowed, risk, torch.inf).argmin(dim=1)
    beyond = losses - losses.gather(2, best[:, None, None].expand(-1, losses.shape[1], 1))
    gap = beyond.sum(dim=1) / number
    deviation = ((beyond - gap[:, None]) * mask[:, :, None]).square().sum(dim=1) / number
    near = allowed & (gap <= (deviation / number).sqrt())
    return near.long().argmax(dim=1)
