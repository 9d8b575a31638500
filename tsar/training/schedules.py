"""Learning-rate schedules: the factor on the peak learning rate at each optimizer step."""

import math


def one_cycle(step: int, steps: int) -> float:
    """Cosine increase from 1/25 over 30 % of the steps, then cosine decrease to 1/250000.

    Source: Smith & Topin 2018 (arXiv 1708.07120), with the constants of torch's OneCycleLR.
    """
    peak, start, end = 0.3 * steps - 1, 1 / 25, 1 / 25e4
    if step <= peak:
        return start + (1 - start) * _half_cosine(step / peak)
    return 1 - (1 - end) * _half_cosine((step - peak) / (steps - 1 - peak))


def cosine(step: int, steps: int) -> float:
    """Cosine decrease from the peak, to 0 one step after the last."""
    return 1 - _half_cosine(step / steps)


def constant(step: int, steps: int) -> float:
    """The peak at every step."""
    return 1.0


def _half_cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}
