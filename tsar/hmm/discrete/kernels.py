"""The recursions over time in machine code: loops that numba compiles.

Imported where numba is installed alone; `compiled.py` is the door to them. A chain runs on
scaled probabilities. Where some start or transition is impossible, a state that is hardly possible
at one point may be the only one at a later point: a chain in which one falls that low runs on
logarithms. Those cost some exponentials and no more: sums are made of numbers scaled to the best
state, and of logarithms one by one only where such a sum would underflow.

Source: Rabiner 1989, equations 91 to 95 (scaled); Viterbi 1967.
"""

from typing import Any, no_type_check

import numba
import numpy as np

# Without the interpreter's lock, so that threads share the rows; the code is kept on disk. Sums may
# be added in any order, for the wide registers.
compiled: Any = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"}
)
TINY = 1e-250  # a scaled sum below it is made of logarithms: what underflowed might count there
ROUNDED = -60.0  # a logarithm that much below another adds nothing to the sum
HARDLY = 1e-150  # a state less likely than that may be lost to scaled probabilities
FAINT = 1e-30  # least scale of a point there


@no_type_check
@compiled
def filter_rows(startprob, transmat, log_density, known, points, least_move, least):
    """Fill `known` with filtered probabilities, `points` with log densities given the past."""
    rows, time, states = log_density.shape
    seen = np.empty((time, states))
    for row in range(rows):
        start, move, density = startprob[row], transmat[row], log_density[row]
        if not forward(start, move, density, known[row], seen, points[row], least_move, least):
            log_forward(start, move, density, known[row], points[row])
            for step in range(time):
                for j in range(states):
                    known[row, step, j] = np.exp(known[row, step, j])


@no_type_check
@compiled
def smooth_rows(
    startprob,
    transmat,
    log_density,
    lengths,
    posterior,
    transitions,
    likelihood,
    least_move,
    least,
):
    """Fill `posterior`, `transitions` (expected numbers) and `likelihood` (log, of all points)."""
    rows, time, states = log_density.shape
    seen, points = np.empty((time, states)), np.empty(time)
    for row in range(rows):
        start, move, density = startprob[row], transmat[row], log_density[row]
        known, pairs = posterior[row], transitions[row]
        pairs[:] = 0.0
        if forward(start, move, density, known, seen, points, least_move, least):
            backward(move, seen, lengths[row], known, pairs)
        else:
            log_forward(start, move, density, known, points)
            log_backward(move, density, points, lengths[row], known, pairs)
        likelihood[row] = points.sum()


@no_type_check
@compiled
def forward(start, move, density, known, seen, points, least_move, least):
    """Filter by scaled probabilities; `seen` keeps what each state shows over the scale.

    `least` is the lowest log density of a state against the best of its point. Where all starts
    and transitions are at least `least_move`, what is below weighs less than rounding; else such a
    state, or one that becomes hardly possible, says that logarithms are needed: False is returned.
    """
    strict = min(start.min(), move.min()) < least_move
    if strict and (between(start.ravel(), least_move) or between(move.ravel(), least_move)):
        return False
    time, states = density.shape
    ahead = np.empty(states)
    for step in range(time):
        best = -np.inf
        for j in range(states):
            best = max(best, density[step, j])
            ahead[j] = start[j] if step == 0 else 0.0
        for i in range(states if step > 0 else 0):
            for j in range(states):
                ahead[j] += known[step - 1, i] * move[i, j]
        scale = 0.0
        for j in range(states):
            relative = max(density[step, j] - best, least) if best > -np.inf else 0.0
            never = strict and density[step, j] == -np.inf
            seen[step, j] = 0.0 if never else np.exp(relative)
            ahead[j] *= seen[step, j]
            scale += ahead[j]
        points[step] = np.log(scale) + best
        for j in range(states):
            known[step, j] = ahead[j] / scale
            seen[step, j] /= scale
        if strict and (scale < FAINT or between(known[step], HARDLY)):
            return False
    return True


@no_type_check
@compiled
def between(values, least):
    """Whether any is below `least`, but not zero."""
    lowest = np.inf
    for value in values:
        lowest = min(lowest, value if value > 0.0 else np.inf)
    return lowest < least


@no_type_check
@compiled
def backward(move, seen, length, known, pairs):
    """Turn filtered probabilities into posteriors where they stand, and add up transitions."""
    time, states = seen.shape
    ahead = np.ones(states)
    for step in range(time - 1, 0, -1):
        for j in range(states):
            seen[step, j] *= ahead[j]
        inside = 1.0 if step < length else 0.0
        for i in range(states):
            share, weight = 0.0, inside * known[step - 1, i]
            for j in range(states):
                share += move[i, j] * seen[step, j]
                pairs[i, j] += weight * seen[step, j]
            ahead[i] = share
            known[step - 1, i] *= share
    pairs *= move


@no_type_check
@compiled
def log_forward(start, move, density, known, points):
    """Filter by logarithms, which `known` holds then.

    A point that no state there can be in shows: it says nothing of them, and its density is zero.
    """
    time, states = density.shape
    log_move, into = np.log(move), np.log(start)
    share = np.empty(states)
    for step in range(time):
        if step > 0:
            for i in range(states):
                share[i] = np.exp(known[step - 1, i])
            log_sums(share, known[step - 1], move.T, log_move.T, into)
        best = -np.inf
        for j in range(states):
            best = max(best, into[j] + density[step, j])
        shown = best > -np.inf
        total = 0.0
        for j in range(states):
            known[step, j] = into[j] + density[step, j] - best if shown else into[j]
            total += np.exp(known[step, j])
        points[step] = np.log(total) + best
        known[step] -= np.log(total)


@no_type_check
@compiled
def log_backward(move, density, points, length, known, pairs):
    """Turn filtered logarithms into posterior probabilities, and add up transitions."""
    time, states = density.shape
    log_move = np.log(move)
    after, seen = np.zeros(states), np.empty(states)  # logarithms, given a state
    shown, held, counts = np.empty(states), np.empty(states), np.zeros((states, states))
    posterior(known[time - 1], after)
    for step in range(time - 1, 0, -1):
        best = -np.inf
        for j in range(states):
            seen[j] = after[j] + (density[step, j] if points[step] > -np.inf else 0.0)
            best = max(best, seen[j])
        for j in range(states):
            seen[j] -= best
            shown[j] = np.exp(seen[j])
        log_sums(shown, seen, move, log_move, after)
        top = after.max()
        if step < length:
            total = 0.0
            for i in range(states):
                after[i] -= top
                held[i] = np.exp(known[step - 1, i])
                total += held[i] * np.exp(after[i])
            total *= np.exp(top)
            if total >= TINY:
                for i in range(states):
                    weight = held[i] / total
                    for j in range(states):
                        counts[i, j] += weight * shown[j]
            else:
                log_pairs(known[step - 1], log_move, seen, pairs)
        posterior(known[step - 1], after)
    pairs += counts * move


@no_type_check
@compiled
def log_sums(share, log_share, move, log_move, into):
    """Fill `into` with the logarithms of ``move @ share``; `log_share` is the log of `share`."""
    for i in range(len(into)):
        total = 0.0
        for j in range(len(share)):
            total += move[i, j] * share[j]
        if total >= TINY:
            into[i] = np.log(total)
        else:
            into[i] = log_sum(log_move[i], log_share)


@no_type_check
@compiled
def log_sum(one, other):
    """Logarithm of the sum of ``exp(one + other)``."""
    best = -np.inf
    for i in range(len(one)):
        best = max(best, one[i] + other[i])
    if best == -np.inf:
        return best
    total = 0.0
    for i in range(len(one)):
        below = one[i] + other[i] - best
        if below > ROUNDED:
            total += np.exp(below)
    return best + np.log(total)


@no_type_check
@compiled
def log_pairs(known, log_move, seen, pairs):
    """Add the probabilities of one transition, made of logarithms, to `pairs`."""
    best = -np.inf
    for i in range(len(known)):
        for j in range(len(seen)):
            best = max(best, known[i] + log_move[i, j] + seen[j])
    if best == -np.inf:
        return
    total = 0.0
    for i in range(len(known)):
        for j in range(len(seen)):
            total += np.exp(known[i] + log_move[i, j] + seen[j] - best)
    for i in range(len(known)):
        for j in range(len(seen)):
            pairs[i, j] += np.exp(known[i] + log_move[i, j] + seen[j] - best) / total


@no_type_check
@compiled
def posterior(known, after):
    """Turn filtered logarithms into posterior probabilities, by what comes `after`."""
    best = -np.inf
    for i in range(len(known)):
        known[i] += after[i]
        best = max(best, known[i])
    total = 0.0
    for i in range(len(known)):
        known[i] = np.exp(known[i] - best)
        total += known[i]
    known /= total


@no_type_check
@compiled
def follow_rows(log_start, log_move, log_density, lengths, paths):
    """Fill `paths`, in logarithms, the best of each point taken off."""
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
