"""Series as rows of a matrix, their newest points last, NaN before the first point of each."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel


def observed_lengths(values: Float[Tensor, "series time"]) -> Int[Tensor, " series"]:
    """Points of each series: those from its first observed one on."""
    observed = ~values.isnan()
    first = observed.int().argmax(dim=1)
    return torch.where(observed.any(dim=1), values.shape[1] - first, 0)


def interpolate(values: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Values with the points between observed ones interpolated linearly, the last one repeated.

    Examples
    --------
    >>> nan = float("nan")
    >>> interpolate(torch.tensor([[nan, 1.0, nan, 3.0, nan]]))
    tensor([[nan, 1., 2., 3., 3.]])
    """
    missing = values.isnan()
    if not bool((missing.int().diff(dim=1) > 0).any()):  # only before the first point
        return values
    time = torch.arange(values.shape[1], device=values.device).expand_as(missing)
    before = torch.where(missing, -1, time).cummax(dim=1).values
    after = torch.where(missing, values.shape[1], time).flip(1).cummin(dim=1).values.flip(1)
    known = after < values.shape[1]
    left = values.gather(1, before.clamp(min=0))
    right = torch.where(known, values.gather(1, after.clamp(max=values.shape[1] - 1)), left)
    share = (time - before) / (after - before).clamp(min=1)
    return torch.where(missing, torch.lerp(left, right, share.to(values)), values)


def difference(values: Float[Tensor, "series time"], lag: int) -> Float[Tensor, "series time"]:
    """Differences from the value `lag` points before; NaN where there is none."""
    changes = values[:, lag:] - values[:, :-lag]
    return torch.nn.functional.pad(changes, (lag, 0), value=torch.nan)[:, -values.shape[1] :]


def undo_seasonal_difference(
    changes: Float[Tensor, "series horizon"],
    values: Float[Tensor, "series time"],
    season: int,
) -> Float[Tensor, "series horizon"]:
    """Forecasts whose differences from one season before are `changes`.

    Examples
    --------
    >>> undo_seasonal_difference(torch.ones(1, 3), torch.tensor([[5.0, 7.0]]), 2)
    tensor([[6., 8., 7.]])
    """
    horizon = changes.shape[1]
    seasons = -(-horizon // season)
    whole = torch.nn.functional.pad(changes, (0, seasons * season - horizon))
    total = whole.unflatten(1, (seasons, season)).cumsum(dim=1)
    return (values[:, None, -season:] + total).flatten(1)[:, :horizon]


def newest_first(
    values: Float[Tensor, "series time"], season: int
) -> Float[Tensor, "series cycle season"]:
    """Values by phase of the season, counted back from the newest point (phase 0)."""
    cycles = -(-values.shape[1] // season)
    padding = cycles * season - values.shape[1]
    padded = torch.nn.functional.pad(values, (padding, 0), value=torch.nan)
    return padded.flip(1).unflatten(1, (cycles, season))


def length_classes(
    lengths: Int[Tensor, " series"], longest: int
) -> Iterator[tuple[Int[Tensor, " row"], int]]:
    """Rows of series of similar lengths, and the number of points to keep of them.

    The class of a series depends on its own length alone, so that its sums add in the same order
    whatever the other series are.
    """
    kept = lengths.clamp(max=longest)
    power = 2 ** kept.clamp(min=4).double().log2().ceil().long()
    width = torch.where(kept <= 3 * power // 4, 3 * power // 4, power)
    for points in width.unique().tolist():
        yield (width == points).nonzero()[:, 0], int(points)


def padded_values(panel: Panel, longest: int) -> Float[Tensor, "series time"]:
    """Newest points of each series of a panel, NaN before its first."""
    tail = panel.tail(longest)
    lengths = tail.lengths
    width = int(lengths.max())
    values = tail.values.new_full((len(panel), width), torch.nan)
    column = width - (tail.offsets[1:][tail.series] - torch.arange(len(tail.values)))
    values[tail.series, column] = tail.values
    return values


def last_points(values: Float[Tensor, "series time"], width: int) -> Float[Tensor, "series width"]:
    """Newest points, padded with NaN."""
    missing = max(width - values.shape[1], 0)
    padded = torch.nn.functional.pad(values, (missing, 0), value=torch.nan)
    return padded[:, padded.shape[1] - width :]
