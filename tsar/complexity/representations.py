"""Frozen features of growing size: windows of lags, random functions of them, or given ones."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.nn.normalization import InstanceNorm

Kind = Literal["relu", "fourier"]
SEASONS, WEEK = 8, 168  # of a window of lags, at most: a week of hours
SHORTEST, LONGEST = 8, 64  # lags of a random feature where none are asked for


@dataclass(frozen=True)
class Told:
    """Features of some points of a panel, and the units that responses are taken in there."""

    features: Float[Tensor, "row feature"]
    units: InstanceNorm | None = None


class Frozen(ABC):
    """Features that learn no more: a function of what is known at each point."""

    # Whether the features of a size are the first ones of any larger size.
    nested: bool = True

    @abstractmethod
    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points of the panel that features can be made of."""

    @abstractmethod
    def tell(self, panel: Panel, places: Int[Tensor, " row"], size: int) -> Told:
        """Features of points, by rows of ``panel.values``; nothing behind a point counts."""


class Representation(ABC):
    """What `ComplexityAnalysis` makes larger and larger: to be frozen before heads are tuned.

    One of your own has these two methods. ``freeze`` sees the training points alone.
    """

    @abstractmethod
    def limit(self, known: Panel) -> int | None:
        """The largest size that there is; None: any."""

    @abstractmethod
    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Learn from the training points what is to be learned, for all sizes."""


@dataclass(frozen=True)
class Lags(Representation):
    """The last points themselves, newest first: of size p an autoregression of order p.

    Parameters
    ----------
    most
        The longest window; None: eight seasons, at least 168, at most a quarter of a series or a
        season and one.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> Lags().freeze(panel, [2], 0).tell(panel, torch.tensor([1, 2]), 2).features
    tensor([[2., 1.],
            [3., 2.]])
    """

    most: int | None = None

    def limit(self, known: Panel) -> int:
        """The longest window."""
        if self.most is not None:
            return self.most
        longest = max(SEASONS * known.labels.frequency.season_length, WEEK)
        most = int(known.lengths.max())
        season = min(known.labels.frequency.season_length + 1, most // 2)
        return max(min(longest, most // 4), season, 1)

    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Nothing is learned."""
        return _Windowed(max(sizes), None, None)


@dataclass(frozen=True)
class RandomFeatures(Representation):
    """Random functions of the last points: the hidden layer of a network that is not trained.

    Those of a size are the first ones of the largest draw.

    Parameters
    ----------
    lags
        Points that a feature sees; None: the season, at least 8, at most 64 or an eighth of a
        series.
    kind
        ``"relu"``: ``max(0, w x + b)``. ``"fourier"``: ``cos(w x + b)``, whose products are those
        of a Gaussian kernel (Rahimi & Recht 2007).

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.randn(1, 50, dtype=torch.float64))
    >>> told = RandomFeatures(lags=4).freeze(panel, [5, 100], 0).tell(panel, torch.tensor([9]), 100)
    >>> told.features.shape
    torch.Size([1, 100])
    """

    lags: int | None = None
    kind: Kind = "relu"

    def limit(self, known: Panel) -> None:
        """There are as many as one likes."""

    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Draw the largest layer."""
        season = max(known.labels.frequency.season_length, SHORTEST)
        lags = self.lags or max(min(season, LONGEST, int(known.lengths.max()) // 8), 1)
        # Row by row, so that a larger layer begins with a smaller one; torch draws otherwise.
        normal = np.random.default_rng(seed).standard_normal((max(sizes), lags + 1))
        drawn = torch.from_numpy(normal)
        weights = torch.cat([drawn[:, :1], drawn[:, 1:] / lags**0.5], dim=1)
        if self.kind == "fourier":
            turn = 2 * torch.pi * torch.special.ndtr(weights[:, :1])
            weights = torch.cat([turn, weights[:, 1:]], dim=1)
        return _Windowed(lags, weights.to(known.values), self.kind)


@dataclass(frozen=True)
class _Windowed(Frozen):
    """Lags, or functions of them."""

    lags: int
    weights: Float[Tensor, "feature weight"] | None
    kind: Kind | None

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points with as many observed ones before them."""
        return whole_windows(panel, self.lags)

    def tell(self, panel: Panel, places: Int[Tensor, " row"], size: int) -> Told:
        """The window behind each point, or functions of it."""
        windows = panel.values.unfold(0, self.lags, 1)[places - self.lags + 1].flip(1)
        if self.weights is None:
            return Told(windows[:, :size])
        sums = windows @ self.weights[:size, 1:].T + self.weights[:size, 0]
        return Told(sums.relu() if self.kind == "relu" else sums.cos())


@dataclass(frozen=True)
class Given(Representation):
    """Features that were made elsewhere: a row for each point of the frame, the first ones first.

    They must be frozen as well: made without what comes after a point, and without the rows that
    are tested.

    Parameters
    ----------
    values
        Features of each point, NaN where there are none.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.zeros(1, 3, dtype=torch.float64))
    >>> given = Given(torch.eye(3, dtype=torch.float64)).freeze(panel, [1, 3], 0)
    >>> given.tell(panel, torch.tensor([1]), 3).features
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """

    values: Float[Tensor, "time feature"]

    def limit(self, known: Panel) -> int:
        """All that were given."""
        return self.values.shape[1]

    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Nothing is learned."""
        return _Given(self.values.to(known.values))


@dataclass(frozen=True)
class _Given(Frozen):
    values: Float[Tensor, "time feature"]

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points whose features are all known."""
        if len(self.values) != len(panel.values):
            raise ValueError(
                "representation must have a row for each point of the frame; got "
                f"{len(self.values)} rows for {len(panel.values)} points. Give as many."
            )
        return ~self.values.isnan().any(dim=1)

    def tell(self, panel: Panel, places: Int[Tensor, " row"], size: int) -> Told:
        """The first features of each point."""
        return Told(self.values[places, :size])


def whole_windows(panel: Panel, length: int) -> Bool[Tensor, " time"]:
    """Points that end a window of observed points of one series.

    Examples
    --------
    >>> whole_windows(Panel.from_tensor(torch.tensor([[1.0, 2.0, torch.nan], [4, 5, 6]])), 2)
    tensor([False,  True, False, False,  True,  True])
    """
    observed = (~panel.values.isnan()).long()
    total = torch.cat([observed.new_zeros(1), observed.cumsum(0)])
    end = torch.arange(1, len(observed) + 1, device=observed.device)
    begin = end - length
    whole = begin >= panel.per_point(panel.offsets[:-1])
    return whole & (total[end] - total[begin.clamp(min=0)] == length)
