"""The recursions over time compiled for a CPU, where numba is installed.

A loop over time in machine code makes a point of a chain in a tenth of the time that calls for
tensors take, where the chains are short or of few states. They give what
`inference.py` and `viterbi.py` give.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.chains import LEAST


@cache
def installed() -> bool:
    """Whether numba is there (``pip install 'tsar[fast]'``)."""
    return find_spec("numba") is not None


def usable(transmat: Float[Tensor, "row state state"]) -> bool:
    """Whether the compiled recursions take these chains: on a CPU, in float64."""
    return transmat.device.type == "cpu" and transmat.dtype == torch.float64 and installed()


def filtered(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row time"]]:
    """Filtered probabilities, and the log density of each point given those before it."""
    known = torch.empty_like(log_density, memory_format=torch.contiguous_format)
    points = log_density.new_empty(log_density.shape[:2])
    tensors = (startprob, transmat, log_density, known, points)
    _shared("filter_rows", tensors, *LEAST[log_density.dtype])
    return known, points


def forward_backward(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
) -> tuple[
    Float[Tensor, "row time state"], Float[Tensor, "row state state"], Float[Tensor, " row"]
]:
    """Posteriors, expected transitions and log likelihoods."""
    posterior = torch.empty_like(log_density, memory_format=torch.contiguous_format)
    transitions = torch.empty_like(transmat, memory_format=torch.contiguous_format)
    likelihood = startprob.new_empty(len(startprob))
    tensors = (startprob, transmat, log_density, lengths, posterior, transitions, likelihood)
    _shared("smooth_rows", tensors, *LEAST[log_density.dtype])
    return posterior, transitions, likelihood


def best_path(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
) -> Int[Tensor, "row time"]:
    """Most probable states; those behind the end of a chain are its last one."""
    states = torch.empty(log_density.shape[:2], dtype=torch.int64)
    _shared("follow_rows", (startprob.log(), transmat.log(), log_density, lengths, states))
    return states


def _shared(name: str, tensors: tuple[Tensor, ...], *options: float) -> None:
    """Run a kernel on rows that are shared by torch's threads; its results are the last tensors."""
    kernel: Callable[..., None] = getattr(import_module("tsar.hmm.discrete.kernels"), name)
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    threads = max(1, min(torch.get_num_threads(), len(tensors[0])))
    if threads == 1:
        kernel(*arrays, *options)
        return
    pieces = [np.array_split(array, threads) for array in arrays]  # views
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda piece: kernel(*piece, *options), zip(*pieces, strict=True)))
