"""Standardization of features for EM: by mean and std, or by median and IQR given outliers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.observations import Observations
from tsar.hmm.robust_scale import OUTLIER_RATIO, group_median_iqr, has_outliers

MIN_STD = 1e-140  # its square is still far from 0


@dataclass(frozen=True)
class Standardization:
    """Location and scale of each feature.

    `log_jacobian` is the log density of all points in data units, less that in standardized units.
    """

    center: Float[Tensor, " feature"]
    scale: Float[Tensor, " feature"]
    log_jacobian: float

    @classmethod
    def fit(cls, values: Float[Tensor, "time feature"]) -> "Standardization":
        """Mean and standard deviation of the observed values; scale 1 for a constant feature.

        Median and ``OUTLIER_RATIO * IQR`` instead for a feature whose outliers inflate the standard
        deviation: scaled by that, all other points would lie within a narrow cluster.
        """
        nobs = (~values.isnan()).sum(0).clamp(min=1)
        filled = values.nan_to_num(0.0)
        peak = filled.abs().amax(0)
        peak = torch.where(peak > 0, peak, 1.0)  # squares of values / peak cannot overflow
        center = (filled / peak).sum(0) / nobs
        squares = (values / peak - center).nan_to_num(0.0).square()
        scale = (squares.sum(0) / nobs).sqrt()
        # The standard deviation of a constant feature is rounding.
        rounding = 8 * torch.finfo(scale.dtype).eps * center.abs()
        center, scale = center * peak, torch.where(scale > rounding, scale * peak, 1.0)
        features = torch.arange(len(scale), device=scale.device).expand_as(values)
        median, iqr = group_median_iqr(values.flatten(), features.flatten(), len(scale))
        robust = has_outliers(scale, iqr)
        center = torch.where(robust, median, center)
        scale = torch.where(robust, OUTLIER_RATIO * iqr, scale)
        if not bool((scale > MIN_STD).logical_and(scale < 1 / MIN_STD).all()):
            raise ValueError(
                f"X must hold features whose variances are finite numbers above 0; got standard "
                f"deviations {scale.tolist()}. Give them in other units."
            )
        return cls(center, scale, -float((nobs * scale.log()).sum()))

    @classmethod
    def identity(cls, values: Float[Tensor, "time feature"]) -> "Standardization":
        """Standardization that leaves values as they are."""
        one = values.new_ones(values.shape[1])
        return cls(torch.zeros_like(one), one, 0.0)

    def transform(self, observations: Observations) -> Observations:
        """Standardized observations."""
        return Observations((observations.values - self.center) / self.scale, observations.offsets)
