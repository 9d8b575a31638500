"""Moving-block bootstrap, standard errors and effective sample size of serially dependent rows."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def block_length(n_rows: int, horizon: int = 1) -> int:
    """Rows of a block: the cube root of all (Künsch 1989), but at least the horizon.

    Responses of rows less than a horizon apart overlap.

    Examples
    --------
    >>> block_length(1000), block_length(1000, horizon=24)
    (10, 24)
    """
    return max(min(max(round(n_rows ** (1 / 3)), horizon), n_rows // 2), 1)


def moving_block_bootstrap(
    series: Int[Tensor, " row"], length: int, n_bootstrap: int, generator: torch.Generator
) -> Int[Tensor, "bootstrap row"]:
    """Row indices of moving-block bootstrap samples; no block spans two series.

    Rows are sorted by series, then by time. The `length` of blocks is halved until a series has as
    many rows. The generator is on the CPU.

    Source: Künsch 1989, "The jackknife and the bootstrap for general stationary observations".

    Examples
    --------
    >>> series = torch.zeros(6, dtype=torch.long)
    >>> moving_block_bootstrap(series, 3, 1, torch.Generator().manual_seed(0))
    tensor([[0, 1, 2, 3, 4, 5]])
    """
    n_rows = len(series)
    on_cpu = series.cpu()
    while True:
        within_series = on_cpu[: n_rows - length + 1] == on_cpu[length - 1 :]
        starts = within_series.nonzero()[:, 0]
        if len(starts) or length == 1:
            break
        length = max(length // 2, 1)
    n_blocks = -(-n_rows // length)
    sampled = starts[torch.randint(len(starts), (n_bootstrap, n_blocks), generator=generator)]
    return (sampled[:, :, None] + torch.arange(length)).flatten(1)[:, :n_rows].to(series.device)


def effective_sample_size(
    errors: Float[Tensor, "row output"], series: Int[Tensor, " row"]
) -> float:
    """Independent rows with the information of serially dependent ones: ``n / (1 + 2 sum(rho))``.

    rho are the autocorrelations of out-of-sample errors, pooled over outputs and series, up to the
    first pair of neighbouring lags whose sum is not positive (Geyer 1992, "Practical Markov chain
    Monte Carlo"). At most n. Rows with a missing error are left out.

    Examples
    --------
    >>> slow = torch.linspace(-1, 1, 100, dtype=torch.float64)[:, None]
    >>> round(effective_sample_size(slow, torch.zeros(100, dtype=torch.long)), 1)
    2.9
    """
    observed = ~errors.isnan().any(dim=1)
    errors, series = errors[observed], series[observed]
    n_rows = len(errors)
    centred = errors - errors.mean(dim=0) if n_rows else errors
    variance = float(centred.square().sum())
    if n_rows < 3 or variance == 0:
        return float(n_rows)

    def autocorrelation(lag: int) -> float:
        same = (series[lag:] == series[: n_rows - lag])[:, None]
        return float((centred[lag:] * centred[: n_rows - lag] * same).sum()) / variance

    total = 0.0
    for lag in range(0, n_rows - 1, 2):  # every such pair is positive if the errors are stationary
        pair = autocorrelation(lag) + autocorrelation(lag + 1)
        if pair <= 0:
            break
        total += pair
    return n_rows / max(2 * total - 1, 1.0)


def standard_error(
    losses: Float[Tensor, "*candidate row"], samples: Int[Tensor, "bootstrap row"]
) -> Float[Tensor, "*candidate"]:
    """Standard error of mean losses by bootstrap samples of the rows.

    Examples
    --------
    >>> samples = torch.tensor([[0, 0], [1, 1]])
    >>> standard_error(torch.tensor([1.0, 3.0]), samples)
    tensor(1.4142)
    """
    return losses[..., samples].mean(dim=-1).std(dim=-1)
