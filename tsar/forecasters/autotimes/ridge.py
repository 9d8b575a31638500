"""Ridge regression in closed form."""

import torch
from jaxtyping import Float
from torch import Tensor


def ridge(
    inputs: Float[Tensor, "sample feature"],
    targets: Float[Tensor, "sample target"],
    penalty: float,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "feature target"], Float[Tensor, " target"]]:
    """Weights and constants of ridge regression.

    `penalty` is a share of each input's own variance: language models have a few outputs so large
    that a penalty of all alike would leave nothing of the others. `dropout` adds what leaving out
    that share of the inputs at random, and enlarging the others, would add to the error.

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
    noise = dropout / (1 - dropout) * (inputs.square().mean(dim=0) / spread.square())
    gram.diagonal().add_((penalty + noise) * len(inputs))
    weight = torch.linalg.solve(gram, moved.T @ (targets - level)) / spread[:, None]
    return weight, level - centre @ weight
