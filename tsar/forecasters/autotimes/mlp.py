"""Maps between segments and tokens."""

from collections.abc import Sequence

from torch import nn


def mlp(inputs: int, hidden: Sequence[int], outputs: int, dropout: float) -> nn.Module:
    """Return a linear map, or one with hidden layers of these widths, each with tanh and dropout.

    Source: Liu et al. 2024 (arXiv 2402.02370), segment embedding and projection.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.Tanh(), nn.Dropout(dropout)]
        inputs = width
    linear = nn.Linear(inputs, outputs)
    return nn.Sequential(*layers, linear) if layers else linear
