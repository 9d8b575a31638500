"""Training: its options, and the training loop of all networks."""

from tsar.training.loop import EpochMetrics, Samples, train, validation_loss
from tsar.training.options import Training

__all__ = ["EpochMetrics", "Samples", "Training", "train", "validation_loss"]
