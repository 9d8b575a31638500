"""Options of the training loop."""

import os
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.records import record
from tsar.training.schedules import SCHEDULES
from tsar.validation import (
    FRACTION,
    FRACTION_OR_POINTS,
    NONNEGATIVE,
    PATH,
    POSITIVE,
    Constraint,
    check_parameters,
    integer,
    one_of,
    optional,
)


@record("training")
@dataclass(frozen=True)
class Training:
    """Options of training: AdamW, a learning-rate schedule, and early stopping.

    Parameters
    ----------
    epochs
        Maximum number of passes over the windows.
    learning_rate
        Peak of the learning rate.
    schedule
        ``"one_cycle"`` (cosine increase over the first 30 %, then decrease to almost 0),
        ``"cosine"`` (decrease to 0) or ``"constant"``.
    batch_size
        Windows in a step.
    weight_decay
        Decoupled weight decay, as in AdamW.
    epoch_windows
        Maximum number of windows in an epoch, a new random sample in each; None for all. For large
        data.
    validation_windows
        Maximum number of windows in the validation loss, evenly spaced; None for all.
    validation
        The newest points of each series that are held back for early stopping and for the
        calibration of intervals: a fraction below 1, or a number of points. At least the horizon is
        held back, and nothing of a series that would be left without a target.
    patience
        Epochs without a lower validation loss before training stops. The best weights are restored.
    gradient_clip
        Maximum norm of the gradient; 0 turns clipping off.
    ema_decay
        Decay of an exponential moving average of the weights over the steps. The averaged weights
        are validated, kept and used in forecasts: 0.99 averages over about 100 steps, fewer at
        first. 0 turns averaging off.
    precision
        ``"float32"``, or ``"bfloat16"`` for autocast.
    checkpoint
        File that is written after every epoch, and resumed from after an interruption.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import NLinear, Training
    >>> series = np.sin(0.1 * np.arange(300))
    >>> model = NLinear(24, horizon=6, training=Training(epochs=3, learning_rate=5e-3))
    >>> model.fit(series).history_.index.tolist()  # 0: before the first epoch
    [0, 1, 2, 3]
    """

    epochs: int = 10
    learning_rate: float | int = 2e-3
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    batch_size: int = 128
    weight_decay: float | int = 0.0
    epoch_windows: int | None = None
    validation_windows: int | None = None
    validation: float | int = 0.2
    patience: int = 5
    gradient_clip: float | int = 1.0
    ema_decay: float | int = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if isinstance(self.checkpoint, os.PathLike):
            object.__setattr__(self, "checkpoint", os.fspath(self.checkpoint))
        check_parameters("training", self, CONSTRAINTS)

    def validation_points(self, lengths: Int[Tensor, " series"], horizon: int) -> Tensor:
        """Number of points held back at the end of each series."""
        if self.validation == 0:
            return torch.zeros_like(lengths)
        # In float64, minus a rounding error: 0.1 of 30 points are 3.
        fraction = (lengths.double() * self.validation - 1e-9).ceil().long()
        fixed = torch.full_like(lengths, int(self.validation))
        points = (fraction if self.validation < 1 else fixed).clamp(min=horizon)
        return torch.where(points < lengths - 1, points, 0)


CONSTRAINTS: dict[str, Constraint] = {
    "epochs": integer(0),
    "learning_rate": POSITIVE,
    "schedule": one_of(tuple(SCHEDULES)),
    "batch_size": integer(1),
    "weight_decay": NONNEGATIVE,
    "epoch_windows": optional(integer(1)),
    "validation_windows": optional(integer(1)),
    "validation": FRACTION_OR_POINTS,
    "patience": integer(1),
    "gradient_clip": NONNEGATIVE,
    "ema_decay": FRACTION,
    "precision": one_of(("float32", "bfloat16")),
    "checkpoint": PATH,
}
