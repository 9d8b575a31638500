"""Loops over time compiled by numba: filter, forward-backward and Viterbi of discrete-state HMMs.

Only `compiled` imports this module, where numba is installed. A chain runs on scaled probabilities.
Where some start or transition probability is zero, a state of tiny probability may be the only
possible one at a later point: a chain in which a probability becomes that small runs on logarithms.
These cost few extra exponentials: sums run over numbers scaled to the best state, and over single
logarithms only where such a sum would underflow.

Source: Rabiner 1989, equations 91 to 95 (scaled); Viterbi 1967.
"""

from typing import Any, no_type_check

import numba
import numpy as np

# nogil: threads share the rows. cache: the machine code is kept on disk. fastmath: sums may be
# added in any order, for SIMD registers.
compiled: Any = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract"}
)
MIN_SUM = 1e-250  # a scaled sum below it is computed from logarithms: terms may have underflowed
MIN_LOG_TERM = -60.0  # a logarithm that far below another adds nothing to the sum
MIN_PROBABILITY = 1e-150  # scaled probabilities may lose a less probable state
MIN_SCALE = 1e-30  # minimum scale of a point there


@no_type_check
@compiled
def filter_rows(startprob, transmat, log_density, filtered, point_density, minima):
    """Write filtered probabilities, and the log density of each point given those before it."""
    rows, time, states = log_density.shape
    scaled_density = np.empty((time, states))
    for row in range(rows):
        start, move, density = startprob[row], transmat[row], log_density[row]
        if not forward(
            start, move, density, filtered[row], scaled_density, point_density[row], minima
        ):
            log_forward(start, move, density, filtered[row], point_density[row])
            for step in range(time):
                for j in range(states):
                    filtered[row, step, j] = np.exp(filtered[row, step, j])


@no_type_check
@compiled
def smooth_rows(
    startprob, transmat, log_density, lengths, posteriors, transitions, log_likelihood, minima
):
    """Write posteriors, expected numbers of transitions, and the log-likelihood of each chain."""
    rows, time, states = log_density.shape
    scaled_density, point_density = np.empty((time, states)), np.empty(time)
    for row in range(rows):
        start, move, density = startprob[row], transmat[row], log_density[row]
        filtered, pairs = posteriors[row], transitions[row]
        pairs[:] = 0.0
        if forward(start, move, density, filtered, scaled_density, point_density, minima):
            backward(move, scaled_density, lengths[row], filtered, pairs)
        else:
            log_forward(start, move, density, filtered, point_density)
            log_backward(move, density, point_density, lengths[row], filtered, pairs)
        log_likelihood[row] = point_density.sum()


@no_type_check
@compiled
def forward(start, move, density, filtered, scaled_density, point_density, minima):
    """Filter by scaled probabilities; `scaled_density` keeps the densities over the scales.

    `min_log_density` is the minimum log density of a state relative to the best one of its point.
    Where all start and transition probabilities are at least `min_transition`, a lower density
    weighs less than rounding. Otherwise such a state, or one of tiny probability, needs logarithms:
    False is returned.
    """
    min_transition, min_log_density = minima
    strict = min(start.min(), move.min()) < min_transition
    if strict and (below(start.ravel(), min_transition) or below(move.ravel(), min_transition)):
        return False
    time, states = density.shape
    predicted = np.empty(states)
    for step in range(time):
        best = -np.inf
        for j in range(states):
            best = max(best, density[step, j])
            predicted[j] = start[j] if step == 0 else 0.0
        for i in range(states if step > 0 else 0):
            for j in range(states):
                predicted[j] += filtered[step - 1, i] * move[i, j]
        scale = 0.0
        for j in range(states):
            relative = max(density[step, j] - best, min_log_density) if best > -np.inf else 0.0
            impossible = strict and density[step, j] == -np.inf
            scaled_density[step, j] = 0.0 if impossible else np.exp(relative)
            predicted[j] *= scaled_density[step, j]
            scale += predicted[j]
        point_density[step] = np.log(scale) + best
        for j in range(states):
            filtered[step, j] = predicted[j] / scale
            scaled_density[step, j] /= scale
        if strict and (scale < MIN_SCALE or below(filtered[step], MIN_PROBABILITY)):
            return False
    return True


@no_type_check
@compiled
def below(values, minimum):
    """Whether any nonzero value is below the minimum."""
    lowest = np.inf
    for value in values:
        lowest = min(lowest, value if value > 0.0 else np.inf)
    return lowest < minimum


@no_type_check
@compiled
def backward(move, scaled_density, length, posteriors, pairs):
    """Turn filtered probabilities into posteriors in place, and sum expected transitions."""
    time, states = scaled_density.shape
    message = np.ones(states)
    for step in range(time - 1, 0, -1):
        for j in range(states):
            scaled_density[step, j] *= message[j]
        inside = 1.0 if step < length else 0.0
        for i in range(states):
            total, weight = 0.0, inside * posteriors[step - 1, i]
            for j in range(states):
                total += move[i, j] * scaled_density[step, j]
                pairs[i, j] += weight * scaled_density[step, j]
            message[i] = total
            posteriors[step - 1, i] *= total
    pairs *= move


@no_type_check
@compiled
def log_forward(start, move, density, log_filtered, point_density):
    """Filter by logarithms.

    A point that is impossible in all reachable states carries no information about the states, and
    its density is zero.
    """
    time, states = density.shape
    log_move, log_predicted = np.log(move), np.log(start)
    previous = np.empty(states)
    for step in range(time):
        if step > 0:
            for i in range(states):
                previous[i] = np.exp(log_filtered[step - 1, i])
            log_sums(previous, log_filtered[step - 1], move.T, log_move.T, log_predicted)
        best = -np.inf
        for j in range(states):
            best = max(best, log_predicted[j] + density[step, j])
        possible = best > -np.inf
        total = 0.0
        for j in range(states):
            value = log_predicted[j] + density[step, j] - best if possible else log_predicted[j]
            log_filtered[step, j] = value
            total += np.exp(value)
        point_density[step] = np.log(total) + best
        log_filtered[step] -= np.log(total)


@no_type_check
@compiled
def log_backward(move, density, point_density, length, log_filtered, pairs):
    """Turn filtered logarithms into posterior probabilities, and sum expected transitions."""
    time, states = density.shape
    log_move = np.log(move)
    message, log_later = np.zeros(states), np.empty(states)  # logarithms
    later, filtered, counts = np.empty(states), np.empty(states), np.zeros((states, states))
    posterior(log_filtered[time - 1], message)
    for step in range(time - 1, 0, -1):
        best = -np.inf
        for j in range(states):
            log_later[j] = message[j] + (density[step, j] if point_density[step] > -np.inf else 0.0)
            best = max(best, log_later[j])
        for j in range(states):
            log_later[j] -= best
            later[j] = np.exp(log_later[j])
        log_sums(later, log_later, move, log_move, message)
        top = message.max()
        if step < length:
            total = 0.0
            for i in range(states):
                message[i] -= top
                filtered[i] = np.exp(log_filtered[step - 1, i])
                total += filtered[i] * np.exp(message[i])
            total *= np.exp(top)
            if total >= MIN_SUM:
                for i in range(states):
                    weight = filtered[i] / total
                    for j in range(states):
                        counts[i, j] += weight * later[j]
            else:
                log_pairs(log_filtered[step - 1], log_move, log_later, pairs)
        posterior(log_filtered[step - 1], message)
    pairs += counts * move


@no_type_check
@compiled
def log_sums(vector, log_vector, move, log_move, result):
    """Write the logarithms of ``move @ vector`` to `result`."""
    for i in range(len(result)):
        total = 0.0
        for j in range(len(vector)):
            total += move[i, j] * vector[j]
        if total >= MIN_SUM:
            result[i] = np.log(total)
        else:
            result[i] = log_sum(log_move[i], log_vector)


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
        term = one[i] + other[i] - best
        if term > MIN_LOG_TERM:
            total += np.exp(term)
    return best + np.log(total)


@no_type_check
@compiled
def log_pairs(log_filtered, log_move, log_later, pairs):
    """Add the probabilities of one transition, computed from logarithms, to `pairs`."""
    best = -np.inf
    for i in range(len(log_filtered)):
        for j in range(len(log_later)):
            best = max(best, log_filtered[i] + log_move[i, j] + log_later[j])
    if best == -np.inf:
        return
    total = 0.0
    for i in range(len(log_filtered)):
        for j in range(len(log_later)):
            total += np.exp(log_filtered[i] + log_move[i, j] + log_later[j] - best)
    for i in range(len(log_filtered)):
        for j in range(len(log_later)):
            pairs[i, j] += np.exp(log_filtered[i] + log_move[i, j] + log_later[j] - best) / total


@no_type_check
@compiled
def posterior(log_filtered, message):
    """Turn filtered logarithms into posterior probabilities in place, by a backward message."""
    best = -np.inf
    for i in range(len(log_filtered)):
        log_filtered[i] += message[i]
        best = max(best, log_filtered[i])
    total = 0.0
    for i in range(len(log_filtered)):
        log_filtered[i] = np.exp(log_filtered[i] - best)
        total += log_filtered[i]
    log_filtered /= total


@no_type_check
@compiled
def viterbi_rows(log_start, log_move, log_density, lengths, paths):
    """Write the most probable paths; scores are log probabilities less the best of each point."""
    rows, time, states = log_density.shape
    previous = np.empty((time, states), dtype=np.int32)
    score, best = np.empty(states), np.empty(states)
    for row in range(rows):
        length = lengths[row]
        for j in range(states):
            score[j] = log_start[row, j] + log_density[row, 0, j]
        for step in range(1, length):
            top = score.max()
            for j in range(states):
                best[j] = -np.inf
                previous[step, j] = 0
            for i in range(states):
                here = score[i] - top if top > -np.inf else score[i]
                for j in range(states):
                    reached = here + log_move[row, i, j]
                    if reached > best[j]:
                        best[j] = reached
                        previous[step, j] = i
            for j in range(states):
                score[j] = best[j] + log_density[row, step, j]
        state = score.argmax()
        for step in range(length - 1, time):
            paths[row, step] = state
        for step in range(length - 1, 0, -1):
            state = previous[step, state]
            paths[row, step - 1] = state
