"""SpaceTimeClassifier: classification of whole sequences by companion state-space layers."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tsar.data.scaling import Scaling
from tsar.forecasters.fitting import check_training, history_frame
from tsar.forecasters.spacetime.classifier_module import (
    LabeledSequences,
    SpaceTimeClassifierModule,
)
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed, seeded
from tsar.saving import Savable
from tsar.training import Training, train
from tsar.validation import (
    FRACTION,
    Constraint,
    check_integer,
    check_parameters,
    integer,
    is_finite,
)

# More epochs and smaller batches than for forecasts, as there are fewer sequences than windows.
TRAINING = Training(epochs=100, learning_rate=4e-3, batch_size=32, patience=25)


class SpaceTimeClassifier(ClassifierMixin, Savable):
    """Classify whole sequences by companion state-space layers.

    Time and memory grow with the length of the sequences, hardly with `state_size`: sequences of
    16,000 points are feasible.

    Parameters
    ----------
    state_size
        Dimension of each channel's state.
    width
        Channels of a layer.
    depth
        Number of layers.
    dropout
        Probability that a channel is zeroed in training.
    class_weight
        Weight of each class in the loss: ``"balanced"`` for weights inversely proportional to the
        class frequencies, a dict by class, or None for 1.
    training
        Options of training; `validation` is the fraction of each class that is held back for early
        stopping. None for ``Training(epochs=100, learning_rate=4e-3, batch_size=32, patience=25)``.
    inference_batch_size
        Sequences that are classified at once: bounds memory, does not affect the result.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    random_state
        Seed of the initial weights and of the order of the sequences.
    verbose
        Above 0: show a progress bar.

    Attributes
    ----------
    classes_
        The classes, sorted.
    class_weights_
        Weight of each class in the loss, of shape (class,).
    module_
        The fitted network.
    n_parameters_
        Number of trainable parameters of the network.
    history_
        Training and validation loss of each epoch (frame).

    References
    ----------
    Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
    (arXiv 2303.09489), section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import SpaceTimeClassifier
    >>> time = np.arange(50)
    >>> slow = np.sin(0.2 * time + np.arange(20)[:, None])
    >>> fast = np.sin(0.5 * time + np.arange(20)[:, None])
    >>> model = SpaceTimeClassifier(8, width=8, random_state=0)
    >>> model.fit(np.concatenate([slow, fast]), ["slow"] * 20 + ["fast"] * 20).predict(fast[:2])
    array(['fast', 'fast'], dtype='<U4')
    """

    def __init__(
        self,
        state_size: int = 64,
        *,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
        class_weight: str | Mapping[Any, float] | None = None,
        training: Training | None = None,
        inference_batch_size: int = 64,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.state_size = state_size
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.class_weight = class_weight
        self.training = training
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "SpaceTimeClassifier":
        """Fit to sequences and their classes.

        Parameters
        ----------
        X
            Array of shape (sequence, time) or (sequence, channel, time), without NaN or infinity.
        y
            Class of each sequence.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, the sequences or the classes are invalid.
        """
        check_parameters("SpaceTimeClassifier", self, CONSTRAINTS)
        # A failed fit must not leave attributes of an earlier one.
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        _check_rows(X, y)
        values, y = validate_data(self, X, y, allow_nd=True, dtype=np.float64)
        check_classification_targets(y)
        options = check_training(self.training, TRAINING)
        if options.validation >= 1:
            raise ValueError(
                "training.validation must be a fraction from 0 to below 1 for a classifier; got "
                f"{options.validation}. Give a fraction of the sequences of each class."
            )
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least two classes; got 1 class, {str(self.classes_[0])!r}. "
                "Add sequences of another class."
            )
        sequences = _with_channel_axis(values)
        self.channels_, self.length_ = sequences.shape[1:]
        self.scaling_ = Scaling.of_contexts(sequences.transpose(0, 1).flatten(1))
        self.class_weights_ = self._class_weights(y)
        self._train(self._standardize(sequences), torch.from_numpy(labels), options)
        return self

    def _standardize(self, values: torch.Tensor) -> torch.Tensor:
        """Standardize each channel in float64, after which float32 is precise enough."""
        mean, deviation = self.scaling_.mean[:, None], self.scaling_.deviation[:, None]
        return ((values - mean) / deviation).float()

    def _train(self, values: torch.Tensor, labels: torch.Tensor, options: Training) -> None:
        device = resolve_device(self.device)
        seed = resolve_seed(self.random_state, resumable=options.checkpoint is not None)
        with seeded(seed):
            self.module_ = self._build().to(device)
        self.n_parameters_ = sum(p.numel() for p in self.module_.parameters())
        sequences = LabeledSequences(values.to(device), labels.to(device))
        samples, validation = sequences.split(float(options.validation))
        progress = self.verbose > 0
        history = train(self.module_, samples, validation, options, seed=seed, progress=progress)
        self.history_ = history_frame(history)

    def _build(self) -> SpaceTimeClassifierModule:
        """Build the module from parameters and fitted attributes; also used by `tsar.load`."""
        return SpaceTimeClassifierModule(
            self.channels_,
            len(self.classes_),
            state_size=self.state_size,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            class_weights=torch.from_numpy(self.class_weights_),
        )

    def _class_weights(self, y: NDArray[Any]) -> NDArray[np.float64]:
        class_weight = self.class_weight
        if isinstance(class_weight, Mapping):
            unknown = [name for name in class_weight if name not in self.classes_]
            if unknown:
                raise ValueError(
                    f"class_weight must name classes of y; got {unknown[0]!r}. They are "
                    f"{list(self.classes_[:10])}."
                )
            invalid = [w for w in class_weight.values() if not is_finite(w) or w <= 0]
            if invalid:
                raise ValueError(
                    f"class_weight must be positive and finite; got {invalid[0]!r}. Change it."
                )
        elif class_weight is not None and not (
            isinstance(class_weight, str) and class_weight == "balanced"
        ):
            raise ValueError(
                f"class_weight must be None, 'balanced' or a dict; got {class_weight!r}. "
                "Choose one."
            )
        weights = compute_class_weight(class_weight, classes=self.classes_, y=y)
        return np.asarray(weights, dtype=np.float64)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, in the order of `classes_`: (sequence, class).

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the sequences have another length or other channels.
        """
        check_is_fitted(self, "module_")
        check_integer("inference_batch_size", self.inference_batch_size)  # it may be set after fit
        sequences = self._standardize(self._validate(X))
        self._check_range(sequences)
        device = resolve_device(self.device)
        module = self.module_.to(device).eval()
        with torch.inference_mode():
            probabilities = [
                module(batch.to(device)).double().softmax(dim=1).cpu()
                for batch in sequences.split(self.inference_batch_size)
            ]
        return torch.cat(probabilities).numpy()

    def _validate(self, X: Any) -> torch.Tensor:
        """Sequences of the channels and length of `fit`, given with or without a channel axis."""
        _check_rows(X)
        fitted_ndim = 2 if self.n_features_in_ == self.length_ and self.channels_ == 1 else 3
        array = X
        if {_ndim(X), fitted_ndim} == {2, 3}:
            sequences = _with_channel_axis(np.asarray(X))
            self._check_shape(sequences)
            array = sequences[:, 0].numpy() if fitted_ndim == 2 else sequences.numpy()
        values = validate_data(self, array, reset=False, allow_nd=True, dtype=np.float64)
        sequences = _with_channel_axis(values)
        self._check_shape(sequences)
        return sequences

    def _check_shape(self, sequences: torch.Tensor) -> None:
        if sequences.shape[1:] != (self.channels_, self.length_):
            raise ValueError(
                f"X must have {self.channels_} channel(s) of {self.length_} points, as in fit; got "
                f"{sequences.shape[1]} of {sequences.shape[2]}. Cut or resample the sequences."
            )

    def _check_range(self, sequences: torch.Tensor) -> None:
        overflow = ~sequences.isfinite().all(dim=2)
        if bool(overflow.any()):
            row, channel = overflow.nonzero()[0].tolist()
            raise ValueError(
                f"X must be in the units of fit; got values in channel {channel} of sequence {row} "
                f"beyond {torch.finfo(sequences.dtype).max:.0e} times its standard deviation "
                f"({float(self.scaling_.deviation[channel]):.3g}). Give it as in fit."
            )

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each sequence."""
        indices = self.predict_proba(X).argmax(axis=1)  # first: it checks that fit was called
        return np.asarray(self.classes_[indices])


def _with_channel_axis(values: NDArray[np.float64]) -> torch.Tensor:
    """Sequences of shape (sequence, channel, time)."""
    if values.ndim not in (2, 3):
        raise ValueError(
            "X must be an array (sequence, time) or (sequence, channel, time); got shape "
            f"{values.shape}. Reshape it."
        )
    if 0 in values.shape[1:]:
        raise ValueError(
            f"X must have a channel and a point at least; got shape {values.shape}. Leave out what "
            "is empty."
        )
    sequences = values[:, None] if values.ndim == 2 else values
    return torch.from_numpy(np.array(sequences, dtype=np.float64))


def _ndim(values: Any) -> int:
    # np.ndim fails on arrays of some libraries.
    return len(values.shape if hasattr(values, "shape") else np.asarray(values).shape)


def _check_rows(X: Any, y: Any = None) -> None:
    """Raise a clear error for sequences of different lengths and for missing labels."""
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object):
        lengths = set()
        with suppress(ValueError):  # rows without a shape are refused by validate_data
            lengths = {np.shape(row)[-1] for row in X if _ndim(row)}
        if len(lengths) > 1:
            raise ValueError(
                f"X must hold sequences of one length; got {min(lengths)} to {max(lengths)} "
                "points. Cut, pad or resample them."
            )
    missing = np.flatnonzero(pd.isna(y)) if _ndim(y) == 1 else np.empty(0, dtype=np.intp)
    if len(missing):
        raise ValueError(
            f"y must name the class of every sequence; got none at row {missing[0]} "
            f"({len(missing)} missing in all). Leave those sequences out."
        )


CONSTRAINTS: dict[str, Constraint] = {
    "state_size": integer(1),
    "width": integer(1),
    "depth": integer(1),
    "dropout": FRACTION,
    "inference_batch_size": integer(1),
}
