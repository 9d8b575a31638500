"""Complete runs of a panel, and the stretches of them that one Fourier transform covers."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.nn.convolution import next_fast_length

# Elements that one chunk may hold. 2**18 float64 are 2 MB: the transforms of a chunk stay near the
# processor's cache, its temporaries are small against the data, and it still hides the launch of
# its dozen kernels.
CHUNK = 2**18


@dataclass(frozen=True)
class Runs:
    """Contiguous complete stretches of series that lie end to end in one flat tensor.

    Parameters
    ----------
    starts : Tensor
        Position of the first point of each run in the flat tensor.
    lengths : Tensor
        Points in each run.
    group : Tensor
        System of equations, 0 to `n_groups - 1`, that each run is summed into.
    n_groups : int
        Number of systems; a group may be empty.
    weights : Tensor, optional
        Factor of the contribution of each run; ones if absent.

    Examples
    --------
    >>> import torch
    >>> runs = Runs(torch.tensor([0, 5]), torch.tensor([5, 4]), torch.tensor([0, 1]), 2)
    >>> runs.pooled().group
    tensor([0, 0])
    """

    starts: Int[Tensor, " run"]
    lengths: Int[Tensor, " run"]
    group: Int[Tensor, " run"]
    n_groups: int
    weights: Float[Tensor, " run"] | None = None

    def columns(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return starts, lengths, groups and float64 weights on a device."""
        weights = torch.ones_like(self.starts) if self.weights is None else self.weights
        columns = (self.starts, self.lengths, self.group, weights.double())
        starts, lengths, group, weights = (x.to(device) for x in columns)
        return starts, lengths, group, weights

    def select(self, groups: Int[Tensor, " chosen"]) -> "Runs":
        """Return the runs of consecutive groups, which are counted anew."""
        if len(groups) == self.n_groups:
            return self
        first, last = int(groups[0]), int(groups[-1])
        inside = (self.group >= first) & (self.group <= last)
        weights = None if self.weights is None else self.weights[inside]
        group = self.group[inside] - first
        return Runs(self.starts[inside], self.lengths[inside], group, len(groups), weights)

    def pooled(self) -> "Runs":
        """Return the same runs summed into one system."""
        return Runs(self.starts, self.lengths, torch.zeros_like(self.group), 1, self.weights)


@dataclass(frozen=True)
class Blocks:
    """Windows of equal size on the flat tensor; the points from `first` to `last` are targets.

    `origin` bounds the points of the run from below, `last` from above: what lies outside is
    another run's and counts as zero. `members` are the groups that occur, `local` indexes them.
    """

    size: int
    begin: Int[Tensor, " block"]
    origin: Int[Tensor, " block"]
    first: Int[Tensor, " block"]
    last: Int[Tensor, " block"]
    local: Int[Tensor, " block"]
    members: Int[Tensor, " member"]
    weights: Float[Tensor, " block"]

    def read(
        self, channels: Float[Tensor, "channel total"], shift: Float[Tensor, "group channel"]
    ) -> Float[Tensor, "block channel size"]:
        """Gather the windows in float64, less the shift of their group, zero outside their run."""
        missing = self.size - channels.shape[1]
        padded = torch.nn.functional.pad(channels, (0, missing)) if missing > 0 else channels
        windows = padded.unfold(1, self.size, 1).transpose(0, 1)[self.begin].double()
        centred = windows - shift[self.members[self.local]][:, :, None]
        inside = self._between(self.origin, self.last)
        return torch.where(inside[:, None], centred, 0.0)

    def targets(self) -> Bool[Tensor, "block size"]:
        """Mark the points of each window that are targets of a regression."""
        return self._between(self.first, self.last)

    def sum(self, values: Tensor) -> Tensor:
        """Sum the rows of `values`, one a block, into one row a member."""
        if len(self.members) == len(self.local):
            return values  # one block a group: the blocks are sorted by group
        total = values.new_zeros(len(self.members), *values.shape[1:])
        return total.index_add_(0, self.local, values)

    def _between(
        self, low: Int[Tensor, " block"], high: Int[Tensor, " block"]
    ) -> Bool[Tensor, "block size"]:
        position = torch.arange(self.size, device=low.device)
        return (position >= low[:, None]) & (position < high[:, None])


def complete_runs(values: Float[Tensor, "channel total"], offsets: Int[Tensor, " border"]) -> Runs:
    """Find the stretches in which every channel is finite and that stay within a series.

    Parameters
    ----------
    values : Tensor
        Series laid end to end; NaN or infinite where missing.
    offsets : Tensor
        Where each series begins, and the end of the last: one more than there are series.

    Returns
    -------
    Runs
        In the order of time, with the number of the series as `group`. A series without a finite
        point has no run. The host waits here.

    Examples
    --------
    >>> import torch
    >>> nan = float("nan")
    >>> values = torch.tensor([[1.0, 2.0, nan, 4.0, 5.0, 6.0]])
    >>> runs = complete_runs(values, torch.tensor([0, 5, 6]))
    >>> runs.starts.tolist(), runs.lengths.tolist(), runs.group.tolist()
    ([0, 3, 5], [2, 2, 1], [0, 0, 1])
    """
    complete = _complete(values)
    lengths = offsets.diff()
    if bool(complete.all()):  # each series is a run; the host waits here
        present = lengths.nonzero()[:, 0]
        return Runs(offsets[present], lengths[present], present, len(lengths))
    padded = torch.nn.functional.pad(complete, (1, 1))
    border = torch.zeros(len(complete) + 1, dtype=torch.bool, device=values.device)
    border[offsets] = True
    begins = padded[1:] & (~padded[:-1] | border)
    ends = padded[:-1] & (~padded[1:] | border)
    starts = begins.nonzero()[:, 0]
    lengths = ends.nonzero()[:, 0] - starts
    series = torch.searchsorted(offsets, starts, right=True) - 1
    return Runs(starts, lengths, series, len(offsets) - 1)


def _complete(values: Float[Tensor, "channel total"]) -> Bool[Tensor, " total"]:
    """Mark the times at which every channel is finite, piece by piece: isfinite copies."""
    total = values.shape[1]
    complete = torch.empty(total, dtype=torch.bool, device=values.device)
    for first in range(0, total, CHUNK // 8):
        piece = slice(first, min(first + CHUNK // 8, total))
        complete[piece] = values[:, piece].isfinite().all(0)
    return complete


def blocks(
    runs: Runs, max_lag: int, total: int, device: torch.device, *, width: int
) -> Iterator[Blocks]:
    """Cut runs into blocks of few sizes and yield them in chunks of bounded memory.

    A block of size F holds F - max_lag targets after the max_lag points before them, so that a
    circular product of length F is exact (overlap-save). `width` is the number of float64 that a
    chunk needs for each point of a block. The plan is made on the host: one wait if the runs are
    not there.
    """
    host = runs.columns(torch.device("cpu"))
    _, lengths, group, _ = host
    usable = (lengths > max_lag).nonzero()[:, 0]
    usable = usable[group[usable].argsort(stable=True)]
    # Runs of the same power of two share a size: at most 2x padding, about a dozen sizes.
    longest = _block_limit(max_lag)
    classes = power_class(lengths[usable].clamp(max=longest))
    for kind in classes.unique().tolist():
        chosen = usable[classes == kind]
        size = min(next_fast_length(int(lengths[chosen].max())), longest)
        table = _block_table(host, chosen, max_lag, size, total)
        for columns in zip(*(x.split(max(1, CHUNK // (size * width))) for x in table), strict=True):
            yield _chunk(size, max_lag, columns, device)


def power_class(sizes: Int[Tensor, " item"]) -> Int[Tensor, " item"]:
    """Return the exponents of the powers of two that the sizes round up to."""
    return sizes.double().log2().ceil().long()


def _block_table(
    host: tuple[Tensor, Tensor, Tensor, Tensor],
    chosen: Int[Tensor, " chosen"],
    max_lag: int,
    size: int,
    total: int,
) -> tuple[Tensor, ...]:
    """List begin, origin, last, group and weight of the blocks of the chosen runs."""
    starts, lengths, group, weights = (x[chosen] for x in host)
    hop = size - max_lag
    count = (lengths - max_lag + hop - 1) // hop
    run = torch.arange(len(chosen)).repeat_interleave(count)
    turn = torch.arange(len(run)) - (count.cumsum(0) - count)[run]
    wanted = starts[run] + turn * hop
    # A window that would pass the end of the tensor begins earlier, before its origin.
    begin = wanted.clamp(max=max(total - size, 0))
    last = (torch.minimum((starts + lengths)[run], wanted + size) - begin).clamp(max=size)
    return begin, wanted - begin, last, group[run], weights[run]


def _chunk(size: int, max_lag: int, columns: tuple[Tensor, ...], device: torch.device) -> Blocks:
    begin, origin, last, group, weights = columns
    members, local = group.unique_consecutive(return_inverse=True)
    tensors = (begin, origin, origin + max_lag, last, local, members, weights)
    return Blocks(size, *(x.to(device) for x in tensors))


def _block_limit(max_lag: int) -> int:
    # 8192 points of float64 fit a first-level cache; with four times the lag, a quarter of the
    # work at most repeats the overlap. Powers of two are the fastest sizes.
    return max(8192, 1 << (4 * max_lag - 1).bit_length()) if max_lag else 8192
