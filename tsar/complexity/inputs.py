"""Inputs of the analysis: standardized series, representations by name, and labels."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.complexity.filtered_states import FilteredStates
from tsar.complexity.network_states import HiddenStates
from tsar.complexity.representations import (
    Lags,
    PrecomputedFeatures,
    RandomFeatures,
    Representation,
)
from tsar.complexity.splits import MIN_TRAIN_ROWS, split_points
from tsar.data.panel import Columns, Panel, is_long, row_order
from tsar.data.panel.layout import to_pandas
from tsar.data.scaling import Scaling
from tsar.data.segments import reduce
from tsar.forecasters import AutoTimes, SpaceTime
from tsar.hmm import GaussianHMM, LinearGaussianHMM

NAMES = ("random", "lags", "hmm", "linear_gaussian")
MAX_LINEAR_GAUSSIAN_STATES = 8
MAX_CLASSES = 100  # each is a column of the one-hot response


@dataclass(frozen=True)
class SeriesData:
    """The series of a panel that can be analysed, standardized by their training points.

    `included` tells which points of the original panel are theirs, `excluded` why the other series
    can't be analysed, by id.
    """

    panel: Panel
    training: Panel
    included: Bool[Tensor, " time"]
    excluded: dict[Any, str]


def standardize_series(panel: Panel, shares: tuple[float, float]) -> SeriesData:
    """Exclude short and constant series, and standardize the others by their training points.

    `shares` are those of validation and test in each series.
    """
    first_validation, _ = split_points(panel.lengths, *shares)
    training = panel.slice(torch.zeros_like(first_validation), first_validation)
    values, offsets = training.values, training.offsets
    counts = reduce((~values.isnan()).double(), offsets, "sum").long().tolist()
    low = reduce(values.nan_to_num(torch.inf), offsets, "min")
    constant = (low == reduce(values.nan_to_num(-torch.inf), offsets, "max")).tolist()
    excluded, rows = {}, []
    for row, name in enumerate(panel.labels.ids):
        if counts[row] < MIN_TRAIN_ROWS:
            excluded[name] = f"{counts[row]} observed training points"
        elif constant[row]:
            excluded[name] = "constant"
        else:
            rows.append(row)
    if not rows:
        name, reason = next(iter(excluded.items()))
        raise ValueError(
            "frame must have a series that is not constant and has at least "
            f"{MIN_TRAIN_ROWS} observed training points; got {reason} for series {name!r}. Give a "
            "longer or another one."
        )
    included = torch.isin(panel.series, torch.tensor(rows))
    selected, training = (part.select(np.array(rows)) for part in (panel, training))
    scaling = Scaling.of(training)
    return SeriesData(scaling.apply(selected), scaling.apply(training), included, excluded)


def read_representation(
    representation: Any, frame: Any, columns: Columns, included: Bool[Tensor, " time"], device: str
) -> tuple[str, Representation]:
    """The representation of a name, a forecaster or an array, and what to call it.

    Rows of an array are those of a long frame in any order; of a wide frame, all points of the
    first series, then of the next.
    """
    if isinstance(representation, str):
        return representation, _by_name(representation, device)
    if isinstance(representation, Representation):
        kinds: dict[type, str] = {Lags: "lags", RandomFeatures: "random"}
        kind = type(representation)
        return kinds.get(kind, kind.__name__), representation
    if isinstance(representation, AutoTimes | SpaceTime):
        check_is_fitted(representation, "module_")
        return type(representation).__name__, HiddenStates(representation)
    if isinstance(representation, np.ndarray | pd.DataFrame | Tensor):
        values = torch.from_numpy(np.array(representation, dtype=np.float64))
        if values.ndim != 2 or len(values) != len(included):
            raise ValueError(
                f"representation must have a row for each of the {len(included)} points of the "
                f"frame; got shape {tuple(values.shape)}. Give an array of shape (point, feature)."
            )
        if is_long(frame, columns):
            values = values[torch.from_numpy(row_order(frame, columns))]
        return "precomputed", PrecomputedFeatures(values[included])
    raise TypeError(
        f"representation must be one of {list(NAMES)}, a fitted AutoTimes or SpaceTime, an array, "
        f"or a tsar.complexity Representation; got {representation!r}. Give one of them."
    )


def _by_name(name: str, device: str) -> Representation:
    def gaussian(n_components: int, seed: int) -> Any:
        return GaussianHMM(n_components, device=device, random_state=seed)

    def linear_gaussian(n_components: int, seed: int) -> Any:
        return LinearGaussianHMM(n_components, device=device, random_state=seed)

    representations: dict[str, Representation] = {
        "random": RandomFeatures(),
        "lags": Lags(),
        "hmm": FilteredStates(gaussian),
        "linear_gaussian": FilteredStates(linear_gaussian, MAX_LINEAR_GAUSSIAN_STATES),
    }
    if name not in representations:
        raise ValueError(
            f"representation must be one of {list(NAMES)}; got {name!r}. Choose one, or give an "
            "array or a fitted forecaster."
        )
    return representations[name]


class Targets(NamedTuple):
    """The `y` of a fit: a value for each point of the panel, and the classes of labels.

    `values` are NaN where missing. `classes` are sorted, and `values` are indices into them; None:
    `values` are real numbers.
    """

    values: Float[Tensor, " time"]
    classes: list[Any] | None

    def response(self, included: Bool[Tensor, " time"]) -> Float[Tensor, "included output"]:
        """Real numbers as a column, labels one-hot."""
        values = self.values[included][:, None]
        if self.classes is None:
            return values
        index = values[:, 0].nan_to_num(0.0).long()
        one_hot = torch.nn.functional.one_hot(index, len(self.classes)).double()
        return torch.where(values.isnan(), torch.nan, one_hot)


def read_targets(frame: Any, y: Any, columns: Columns) -> Targets:
    """Targets in the order of the panel: floats are real numbers, anything else is a label."""
    array = np.asarray(y)
    expected = np.prod(len(frame) if is_long(frame, columns) else np.shape(frame))
    if array.size != expected:
        raise ValueError(
            f"y must have a value for each of the {expected} points of the frame; got "
            f"{array.size}. Give as many."
        )
    if array.dtype.kind == "f":
        values, classes = array.astype(np.float64), None
    else:
        values, classes = _encode(array.ravel())
    frame, _ = to_pandas(frame)
    if is_long(frame, columns):
        like_frame = frame.assign(**{columns.target: values.ravel()})
    elif isinstance(frame, pd.DataFrame):
        like_frame = pd.DataFrame(values.reshape(frame.shape), frame.index, frame.columns)
    elif isinstance(frame, pd.Series):
        like_frame = pd.Series(values.ravel(), frame.index)
    else:
        like_frame = values.reshape(np.shape(frame))
    return Targets(Panel.from_frame(like_frame, columns).values, classes)


def _encode(labels: NDArray[Any]) -> tuple[NDArray[np.float64], list[Any]]:
    """Index of each label in the sorted classes, NaN where missing; and the classes."""
    missing = pd.isna(labels)
    codes, uniques = pd.factorize(labels[~missing])
    if len(uniques) > MAX_CLASSES:
        kind = "integers, which are read as labels" if labels.dtype.kind in "iu" else "labels"
        raise ValueError(
            f"y must hold at most {MAX_CLASSES} different labels; got {len(uniques):,} different "
            f"{kind}. Give floats for a regression (y.astype(float)), or join labels."
        )
    classes = uniques.tolist()
    try:
        order = sorted(range(len(classes)), key=classes.__getitem__)
    except TypeError:
        types = sorted({type(label).__name__ for label in classes})
        raise ValueError(
            f"y must hold labels of one type, to be sorted; got {' and '.join(types)}. Give all as "
            "text, or all as numbers."
        ) from None
    indices = np.full(len(labels), np.nan)
    indices[~missing] = np.argsort(order)[codes]
    return indices, [classes[k] for k in order]
