"""Scaling: each series by its own mean and standard deviation, errors by those of a naive one."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.segments import aligned, reduce, root_mean_square
from tsar.data.segments import mean as segment_mean
from tsar.records import record


@record("scaling")
@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each series; a constant series has 1.

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
        """Scaling of each window by all that its series shows before the cutoff, and nothing after.

        `cutoffs` are rows of ``panel.values``.
        """
        whole = cls.of(panel)  # any shift and unit will do for the sums; only rounding sees them
        standard = whole.apply(panel).values
        observed = ~standard.isnan()
        values = standard.nan_to_num(0.0)
        count, total, square = (
            torch.cat([part.new_zeros(1), part.cumsum(0)])
            for part in (observed.to(values.dtype), values, values.square())
        )
        first = panel.offsets[series]
        number = (count[cutoffs] - count[first]).clamp(min=1)
        mean = (total[cutoffs] - total[first]) / number
        variance = (square[cutoffs] - square[first]) / number - mean.square()
        unit = whole.deviation[series]
        level = whole.mean[series] + mean * unit
        return cls(level, _usable(variance.clamp(min=0).sqrt() * unit, level))

    @classmethod
    def of_contexts(cls, values: Float[Tensor, "batch time"]) -> "Scaling":
        """Scaling of each context by its own observed points."""
        lowest = values.nan_to_num(torch.inf).amin(dim=1).nan_to_num(posinf=0.0)
        above = values - lowest[:, None]
        span = above.nan_to_num(0.0).amax(dim=1) if above.shape[1] else lowest
        unit = torch.where(span > 0, span, 1.0)
        above = above / unit[:, None]
        mean = above.nanmean(dim=1).nan_to_num(0.0)
        deviation = (above - mean[:, None]).square().nanmean(dim=1).sqrt() * unit
        mean = lowest + mean * unit
        return cls(mean, _usable(deviation, mean))

    def apply(self, panel: Panel) -> Panel:
        """Panel with each series in units of its own deviation, around its own mean."""
        centred = torch.sub(*aligned(panel.values, self.mean, panel.offsets)).view(-1)
        Tensor.div_(*aligned(centred, self.deviation, panel.offsets))
        return replace(panel, values=centred)

    def scale(self, values: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
        """Rows of points, a row for each series, in units of its deviation around its mean."""
        return (values - self.mean[:, None]) / self.deviation[:, None]

    def invert(
        self, values: Float[Tensor, "series horizon output"]
    ) -> Float[Tensor, "series horizon output"]:
        """Forecasts in the units that came in."""
        return values * self.deviation[:, None, None] + self.mean[:, None, None]

    def select(self, rows: Int[Tensor, " row"]) -> "Scaling":
        """Scaling of some series."""
        return replace(self, mean=self.mean[rows], deviation=self.deviation[rows])

    def replace_rows(self, rows: Int[Tensor, " row"], others: "Scaling") -> "Scaling":
        """The same with that of some series replaced."""
        return Scaling(
            self.mean.index_copy(0, rows, others.mean),
            self.deviation.index_copy(0, rows, others.deviation),
        )

    def select_with_fallback(self, rows: Int[Tensor, " row"], own: "Scaling") -> "Scaling":
        """Scaling of some series, and of those that are not among them (-1) their own."""
        known, new = self.select(rows.clamp(min=0)), rows < 0
        return Scaling(
            torch.where(new, own.mean, known.mean),
            torch.where(new, own.deviation, known.deviation),
        )


def standardize(panel: Panel) -> tuple[Scaling, Panel]:
    """Scaling by the observed points of a panel, and the panel in its units.

    Holds one copy of the points at a time, where none is missing.
    """
    offsets = panel.offsets
    observed = panel.values if panel.gapless else panel.values.nan_to_num(torch.inf)
    lowest = reduce(observed, offsets, "min").nan_to_num(posinf=0.0)
    # From the lowest value on, so that a constant series has no deviation at all.
    above = torch.sub(*aligned(panel.values, lowest, offsets)).view(-1)
    span = reduce(above if panel.gapless else above.nan_to_num(0.0), offsets, "max")
    # In units of the range, so that no square over- or underflows.
    unit = torch.where(span > 0, span, 1.0)
    Tensor.div_(*aligned(above, unit, offsets))
    level = segment_mean(above, offsets).nan_to_num(0.0)
    Tensor.sub_(*aligned(above, level, offsets))
    mean = lowest + level * unit
    deviation = _usable(root_mean_square(above, offsets) * unit, mean)
    Tensor.mul_(*aligned(above, unit / deviation, offsets))
    return Scaling(mean, deviation), replace(panel, values=above)


def _usable(
    deviation: Float[Tensor, " series"], mean: Float[Tensor, " series"]
) -> Float[Tensor, " series"]:
    """Deviation to divide by: 1 where a series is constant, or was never observed."""
    # What rounding leaves of a constant series is no scale.
    rounding = torch.finfo(mean.dtype).eps * 8 * mean.abs()
    return torch.where(deviation > rounding, deviation, 1.0)
