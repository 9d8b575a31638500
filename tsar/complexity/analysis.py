"""ComplexityAnalysis: what the size of a model costs and buys on your data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm import tqdm

from tsar.complexity.advice import (
    Advice,
    advise,
    latent_dimension,
    smallest_near_best,
    trusted,
)
from tsar.complexity.blocks import block_length, draw_blocks
from tsar.complexity.drawing import plot_risk
from tsar.complexity.reading import (
    Source,
    read_labels,
    read_representation,
    read_source,
)
from tsar.complexity.representations import Lags, Representation
from tsar.complexity.risk import Curves, HeadKind, Measure, risk_curves
from tsar.complexity.series import series_table
from tsar.complexity.sizes import SizedFeatures, check_memory, check_sizes, default_sizes
from tsar.complexity.states import states_of_series
from tsar.complexity.task import MOST_ASKED, Split, following, split_rows
from tsar.data.panel import Columns, Panel
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed
from tsar.validation import (
    POSITIVE_FRACTION,
    Constraint,
    check_integer,
    check_parameters,
    integer,
    one_of,
)


class ComplexityAnalysis(BaseEstimator):
    """Freeze features of growing size, tune heads on them, and measure what the size costs.

    Rows stand at points of the series, in order of time: heads are fitted to the first, sizes are
    chosen by the next, and the last only report. Each series is scaled by its training points, so
    risks are in units of their variance.

    Parameters
    ----------
    representation
        What grows: ``"random"`` (random functions of the last points, a hidden layer that is not
        trained), ``"lags"`` (the last points), ``"hmm"`` (filtered state probabilities of a
        Gaussian hidden Markov model, size: states), ``"linear_gaussian"`` (filtered states of a
        linear-Gaussian one); a fitted `AutoTimes` or `SpaceTime` (its hidden states, directions of
        most variance first); an array with a row for each point of the frame; or a
        `tsar.complexity.representations.Representation`.
    sizes
        Numbers of features; None: in equal ratios up to five a row, closer around one a row.
    head
        Whose size is recommended: ``"ridgeless"`` (least squares of least norm), ``"ridge"`` (its
        penalty tuned by blocked cross-validation), or ``"logistic"`` for labels. The curves show
        both heads of least squares.
    task
        ``"next_step"``: the value `horizon` points on; ``"next_segment"``: all values up to there.
        Not used where `fit` is given y.
    horizon
        Points that are looked ahead, and left out between the stretches.
    n_train
        Training rows, spread evenly over the training stretch; None for all. The curves are of that
        number of rows: the peak stands where there are as many features.
    validation, test
        Shares of each series to choose by, and to report.
    n_bootstrap
        Resamples of blocks of rows.
    columns
        How to read frames; covariates are not used.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of features and blocks; above 0: a bar.

    Attributes
    ----------
    curves_
        A row for each size and head: see `tsar.complexity.risk.risk_curves` (frame). Bias,
        variance, excess and irreducible risk are NaN of sizes whose best head is not determined:
        of no more rows outside the test stretch than features.
    summary_
        Facts: rows, their effective number, risks of the mean, latent dimension (Series).
    per_series_
        A row for each series: ``size`` (recommended for it alone), ``order`` (of an
        autoregression), ``risk, null, predictability, entropy_rate`` one step ahead (the last in
        nats a point, of the scaled series), with ``"hmm"`` also ``states`` (of the first hundred
        series); ``left_out`` says why a series was not used (frame).
    classes_
        Of labels, sorted.

    References
    ----------
    Luo, Wang & Huang 2024, "Investigating the Impact of Model Complexity in Large Language Models"
    (arXiv 2410.00699); formulas are a reconstruction, see `tsar.complexity.theory`.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import ComplexityAnalysis
    >>> noise = np.random.default_rng(0).normal(size=600)
    >>> series = np.convolve(noise, [1.0, 0.9, 0.8, 0.7])
    >>> analysis = ComplexityAnalysis("lags", n_train=200, random_state=0).fit(series)
    >>> print(str(analysis.recommend()).splitlines()[0])
    Use 7 lags with least squares without a penalty.
    """

    def __init__(
        self,
        representation: Any = "random",
        *,
        sizes: Sequence[int] | None = None,
        head: HeadKind = "ridgeless",
        task: Literal["next_step", "next_segment"] = "next_step",
        horizon: int = 1,
        n_train: int | None = 500,
        validation: float = 0.2,
        test: float = 0.2,
        n_bootstrap: int = 100,
        columns: Columns | None = None,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.representation = representation
        self.sizes = sizes
        self.head = head
        self.task = task
        self.horizon = horizon
        self.n_train = n_train
        self.validation = validation
        self.test = test
        self.n_bootstrap = n_bootstrap
        self.columns = columns
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, frame: Any, y: Any = None) -> "ComplexityAnalysis":
        """Measure the risks of all sizes.

        Parameters
        ----------
        frame
            A long frame, a wide one, a Series or an array of shape (time, series).
        y
            What to tell of each point from what is known there: labels (text, booleans or whole
            numbers), or real numbers (floats); in the order and shape of the frame's targets.
            None: what the series does next.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            A parameter or the frame is not as it must be; no series varies; there are too few
            rows; a label is not among the training rows; the features do not fit in memory.
        """
        self._check()
        columns = self.columns or Columns()
        whole_panel = Panel.from_frame(frame, columns)
        shares = (float(self.validation), float(self.test))
        source = read_source(whole_panel, shares)
        codes, classes = (None, None) if y is None else read_labels(frame, y, columns)
        if self.head == "logistic" and classes is None:
            given = "Give fit labels as y" if y is None else FLOATS
            raise ValueError(
                f"head must be 'ridgeless' or 'ridge' without labels; got {self.head!r}. {given}, "
                "or choose another head."
            )
        response = self._response(source, codes, classes)
        seed = resolve_seed(self.random_state)
        split, curves = self._measure(frame, source, response, classes, seed)
        self._keep(source, split, curves, y is None, whole_panel, seed)
        return self

    def recommend(self) -> Advice:
        """The size to use, why, and how sure that is; readable as text.

        Returns
        -------
        Advice
            Also a record. After ``representation="lags"`` it has an `order`, for
            ``ARNet(advice.order)``, and a `state_size`, for `SpaceTime`, 1 where the mean is
            advised; after ``"random"`` a `width`, for the `hidden` layer of `AutoTimes` or `ARNet`.
            What was not measured is None.
        """
        check_is_fitted(self, "curves_")
        return self.advice_

    def plot(self) -> Any:
        """Draw risk against size: total and excess, bias and variance, and the theory.

        Returns
        -------
        matplotlib.figure.Figure
            Write it by ``savefig``.

        Raises
        ------
        NotFittedError, ImportError
            `fit` was not called; the plot extra is not installed.
        """
        check_is_fitted(self, "curves_")
        return plot_risk(
            self.curves_,
            rows=self.advice_.rows,
            null=self.advice_.null,
            head=self.advice_.asked,
            chosen=self.advice_.size,
            title=f"Risk of {self.advice_.rows:,} training rows by size",
            unit=self.advice_.unit,
        )

    def _check(self) -> None:
        check_parameters("ComplexityAnalysis", self, CONSTRAINTS)
        if self.n_train is not None:
            check_integer("n_train", self.n_train, 10)
        if self.validation + self.test >= 1:
            raise ValueError(
                "validation and test must leave a share to train on; got "
                f"{self.validation} and {self.test}. Lower them."
            )

    def _response(
        self, source: Source, codes: Tensor | None, classes: list[Any] | None
    ) -> Float[Tensor, "time output"]:
        """What to forecast at each point: NaN where nothing is."""
        if codes is None:
            segment = self.task == "next_segment"
            return following(source.panel, self.horizon, segment=segment)
        told = codes[source.kept]
        if classes is None:
            return told[:, None]
        hot = torch.nn.functional.one_hot(told.nan_to_num(0.0).long(), len(classes)).double()
        return torch.where(told.isnan()[:, None], torch.nan, hot)

    def _measure(
        self,
        frame: Any,
        source: Source,
        response: Float[Tensor, "time output"],
        classes: list[Any] | None,
        seed: int,
    ) -> tuple[Split, Curves]:
        panel, device = source.panel, resolve_device(self.device)
        self.kind_, representation = read_representation(
            self.representation, frame, self.columns or Columns(), source.kept, str(device)
        )
        sizes = self._sizes(representation, source)
        frozen = representation.freeze(source.training, sizes, seed)
        split = split_rows(
            panel,
            response,
            frozen.usable(panel),
            horizon=self.horizon,
            shares=(float(self.validation), float(self.test)),
            n_train=self.n_train,
        )
        if classes is not None:
            split = self._check_classes(split, classes)
        if self.sizes is None and frozen.nested:  # the rows are known now
            sizes = default_sizes(len(split.train), max(sizes))
        told = SizedFeatures(panel, frozen, split, sizes, classes is None)
        measure = Measure(self.head, self.horizon, self.n_bootstrap, classes is not None, seed)
        bar = tqdm(told.sized(device), total=len(sizes), disable=self.verbose <= 0)
        moved = Split(*(part.to(device) for part in told.split.every))
        curves = risk_curves(bar, moved, measure)
        largest = told.features(max(sizes))[: len(split.train) + len(split.validation)]
        self.latent_dimension_ = latent_dimension(largest)
        return told.split, curves

    def _sizes(self, representation: Representation, source: Source) -> list[int]:
        limit = representation.limit(source.training)
        points = int((source.training.lengths - self.horizon).clamp(min=0).sum())
        rows = min(points, self.n_train or points)
        given = self.sizes
        sizes = default_sizes(rows, limit) if given is None else check_sizes(given, limit)
        asked = min(len(source.panel.values) - points, 2 * MOST_ASKED)
        spare = min(points - rows, MOST_ASKED)
        check_memory(rows + asked + spare, max(sizes))
        return sizes

    def _check_classes(self, split: Split, classes: list[Any]) -> Split:
        """Rows with a column for each class of the training rows, which must have all."""
        seen = split.train.response.sum(dim=0) > 0
        for part, name in ((split.validation, "validation"), (split.test, "test")):
            new = (part.response.sum(dim=0) > 0) & ~seen
            if bool(new.any()):
                label = classes[int(new.nonzero()[0])]
                raise ValueError(
                    "y must have every label among the training rows; got "
                    f"{label!r} only in the {name} rows. Give more rows (n_train=None), or leave "
                    "the label out."
                )
        if int(seen.sum()) < 2:
            raise ValueError(
                "y must have at least two labels among the training rows; got "
                f"{[classes[int(k)] for k in seen.nonzero()[:, 0]]}. Give more rows (n_train=None)."
            )
        self.classes_ = [name for name, known in zip(classes, seen, strict=True) if known]
        spare = split.spare.take(split.spare.response[:, seen].any(dim=1))
        parts = (*split.parts, spare)
        return Split(*(replace(part, response=part.response[:, seen]) for part in parts))

    def _keep(
        self,
        source: Source,
        split: Split,
        curves: Curves,
        forecasts: bool,
        panel: Panel,
        seed: int,
    ) -> None:
        self.curves_ = curves.table
        self.advice_ = advise(
            curves,
            self.head,
            rows=len(split.train),
            latent_dimension=self.latent_dimension_,
            kind=self.kind_,
        )
        table = pd.DataFrame(index=panel.labels.ids)
        ids = source.panel.labels.ids
        generator = torch.Generator().manual_seed(seed)
        sizes = _sizes_of_series(curves, split, self.head, self.horizon, generator)
        table["size"] = pd.Series(sizes, index=ids).astype("Int64").reindex(table.index)
        if forecasts:
            most = Lags().limit(source.training)
            shares = (float(self.validation), float(self.test))
            table = table.join(series_table(source.panel, shares, most))
        if self.kind_ == "hmm":
            states = states_of_series(source.training, seed)
            table["states"] = (
                pd.Series(states, index=ids[: len(states)]).astype("Int64").reindex(table.index)
            )
        table["left_out"] = pd.Series(source.left_out, dtype=object).reindex(table.index)
        self.per_series_ = table.rename_axis("series")
        advice = self.advice_
        self.summary_ = pd.Series(
            {
                "representation": self.kind_,
                "rows": len(split.train),
                "validation_rows": len(split.validation),
                "test_rows": len(split.test),
                "effective_rows": advice.effective_rows,
                "null": advice.null,
                "least_test": float(curves.table["test"].min()),
                "latent_dimension": self.latent_dimension_,
                "series": len(ids),
                "left_out": len(source.left_out),
            },
            name="ComplexityAnalysis",
        )


def _sizes_of_series(
    curves: Curves, split: Split, head: str, horizon: int, generator: torch.Generator
) -> list[int | None]:
    """The size recommended for each series alone, by its own validation rows."""
    allowed = trusted(curves.table, head).nonzero()[0]
    losses = curves.losses[torch.from_numpy(allowed)].cpu()
    runs = split.validation.runs
    found: list[int | None] = []
    for row in range(int(torch.cat([part.runs for part in split.parts]).max()) + 1):
        mine = losses[:, runs == row]
        if mine.shape[1] < 2:
            found.append(None)
            continue
        one = torch.zeros(mine.shape[1], dtype=torch.long)
        drawn = draw_blocks(one, block_length(len(one), horizon), len(curves.drawn), generator)
        chosen, _ = smallest_near_best(mine, drawn)
        found.append(int(curves.table["size"].iloc[int(allowed[chosen])]))
    return found


FLOATS = "The floats of y are read as real numbers: give labels as integers or text"
CONSTRAINTS: dict[str, Constraint] = {
    "head": one_of(("ridgeless", "ridge", "logistic")),
    "task": one_of(("next_step", "next_segment")),
    "horizon": integer(1),
    "validation": POSITIVE_FRACTION,
    "test": POSITIVE_FRACTION,
    "n_bootstrap": integer(2),
}
