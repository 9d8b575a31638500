"""CacheState: the key-value cache of a batch of series, with the norm and times it needs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tsar.nn.normalization import InstanceNorm


@dataclass(frozen=True)
class CacheState:
    """Key-value cache of the tokens read so far, and position and time of the next token.

    Attributes
    ----------
    norm
        Level and scale of the observed context.
    cache
        Keys and values of all tokens, of the backbone's own type.
    attention_mask
        True where a token may be attended to.
    position
        Position of the next token.
    origin, step
        Ordinal of the time at which the next token begins, and from one time to the next.
    """

    norm: InstanceNorm
    cache: Any
    attention_mask: Bool[Tensor, "batch token"]
    position: Int[Tensor, " batch"]
    origin: Int[Tensor, " batch"]
    step: int

    def select(self, rows: Int[Tensor, " row"]) -> "CacheState":
        """Return the state of some rows; it modifies the cache, so discard this state."""
        self.cache.batch_select_indices(rows)
        return replace(
            self,
            norm=self.norm.select(rows),
            attention_mask=self.attention_mask[rows],
            position=self.position[rows],
            origin=self.origin[rows],
        )

    def reject(self, rejected: Bool[Tensor, "batch token"], segment_length: int) -> "CacheState":
        """Return the state with some of the newest tokens masked, and positions moved back."""
        count = rejected.sum(dim=1)
        newest = rejected.shape[1]
        mask = self.attention_mask
        mask = torch.cat([mask[:, :-newest], mask[:, -newest:] & ~rejected], dim=1)
        origin = self.origin - count * segment_length * self.step
        position = self.position - count
        return replace(self, attention_mask=mask, position=position, origin=origin)
