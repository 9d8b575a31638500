"""Learning rates by step, as shares of their peak."""

import math


def one_cycle(step: int, steps: int) -> float:
    """Cosine up from 1/25 over 30 % of the steps, then down to 1/250000.

    Source: Smith & Topin 2018 (arXiv 1708.07120), with the constants of torch's OneCycleLR.
    """
    top, start, end = 0.3 * steps - 1, 1 / 25, 1 / 25e4
    if step <= top:
        return start + (1 - start) * _half_cosine(step / top)
    return 1 - (1 - end) * _half_cosine((step - top) / (steps - 1 - top))


def cosine(step: int, steps: int) -> float:
    """Cosine from the peak down to what would be zero one step after the last."""
    return 1 - _half_cosine(step / steps)


def constant(step: int, steps: int) -> float:
    """The peak at every step."""
    return 1.0


def _half_cosine(share: float) -> float:
    return (1 - math.cos(math.pi * share)) / 2


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}
