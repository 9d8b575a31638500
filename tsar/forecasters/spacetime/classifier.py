"""SpaceTimeClassifier: which class a whole sequence is of."""

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
from tsar.forecasters.neural import check_training, history_frame
from tsar.forecasters.spacetime.classification import SpaceTimeNetwork
from tsar.forecasters.spacetime.sequences import Sequences
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

# Sequences are fewer than windows of series: smaller steps, and more of them.
TRAINING = Training(epochs=100, learning_rate=4e-3, batch_size=32, patience=25)


class SpaceTimeClassifier(ClassifierMixin, Savable):
    """Companion state-space layers that read a whole sequence and say its class.

    Time and memory grow with the length of the sequences, hardly with `state_size`: sequences of
    16,000 points fit.

    Parameters
    ----------
    state_size
        Values that each channel remembers.
    width
        Channels of a layer.
    depth
        Layers.
    dropout
        Share of the channels that are left out at random in training.
    class_weight
        Weight of each class in the loss: ``"balanced"`` for the inverse of how often it occurs, a
        dict by class, or None for 1.
    training
        How to train; its `validation` is the share of each class that is held back for early
        stopping. None for ``Training(epochs=100, learning_rate=4e-3, batch_size=32, patience=25)``.
    batch_size
        Sequences classified at once: bounds the memory, changes no result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of the weights and of the order; above 0: a bar.

    Attributes
    ----------
    classes_
        The classes, sorted.
    module_
        The fitted network.
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
        batch_size: int = 64,
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
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "SpaceTimeClassifier":
        """Learn from sequences and their classes.

        Parameters
        ----------
        X
            Array of shape (sequence, time), or (sequence, channel, time); finite.
        y
            Class of each sequence.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, the sequences or the classes are not as they must be.
        """
        check_parameters("SpaceTimeClassifier", self, CONSTRAINTS)
        check_integer("batch_size", self.batch_size)
        # Of a fit that fails, nothing stays that could be mixed with what was learned before.
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        _check_rows(X, y)
        values, classes = validate_data(self, X, y, allow_nd=True, dtype=np.float64)
        check_classification_targets(classes)
        options = check_training(self.training, TRAINING)
        if options.validation >= 1:
            raise ValueError(
                "training.validation must be a fraction from 0 to below 1 for a classifier; got "
                f"{options.validation}. There are no newest sequences to hold back."
            )
        self.classes_, codes = np.unique(classes, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least two classes; got 1 class, {str(self.classes_[0])!r}. "
                "Add sequences of another class."
            )
        several = _channels(values)
        self.channels_, self.length_ = several.shape[1:]
        self.scaling_ = Scaling.of_contexts(several.transpose(0, 1).flatten(1))
        self.weights_ = self._weights(classes)
        self._train(Sequences(self._standard(several), torch.from_numpy(codes)), options)
        return self

    def _standard(self, values: torch.Tensor) -> torch.Tensor:
        """Each channel in units of its own deviation; then float32 has digits enough."""
        mean, deviation = self.scaling_.mean[:, None], self.scaling_.deviation[:, None]
        return ((values - mean) / deviation).float()

    def _train(self, whole_set: Sequences, options: Training) -> None:
        device = resolve_device(self.device)
        seed = resolve_seed(self.random_state, resumable=options.checkpoint is not None)
        with seeded(seed):
            self.module_ = self._build().to(device)
        moved = Sequences(whole_set.values.to(device), whole_set.codes.to(device))
        samples, validation = moved.parted(float(options.validation))
        history = train(
            self.module_, samples, validation, options, seed=seed, progress=self.verbose > 0
        )
        self.history_ = history_frame(history)

    def _build(self) -> SpaceTimeNetwork:
        """Make the module, from parameters and fitted attributes alone."""
        return SpaceTimeNetwork(
            self.channels_,
            len(self.classes_),
            state_size=self.state_size,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            weights=self.weights_,
        )

    def _weights(self, classes: NDArray[Any]) -> torch.Tensor:
        given = self.class_weight
        if isinstance(given, Mapping):
            unknown = [name for name in given if name not in self.classes_]
            if unknown:
                raise ValueError(
                    f"class_weight must name classes of y; got {unknown[0]!r}. They are "
                    f"{list(self.classes_[:10])}."
                )
            wrong = [weight for weight in given.values() if not is_finite(weight) or weight <= 0]
            if wrong:
                raise ValueError(
                    f"class_weight must be positive and finite; got {wrong[0]!r}. Change it."
                )
        elif given is not None and not (isinstance(given, str) and given == "balanced"):
            raise ValueError(
                f"class_weight must be None, 'balanced' or a dict; got {given!r}. Choose one."
            )
        weights = compute_class_weight(given, classes=self.classes_, y=classes)
        return torch.from_numpy(np.asarray(weights, dtype=np.float64))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class, in the order of `classes_`: (sequence, class).

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the sequences have another length or other channels.
        """
        check_is_fitted(self, "module_")
        check_integer("batch_size", self.batch_size)
        sequences = self._standard(self._read(X))
        self._check_units(sequences)
        device = resolve_device(self.device)
        module = self.module_.to(device).eval()
        with torch.inference_mode():
            parts = [
                module(part.to(device)).double().softmax(dim=1).cpu()
                for part in sequences.split(self.batch_size)
            ]
        return torch.cat(parts).numpy()

    def _read(self, X: Any) -> torch.Tensor:
        """Sequences of the channels and the length of fit, with an axis of channels or without."""
        _check_rows(X)
        dimensions = 2 if self.n_features_in_ == self.length_ and self.channels_ == 1 else 3
        given = X
        if {_dimensions(X), dimensions} == {2, 3}:
            several = _channels(np.asarray(X))
            self._check_shape(several)
            given = several[:, 0].numpy() if dimensions == 2 else several.numpy()
        values = validate_data(self, given, reset=False, allow_nd=True, dtype=np.float64)
        several = _channels(values)
        self._check_shape(several)
        return several

    def _check_shape(self, several: torch.Tensor) -> None:
        if several.shape[1:] != (self.channels_, self.length_):
            raise ValueError(
                f"X must have {self.channels_} channel(s) of {self.length_} points, as in fit; got "
                f"{several.shape[1]} of {several.shape[2]}. Cut or resample the sequences."
            )

    def _check_units(self, sequences: torch.Tensor) -> None:
        beyond = ~sequences.isfinite().all(dim=2)
        if bool(beyond.any()):
            row, channel = beyond.nonzero()[0].tolist()
            raise ValueError(
                f"X must be in the units of fit; got values in channel {channel} of sequence {row} "
                f"that are more than {torch.finfo(sequences.dtype).max:.0e} of its deviations "
                f"({float(self.scaling_.deviation[channel]):.3g}) away. Give it as in fit."
            )

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable class of each sequence."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])


def _channels(values: NDArray[np.float64]) -> torch.Tensor:
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
    several = values[:, None] if values.ndim == 2 else values
    return torch.from_numpy(np.array(several, dtype=np.float64))


def _dimensions(values: Any) -> int:
    # np.ndim does not take arrays of every library.
    return len(values.shape if hasattr(values, "shape") else np.asarray(values).shape)


def _check_rows(X: Any, y: Any = None) -> None:
    """Refuse sequences of several lengths, and those without a label, in the user's words."""
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object):
        lengths = set()
        with suppress(ValueError):  # what has no shape is told of where it is read
            lengths = {np.shape(row)[-1] for row in X if _dimensions(row)}
        if len(lengths) > 1:
            raise ValueError(
                f"X must hold sequences of one length; got {min(lengths)} to {max(lengths)} "
                "points. Cut, pad or resample them."
            )
    absent = np.flatnonzero(pd.isna(y)) if _dimensions(y) == 1 else np.empty(0, dtype=np.intp)
    if len(absent):
        raise ValueError(
            f"y must name the class of every sequence; got none at row {absent[0]} ({len(absent)} "
            "missing in all). Leave those sequences out."
        )


CONSTRAINTS: dict[str, Constraint] = {
    "state_size": integer(1),
    "width": integer(1),
    "depth": integer(1),
    "dropout": FRACTION,
}
