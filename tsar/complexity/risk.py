"""Risk curves: what heads on features of growing size cost, measured and expected."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.complexity.blocks import block_length, draw_blocks, effective_rows, standard_error
from tsar.complexity.heads import Decomposition, Head, Products, fit_logistic
from tsar.complexity.task import Rows, Split
from tsar.complexity.theory import Spectrum, ridge_risk

HeadKind = Literal["ridgeless", "ridge", "logistic"]
FOLDS = 5
MOST_PROBED = 1000  # rows that bias and variance are measured at
DECADES = 12  # penalties that the truth is chosen from
SPECTRUM_ROWS, MOST_SPREAD = (2, 4), 1000  # of n for the spectrum; the second up to so many rows


COLUMNS = (
    *("size", "head", "ratio", "penalty", "train", "validation", "validation_error", "test"),
    *("test_error", "bias", "variance", "excess", "irreducible"),
    *("theory_bias", "theory_variance", "theory_excess", "effective_rows"),
)


@dataclass(frozen=True)
class Measure:
    """How risks are measured.

    Attributes
    ----------
    head
        ``"logistic"``, or the two heads of least squares, which come from one decomposition.
    horizon
        Points that a response reaches ahead: left out on both sides of a block.
    n_bootstrap
        Resamples of blocks.
    labels
        Whether the response is a column of 0 and 1 for each class. Then the risk is the Brier
        score, or for a logistic head the log loss; else the squared error, a mean over outputs.
    seed
        Of the blocks.
    """

    head: HeadKind
    horizon: int
    n_bootstrap: int
    labels: bool
    seed: int


class Curves(NamedTuple):
    """Risks of each size and head, and the validation losses that they are chosen by.

    `table` has a row for each candidate, `losses` a row as well; `drawn` are bootstrap samples of
    the validation rows.
    """

    table: pd.DataFrame
    losses: Float[Tensor, "candidate validation"]
    drawn: Int[Tensor, "draw validation"]


class _Parts(NamedTuple):
    train: Float[Tensor, "train feature"]
    validation: Float[Tensor, "validation feature"]
    test: Float[Tensor, "test feature"]
    spare: Float[Tensor, "spare feature"]

    @property
    def measured(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those that risks are measured on."""
        return self[:3]


Record = dict[str, Any]
Found = tuple[Record, Float[Tensor, " row"]]


def risk_curves(
    # Pairs of a size and its features (row, feature); a checker that looked at one would take it.
    sized: Iterable[Any],
    split: Split,
    measure: Measure,
) -> Curves:
    """Risks of heads on frozen features, size by size.

    Parameters
    ----------
    sized
        Sizes, and the features of all rows: of training, validation, test, then the spare ones.
    split
        The rows and their responses.
    measure
        How.

    Returns
    -------
    Curves
        Columns of the table: ``size, head, ratio`` (p / n), ``penalty``, ``train, validation,
        test`` (risks) with ``validation_error, test_error`` (standard errors by blocks), ``bias,
        variance, excess`` (their sum), ``irreducible``, ``theory_bias, theory_variance,
        theory_excess``, ``effective_rows``, and of labels ``error_rate`` (test). The first row is
        the head of size 0, the mean.

    Notes
    -----
    Bias and variance are those of the residual bootstrap in moving blocks, at fixed features. A
    ridge head of all rows but those of the test stands for the truth: it must know of directions
    that the training rows do not show. Its penalty is the best on the validation rows of a head of
    the others. The leave-one-out errors that it makes at the training rows are drawn in blocks for
    noise, and their mean square is ``irreducible``. Training rows are not resampled: fewer distinct
    ones would move the peak.

    Where there are no more of these rows than features they do not determine the truth, and bias,
    variance, excess, what is irreducible and the theory are NaN. With hardly more, some of the
    truth is shrunk away, and the bias too low.

    The theory takes the spectrum of the features of rows of all stretches, and the same head and
    errors; with about as many features as there are of these rows, their spectrum is too wide, and
    the theory too high. The mean that every head knows too costs the noise of a row of n.

    Examples
    --------
    >>> rows = torch.arange(40)
    >>> features = torch.randn(40, 3, dtype=torch.float64)
    >>> whole = Rows(rows, rows * 0, features[:, :1] + 1)
    >>> split = Split(*(whole.take(part) for part in rows.split([20, 10, 10, 0])))
    >>> curves = risk_curves([(3, features)], split, Measure("ridge", 1, 20, False, 0))
    >>> curves.table[["size", "head", "ratio"]].values.tolist()
    [[0, 'mean', 0.0], [3, 'ridgeless', 0.15], [3, 'ridge', 0.15]]
    """
    generator = torch.Generator().manual_seed(measure.seed)
    count = measure.n_bootstrap
    drawn = [
        draw_blocks(part.runs, block_length(len(part), measure.horizon), count, generator)
        for part in split.parts
    ]
    found = [_mean_head(split, measure, drawn)]
    lengths = [len(part) for part in split.every]
    for size, features in sized:
        parts = _Parts(*features.split(lengths))
        if measure.head == "logistic":
            found.append(_logistic_head(size, parts, split, drawn))
        else:
            found += _least_squares(size, parts, split, measure, drawn)
    records, losses = zip(*found, strict=True)
    names = [*COLUMNS, *(["error_rate"] if measure.labels else [])]
    table = pd.DataFrame(list(records)).reindex(columns=names)
    return Curves(table, torch.stack(losses).cpu(), drawn[1].cpu())


def folds(rows: int) -> list[slice]:
    """Consecutive blocks of training rows, for cross-validation.

    Examples
    --------
    >>> folds(10)[:2]
    [slice(0, 2, None), slice(2, 4, None)]
    """
    borders = [rows * k // FOLDS for k in range(FOLDS + 1)]
    return [slice(a, b) for a, b in pairwise(borders)]


def _mean_head(split: Split, measure: Measure, drawn: list[Tensor]) -> Found:
    """The head of size zero, which says the mean of the training responses."""
    mean = split.train.response.mean(dim=0)
    if measure.head == "logistic":
        told = [mean.clamp(min=1e-12).log().expand_as(part.response) for part in split.parts]
        losses = [_log_losses(*pair) for pair in zip(told, split.parts, strict=True)]
    else:
        errors = [part.response - mean for part in split.parts]
        losses = [_losses(error, measure.labels) for error in errors]
    record = _record(0, "mean", 0.0, len(split.train), losses, drawn)
    if measure.labels:
        record["error_rate"] = _error_rate(mean.expand_as(split.test.response), split.test)
    return record, losses[1]


def _least_squares(
    size: int, parts: _Parts, split: Split, measure: Measure, drawn: list[Tensor]
) -> list[Found]:
    """The ridgeless and the tuned ridge head: all from one decomposition."""
    response = split.train.response
    head = Decomposition.of(parts.train)
    penalty, errors = _tune(head, response, measure.horizon)
    chosen = torch.cat([penalty.new_zeros(1), penalty[None]])
    told = [
        head.fitted(response, chosen),
        *(head.predict(part, response, chosen) for part in parts.measured[1:]),
    ]
    losses = [
        _losses(part.response - said, measure.labels)
        for part, said in zip(split.parts, told, strict=True)
    ]
    truth = _truth(parts, split, head.penalties(DECADES))
    more = {} if truth is None else _decomposed(head, parts, truth, chosen, drawn[0], measure)
    worth = effective_rows(errors, split.train.runs)
    found = []
    for k, name in enumerate(("ridgeless", "ridge")):
        seen = [loss[k] for loss in losses]
        record = _record(size, name, float(chosen[k]), len(response), seen, drawn)
        record |= {"effective_rows": worth}
        record |= {column: float(values[k]) for column, values in more.items()}
        if measure.labels:
            record["error_rate"] = _error_rate(told[2][k], split.test)
        found.append((record, seen[1]))
    return found


def _tune(
    head: Decomposition, response: Float[Tensor, "row output"], horizon: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "row output"]]:
    """The penalty that blocked cross-validation chooses, and its leave-one-out errors.

    The errors of whole blocks show how far a head can extrapolate, and would say of the noise what
    the worst block does.
    """
    grid = head.penalties()
    errors = head.leave_blocks_out(response, grid, folds(len(response)), horizon)
    best = int(errors.square().sum(dim=2).mean(dim=1).argmin())
    return grid[best], head.leave_one_out(response, grid[best, None])[0]


class _Truth(NamedTuple):
    """The best head, as well as may be told, and its errors at the training rows."""

    head: Head
    errors: Float[Tensor, "train output"]


def _truth(parts: _Parts, split: Split, penalties: Float[Tensor, " penalty"]) -> _Truth | None:
    """The best head, as well as all rows but those of the test tell it; None where they do not."""
    early = torch.cat([parts.train, parts.spare])
    known = torch.cat([split.train.response, split.spare.response])
    late, asked = parts.validation, split.validation.response
    if len(early) + len(late) - 1 <= early.shape[1]:  # a row goes to the mean
        return None
    products = Products.of(early, known)
    errors = [(asked - products.head(one).say(late)).square().mean() for one in penalties]
    chosen = penalties[int(torch.stack(errors).argmin())]
    head = products.plus(Products.of(late, asked)).head(chosen)
    return _Truth(head, head.left_out(parts.train, split.train.response))


def _decomposed(
    head: Decomposition,
    parts: _Parts,
    truth: _Truth,
    chosen: Float[Tensor, "2"],
    drawn: Int[Tensor, "draw row"],
    measure: Measure,
) -> dict[str, Float[Tensor, " head"]]:
    """Bias and variance of each head, measured and expected."""
    labels, rows = measure.labels, len(parts.train)
    seen = parts.test[:: -(-len(parts.test) // MOST_PROBED)]
    scores = head.scores(seen)
    missed = head.say(scores, truth.head.say(parts.train), chosen) - truth.head.say(seen)
    noise = (truth.errors - truth.errors.mean(dim=0))[drawn]  # (draw, row, output)
    columns = noise.movedim(0, 1).flatten(1)
    heard = head.say(scores, columns, chosen).unflatten(2, (len(drawn), -1))
    bias = _losses(missed, labels).mean(dim=1)
    variance = _losses(heard, labels).mean(dim=(1, 2))
    spectrum = _spectrum(parts, truth, labels)
    theory = ridge_risk(spectrum, rows - 1, chosen)  # a row goes to the mean, which varies as well
    expected = theory.variance + spectrum.noise / rows
    return {
        "bias": bias,
        "variance": variance,
        "excess": bias + variance,
        "irreducible": _losses(truth.errors, labels).mean().expand_as(bias),
        "theory_bias": theory.bias,
        "theory_variance": expected,
        "theory_excess": theory.bias + expected,
    }


def _spectrum(parts: _Parts, truth: _Truth, labels: bool) -> Spectrum:
    """Spectrum of the features of rows of all stretches; of the test, no response counts."""
    whole = torch.cat(parts.measured)
    least, enough = (times * len(parts.train) for times in SPECTRUM_ROWS)
    most = max(least, min(enough, MOST_SPREAD))
    if len(whole) > most:
        whole = whole[torch.arange(most) * (len(whole) - 1) // (most - 1)]
    centred = (whole - whole.mean(dim=0)) / (len(whole) - 1) ** 0.5
    share = 1 if labels else truth.head.coefficients.shape[1]
    noise = truth.errors.square().mean(dim=0).sum() / share
    # Not from products of features: directions that hardly vary carry the peak.
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    kept = values > torch.finfo(values.dtype).eps * max(centred.shape) * values.max()
    left, values = left[:, kept], values[kept]
    along = left.T @ (centred @ truth.head.coefficients) / values[:, None]
    return Spectrum(values.square(), along.square().sum(dim=1) / share, noise)


def _logistic_head(size: int, parts: _Parts, split: Split, drawn: list[Tensor]) -> Found:
    """A logistic head; its bias and variance have no closed form, and are left out."""
    codes = split.train.response.argmax(dim=1)
    head = fit_logistic(parts.train.cpu().numpy(), codes.cpu().numpy(), 1.0)
    told = [
        torch.as_tensor(head.predict_log_proba(part.cpu().numpy())).to(part)
        for part in parts.measured
    ]
    losses = [_log_losses(*pair) for pair in zip(told, split.parts, strict=True)]
    record = _record(size, "logistic", 1.0, len(codes), losses, drawn)
    record["error_rate"] = _error_rate(told[2], split.test)
    errors = split.validation.response - told[1].exp()
    worth = effective_rows(errors, split.validation.runs) / len(errors)
    record["effective_rows"] = worth * len(codes)
    return record, losses[1]


def _record(
    size: int,
    name: str,
    penalty: float,
    rows: int,
    losses: Sequence[Float[Tensor, " _"]],
    drawn: Sequence[Int[Tensor, "draw _"]],
) -> Record:
    train, validation, test = (float(part.mean()) for part in losses)
    return {
        "size": size,
        "head": name,
        "ratio": size / rows,
        "penalty": penalty,
        "train": train,
        "validation": validation,
        "validation_error": float(standard_error(losses[1], drawn[1])),
        "test": test,
        "test_error": float(standard_error(losses[2], drawn[2])),
    }


def _losses(errors: Float[Tensor, "*row output"], labels: bool) -> Float[Tensor, "*row"]:
    """Loss of each row: the Brier score of classes, the mean squared error of other outputs."""
    square = errors.square()
    return square.sum(dim=-1) if labels else square.mean(dim=-1)


def _log_losses(told: Float[Tensor, "row output"], rows: Rows) -> Float[Tensor, " row"]:
    return -(told * rows.response).sum(dim=1)


def _error_rate(told: Float[Tensor, "row output"], rows: Rows) -> float:
    wrong = told.argmax(dim=1) != rows.response.argmax(dim=1)
    return float(wrong.double().mean())
