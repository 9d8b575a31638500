"""The recursions over time compiled for a CPU, where numba is installed.

A loop over time in machine code makes a point of a chain in a tenth of the time that calls for
tensors take, where the chains are short or of few states. They give what `tsar.hmm.inference` and
`tsar.hmm.viterbi` give.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Kernel = Callable[..., None]


@cache
def kernel(function: Kernel) -> Kernel | None:
    """Compile a recursion; None where numba is not installed (``pip install 'tsar[fast]'``)."""
    try:
        import numba
    except ImportError:
        return None
    # Without the interpreter's lock, so that threads share the rows; the code is kept on disk.
    # Sums may be added in any order, for the wide registers.
    free = {"reassoc", "contract"}
    jit: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=free)
    compiled: Kernel = jit(function)
    return compiled


def usable(transmat: Float[Tensor, "row state state"]) -> bool:
    """Whether the compiled recursion takes these chains: on a CPU, in float64."""
    fits = transmat.device.type == "cpu" and transmat.dtype == torch.float64
    return fits and kernel(recur) is not None


def forward_backward(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
    least: float,
) -> tuple[
    Float[Tensor, "row time state"], Float[Tensor, "row state state"], Float[Tensor, " row"]
]:
    """Posteriors, expected transitions and log likelihoods; rows are shared by torch's threads.

    `least` is the lowest log density of a state against the best of its point.
    """
    posterior = torch.empty_like(log_density, memory_format=torch.contiguous_format)
    transitions, likelihood = torch.empty_like(transmat), startprob.new_empty(len(startprob))
    tensors = (startprob, transmat, log_density, lengths, posterior, transitions, likelihood)
    _shared(recur, tensors, least)
    return posterior, transitions, likelihood


def best_path(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
) -> Int[Tensor, "row time"]:
    """Most probable states; those behind the end of a chain are its last one."""
    states = torch.empty(log_density.shape[:2], dtype=torch.int64)
    _shared(follow, (startprob.log(), transmat.log(), log_density, lengths, states))
    return states


def _shared(function: Kernel, tensors: tuple[Tensor, ...], *options: float) -> None:
    """Run a recursion on rows that are shared by torch's threads; its results are the last."""
    arrays = [tensor.contiguous().numpy() for tensor in tensors]
    run = kernel(function)
    if run is None:
        raise ImportError("numba is not installed. Run: pip install 'tsar[fast]'")
    threads = max(1, min(torch.get_num_threads(), len(tensors[0])))
    if threads == 1:
        run(*arrays, *options)
        return
    pieces = [np.array_split(array, threads) for array in arrays]  # views
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda piece: run(*piece, *options), zip(*pieces, strict=True)))


@no_type_check
def recur(
    startprob: Any,
    transmat: Any,
    log_density: Any,
    lengths: Any,
    posterior: Any,
    transitions: Any,
    likelihood: Any,
    least: float,
) -> None:
    """Fill `posterior`, `transitions` and `likelihood`: Rabiner 1989, equations 91 to 95.

    Forward, what was seen is kept over its scale; backward, the filtered probabilities turn into
    posteriors where they stand.
    """
    rows, time, states = log_density.shape
    seen = np.empty((time, states))
    ahead = np.empty(states)
    for row in range(rows):
        move, known, pairs = transmat[row], posterior[row], transitions[row]
        total = 0.0
        for step in range(time):
            best = -np.inf
            for j in range(states):
                best = max(best, log_density[row, step, j])
                ahead[j] = startprob[row, j] if step == 0 else 0.0
            for i in range(states if step > 0 else 0):
                for j in range(states):
                    ahead[j] += known[step - 1, i] * move[i, j]
            scale = 0.0
            for j in range(states):
                relative = max(log_density[row, step, j] - best, least) if best > -np.inf else 0.0
                seen[step, j] = np.exp(relative)
                ahead[j] *= seen[step, j]
                scale += ahead[j]
            total += np.log(scale) + best
            for j in range(states):
                known[step, j] = ahead[j] / scale
                seen[step, j] /= scale
        likelihood[row] = total
        ahead[:] = 1.0
        pairs[:] = 0.0
        for step in range(time - 1, 0, -1):
            for j in range(states):
                seen[step, j] *= ahead[j]
            inside = 1.0 if step < lengths[row] else 0.0
            for i in range(states):
                share, weight = 0.0, inside * known[step - 1, i]
                for j in range(states):
                    share += move[i, j] * seen[step, j]
                    pairs[i, j] += weight * seen[step, j]
                ahead[i] = share
                known[step - 1, i] *= share
        pairs *= move


@no_type_check
def follow(log_start: Any, log_move: Any, log_density: Any, lengths: Any, paths: Any) -> None:
    """Fill `paths`: Viterbi 1967, in logarithms, the best of each point taken off."""
    rows, time, states = log_density.shape
    before = np.empty((time, states), dtype=np.int32)
    score, best = np.empty(states), np.empty(states)
    for row in range(rows):
        length = lengths[row]
        for j in range(states):
            score[j] = log_start[row, j] + log_density[row, 0, j]
        for step in range(1, length):
            top = score.max()
            for j in range(states):
                best[j] = -np.inf
                before[step, j] = 0
            for i in range(states):
                here = score[i] - top if top > -np.inf else score[i]
                for j in range(states):
                    reached = here + log_move[row, i, j]
                    if reached > best[j]:
                        best[j] = reached
                        before[step, j] = i
            for j in range(states):
                score[j] = best[j] + log_density[row, step, j]
        state = score.argmax()
        for step in range(length - 1, time):
            paths[row, step] = state
        for step in range(length - 1, 0, -1):
            state = before[step, state]
            paths[row, step - 1] = state
