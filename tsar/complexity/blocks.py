"""Serial data in blocks: resampling, standard errors, and how many rows they are worth."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def block_length(rows: int, horizon: int = 1) -> int:
    """Rows of a block: the cube root of all (Künsch 1989), and no less than overlapping targets.

    Examples
    --------
    >>> block_length(1000), block_length(1000, horizon=24)
    (10, 24)
    """
    return max(min(max(round(rows ** (1 / 3)), horizon), rows // 2), 1)


def draw_blocks(
    runs: Int[Tensor, " row"], length: int, draws: int, generator: torch.Generator
) -> Int[Tensor, "draw row"]:
    """Rows of moving-block bootstrap samples; no block reaches from one run into another.

    Source: Künsch 1989, "The jackknife and the bootstrap for general stationary observations".

    Parameters
    ----------
    runs
        Which series each row is of; rows are in order of series, then of time.
    length
        Rows of a block; shorter where no run is as long.
    draws
        Samples, each of as many rows as there are.
    generator
        Of the seed, on the CPU.

    Examples
    --------
    >>> runs = torch.zeros(6, dtype=torch.long)
    >>> draw_blocks(runs, 3, 1, torch.Generator().manual_seed(0))
    tensor([[0, 1, 2, 3, 4, 5]])
    """
    rows = len(runs)
    host = runs.cpu()
    while True:
        inside = host[: rows - length + 1] == host[length - 1 :]
        starts = inside.nonzero()[:, 0]
        if len(starts) or length == 1:
            break
        length = max(length // 2, 1)
    blocks = -(-rows // length)
    picked = starts[torch.randint(len(starts), (draws, blocks), generator=generator)]
    drawn = (picked[:, :, None] + torch.arange(length)).flatten(1)[:, :rows]
    return drawn.to(runs.device)


def effective_rows(errors: Float[Tensor, "row output"], runs: Int[Tensor, " row"]) -> float:
    """Independent rows that serially dependent ones are worth: ``n / (1 + 2 sum(rho))``.

    rho are the autocorrelations of the errors that a head makes on rows that it did not see, over
    all outputs and series together, up to the lag before the first sum of two neighbours that is
    not positive (Geyer 1992, "Practical Markov chain Monte Carlo"). At most n.

    Examples
    --------
    >>> slow = torch.linspace(-1, 1, 100, dtype=torch.float64)[:, None]
    >>> round(effective_rows(slow, torch.zeros(100, dtype=torch.long)), 1)
    2.9
    """
    seen = ~errors.isnan().any(dim=1)
    errors, runs = errors[seen], runs[seen]
    rows = len(errors)
    centred = errors - errors.mean(dim=0) if rows else errors
    power = float(centred.square().sum())
    if rows < 3 or power == 0:
        return float(rows)

    def correlation(lag: int) -> float:
        same = (runs[lag:] == runs[: rows - lag])[:, None]
        return float((centred[lag:] * centred[: rows - lag] * same).sum()) / power

    total = 0.0
    for lag in range(0, rows - 1, 2):  # of a stationary series every such pair is positive
        pair = correlation(lag) + correlation(lag + 1)
        if pair <= 0:
            break
        total += pair
    return rows / max(2 * total - 1, 1.0)


def standard_error(
    losses: Float[Tensor, "*candidate row"], drawn: Int[Tensor, "draw row"]
) -> Float[Tensor, "*candidate"]:
    """Standard error of mean losses, by blocks drawn with `draw_blocks`.

    Examples
    --------
    >>> drawn = torch.tensor([[0, 0], [1, 1]])
    >>> standard_error(torch.tensor([1.0, 3.0]), drawn)
    tensor(1.4142)
    """
    return losses[..., drawn].mean(dim=-1).std(dim=-1)
