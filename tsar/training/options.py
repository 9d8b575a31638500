"""Training: the options of the training loop."""

import os
from dataclasses import dataclass, fields
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
    """How to train: AdamW with a schedule, early stopping on the newest points.

    Parameters
    ----------
    epochs
        Passes over the windows at most.
    learning_rate
        Its peak.
    schedule
        ``"one_cycle"`` (cosine up over the first 30 %, down to almost nothing), ``"cosine"`` (down
        to zero) or ``"constant"``.
    batch_size
        Windows a step.
    weight_decay
        Decoupled, as in AdamW.
    epoch_windows
        Windows of an epoch at most, drawn anew for each; None for all. For large data.
    validation_windows
        Windows that judge an epoch at most, spread evenly over those held back; None for all.
    validation
        The newest points of each series that are held back for early stopping and for the
        calibration of intervals: a share below 1, or a number of points. At least the horizon is
        taken, and nothing from a series that would be left without a target.
    patience
        Epochs without a better validation loss before training stops; the best weights stay.
    gradient_clip
        Largest norm of the gradient; 0 leaves it as it is.
    ema_decay
        Decay of a running average of the weights over the steps, which then is what is judged, kept
        and forecast with: 0.99 averages over about 100 steps, fewer at first. 0: the weights as
        they are.
    precision
        ``"float32"``, or ``"bfloat16"`` for autocast.
    checkpoint
        File that is written after every epoch, and continued from if the run was cut off.

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
        """Check each option once."""
        if isinstance(self.checkpoint, os.PathLike):
            object.__setattr__(self, "checkpoint", os.fspath(self.checkpoint))
        check_parameters("training", self, CONSTRAINTS)

    def validation_points(self, lengths: Int[Tensor, " series"], horizon: int) -> Tensor:
        """Points at the end of each series that are held back."""
        if self.validation == 0:
            return torch.zeros_like(lengths)
        # In float64, and less a rounding error: 0.1 of 30 points are 3.
        share = (lengths.double() * self.validation - 1e-9).ceil().long()
        points = share if self.validation < 1 else torch.full_like(lengths, int(self.validation))
        points = points.clamp(min=horizon)
        return torch.where(points < lengths - 1, points, 0)

    @classmethod
    def from_config(cls, config: dict[str, object]) -> "Training":
        """Rebuild from the plain values that `dataclasses.asdict` gives."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in config.items() if name in known})  # type: ignore[arg-type]


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
