"""From what a user gives to what is measured: series that vary, responses, representations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.complexity.hidden import HiddenStates
from tsar.complexity.representations import Given, Lags, RandomFeatures, Representation
from tsar.complexity.states import StateFeatures
from tsar.complexity.task import LEAST, cuts
from tsar.data.panel import Columns, Panel, is_long, row_order
from tsar.data.panel.layout import to_pandas
from tsar.data.scaling import Scaling
from tsar.forecasters import AutoTimes, SpaceTime
from tsar.hmm import GaussianHMM
from tsar.hmm.linear_gaussian.estimator import LinearGaussianHMM

NAMES = ("random", "lags", "hmm", "linear_gaussian")
MOST_CLASSES = 100  # each is a column of the response of every point


@dataclass(frozen=True)
class Source:
    """Series that vary, in units of their training points, and the classes of their points.

    Attributes
    ----------
    panel
        What is known.
    training
        The training points alone.
    kept
        Whether a point of the frame is one of the panel.
    left_out
        Why other series are not, by id.
    """

    panel: Panel
    training: Panel
    kept: Bool[Tensor, " time"]
    left_out: dict[Any, str]


def read_source(panel: Panel, shares: tuple[float, float]) -> Source:
    """Leave out series that say nothing, and scale the others by their training points."""
    first, _ = cuts(panel.lengths, *shares)
    training = panel.slice(torch.zeros_like(first), first)
    seen = torch.zeros(len(panel), dtype=torch.long)
    seen.index_add_(0, training.series, (~training.values.isnan()).long())
    low = torch.full((len(panel),), torch.inf).double()
    high = -low
    known = training.values.nan_to_num(torch.nan)
    low.scatter_reduce_(0, training.series, known.nan_to_num(torch.inf), "amin")
    high.scatter_reduce_(0, training.series, known.nan_to_num(-torch.inf), "amax")
    left_out = {}
    for row, name in enumerate(panel.labels.ids):
        if int(seen[row]) < LEAST:
            left_out[name] = f"{int(seen[row])} observed training points"
        elif float(high[row]) == float(low[row]):
            left_out[name] = "constant"
    rows = np.array([r for r, name in enumerate(panel.labels.ids) if name not in left_out], int)
    if not len(rows):
        name, reason = next(iter(left_out.items()))
        raise ValueError(
            f"frame must have a series that varies, with at least {LEAST} observed training "
            f"points; got {reason} for series {name!r}. Give a longer or another one."
        )
    kept = torch.isin(panel.series, torch.from_numpy(rows))
    chosen, learned = panel.select(rows), training.select(rows)
    scaling = Scaling.of(learned)
    return Source(scaling.apply(chosen), scaling.apply(learned), kept, left_out)


def read_representation(
    given: Any, frame: Any, columns: Columns, kept: Bool[Tensor, " time"], device: str
) -> tuple[str, Representation]:
    """The representation by its name, or that of a forecaster or an array; and what to call it.

    Rows of an array are those of a long frame, whatever their order; of a wide one, all points of
    the first series, then of the next.
    """
    if isinstance(given, str):
        return given, _named(given, device)
    if isinstance(given, Representation):
        kinds: dict[type, str] = {Lags: "lags", RandomFeatures: "random"}
        return kinds.get(type(given), type(given).__name__), given
    if isinstance(given, AutoTimes | SpaceTime):
        check_is_fitted(given, "module_")
        return type(given).__name__, HiddenStates(given)
    if isinstance(given, np.ndarray | pd.DataFrame | Tensor):
        values = torch.from_numpy(np.array(given, dtype=np.float64))
        if values.ndim != 2 or len(values) != len(kept):
            raise ValueError(
                f"representation must have a row for each of the {len(kept)} points of the frame; "
                f"got shape {tuple(values.shape)}. Give an array of shape (point, feature)."
            )
        if is_long(frame, columns):
            values = values[torch.from_numpy(row_order(frame, columns))]
        return "given", Given(values[kept])
    raise TypeError(
        f"representation must be one of {list(NAMES)}, a fitted AutoTimes or SpaceTime, an array, "
        f"or a tsar.complexity Representation; got {given!r}. Give one of them."
    )


def _named(name: str, device: str) -> Representation:
    def discrete(states: int, seed: int) -> Any:
        return GaussianHMM(states, device=device, random_state=seed)

    def linear(states: int, seed: int) -> Any:
        return LinearGaussianHMM(states, device=device, random_state=seed)

    known: dict[str, Representation] = {
        "random": RandomFeatures(),
        "lags": Lags(),
        "hmm": StateFeatures(discrete),
        "linear_gaussian": StateFeatures(linear, most=8),
    }
    if name not in known:
        raise ValueError(
            f"representation must be one of {list(NAMES)}; got {name!r}. Choose one, or give an "
            "array or a fitted forecaster."
        )
    return known[name]


def read_labels(
    frame: Any, y: Any, columns: Columns
) -> tuple[Float[Tensor, " time"], list[Any] | None]:
    """A number for each point in the order of the panel, and the classes that codes stand for.

    Real numbers are taken as they are; anything else is a class, and its place in the sorted list
    of classes its code. A missing label is NaN.

    Raises
    ------
    ValueError
        There is not a label for each point; they are of more than one kind, or too many.
    """
    values = np.asarray(y)
    target = len(frame) if is_long(frame, columns) else np.shape(frame)
    if values.size != np.prod(target):
        raise ValueError(
            f"y must have a value for each of the {np.prod(target)} points of the frame; got "
            f"{values.size}. Give as many."
        )
    classes, codes = None, values.astype(np.float64) if values.dtype.kind == "f" else None
    if codes is None:
        codes, classes = _coded(values.ravel())
    frame, _ = to_pandas(frame)
    if is_long(frame, columns):
        told = frame.assign(**{columns.target: codes.ravel()})
    elif isinstance(frame, pd.DataFrame):
        told = pd.DataFrame(codes.reshape(frame.shape), frame.index, frame.columns)
    elif isinstance(frame, pd.Series):
        told = pd.Series(codes.ravel(), frame.index)
    else:
        told = codes.reshape(np.shape(frame))
    return Panel.from_frame(told, columns).values, classes


def _coded(values: NDArray[Any]) -> tuple[NDArray[np.float64], list[Any]]:
    """A code for each label, and the classes that codes stand for."""
    missing = pd.isna(values)
    codes = np.full(len(values), np.nan)
    places, found = pd.factorize(values[~missing])
    if len(found) > MOST_CLASSES:
        kind = "integers, which are read as labels" if values.dtype.kind in "iu" else "labels"
        raise ValueError(
            f"y must hold at most {MOST_CLASSES} different labels; got {len(found):,} different "
            f"{kind}. Give floats for a regression (y.astype(float)), or join labels."
        )
    classes = found.tolist()
    try:
        order = sorted(range(len(classes)), key=classes.__getitem__)
    except TypeError:
        kinds = sorted({type(name).__name__ for name in classes})
        raise ValueError(
            f"y must hold labels of one kind, to be sorted; got {' and '.join(kinds)}. Give all as "
            "text, or all as numbers."
        ) from None
    rank = np.argsort(order)
    codes[~missing] = rank[places]
    return codes, [classes[k] for k in order]
