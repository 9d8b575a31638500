"""Frozen features of growing size: windows of lags, random features of them, or given arrays."""

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

Activation = Literal["relu", "fourier"]
# The longest default window of lags: eight seasons, at least a week of hours.
MAX_SEASONS, MIN_LONGEST_WINDOW = 8, 168
MIN_RANDOM_LAGS, MAX_RANDOM_LAGS = 8, 64  # default inputs of a random feature


@dataclass(frozen=True)
class Features:
    """Features of some points of a panel.

    Attributes
    ----------
    values
        A row for each point.
    units
        Level and scale of each point's context, in which responses are to be taken; None: the
        units of the panel.
    """

    values: Float[Tensor, "row feature"]
    units: InstanceNorm | None = None


class FrozenFeatures(ABC):
    """Features with fixed parameters: a function of the points up to each time."""

    # Whether the features of a size are the first columns of any larger size.
    nested: bool = True

    @abstractmethod
    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points of the panel that have features."""

    @abstractmethod
    def compute(self, panel: Panel, positions: Int[Tensor, " row"], size: int) -> Features:
        """Features of some rows of ``panel.values``, from these and earlier points only."""


class Representation(ABC):
    """A family of frozen features of any size, for `ComplexityAnalysis`.

    To use your own, implement these two methods. ``freeze`` gets the training points only.
    """

    @abstractmethod
    def max_size(self, training: Panel) -> int | None:
        """The largest possible number of features; None: unbounded."""

    @abstractmethod
    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Fit the features of all sizes to the training points."""


@dataclass(frozen=True)
class Lags(Representation):
    """The last values, newest first: a head on p of them is an autoregression of order p.

    Parameters
    ----------
    max_lags
        Length of the longest window; None: eight seasons, at least 168, but at most a quarter of
        the longest series or one season and a lag.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> Lags().freeze(panel, [2], 0).compute(panel, torch.tensor([1, 2]), 2).values
    tensor([[2., 1.],
            [3., 2.]])
    """

    max_lags: int | None = None

    def max_size(self, training: Panel) -> int:
        """Length of the longest window."""
        if self.max_lags is not None:
            return self.max_lags
        season_length = training.labels.frequency.season_length
        length = int(training.lengths.max())
        longest = max(MAX_SEASONS * season_length, MIN_LONGEST_WINDOW)
        return max(min(longest, length // 4), min(season_length + 1, length // 2), 1)

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Nothing is fitted."""
        return _WindowFeatures(max(sizes), None, None)


@dataclass(frozen=True)
class RandomFeatures(Representation):
    """Random nonlinear features of the last values: the hidden layer of an untrained network.

    The features of a size are the first ones of any larger size.

    Parameters
    ----------
    lags
        Values that a feature depends on; None: the season, at least 8, but at most 64 or an eighth
        of the longest series.
    activation
        ``"relu"``: ``max(0, w x + b)``. ``"fourier"``: ``cos(w x + b)``, whose inner products
        approximate a Gaussian kernel (Rahimi & Recht 2007).

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.randn(1, 50, dtype=torch.float64))
    >>> frozen = RandomFeatures(lags=4).freeze(panel, [5, 100], 0)
    >>> frozen.compute(panel, torch.tensor([9]), 100).values.shape
    torch.Size([1, 100])
    """

    lags: int | None = None
    activation: Activation = "relu"

    def max_size(self, training: Panel) -> None:
        """Unbounded."""

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Sample the weights of the largest layer."""
        season_length = max(training.labels.frequency.season_length, MIN_RANDOM_LAGS)
        longest = min(season_length, MAX_RANDOM_LAGS, int(training.lengths.max()) // 8)
        lags = self.lags or max(longest, 1)
        # Row by row, so that a larger layer begins with a smaller one; torch samples otherwise.
        normal = np.random.default_rng(seed).standard_normal((max(sizes), lags + 1))
        bias, weights = torch.from_numpy(normal).split([1, lags], dim=1)
        if self.activation == "fourier":
            bias = 2 * torch.pi * torch.special.ndtr(bias)
        layer = torch.cat([bias, weights / lags**0.5], dim=1)
        return _WindowFeatures(lags, layer.to(training.values), self.activation)


@dataclass(frozen=True)
class _WindowFeatures(FrozenFeatures):
    """Windows of lags, or a layer of bias (first column) and weights on them."""

    lags: int
    layer: Float[Tensor, "feature weight"] | None
    activation: Activation | None

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points whose window of lags is complete."""
        return complete_windows(panel, self.lags)

    def compute(self, panel: Panel, positions: Int[Tensor, " row"], size: int) -> Features:
        """The window that ends at each point, or the layer's output."""
        windows = panel.values.unfold(0, self.lags, 1)[positions - self.lags + 1].flip(1)
        if self.layer is None:
            return Features(windows[:, :size])
        linear = windows @ self.layer[:size, 1:].T + self.layer[:size, 0]
        return Features(linear.relu() if self.activation == "relu" else linear.cos())


@dataclass(frozen=True)
class PrecomputedFeatures(Representation):
    """Features computed elsewhere; a size takes the first columns.

    They must be frozen as well: a row may depend on its point and earlier ones only, and what was
    fitted to obtain them must not have used validation or test rows.

    Parameters
    ----------
    values
        A row for each point of the panel, NaN where there are no features.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.zeros(1, 3, dtype=torch.float64))
    >>> frozen = PrecomputedFeatures(torch.eye(3).double()).freeze(panel, [1, 3], 0)
    >>> frozen.compute(panel, torch.tensor([1]), 3).values
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """

    values: Float[Tensor, "time feature"]

    def max_size(self, training: Panel) -> int:
        """All columns."""
        return self.values.shape[1]

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Nothing is fitted."""
        return _FrozenArray(self.values.to(training.values))


@dataclass(frozen=True)
class _FrozenArray(FrozenFeatures):
    values: Float[Tensor, "time feature"]

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points without a missing feature."""
        if len(self.values) != len(panel.values):
            raise ValueError(
                "representation must have a row for each point of the frame; got "
                f"{len(self.values)} rows for {len(panel.values)} points. Give as many rows."
            )
        return ~self.values.isnan().any(dim=1)

    def compute(self, panel: Panel, positions: Int[Tensor, " row"], size: int) -> Features:
        """The first columns of each point."""
        return Features(self.values[positions, :size])


def complete_windows(panel: Panel, length: int) -> Bool[Tensor, " time"]:
    """Points at which a window of observed points of one series ends.

    Examples
    --------
    >>> panel = Panel.from_tensor(torch.tensor([[1.0, 2.0, torch.nan], [4, 5, 6]]))
    >>> complete_windows(panel, 2)
    tensor([False,  True, False, False,  True,  True])
    """
    observed = (~panel.values.isnan()).long()
    total = torch.cat([observed.new_zeros(1), observed.cumsum(0)])
    end = torch.arange(1, len(observed) + 1, device=observed.device)
    begin = end - length
    within_series = begin >= panel.per_point(panel.offsets[:-1])
    return within_series & (total[end] - total[begin.clamp(min=0)] == length)
