"""Input of the HMM estimators: arrays, frames and panels as `Observations`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from tsar.data.panel import Columns, Panel, is_long, row_order
from tsar.hmm.observations import Observations

ENCODE_ADVICE = (
    "Encode them: sklearn.preprocessing.OrdinalEncoder, or KBinsDiscretizer(encode='ordinal')."
)
PANEL_ADVICE = "tsar.data.panel.Panel.from_frame(frame, Columns(...)) as X"


@dataclass(frozen=True)
class ParsedInput:
    """Observations, and the input row of each of their points (None: the same order)."""

    observations: Observations
    order: NDArray[np.intp] | None = None

    def to_input_order(self, values: Shaped[Tensor, "time ..."]) -> NDArray[Any]:
        """Results of each point, in the order of the input rows."""
        array = values.cpu().numpy()
        if self.order is None:
            return array
        reordered = np.empty_like(array)
        reordered[self.order] = array
        return reordered


def read_observations(
    estimator: BaseEstimator,
    X: Any,
    lengths: Any,
    *,
    reset: bool,
    device: torch.device,
    integers: bool = False,
) -> ParsedInput:
    """Observations of an array or wide frame (point, feature), a long frame, or a panel.

    `X` and `lengths` are as in `BaseHMM.fit`. The number and names of the features are compared
    with the estimator's, or set with `reset`. With `integers`, values must be integers of at least
    0, or NaN.
    """
    parsed = _parse(estimator, X, lengths, reset, integers)
    values, offsets = parsed.observations.values, parsed.observations.offsets
    if integers and bool(
        ((values < 0) | (values != values.round())).logical_and(~values.isnan()).any()
    ):
        raise ValueError(f"X must hold symbols, integers from 0; got other values. {ENCODE_ADVICE}")
    if bool(values.isnan().all()):
        raise ValueError(
            "X must hold at least one observed point; got NaN alone. Check its source."
        )
    return ParsedInput(Observations(values.to(device), offsets.to(device)), parsed.order)


def check_labels(y: Any, points: int) -> None:
    """Check that `y` is not `lengths`, which hmmlearn's `fit` takes in its place."""
    if y is not None and np.asarray(y).shape[:1] != (points,):
        raise ValueError(
            f"y must be None or hold a value for each of the {points} points; got shape "
            f"{np.asarray(y).shape}. Give the lengths of sequences by name: fit(X, lengths=...)."
        )


def _parse(
    estimator: BaseEstimator, X: Any, lengths: Any, reset: bool, integers: bool
) -> ParsedInput:
    long = not isinstance(X, Panel) and is_long(X, Columns())
    if not long and not isinstance(X, Panel):
        values = _numbers(estimator, X, reset, integers)
        return ParsedInput(
            Observations(torch.from_numpy(np.array(values)), _offsets(lengths, len(values)))
        )
    if lengths is not None:
        raise ValueError(
            "lengths must be None for a long frame or a panel, which define the sequences; got "
            f"{lengths!r}. Leave it out."
        )
    panel = X if isinstance(X, Panel) else _panel(X)
    features = panel.values[:, None]
    _numbers(estimator, features.numpy(), reset, integers)
    order = row_order(X, Columns()) if long else None
    return ParsedInput(Observations(features, panel.offsets), order)


def _numbers(estimator: BaseEstimator, X: Any, reset: bool, integers: bool) -> Any:
    try:
        return validate_data(
            estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
    except (ValueError, TypeError) as error:
        cause = str(error).partition(". ")[0]
        if "could not" not in cause:  # be converted, or promoted
            raise
        advice = f"{ENCODE_ADVICE} " if integers else ""
        raise ValueError(
            "X must hold numbers alone, or be a long frame with the columns "
            f"{', '.join([Columns.id, Columns.time, Columns.target])}; got what {cause}. {advice}"
            f"Of a long frame with other names give {PANEL_ADVICE}."
        ) from error


def _panel(frame: Any) -> Panel:
    try:
        return Panel.from_frame(frame)
    except ValueError as error:
        if "Columns(" not in str(error):
            raise
        raise ValueError(f"{error} To pass Columns, give {PANEL_ADVICE}.") from error


def _offsets(lengths: Any, total: int) -> Int[Tensor, " border"]:
    if lengths is None:
        return torch.tensor([0, total])
    counts = np.asarray(lengths)
    if counts.ndim != 1 or not len(counts) or counts.dtype.kind not in "iu" or (counts < 1).any():
        raise ValueError(
            f"lengths must be integers of at least 1, one for each sequence; got {lengths!r}. "
            "Leave out empty sequences."
        )
    if counts.sum() != total:
        raise ValueError(
            f"lengths must add up to the {total} rows of X; got {int(counts.sum())}. Check them."
        )
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
