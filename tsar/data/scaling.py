"""Scaling: standardizes each series by its own mean and standard deviation."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.segments import broadcastable, reduce, root_mean_square
from tsar.data.segments import mean as segment_mean
from tsar.records import record


@record("scaling")
@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each series; the latter is 1 for a constant series.

    Examples
    --------
    >>> import torch
    >>> Scaling.of(Panel.from_tensor(torch.tensor([[1.0, 3.0]]))).mean
    tensor([2.])
    """

    mean: Float[Tensor, " series"]
    deviation: Float[Tensor, " series"]

    @classmethod
    def of(cls, panel: Panel) -> "Scaling":
        """Scaling by the observed points of a panel."""
        return standardize(panel)[0]

    @classmethod
    def before(
        cls, panel: Panel, series: Int[Tensor, " window"], cutoffs: Int[Tensor, " window"]
    ) -> "Scaling":
        """Scaling of each window by the points of its series before the cutoff only.

        `cutoffs` are rows of ``panel.values``.
        """
        full = cls.of(panel)  # the sums are of standardized values, to limit rounding errors
        standardized = full.apply(panel).values
        observed = ~standardized.isnan()
        values = standardized.nan_to_num(0.0)
        count, total, squares = (
            torch.cat([summand.new_zeros(1), summand.cumsum(0)])
            for summand in (observed.to(values.dtype), values, values.square())
        )
        first = panel.offsets[series]
        nobs = (count[cutoffs] - count[first]).clamp(min=1)
        mean = (total[cutoffs] - total[first]) / nobs
        variance = (squares[cutoffs] - squares[first]) / nobs - mean.square()
        unit = full.deviation[series]
        level = full.mean[series] + mean * unit
        return cls(level, _nonzero(variance.clamp(min=0).sqrt() * unit, level))

    @classmethod
    def of_contexts(cls, values: Float[Tensor, "batch time"]) -> "Scaling":
        """Scaling of each context by its own observed points."""
        minimum = values.nan_to_num(torch.inf).amin(dim=1).nan_to_num(posinf=0.0)
        shifted = values - minimum[:, None]
        span = shifted.nan_to_num(0.0).amax(dim=1) if shifted.shape[1] else minimum
        unit = torch.where(span > 0, span, 1.0)
        shifted = shifted / unit[:, None]
        mean = shifted.nanmean(dim=1).nan_to_num(0.0)
        deviation = (shifted - mean[:, None]).square().nanmean(dim=1).sqrt() * unit
        mean = minimum + mean * unit
        return cls(mean, _nonzero(deviation, mean))

    def apply(self, panel: Panel) -> Panel:
        """Panel with every series standardized."""
        centred = torch.sub(*broadcastable(panel.values, self.mean, panel.offsets)).view(-1)
        Tensor.div_(*broadcastable(centred, self.deviation, panel.offsets))
        return replace(panel, values=centred)

    def scale(self, values: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
        """Standardized values, a row for each series."""
        return (values - self.mean[:, None]) / self.deviation[:, None]

    def invert(
        self, values: Float[Tensor, "series horizon output"]
    ) -> Float[Tensor, "series horizon output"]:
        """Forecasts in the units of the data."""
        return values * self.deviation[:, None, None] + self.mean[:, None, None]

    def select(self, rows: Int[Tensor, " row"]) -> "Scaling":
        """Scaling of some series."""
        return replace(self, mean=self.mean[rows], deviation=self.deviation[rows])

    def replace_rows(self, rows: Int[Tensor, " row"], others: "Scaling") -> "Scaling":
        """Scaling with some series replaced by others."""
        return Scaling(
            self.mean.index_copy(0, rows, others.mean),
            self.deviation.index_copy(0, rows, others.deviation),
        )

    def select_with_fallback(self, rows: Int[Tensor, " row"], fallback: "Scaling") -> "Scaling":
        """Scaling of some series; where the row is -1, that of `fallback`."""
        known, unknown = self.select(rows.clamp(min=0)), rows < 0
        return Scaling(
            torch.where(unknown, fallback.mean, known.mean),
            torch.where(unknown, fallback.deviation, known.deviation),
        )


def standardize(panel: Panel) -> tuple[Scaling, Panel]:
    """Scaling by the observed points of a panel, and the standardized panel.

    Holds one copy of the values at a time if none is missing.
    """
    offsets = panel.offsets
    observed = panel.values if panel.gapless else panel.values.nan_to_num(torch.inf)
    minimum = reduce(observed, offsets, "min").nan_to_num(posinf=0.0)
    # The minimum is subtracted first, so that a constant series has a deviation of exactly 0.
    values = torch.sub(*broadcastable(panel.values, minimum, offsets)).view(-1)
    span = reduce(values if panel.gapless else values.nan_to_num(0.0), offsets, "max")
    # In units of the range, so that no square over- or underflows.
    unit = torch.where(span > 0, span, 1.0)
    Tensor.div_(*broadcastable(values, unit, offsets))
    level = segment_mean(values, offsets).nan_to_num(0.0)
    Tensor.sub_(*broadcastable(values, level, offsets))
    mean = minimum + level * unit
    deviation = _nonzero(root_mean_square(values, offsets) * unit, mean)
    Tensor.mul_(*broadcastable(values, unit / deviation, offsets))
    return Scaling(mean, deviation), replace(panel, values=values)


def _nonzero(
    deviation: Float[Tensor, " series"], mean: Float[Tensor, " series"]
) -> Float[Tensor, " series"]:
    """Deviation to divide by: 1 where a series is constant, or has no observed value."""
    # A deviation within rounding errors of the mean is that of a constant series.
    rounding = torch.finfo(mean.dtype).eps * 8 * mean.abs()
    return torch.where(deviation > rounding, deviation, 1.0)
