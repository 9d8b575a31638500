"""Training: options, and the only loop that minimizes a loss."""

from tsar.training.loop import Record, Samples, train, validation_loss
from tsar.training.options import Training

__all__ = ["Record", "Samples", "Training", "train", "validation_loss"]
