"""What the errors of estimated coefficients do to the forecasts that are made with them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.solve import factorize

ROOM = 2**22  # elements of the Gram matrices that are kept, 32 MB, and of what is made at once


@dataclass(frozen=True)
class Estimates:
    """Of the equation of each group: what its coefficients were estimated from.

    Attributes
    ----------
    terms
        Places of the kept terms among all; behind those of a group others, which count for nothing.
    gram
        Centred products of the kept terms, zero in the rows of the others.
    mean, count
        Means of the kept terms, and windows.
    """

    terms: Int[Tensor, "group kept"]
    gram: Float[Tensor, "group kept kept"]
    mean: Float[Tensor, "group kept"]
    count: Float[Tensor, " group"]

    def to(self, device: torch.device | str) -> "Estimates":
        """The same on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **moved)

    def variance(
        self,
        group: Int[Tensor, " batch"],
        read: Callable[[Int[Tensor, " row"]], Float[Tensor, "row horizon term"]],
        psi: Float[Tensor, "batch horizon"],
    ) -> Float[Tensor, "batch horizon"]:
        """Variance of recursive forecasts by errors of the coefficients, in units of the shocks'.

        A forecast is a function of the coefficients; its derivative by them is that of its own step
        and, by the response `psi` to it, that of each step before (the delta method).

        Parameters
        ----------
        group
            Equation of each forecast.
        read
            Gives for some rows of the batch what each step is regressed on, all terms; forecasts
            stand in for what is not known.
        psi
            Response to a shock, 1 at first; see `psi_weights`.

        References
        ----------
        H. Lütkepohl, New Introduction to Multiple Time Series Analysis, 2005, section 3.5.1.

        Examples
        --------
        The mean of 10 points, and a slope of 0 on deviations from it whose squares sum to 5:

        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> known = Estimates(torch.tensor([[0]]), 5 * one[None], 0 * one, 10 * one[0])
        >>> known.variance(torch.tensor([0]), lambda rows: 2 * one[None], one)
        tensor([[0.9000]], dtype=torch.float64)
        """
        present, member = group.unique(return_inverse=True)
        root = factorize(self.gram[present]).inverse_root()
        horizon, kept = psi.shape[1], self.terms.shape[1]
        size = horizon * (horizon + kept) + kept**2
        found = []
        for rows in torch.arange(len(group), device=group.device).split(max(ROOM // size, 1)):
            mine = group[rows]
            index = self.terms[mine][:, None].expand(-1, horizon, -1)
            own = read(rows).gather(2, index) - self.mean[mine][:, None]
            slope = _respond(own, psi[rows])
            found.append((slope @ root[member[rows]].mT).square().sum(2))
        level = psi.cumsum(1).square() / self.count[group].clamp(min=1)[:, None]
        return torch.cat(found) + level if found else level


def _respond(
    own: Float[Tensor, "row horizon kept"], psi: Float[Tensor, "row horizon"]
) -> Float[Tensor, "row horizon kept"]:
    """Sum over the steps so far, each times the response to it."""
    horizon = psi.shape[1]
    padded = torch.nn.functional.pad(psi.flip(1), (0, horizon - 1))
    return padded.unfold(1, horizon, 1).flip(1) @ own
