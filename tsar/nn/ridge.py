"""Ridge regression in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor


def ridge(
    inputs: Float[Tensor, "sample feature"],
    targets: Float[Tensor, "sample target"],
    penalty: float,
) -> tuple[Float[Tensor, "feature target"], Float[Tensor, " target"]]:
    """Weights and constants of ridge regression.

    `penalty` is a share of each input's own variance: language models have a few outputs so large
    that a penalty of all alike would leave nothing of the others.

    Examples
    --------
    >>> inputs = torch.tensor([[-1.0], [1.0]])
    >>> weight, constant = ridge(inputs, 3 * inputs + 5, 1e-3)
    >>> weight.round(), constant.round()
    (tensor([[3.]]), tensor([5.]))
    """
    centre, level = inputs.mean(dim=0), targets.mean(dim=0)
    moved = inputs - centre
    spread = moved.square().mean(dim=0).sqrt()
    spread = torch.where(spread > 0, spread, 1.0)
    moved = moved / spread
    gram = moved.T @ moved
    gram.diagonal().add_(penalty * len(inputs))
    weight = torch.linalg.solve(gram, moved.T @ (targets - level)) / spread[:, None]
    return weight, level - centre @ weight
