"""Stamps: what a token is told of the time at which its segment begins."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Describe = Callable[[Int[Tensor, " time"]], Float[Tensor, "time feature"]]


class Stamps(nn.Module):
    """Facts of times, looked up by their ordinals, as vectors that are added to tokens.

    The vectors begin as zeros: a stamp says nothing until training says what.

    Parameters
    ----------
    describe
        Facts of distinct times (on the CPU), by their ordinals: computed once for each.
    width
        Of a token.
    linear
        Whether any linear map of the facts is learned; else their weight alone, and the facts
        must be of the width of a token.
    """

    ordinals: Int[Tensor, " known"]
    facts: Float[Tensor, "known feature"]

    def __init__(self, describe: Describe, features: int, width: int, *, linear: bool) -> None:
        super().__init__()
        self.describe = describe
        # What is known follows from the times: it is not saved.
        self.register_buffer("ordinals", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("facts", torch.empty(0, features), persistent=False)
        shape = (width, features) if linear else (1,)
        self.weight = nn.Parameter(torch.zeros(shape))

    def learn(self, ordinals: Int[Tensor, "*shape"]) -> None:
        """Describe times that were not described before."""
        wanted = ordinals.flatten().unique()
        fresh = wanted[~torch.isin(wanted, self.ordinals)]
        if not len(fresh):
            return
        facts = self.describe(fresh.cpu()).to(self.facts)
        known, order = torch.cat([self.ordinals, fresh]).sort()
        self.ordinals, self.facts = known, torch.cat([self.facts, facts])[order]

    def forward(self, ordinals: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """Vectors of times; those that were not learned yet are described first."""
        self.learn(ordinals)
        facts = self.facts[torch.searchsorted(self.ordinals, ordinals)]
        if self.weight.ndim == 1:
            return facts * self.weight
        return nn.functional.linear(facts, self.weight)
