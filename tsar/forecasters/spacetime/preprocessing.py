"""Preprocessing filters of SpaceTime's first layer: differences and moving-average residuals."""

import torch
from jaxtyping import Float
from torch import Tensor

DIFFERENCE_ORDERS = (0, 1, 2, 3)
AVERAGE_WINDOWS = (4, 8, 16, 32)  # points of the moving averages that are subtracted
N_FILTERS = len(DIFFERENCE_ORDERS) + len(AVERAGE_WINDOWS)


def preprocess(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch filter time"]:
    """The series, its differences of order 1 to 3, and its residuals from moving averages.

    At the start, where a filter reaches back beyond the series, a difference is 0 and an average
    that of the points there are, so that no output starts with a spurious jump.

    Examples
    --------
    >>> preprocess(torch.tensor([[1.0, 4.0, 9.0]]))[0, :3]
    tensor([[1., 4., 9.],
            [0., 3., 5.],
            [0., 0., 2.]])

    References
    ----------
    Zhang et al. 2023 (arXiv 2303.09489): preprocessing layers, here with fixed windows.
    """
    time = values.shape[1]
    outputs = [values]
    for order in DIFFERENCE_ORDERS[1:]:
        change = outputs[-1].diff(dim=1)[:, order - 1 :] if time > order else values[:, :0]
        outputs.append(torch.nn.functional.pad(change, (time - change.shape[1], 0)))
    longest = max(AVERAGE_WINDOWS)
    cumulative = torch.nn.functional.pad(values.double().cumsum(1), (longest, 0))
    steps = torch.arange(1, time + 1, device=values.device)
    for window in AVERAGE_WINDOWS:
        first = longest - window
        window_sum = cumulative[:, longest:] - cumulative[:, first : first + time]
        average = window_sum / steps.clamp(max=window)
        outputs.append(values - average.to(values))
    return torch.stack(outputs, dim=1)
