"""Observations: sequences end to end, and blocks of them padded to one length."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from tsar.data.panel import Columns, Panel, is_long, row_order
from tsar.data.segments import reduce
from tsar.hmm.robust_scale import OUTLIER_RATIO, group_median_iqr, has_outliers

LEAST_UNIT = 1e-140  # standard deviation whose square is still far from 0
NUMBERS = 1 << 22  # float64 of a block's widest tensor: 32 MB
ENCODE = "Encode them: sklearn.preprocessing.OrdinalEncoder, or KBinsDiscretizer(encode='ordinal')."
NAMED = "tsar.data.panel.Panel.from_frame(frame, Columns(...)) as X"


@dataclass(frozen=True)
class Block:
    """Sequences of like length side by side: NaN where missing, and behind the end of each."""

    values: Float[Tensor, "sequence time feature"]
    lengths: Int[Tensor, " sequence"]
    sequences: Int[Tensor, " sequence"]
    rows: Int[Tensor, "sequence time"]

    def take(self, chosen: Int[Tensor, " row"]) -> "Block":
        """Some of the sequences, or some more than once."""
        return Block(
            self.values[chosen], self.lengths[chosen], self.sequences[chosen], self.rows[chosen]
        )

    def flatten(
        self, padded: Shaped[Tensor, "sequence time ..."]
    ) -> tuple[Int[Tensor, " point"], Shaped[Tensor, "point ..."]]:
        """Rows of the observations that the block holds, and what stands there."""
        inside = torch.arange(self.rows.shape[1], device=self.rows.device) < self.lengths[:, None]
        return self.rows[inside], padded[inside]


@dataclass(frozen=True)
class Observations:
    """Sequences end to end.

    Attributes
    ----------
    values
        A row for each point, NaN where a feature is missing.
    offsets
        Sequence i stands at ``values[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> pair = Observations(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 2, 3]))
    >>> [block.values.shape for block in pair.blocks()]
    [torch.Size([1, 1, 1]), torch.Size([1, 2, 1])]
    """

    values: Float[Tensor, "time feature"]
    offsets: Int[Tensor, " border"]

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Int[Tensor, " sequence"]:
        """Points of each sequence."""
        return self.offsets.diff()

    def select(self, sequences: Int[Tensor, " chosen"]) -> "Observations":
        """Some of the sequences, in that order."""
        counts = self.lengths[sequences]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        shift = (self.offsets[sequences] - offsets[:-1]).repeat_interleave(counts)
        return Observations(
            self.values[torch.arange(len(shift), device=shift.device) + shift], offsets
        )

    def observed(self) -> "Observations":
        """Sequences with a point that is not missing; the host waits here."""
        count = reduce(self.seen.double(), self.offsets, "sum")
        return self if bool((count > 0).all()) else self.select(count.nonzero()[:, 0])

    def until(self, points: Int[Tensor, " sequence"]) -> "Observations":
        """Points of each sequence up to and without the given one."""
        kept = torch.minimum(points, self.lengths)
        offsets = torch.cat([kept.new_zeros(1), kept.cumsum(0)])
        shift = (self.offsets[:-1] - offsets[:-1]).repeat_interleave(kept)
        return Observations(
            self.values[torch.arange(len(shift), device=shift.device) + shift], offsets
        )

    @cached_property
    def seen(self) -> Bool[Tensor, " time"]:
        """Whether a point has a feature that is not missing."""
        return ~self.values.isnan().all(-1)

    def blocks(self, width: int = 1) -> Iterator[Block]:
        """Blocks of sequences within a factor of two in length, of bounded memory.

        `width` is the number of float64 that are needed for each point.
        """
        lengths = self.lengths.cpu()
        kinds = lengths.clamp(min=1).double().log2().ceil().long()
        for kind in kinds.unique().tolist():
            chosen = (kinds == kind).nonzero()[:, 0]
            longest = int(lengths[chosen].max())
            if longest:
                for part in chosen.split(max(1, NUMBERS // (longest * width))):
                    yield self._block(part.to(self.offsets.device))

    def _block(self, sequences: Int[Tensor, " sequence"]) -> Block:
        lengths = self.lengths[sequences]
        step = torch.arange(int(lengths.max()), device=lengths.device)
        rows = self.offsets[sequences][:, None] + step
        inside = step < lengths[:, None]
        values = self.values[rows.clamp(max=len(self.values) - 1)]
        padded = values.masked_fill(~inside[:, :, None], torch.nan)
        return Block(padded, lengths, sequences, rows)


@dataclass(frozen=True)
class Units:
    """What was taken from each feature, and what it was divided by."""

    center: Float[Tensor, " feature"]
    scale: Float[Tensor, " feature"]
    log_density: float

    @classmethod
    def of(cls, values: Float[Tensor, "time feature"]) -> "Units":
        """Mean and standard deviation; 1 where a feature is constant.

        Median and width of the middle half where wild values widen the deviation: in units of
        theirs, all else would be one narrow heap. `log_density` is what to add to the log density
        of all values in these units.
        """
        seen = (~values.isnan()).sum(0).clamp(min=1)
        present = values.nan_to_num(0.0)
        peak = present.abs().amax(0)
        peak = torch.where(peak > 0, peak, 1.0)  # whose squares neither over- nor underflow
        center = (present / peak).sum(0) / seen
        squares = (values / peak - center).nan_to_num(0.0).square()
        scale = (squares.sum(0) / seen).sqrt()
        # What rounding leaves of a constant feature is no scale.
        rounding = 8 * torch.finfo(scale.dtype).eps * center.abs()
        center, scale = center * peak, torch.where(scale > rounding, scale * peak, 1.0)
        features = torch.arange(len(scale), device=scale.device).expand_as(values)
        median, iqr = group_median_iqr(values.flatten(), features.flatten(), len(scale))
        robust = has_outliers(scale, iqr)
        center = torch.where(robust, median, center)
        scale = torch.where(robust, OUTLIER_RATIO * iqr, scale)
        if not bool((scale > LEAST_UNIT).logical_and(scale < 1 / LEAST_UNIT).all()):
            raise ValueError(
                f"X must hold features whose variances are finite numbers above 0; got standard "
                f"deviations {scale.tolist()}. Give them in other units."
            )
        return cls(center, scale, -float((seen * scale.log()).sum()))

    @classmethod
    def identity(cls, values: Float[Tensor, "time feature"]) -> "Units":
        """Units that leave values as they are."""
        one = values.new_ones(values.shape[1])
        return cls(torch.zeros_like(one), one, 0.0)

    def apply(self, observations: Observations) -> Observations:
        """Observations in these units."""
        return Observations((observations.values - self.center) / self.scale, observations.offsets)


@dataclass(frozen=True)
class Reading:
    """Observations, and the way back to the rows of the input that they came from."""

    observations: Observations
    order: NDArray[np.intp] | None = None

    def restore(self, values: Shaped[Tensor, "time ..."]) -> NDArray[Any]:
        """Results of each point, in the order of the input's rows."""
        found = values.cpu().numpy()
        if self.order is None:
            return found
        restored = np.empty_like(found)
        restored[self.order] = found
        return restored


def read_observations(
    estimator: BaseEstimator,
    X: Any,
    lengths: Any,
    *,
    reset: bool,
    device: torch.device,
    whole: bool = False,
) -> Reading:
    """Observations of an array or frame (point, feature), of a long frame, or of a panel.

    Parameters
    ----------
    estimator
        Remembers the number and names of the features with `reset`, checks them without.
    X
        Array or frame of shape (point, feature), NaN where missing; a long frame with an id, a
        time and a target (a sequence for each series), or a `Panel`.
    lengths
        Points of each sequence of an array, in order; None for one sequence.
    whole
        Whether values must be integers of at least 0 (or NaN).

    Raises
    ------
    ValueError
        The lengths do not add up, there is infinity or text, or other features than in fit.
    """
    reading = _read(estimator, X, lengths, reset, whole)
    values = reading.observations.values
    if whole and bool(
        ((values < 0) | (values != values.round())).logical_and(~values.isnan()).any()
    ):
        raise ValueError(f"X must hold symbols, integers from 0; got other values. {ENCODE}")
    if bool(values.isnan().all()):
        raise ValueError(
            "X must hold at least one observed point; got NaN alone. Check its source."
        )
    moved = Observations(values.to(device), reading.observations.offsets.to(device))
    return Reading(moved, reading.order)


def check_labels(y: Any, points: int) -> None:
    """Refuse lengths in the place of labels, where hmmlearn takes them.

    Raises
    ------
    ValueError
        There is not a label for each point.
    """
    if y is not None and np.asarray(y).shape[:1] != (points,):
        raise ValueError(
            f"y must be None or hold a value for each of the {points} points; got shape "
            f"{np.asarray(y).shape}. Give the lengths of sequences by name: fit(X, lengths=...)."
        )


def _read(
    estimator: BaseEstimator, X: Any, lengths: Any, reset: bool, whole: bool = False
) -> Reading:
    long = not isinstance(X, Panel) and is_long(X, Columns())
    if not long and not isinstance(X, Panel):
        values = _numbers(estimator, X, reset, whole)
        return Reading(
            Observations(torch.from_numpy(np.array(values)), _offsets(lengths, len(values)))
        )
    if lengths is not None:
        raise ValueError(
            f"lengths must be None with a long frame or a panel, which say it; got {lengths!r}. "
            "Leave it out."
        )
    panel = X if isinstance(X, Panel) else _panel(X)
    features = panel.values[:, None]
    _numbers(estimator, features.numpy(), reset, whole)
    order = row_order(X, Columns()) if long else None
    return Reading(Observations(features, panel.offsets), order)


def _numbers(estimator: BaseEstimator, X: Any, reset: bool, whole: bool) -> Any:
    try:
        return validate_data(
            estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
    except (ValueError, TypeError) as error:
        cause = str(error).partition(". ")[0]
        if "could not" not in cause:  # be converted, or promoted
            raise
        symbols = f"{ENCODE} " if whole else ""
        raise ValueError(
            "X must hold numbers alone, or be a long frame with the columns "
            f"{', '.join([Columns.id, Columns.time, Columns.target])}; got what {cause}. {symbols}"
            f"Of a long frame with other names give {NAMED}."
        ) from error


def _panel(frame: Any) -> Panel:
    try:
        return Panel.from_frame(frame)
    except ValueError as error:
        if "Columns(" not in str(error):
            raise
        raise ValueError(f"{error} To pass Columns, give {NAMED}.") from error


def _offsets(lengths: Any, total: int) -> Int[Tensor, " border"]:
    if lengths is None:
        return torch.tensor([0, total])
    counts = np.asarray(lengths)
    if counts.ndim != 1 or not len(counts) or counts.dtype.kind not in "iu" or (counts < 1).any():
        raise ValueError(
            f"lengths must be integers of at least 1, one for each sequence; got {lengths!r}. "
            "Leave out empty sequences."
        )
    if counts.sum() != total:
        raise ValueError(
            f"lengths must add up to the {total} rows of X; got {int(counts.sum())}. Check them."
        )
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
