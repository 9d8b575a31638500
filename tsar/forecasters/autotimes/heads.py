"""Output head: mean, median, quantiles or density of each point, and the loss that fits them."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.autotimes.density import DENSITIES, Density
from tsar.forecasters.autotimes.layers import ridge_regression
from tsar.nn.normalization import InstanceNorm

Loss = Literal["mse", "mae", "quantile", "gaussian", "student_t"]

PENALTY = 0.1  # share of the variance of each hidden unit, of which there are hundreds
MAX_QUANTILE_ERRORS = 2**20  # residuals that initial quantiles are computed from


@dataclass(frozen=True)
class Head:
    """What is forecast of each point: the mean, the median, quantiles, or a density.

    Attributes
    ----------
    loss
        ``"mse"``, ``"mae"``, ``"quantile"``, or the name of a density.
    levels
        Quantile levels with ``"quantile"``, 0.5 among them; else empty.
    """

    loss: Loss
    levels: tuple[float, ...] = ()

    @property
    def density(self) -> Density | None:
        """The density whose parameters are forecast; None for other losses."""
        return DENSITIES.get(self.loss)

    @property
    def n_outputs(self) -> int:
        """Number of outputs per point."""
        return self.density.n_outputs if self.density else max(len(self.levels), 1)

    @property
    def point(self) -> int:
        """Index of the output that is the point forecast."""
        return self.levels.index(0.5) if self.levels else 0

    def losses(
        self, output: Float[Tensor, "batch time output"], target: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Loss of each point; the target must be finite."""
        if self.density:
            return -self.density.log_prob(output, target)
        error = target[..., None] - output
        if self.loss == "mse":
            return error[..., 0].square()
        levels = error.new_tensor(self.levels or [0.5])
        return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(dim=2)

    def denormalize(
        self, output: Float[Tensor, "batch time output"], norm: InstanceNorm
    ) -> Float[Tensor, "batch time output"]:
        """Outputs in the units of the context.

        The point forecast of a constant context is its value; the other outputs keep their distance
        to it. Of a density location and log scale are transformed, but not its shape parameters.
        """
        point = output[..., self.point : self.point + 1]
        shift = torch.where(norm.varies[:, :, None], 0.0, point)
        if not self.density:
            return norm.denormalize(output - shift)
        location = norm.denormalize(output[..., :1] - shift)
        log_scale = output[..., 1:2] + norm.scale.log()[:, :, None]
        return torch.cat([location, log_scale, output[..., 2:]], dim=-1)

    @torch.no_grad()
    def initialize(
        self,
        projection: nn.Linear,
        hidden: Float[Tensor, "sample width"],
        target: Float[Tensor, "sample segment"],
        dropout: float,
    ) -> None:
        """Initialize a projection by ridge regression of normalized targets on hidden states.

        Quantiles are shifted by those of the residuals; a density begins with their deviation.
        """
        complete = ~target.isnan().any(dim=1)
        hidden, target = hidden[complete].double(), target[complete].double()
        if not len(target):
            return
        coef, intercept = ridge_regression(hidden, target, PENALTY, dropout)
        residuals = (target - hidden @ coef - intercept).flatten()
        is_location, offset = self._locations(residuals)
        weight = coef.T[:, None, :].expand(-1, self.n_outputs, -1).clone()
        weight[:, 1:] *= float(self.density is None)
        projection.weight.copy_(weight.flatten(0, 1))
        projection.bias.copy_((intercept[:, None] * is_location + offset).flatten())

    def _locations(
        self, residuals: Float[Tensor, " residual"]
    ) -> tuple[Float[Tensor, " output"], Float[Tensor, " output"]]:
        """1 for outputs that are locations and 0 for others, and the offset of each output."""
        offset = residuals.new_zeros(self.n_outputs)
        is_location = torch.ones_like(offset)
        if self.levels:
            sample = residuals[:: len(residuals) // MAX_QUANTILE_ERRORS + 1]
            offset = sample.quantile(residuals.new_tensor(self.levels))
        if self.density:
            offset[1], is_location[1:] = residuals.square().mean().sqrt().log(), 0.0
        return is_location, offset
