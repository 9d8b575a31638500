"""Recursions over time compiled by numba for one CPU: tensors in, tensors out of `kernels`.

With the same results as the tensor calls of `recursion`, which run everywhere, compiled loops are 2
to 30 times as fast (see there), but need numba, a CPU and float64.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.chunks import (
    MIN_LOG_DENSITY,
    MIN_TRANSITION,
    Lengths,
    LogDensity,
    Startprob,
    Transmat,
)

MINIMA = MIN_TRANSITION[torch.float64], MIN_LOG_DENSITY[torch.float64]


@cache
def installed() -> bool:
    """Whether numba is installed (``pip install 'tsar[fast]'``)."""
    return find_spec("numba") is not None


def supports(transmat: Float[Tensor, "row state state"]) -> bool:
    """Whether the compiled recursions can run these chains: numba, on a CPU, in float64."""
    return transmat.device.type == "cpu" and transmat.dtype == torch.float64 and installed()


def filter_states(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row time"]]:
    """Filtered probabilities, and the log density of each point given those before it."""
    filtered = torch.empty_like(log_density, memory_format=torch.contiguous_format)
    point_density = log_density.new_empty(log_density.shape[:2])
    _run_threads("filter_rows", (startprob, transmat, log_density, filtered, point_density), MINIMA)
    return filtered, point_density


def forward_backward(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity, lengths: Lengths
) -> tuple[
    Float[Tensor, "row time state"], Float[Tensor, "row state state"], Float[Tensor, " row"]
]:
    """Posteriors, expected transitions and log-likelihoods."""
    posteriors = torch.empty_like(log_density, memory_format=torch.contiguous_format)
    transitions = torch.empty_like(transmat, memory_format=torch.contiguous_format)
    log_likelihood = startprob.new_empty(len(startprob))
    tensors = (startprob, transmat, log_density, lengths, posteriors, transitions, log_likelihood)
    _run_threads("smooth_rows", tensors, MINIMA)
    return posteriors, transitions, log_likelihood


def best_path(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity, lengths: Lengths
) -> Int[Tensor, "row time"]:
    """Most probable states; after the end of a chain, its last state."""
    states = torch.empty(log_density.shape[:2], dtype=torch.int64)
    _run_threads("viterbi_rows", (startprob.log(), transmat.log(), log_density, lengths, states))
    return states


def _run_threads(name: str, tensors: tuple[Tensor, ...], *options: Any) -> None:
    """Run a kernel, with the rows split over torch's threads; it writes to the last tensors."""
    kernel: Callable[..., None] = getattr(import_module("tsar.hmm.discrete.kernels"), name)
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    threads = max(1, min(torch.get_num_threads(), len(tensors[0])))
    if threads == 1:
        kernel(*arrays, *options)
        return
    parts = [np.array_split(array, threads) for array in arrays]  # views
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: kernel(*part, *options), zip(*parts, strict=True)))
