"""Ridge regression in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor

RIDGE = 1e-3  # of the mean squared input


def ridge(
    inputs: Float[Tensor, "sample feature"], targets: Float[Tensor, "sample target"]
) -> tuple[Float[Tensor, "feature target"], Float[Tensor, " target"]]:
    """Weights and constants of ridge regression, whose penalty is `RIDGE` of the mean square.

    Examples
    --------
    >>> inputs = torch.tensor([[-1.0], [1.0]])
    >>> weight, constant = ridge(inputs, 3 * inputs + 5)
    >>> weight.round(), constant.round()
    (tensor([[3.]]), tensor([5.]))
    """
    centre, level = inputs.mean(dim=0), targets.mean(dim=0)
    moved = inputs - centre
    gram = moved.T @ moved
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny)
    weight = torch.linalg.solve(gram, moved.T @ (targets - level))
    return weight, level - centre @ weight
