"""Timestamp embeddings: a vector of the time at which a segment begins, added to its token."""

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

FeatureFunction = Callable[[Int[Tensor, " time"]], Float[Tensor, "time feature"]]


class TimestampEmbedding(nn.Module):
    """Features of times, computed once for each time, mapped to the width of a token.

    The weights start at zero, so that an untrained embedding does not affect the result.

    Parameters
    ----------
    compute_features
        Features of distinct times, given their ordinals on the CPU.
    n_features
        Number of features.
    width
        Width of a token.
    linear
        Whether a linear map of the features is learned; else one common factor, and there must be
        `width` features.
    """

    ordinals: Int[Tensor, " known"]
    features: Float[Tensor, "known feature"]

    def __init__(
        self, compute_features: FeatureFunction, n_features: int, width: int, *, linear: bool
    ) -> None:
        super().__init__()
        self.compute_features = compute_features
        # Not saved: the features follow from the times.
        self.register_buffer("ordinals", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("features", torch.empty(0, n_features), persistent=False)
        self.weight = nn.Parameter(torch.zeros((width, n_features) if linear else (1,)))

    def precompute(self, ordinals: Int[Tensor, "*shape"]) -> None:
        """Compute the features of those times that are not known yet."""
        distinct = ordinals.flatten().unique()
        new = distinct[~torch.isin(distinct, self.ordinals)]
        if not len(new):
            return
        features = self.compute_features(new.cpu()).to(self.features)
        self.ordinals, order = torch.cat([self.ordinals, new]).sort()
        self.features = torch.cat([self.features, features])[order]

    def forward(self, ordinals: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token width"]:
        """Embeddings of times."""
        self.precompute(ordinals)
        features = self.features[torch.searchsorted(self.ordinals, ordinals)]
        if self.weight.ndim == 1:
            return features * self.weight
        return nn.functional.linear(features, self.weight)


def timestamp_embedding(
    kind: Literal["text", "calendar"] | None,
    frequency: Frequency,
    segment_length: int,
    options: BackboneOptions,
    seed: int,
    backbone: Backbone,
) -> TimestampEmbedding | None:
    """Timestamp embedding of a kind; None for None. It holds partials, which can be pickled.

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
        calendar = partial(calendar_features, frequency)
        return TimestampEmbedding(calendar, FEATURES, width, linear=True)
    to_texts = partial(timestamp_texts, frequency, points=segment_length)
    embed = partial(_embed_texts, to_texts, options, seed, backbone.token_norm)
    return TimestampEmbedding(embed, width, width, linear=False)


def _embed_texts(
    to_texts: Callable[[NDArray[np.int64]], list[str]],
    options: BackboneOptions,
    seed: int,
    token_norm: float,
    ordinals: Int[Tensor, " time"],
) -> Float[Tensor, "time feature"]:
    """Embeddings of sentences that name the times, with the norm of the backbone's tokens."""
    embeddings = embed_texts(options, to_texts(ordinals.numpy()), seed=seed)
    return torch.nn.functional.normalize(embeddings, dim=1) * token_norm
