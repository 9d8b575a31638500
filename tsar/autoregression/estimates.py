"""What the errors of estimated coefficients do to the forecasts that are made with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.records import record

ROOM = 2**22  # elements of what is made at once, 32 MB
Read = Callable[[Int[Tensor, " row"], Int[Tensor, "row kept"]], Float[Tensor, "row horizon kept"]]
MOST = 63  # coefficients of an equation whose errors are kept; of more no root is made (FEWEST)


@record("estimates")
@dataclass(frozen=True)
class Estimates:
    """Of the equation of each group: what its coefficients were estimated from.

    Attributes
    ----------
    terms
        Places of the kept terms among all; behind those of a group others, which count for nothing.
    root
        R with R' R the inverse of the kept terms' centred products, zero in columns of the others.
    mean
        Means of the kept terms.
    share
        Of an equation of more than `MOST` terms, of which none are kept, coefficients over windows;
        of others 0.
    windows
        Those of a series, from which its mean is known.
    """

    terms: Int[Tensor, "group kept"]
    root: Float[Tensor, "group kept kept"]
    mean: Float[Tensor, "group kept"]
    share: Float[Tensor, " group"]
    windows: Float[Tensor, " group"]

    @classmethod
    def of(
        cls,
        rows: Int[Tensor, "group kept"],
        root: Float[Tensor, "group kept kept"],
        mean: Float[Tensor, "group term"],
        size: Int[Tensor, " group"],
        share: Float[Tensor, " group"],
        windows: Float[Tensor, " group"],
    ) -> "Estimates":
        """Of equations of so many (`size`) terms, the first of `rows`, places among all.

        Each is told by itself, whatever the others are.
        """
        small = size <= MOST
        most = int((size * small).max()) if len(size) else 0  # the host waits here
        kept = small[:, None] & (torch.arange(most, device=rows.device) < size[:, None])
        known = root[:, :most, :most]
        if not bool(kept.all()):  # else there is nothing to copy
            known = known * kept[:, :, None] * kept[:, None]
        share = torch.where(small, 0.0, share)
        return cls(rows[:, :most], known, mean.gather(1, rows[:, :most]), share, windows)

    @classmethod
    def joined(cls, parts: Sequence["Estimates"]) -> "Estimates":
        """Of the groups of all parts, in order."""
        most = max(part.terms.shape[1] for part in parts)
        rooms = [most - part.terms.shape[1] for part in parts]
        pad = torch.nn.functional.pad
        both = list(zip(parts, rooms, strict=True))
        return cls(
            torch.cat([pad(part.terms, (0, room)) for part, room in both]),
            torch.cat([pad(part.root, (0, room, 0, room)) for part, room in both]),
            torch.cat([pad(part.mean, (0, room)) for part, room in both]),
            torch.cat([part.share for part in parts]),
            torch.cat([part.windows for part in parts]),
        )

    def to(self, device: torch.device | str) -> "Estimates":
        """The same on a device."""
        moved = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **moved)

    def variance(
        self,
        group: Int[Tensor, " batch"],
        read: Read,
        psi: Float[Tensor, "batch horizon"],
    ) -> Float[Tensor, "batch horizon"]:
        """Variance of recursive forecasts by errors of the coefficients, in units of the shocks'.

        A forecast is a function of the coefficients; its derivative by them is that of its own step
        and, by the response `psi` to it, that of each step before (the delta method). Of equations
        of more than `MOST` terms it is the share by which these raise the error of a step.

        Parameters
        ----------
        group
            Equation of each forecast.
        read
            Gives for some rows of the batch, and for the places of terms in each, what each step is
            regressed on; forecasts stand in for what is not known.
        psi
            Response to a shock, 1 at first; see `psi_weights`.

        References
        ----------
        H. Lütkepohl, New Introduction to Multiple Time Series Analysis, 2005, section 3.5.1.

        Examples
        --------
        The mean of 10 points, and a slope of 0 on deviations from it whose squares sum to 5:

        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> root = one[None] / 5**0.5
        >>> known = Estimates(torch.tensor([[0]]), root, 0 * one, 0 * one[0], 10 * one[0])
        >>> known.variance(torch.tensor([0]), lambda rows, terms: 2 * one[None], one)
        tensor([[0.9000]], dtype=torch.float64)
        """
        horizon, kept = psi.shape[1], self.terms.shape[1]
        size = horizon * (horizon + 2 * kept) + kept**2
        found = [psi[:0]]
        for rows in torch.arange(len(group), device=group.device).split(max(ROOM // size, 1)):
            mine = group[rows]
            own = read(rows, self.terms[mine]) - self.mean[mine][:, None]
            found.append(_spread(own, psi[rows], self.root[mine]))
        shared = psi.square().cumsum(1) * self.share[group][:, None]
        level = psi.cumsum(1).square() / self.windows[group].clamp(min=1)[:, None]
        exact = (self.share[group] == 0)[:, None]
        return torch.where(exact, torch.cat(found) + level, shared)


def _spread(
    own: Float[Tensor, "row horizon kept"],
    psi: Float[Tensor, "row horizon"],
    root: Float[Tensor, "row kept kept"],
) -> Float[Tensor, "row horizon"]:
    """Variance by errors of the slopes, without end from the first step that is not finite."""
    if bool((own.sum() + psi.sum()).isfinite()):  # the host waits here
        return (_respond(own, psi) @ root.mT).square().sum(2)
    known = (psi.isfinite() & own.isfinite().all(dim=2)).cummin(dim=1).values
    slope = _respond(own.masked_fill(~known[:, :, None], 0.0), psi.masked_fill(~known, 0.0))
    variance = (slope @ root.mT).square().sum(2).nan_to_num(torch.inf, torch.inf)
    return variance.masked_fill(~known, torch.inf)


def _respond(
    own: Float[Tensor, "row horizon kept"], psi: Float[Tensor, "row horizon"]
) -> Float[Tensor, "row horizon kept"]:
    """Sum over the steps so far, each times the response to it."""
    horizon = psi.shape[1]
    padded = torch.nn.functional.pad(psi.flip(1), (0, horizon - 1))
    return padded.unfold(1, horizon, 1).flip(1) @ own
