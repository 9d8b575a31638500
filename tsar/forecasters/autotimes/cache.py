"""CacheState: what a decoder keeps of the tokens that it has read."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tsar.nn.normalization import InstanceNorm


@dataclass(frozen=True)
class CacheState:
    """Key-value cache of the tokens read so far, and where the next token stands.

    Attributes
    ----------
    units
        Level and scale of the observed context.
    cache
        Keys and values of all tokens, of the backbone's own type.
    mask
        True where a token may be attended to.
    position
        Position of the next token.
    origin, step
        Ordinal of the time at which the next token begins, and from one time to the next.
    """

    units: InstanceNorm
    cache: Any
    mask: Bool[Tensor, "batch token"]
    position: Int[Tensor, " batch"]
    origin: Int[Tensor, " batch"]
    step: int

    def select(self, rows: Int[Tensor, " row"]) -> "CacheState":
        """Return the state of some rows; it takes the cache over, so discard this one."""
        self.cache.batch_select_indices(rows)
        return replace(
            self,
            units=self.units.select(rows),
            mask=self.mask[rows],
            position=self.position[rows],
            origin=self.origin[rows],
        )

    def reject(self, rejected: Bool[Tensor, "batch token"], segment_length: int) -> "CacheState":
        """Return the state without some of the newest tokens: masked, and positions taken back."""
        count = rejected.sum(dim=1)
        newest = rejected.shape[1]
        mask = torch.cat([self.mask[:, :-newest], self.mask[:, -newest:] & ~rejected], dim=1)
        origin = self.origin - count * segment_length * self.step
        return replace(self, mask=mask, position=self.position - count, origin=origin)
