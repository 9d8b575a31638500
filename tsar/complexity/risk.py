"""Risk, bias and variance of linear heads on frozen features, by number of features."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.complexity.bootstrap import (
    block_length,
    effective_sample_size,
    moving_block_bootstrap,
    standard_error,
)
from tsar.complexity.heads import CrossProducts, RidgeHead, RidgeSVD, fit_logistic
from tsar.complexity.splits import Rows, Split
from tsar.complexity.theory import Spectrum, ridge_risk

HeadKind = Literal["ridgeless", "ridge", "logistic"]
N_FOLDS = 5
MAX_BIAS_ROWS = 1000  # test rows at which bias and variance are measured
N_BEST_HEAD_PENALTIES = 12  # one per power of ten
# Rows that the spectrum is estimated from: 4 n up to 1000, but at least 2 n.
MIN_SPECTRUM_RATIO, SPECTRUM_RATIO, SPECTRUM_ROWS = 2, 4, 1000

COLUMNS = (
    *("size", "head", "ratio", "penalty", "train", "validation", "validation_std_err", "test"),
    *("test_std_err", "bias", "variance", "excess", "irreducible"),
    *("theory_bias", "theory_variance", "theory_excess", "effective_sample_size"),
)


@dataclass(frozen=True)
class RiskOptions:
    """How risks are measured: of a logistic head, or of the ridgeless and the ridge head together.

    `horizon` is the number of steps that a response reaches ahead: the margin of a cross-validation
    block. With `labels` the response is the one-hot encoding of classes, and the loss is the Brier
    score, or the log loss of a logistic head; otherwise it is the squared error, averaged over
    outputs. `seed` is that of the bootstrap.
    """

    head: HeadKind
    horizon: int
    n_bootstrap: int
    labels: bool
    seed: int


class RiskCurves(NamedTuple):
    """Table of risks, with a row for each candidate (a size with a head).

    The validation losses of the candidates, and bootstrap samples of the validation rows, serve to
    choose between them.
    """

    table: pd.DataFrame
    losses: Float[Tensor, "candidate validation"]
    samples: Int[Tensor, "bootstrap validation"]


class _Design(NamedTuple):
    train: Float[Tensor, "train feature"]
    validation: Float[Tensor, "validation feature"]
    test: Float[Tensor, "test feature"]
    extra: Float[Tensor, "extra feature"]

    @property
    def measured(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the rows on which risks are measured."""
        return self[:3]


Record = dict[str, Any]
Candidate = tuple[Record, Float[Tensor, " row"]]  # a row of the table, and its validation losses
Samples = list[Int[Tensor, "bootstrap _"]]  # of the training, validation and test rows


def risk_curves(
    # Pairs of a size and its design matrix (row, feature); a type checker would consume a pair.
    by_size: Iterable[Any],
    split: Split,
    options: RiskOptions,
) -> RiskCurves:
    """Risks of linear heads on frozen features, size by size.

    `by_size` yields sizes, and the features of all rows in the order of `Split.all_rows`.

    Returns
    -------
    RiskCurves
        Columns of the table: ``size, head, ratio`` (p / n), ``penalty``, ``train, validation,
        test`` (risks) with ``validation_std_err, test_std_err`` (by moving blocks), ``bias,
        variance, excess`` (their sum), ``irreducible``, ``theory_bias, theory_variance,
        theory_excess``, ``effective_sample_size``, and with labels ``error_rate`` (test). The first
        row is the head of size 0, the mean.

    Notes
    -----
    Bias and variance are those of the residual bootstrap in moving blocks, at fixed features. The
    best linear head is estimated by a ridge head of all rows but those of the test, as it must know
    directions in which the training rows do not vary. Its penalty is the one with the least
    validation risk of a head fitted to the other rows. Its leave-one-out errors at the training
    rows are the residuals of the bootstrap, and their mean square is ``irreducible``. Training rows
    are not resampled: fewer distinct rows would move the interpolation threshold.

    If there are no more of these rows than features, they do not determine the best head, and bias,
    variance, excess, irreducible and theoretical risks are NaN. With hardly more rows the best head
    is shrunk, and the bias too low.

    The theory takes the spectrum of the features of training, validation and test rows, and the
    same head and residuals; with about as many features as rows, the sample spectrum is too wide,
    and the theoretical risk too high. The variance of the estimated mean, noise / n, is added.

    Examples
    --------
    >>> rows = torch.arange(40)
    >>> features = torch.randn(40, 3, dtype=torch.float64)
    >>> samples = Rows(rows, rows * 0, features[:, :1] + 1)
    >>> split = Split(*(samples.select(part) for part in rows.split([20, 10, 10, 0])))
    >>> curves = risk_curves([(3, features)], split, RiskOptions("ridge", 1, 20, False, 0))
    >>> curves.table[["size", "head", "ratio"]].values.tolist()
    [[0, 'mean', 0.0], [3, 'ridgeless', 0.15], [3, 'ridge', 0.15]]
    """
    generator = torch.Generator().manual_seed(options.seed)
    samples = [
        moving_block_bootstrap(
            rows.series, block_length(len(rows), options.horizon), options.n_bootstrap, generator
        )
        for rows in split.measured
    ]
    candidates = [_mean_head(split, options, samples)]
    lengths = [len(rows) for rows in split.all_rows]
    for size, features in by_size:
        design = _Design(*features.split(lengths))
        if options.head == "logistic":
            candidates.append(_logistic_head(size, design, split, samples))
        else:
            candidates += _least_squares_heads(size, design, split, options, samples)
    records, losses = zip(*candidates, strict=True)
    columns = [*COLUMNS, *(["error_rate"] if options.labels else [])]
    table = pd.DataFrame(list(records)).reindex(columns=columns)
    return RiskCurves(table, torch.stack(losses).cpu(), samples[1].cpu())


def folds(n_rows: int) -> list[slice]:
    """Consecutive blocks of training rows, for cross-validation.

    Examples
    --------
    >>> folds(10)[:2]
    [slice(0, 2, None), slice(2, 4, None)]
    """
    borders = [n_rows * k // N_FOLDS for k in range(N_FOLDS + 1)]
    return [slice(start, stop) for start, stop in pairwise(borders)]


def _mean_head(split: Split, options: RiskOptions, samples: Samples) -> Candidate:
    """The head of size 0, which predicts the mean of the training responses."""
    mean = split.train.response.mean(dim=0)
    if options.head == "logistic":
        log_share = mean.clamp(min=1e-12).log()
        losses = [_log_losses(log_share, rows) for rows in split.measured]
    else:
        losses = [_losses(rows.response - mean, options.labels) for rows in split.measured]
    record = _record(0, "mean", 0.0, len(split.train), losses, samples)
    if options.labels:
        record["error_rate"] = _error_rate(mean.expand_as(split.test.response), split.test)
    return record, losses[1]


def _least_squares_heads(
    size: int, design: _Design, split: Split, options: RiskOptions, samples: Samples
) -> list[Candidate]:
    """The ridgeless and the tuned ridge head, from one decomposition."""
    response = split.train.response
    svd = RidgeSVD.of(design.train)
    penalty, errors = _tune(svd, response, options.horizon)
    penalties = torch.stack([penalty.new_zeros(()), penalty])
    predictions = [
        svd.fitted_values(response, penalties),
        *(svd.predict(features, response, penalties) for features in design.measured[1:]),
    ]
    losses = [
        _losses(rows.response - predicted, options.labels)
        for rows, predicted in zip(split.measured, predictions, strict=True)
    ]
    best = _best_head(design, split, svd.penalty_grid(N_BEST_HEAD_PENALTIES))
    parts = {}
    if best is not None:
        parts = _bias_variance(svd, design, best, penalties, samples[0], options)
    ess = effective_sample_size(errors, split.train.series)
    candidates = []
    for k, head in enumerate(("ridgeless", "ridge")):
        head_losses = [loss[k] for loss in losses]
        record = _record(size, head, float(penalties[k]), len(response), head_losses, samples)
        record |= {column: float(values[k]) for column, values in parts.items()}
        record["effective_sample_size"] = ess
        if options.labels:
            record["error_rate"] = _error_rate(predictions[2][k], split.test)
        candidates.append((record, head_losses[1]))
    return candidates


def _tune(
    svd: RidgeSVD, response: Float[Tensor, "row output"], horizon: int
) -> tuple[Float[Tensor, ""], Float[Tensor, "row output"]]:
    """The penalty of least blocked cross-validation error, and its leave-one-out errors.

    Leave-one-out errors measure the noise; errors of whole blocks are dominated by extrapolation in
    the worst block.
    """
    penalties = svd.penalty_grid()
    errors = svd.leave_blocks_out_errors(response, penalties, folds(len(response)), horizon)
    best = int(errors.square().sum(dim=2).mean(dim=1).argmin())
    return penalties[best], svd.leave_one_out_errors(response, penalties[best, None])[0]


class _BestHead(NamedTuple):
    """An estimate of the best linear head, and its leave-one-out errors at the training rows."""

    head: RidgeHead
    errors: Float[Tensor, "train output"]


def _best_head(
    design: _Design, split: Split, penalties: Float[Tensor, " penalty"]
) -> _BestHead | None:
    """Estimate the best linear head from all rows but the test; None if there are too few."""
    features = torch.cat([design.train, design.extra])
    response = torch.cat([split.train.response, split.extra.response])
    validation, validation_response = design.validation, split.validation.response
    if len(features) + len(validation) - 1 <= features.shape[1]:  # the mean takes one row
        return None
    products = CrossProducts.of(features, response)
    risks = [
        (validation_response - products.ridge_head(penalty).predict(validation)).square().mean()
        for penalty in penalties
    ]
    penalty = penalties[int(torch.stack(risks).argmin())]
    head = products.merge(CrossProducts.of(validation, validation_response)).ridge_head(penalty)
    return _BestHead(head, head.leave_one_out_errors(design.train, split.train.response))


def _bias_variance(
    svd: RidgeSVD,
    design: _Design,
    best: _BestHead,
    penalties: Float[Tensor, " head"],
    samples: Int[Tensor, "bootstrap row"],
    options: RiskOptions,
) -> dict[str, Float[Tensor, " head"]]:
    """Bias and variance of the head of each penalty, measured and expected."""
    labels, n_train = options.labels, len(design.train)
    test = design.test[:: -(-len(design.test) // MAX_BIAS_ROWS)]
    scores = svd.scores(test)
    mean_prediction = svd.predict_from_scores(scores, best.head.predict(design.train), penalties)
    bias = _losses(mean_prediction - best.head.predict(test), labels).mean(dim=1)
    noise = (best.errors - best.errors.mean(dim=0))[samples]  # (bootstrap, row, output)
    responses = noise.movedim(0, 1).flatten(1)
    deviations = svd.predict_from_scores(scores, responses, penalties)
    variance = _losses(deviations.unflatten(2, (len(samples), -1)), labels).mean(dim=(1, 2))
    spectrum = _spectrum(design, best, labels)
    theory = ridge_risk(spectrum, n_train - 1, penalties)  # the mean takes one row
    theory_variance = theory.variance + spectrum.noise / n_train
    return {
        "bias": bias,
        "variance": variance,
        "excess": bias + variance,
        "irreducible": _losses(best.errors, labels).mean().expand_as(bias),
        "theory_bias": theory.bias,
        "theory_variance": theory_variance,
        "theory_excess": theory.bias + theory_variance,
    }


def _spectrum(design: _Design, best: _BestHead, labels: bool) -> Spectrum:
    """Spectrum of the features of all measured rows; no test response is used."""
    features = torch.cat(design.measured)
    n_train = len(design.train)
    max_rows = max(MIN_SPECTRUM_RATIO * n_train, min(SPECTRUM_RATIO * n_train, SPECTRUM_ROWS))
    if len(features) > max_rows:
        features = features[torch.arange(max_rows) * (len(features) - 1) // (max_rows - 1)]
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    n_outputs = 1 if labels else best.errors.shape[1]
    noise = best.errors.square().mean(dim=0).sum() / n_outputs
    # Not by the Gram matrix: directions that hardly vary determine the peak.
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    nonzero = values > torch.finfo(values.dtype).eps * max(centred.shape) * values.max()
    left, values = left[:, nonzero], values[nonzero]
    projected = left.T @ (centred @ best.head.coefficients) / values[:, None]
    return Spectrum(values.square(), projected.square().sum(dim=1) / n_outputs, noise)


def _logistic_head(size: int, design: _Design, split: Split, samples: Samples) -> Candidate:
    """A logistic head; its bias and variance have no closed form and are left out."""
    labels = split.train.response.argmax(dim=1)
    head = fit_logistic(design.train.cpu().numpy(), labels.cpu().numpy(), 1.0)
    log_proba = [
        torch.as_tensor(head.predict_log_proba(features.cpu().numpy())).to(features)
        for features in design.measured
    ]
    losses = [_log_losses(*pair) for pair in zip(log_proba, split.measured, strict=True)]
    record = _record(size, "logistic", 1.0, len(labels), losses, samples)
    record["error_rate"] = _error_rate(log_proba[2], split.test)
    errors = split.validation.response - log_proba[1].exp()
    ess = effective_sample_size(errors, split.validation.series)
    record["effective_sample_size"] = ess / len(errors) * len(labels)
    return record, losses[1]


def _record(
    size: int,
    head: str,
    penalty: float,
    n_train: int,
    losses: Sequence[Float[Tensor, " _"]],
    samples: Samples,
) -> Record:
    train, validation, test = (float(part.mean()) for part in losses)
    return {
        "size": size,
        "head": head,
        "ratio": size / n_train,
        "penalty": penalty,
        "train": train,
        "validation": validation,
        "validation_std_err": float(standard_error(losses[1], samples[1])),
        "test": test,
        "test_std_err": float(standard_error(losses[2], samples[2])),
    }


def _losses(errors: Float[Tensor, "*row output"], labels: bool) -> Float[Tensor, "*row"]:
    """Brier score of each row, or mean squared error over the outputs."""
    square = errors.square()
    return square.sum(dim=-1) if labels else square.mean(dim=-1)


def _log_losses(log_proba: Float[Tensor, "*row output"], rows: Rows) -> Float[Tensor, " row"]:
    return -(log_proba * rows.response).sum(dim=1)


def _error_rate(scores: Float[Tensor, "row output"], rows: Rows) -> float:
    wrong = scores.argmax(dim=1) != rows.response.argmax(dim=1)
    return float(wrong.double().mean())
