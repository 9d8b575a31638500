"""Maps between segments and tokens."""

from torch import nn


def mlp(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Module:
    """A linear map, or one with a hidden layer of that width, tanh and dropout between.

    Source: Liu et al. 2024 (arXiv 2402.02370), segment embedding and projection.
    """
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
    )
