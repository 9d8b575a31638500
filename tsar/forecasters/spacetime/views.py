"""What the first layer of SpaceTime sees of a series: differences, and distances from averages."""

import torch
from jaxtyping import Float
from torch import Tensor

ORDERS = (0, 1, 2, 3)  # of differencing
AVERAGES = (4, 8, 16, 32)  # points of the moving averages that are subtracted
VIEWS = len(ORDERS) + len(AVERAGES)


def views(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch view time"]:
    """The series, its differences up to order 3, and what is left of it beside moving averages.

    Where too few points came before, a difference is 0, and an average that of those there are:
    so no view starts with a jump of its own making.

    Examples
    --------
    >>> views(torch.tensor([[1.0, 4.0, 9.0]]))[0, :3]
    tensor([[1., 4., 9.],
            [0., 3., 5.],
            [0., 0., 2.]])
    """
    seen = [values]
    for order in ORDERS[1:]:
        change = seen[-1].diff(dim=1)[:, order - 1 :] if values.shape[1] > order else values[:, :0]
        seen.append(torch.nn.functional.pad(change, (values.shape[1] - change.shape[1], 0)))
    total = torch.nn.functional.pad(values.double().cumsum(1), (max(AVERAGES), 0))
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    for window in AVERAGES:
        first = max(AVERAGES) - window
        window_sum = total[:, max(AVERAGES) :] - total[:, first : first + values.shape[1]]
        average = window_sum / steps.clamp(max=window)
        seen.append(values - average.to(values))
    return torch.stack(seen, dim=1)
