"""Maps between segments and tokens: linear or MLP, and ridge regression to initialize them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def mlp(
    in_features: int, hidden: Sequence[int], out_features: int, dropout: float
) -> nn.Linear | nn.Sequential:
    """Linear map, or an MLP with hidden layers of these widths, each with tanh and dropout.

    Source: Liu et al. 2024 (arXiv 2402.02370), segment embedding and projection.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_features, width), nn.Tanh(), nn.Dropout(dropout)]
        in_features = width
    linear = nn.Linear(in_features, out_features)
    return nn.Sequential(*layers, linear) if layers else linear


def ridge_regression(
    inputs: Float[Tensor, "sample feature"],
    targets: Float[Tensor, "sample target"],
    penalty: float,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "feature target"], Float[Tensor, " target"]]:
    """Coefficients and intercepts of ridge regression.

    Parameters
    ----------
    penalty
        Penalty of each coefficient, as a share of the variance of its input: language models have a
        few outputs so large that a common penalty would remove all others.
    dropout
        Rate of dropout of the inputs whose expected effect on the squared error is added.

    Examples
    --------
    >>> inputs = torch.tensor([[-1.0], [1.0]])
    >>> coef, intercept = ridge_regression(inputs, 3 * inputs + 5, 1e-3)
    >>> coef.round(), intercept.round()
    (tensor([[3.]]), tensor([5.]))
    """
    input_mean, target_mean = inputs.mean(dim=0), targets.mean(dim=0)
    centred = inputs - input_mean
    deviation = centred.square().mean(dim=0).sqrt()
    deviation = torch.where(deviation > 0, deviation, 1.0)
    standardized = centred / deviation
    gram = standardized.T @ standardized
    noise = dropout / (1 - dropout) * (inputs.square().mean(dim=0) / deviation.square())
    gram.diagonal().add_((penalty + noise) * len(inputs))
    coef = torch.linalg.solve(gram, standardized.T @ (targets - target_mean)) / deviation[:, None]
    return coef, target_mean - input_mean @ coef
