"""Heads: what a network forecasts of a point, and what that costs."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.autotimes.density import DENSITIES, Density
from tsar.forecasters.autotimes.ridge import ridge
from tsar.nn.normalization import InstanceNorm

Loss = Literal["mse", "mae", "quantile", "gaussian", "student_t"]

PENALTY = 0.1  # of the variance of each hidden state, of which there are hundreds


@dataclass(frozen=True)
class Head:
    """What is forecast of a point: its mean, its median, quantiles, or a density.

    Attributes
    ----------
    loss
        ``"mse"``, ``"mae"``, ``"quantile"``, or the name of a density.
    levels
        Quantile levels, 0.5 among them; none but for ``"quantile"``.
    """

    loss: Loss
    levels: tuple[float, ...] = ()

    @property
    def density(self) -> Density | None:
        """The density whose parameters are forecast; None where there is none."""
        return DENSITIES.get(self.loss)

    @property
    def outputs(self) -> int:
        """Numbers that are forecast of a point."""
        return self.density.outputs if self.density else max(len(self.levels), 1)

    @property
    def point(self) -> int:
        """Which of them is the point forecast."""
        return self.levels.index(0.5) if self.levels else 0

    def losses(
        self, output: Float[Tensor, "batch time output"], target: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time"]:
        """Loss of each point, whose target must be finite."""
        if self.density:
            return -self.density.log_prob(output, target)
        error = target[..., None] - output
        if self.loss == "mse":
            return error[..., 0].square()
        levels = error.new_tensor(self.levels or [0.5])
        return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(dim=2)

    def invert(
        self, output: Float[Tensor, "batch time output"], units: InstanceNorm
    ) -> Float[Tensor, "batch time output"]:
        """Outputs in the units that came in: only the first is a place if the rest are shapes.

        The point forecast of a context that stays where it is is where it stays; what else is
        forecast keeps its distance.
        """
        point = output[..., self.point : self.point + 1]
        moved = torch.where(units.varies[:, :, None], 0.0, point)
        if not self.density:
            return units.denormalize(output - moved)
        place = units.denormalize(output[..., :1] - moved)
        scale = output[..., 1:2] + units.scale.log()[:, :, None]
        return torch.cat([place, scale, output[..., 2:]], dim=-1)

    @torch.no_grad()
    def start(
        self,
        project: nn.Linear,
        hidden: Float[Tensor, "sample width"],
        target: Float[Tensor, "sample segment"],
        dropout: float,
    ) -> None:
        """Set a projection by ridge regression; what is no place begins with the errors' spread."""
        complete = ~target.isnan().any(dim=1)
        hidden, target = hidden[complete].double(), target[complete].double()
        if not len(target):
            return
        weight, bias = ridge(hidden, target, PENALTY, dropout)
        errors = (target - hidden @ weight - bias).flatten()
        places = self._apart(errors)
        weights = weight.T[:, None, :].expand(-1, self.outputs, -1).clone()
        weights[:, 1:] *= float(self.density is None)
        project.weight.copy_(weights.flatten(0, 1))
        project.bias.copy_((bias[:, None] * places[1] + places[0]).flatten())

    def _apart(self, errors: Float[Tensor, " error"]) -> Float[Tensor, "2 output"]:
        """What each output begins with besides the forecast, and whether it begins with that."""
        shift, follows = errors.new_zeros(self.outputs), errors.new_ones(self.outputs)
        if self.levels:
            shift = errors[:: len(errors) // 2**20 + 1].quantile(errors.new_tensor(self.levels))
        if self.density:
            shift[1], follows[1:] = errors.square().mean().sqrt().log(), 0.0
        return torch.stack([shift, follows])
