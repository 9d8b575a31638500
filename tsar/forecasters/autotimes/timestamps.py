"""Time stamps: vectors of the time at which a segment begins, added to its token."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from tsar.data.calendar import FEATURES, calendar_features, timestamp_texts
from tsar.data.panel.frequency import Frequency
from tsar.forecasters.autotimes.backbone import Backbone, BackboneOptions, embed_texts

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


def make_stamps(
    kind: Literal["text", "calendar"] | None,
    frequency: Frequency,
    segment_length: int,
    options: BackboneOptions,
    seed: int,
    backbone: Backbone,
) -> Stamps | None:
    """Time stamps of a kind, or None where that is None; partials, so that they can be pickled.

    Raises
    ------
    ValueError
        Times are integers, which have no calendar.
    """
    if kind is None:
        return None
    if frequency.kind == "integer":
        raise ValueError(
            f"timestamps must be None with integer times, which have no calendar; got {kind!r}. "
            "Give dates, or leave it out."
        )
    width = backbone.width
    if kind == "calendar":
        return Stamps(partial(calendar_features, frequency), FEATURES, width, linear=True)
    texts = partial(timestamp_texts, frequency, points=segment_length)
    read = partial(_read_texts, texts, options, seed, backbone.token_norm)
    return Stamps(read, width, width, linear=False)


def _read_texts(
    texts: Callable[[NDArray[np.int64]], list[str]],
    options: BackboneOptions,
    seed: int,
    token_norm: float,
    ordinals: Int[Tensor, " time"],
) -> Float[Tensor, "time feature"]:
    """Embeddings by a backbone of sentences that name times, with the norm of its tokens."""
    vectors = embed_texts(options, texts(ordinals.numpy()), seed=seed)
    return torch.nn.functional.normalize(vectors, dim=1) * token_norm
