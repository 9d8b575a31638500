"""ComplexityAnalysis: risk, bias and variance against model size, measured on your own data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from tsar.complexity.advice import Advice, advise
from tsar.complexity.design import DesignMatrices, check_memory
from tsar.complexity.inputs import (
    SeriesData,
    Targets,
    read_representation,
    read_targets,
    standardize_series,
)
from tsar.complexity.per_series import autoregression_table, select_n_components
from tsar.complexity.plots import plot_risk
from tsar.complexity.representations import Lags, Representation
from tsar.complexity.risk import HeadKind, RiskOptions, risk_curves
from tsar.complexity.selection import latent_dimension, select_sizes_of_series
from tsar.complexity.size_grid import check_sizes, default_sizes
from tsar.complexity.splits import MAX_EVALUATION_ROWS, Split, future_values, split_rows
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
    """Risk, bias and variance of linear heads on frozen features, by number of features.

    Each point of a series is a row of a design matrix. Heads are fitted to the first rows of a
    series, sizes are chosen by the next ones, and the last ones only report the risk. Each series
    is standardized by its training points, so risks are in units of their variance.

    Parameters
    ----------
    representation
        Features whose number grows: ``"random"`` (random ReLU features of the last values, the
        hidden layer of an untrained network), ``"lags"`` (the last values), ``"hmm"`` (filtered
        state probabilities of a Gaussian HMM, size: states), ``"linear_gaussian"`` (filtered states
        of a linear-Gaussian HMM); a fitted `AutoTimes` or `SpaceTime` (principal components of its
        hidden states); an array with a row for each point of the frame; or a
        `tsar.complexity.Representation`.
    sizes
        Numbers of features; None: in equal ratios up to five features per row, denser around the
        interpolation threshold.
    head
        Whose size is recommended: ``"ridgeless"`` (minimum-norm least squares), ``"ridge"`` (its
        penalty tuned by blocked cross-validation), or ``"logistic"`` for labels. The curves have
        both least-squares heads.
    task
        ``"next_step"``: the value `horizon` points ahead; ``"next_segment"``: all values up to
        there. Not used if `fit` gets y.
    horizon
        Points ahead, and points left out between training, validation and test.
    n_train
        Training rows, evenly spaced over the training period; None for all. The curves hold for
        that number of rows: the interpolation threshold is at as many features.
    validation, test
        Shares of each series for choosing the size, and for reporting its risk.
    n_bootstrap
        Moving-block bootstrap samples of the rows.
    columns
        How to read frames; covariates are not used.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of random features and bootstrap; above 0: a progress bar.

    Attributes
    ----------
    curves_
        A row for each size and head, see `tsar.complexity.risk.risk_curves` (frame). Bias,
        variance, excess and irreducible risk are NaN at sizes whose best head is not determined:
        those of at least as many features as training and validation rows.
    summary_
        Rows, effective sample size, risk of the mean, latent dimension, ... (Series).
    per_series_
        A row for each series (frame): ``size`` (recommended for it alone); ``order`` of an
        autoregression with ``risk, null_risk, r2, entropy_rate`` one step ahead (the last in nats
        per point of the standardized series); with ``"hmm"`` also ``n_components`` (of the first
        hundred series); ``excluded`` is the reason why a series could not be analysed.
    classes_
        Labels, sorted (array).

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
            Response of each point: labels (text, booleans or integers), or real numbers (floats),
            in the order and shape of the frame's targets. None: future values of the series.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            A parameter or the frame is invalid; all series are constant or short; there are too few
            rows; a label is not among the training rows; the features do not fit in memory.
        """
        self._check()
        columns = self.columns or Columns()
        panel = Panel.from_frame(frame, columns)
        data = standardize_series(panel, self._shares)
        targets = None if y is None else read_targets(frame, y, columns)
        self._check_head(targets)
        seed, device = resolve_seed(self.random_state), resolve_device(self.device)
        kind, representation = read_representation(
            self.representation, frame, columns, data.included, str(device)
        )
        designs = self._designs(representation, data, targets, seed)
        labels = targets is not None and targets.classes is not None
        options = RiskOptions(self.head, self.horizon, self.n_bootstrap, labels, seed)
        n_sizes, silent = len(designs.sizes), self.verbose <= 0
        progress = tqdm(designs.by_size(device), total=n_sizes, disable=silent)
        split = Split(*(rows.to(device) for rows in designs.split.all_rows))
        curves = risk_curves(progress, split, options)
        self._advice = advise(
            curves,
            self.head,
            n_train=len(split.train),
            latent_dimension=latent_dimension(designs.largest_known()),
            kind=kind,
        )
        self.curves_ = curves.table
        sizes = select_sizes_of_series(
            curves, designs.split, len(data.panel), head=self.head, horizon=self.horizon, seed=seed
        )
        self.per_series_ = self._per_series(panel, data, kind, sizes, targets is None, seed)
        self.summary_ = self._summary(kind, split, data)
        return self

    def recommend(self) -> Advice:
        """The size to use, with the risks that support it; as text by ``str``.

        Returns
        -------
        Advice
            After ``representation="lags"`` it has an `order`, for ``ARNet(advice.order)``, and a
            `state_size`, for `SpaceTime` (1 if the mean is recommended); after ``"random"`` it has
            `hidden`, the widths of hidden layers of `AutoTimes` or `ARNet`. What was not measured
            is None.
        """
        check_is_fitted(self, "curves_")
        return self._advice

    def plot(self) -> Any:
        """Plot total and excess risk, bias, variance and theory against size.

        Returns
        -------
        matplotlib.figure.Figure
            Save it by ``savefig``.

        Raises
        ------
        NotFittedError, ImportError
            `fit` was not called; the plot extra is not installed.
        """
        check_is_fitted(self, "curves_")
        advice = self._advice
        return plot_risk(
            self.curves_,
            n_train=advice.n_train,
            null_risk=advice.null_risk,
            head=advice.requested_head,
            recommended=advice.size,
            title=f"Risk by size, {advice.n_train:,} training rows",
            unit=advice.unit,
        )

    @property
    def _shares(self) -> tuple[float, float]:
        return float(self.validation), float(self.test)

    def _check(self) -> None:
        check_parameters("ComplexityAnalysis", self, CONSTRAINTS)
        if self.n_train is not None:
            check_integer("n_train", self.n_train, 10)
        if self.validation + self.test >= 1:
            raise ValueError(
                "validation and test must leave a share to train on; got "
                f"{self.validation} and {self.test}. Lower them."
            )

    def _check_head(self, targets: Targets | None) -> None:
        if self.head != "logistic" or (targets is not None and targets.classes is not None):
            return
        remedy = "Give labels to fit as y"
        if targets is not None:
            remedy = "The floats of y are read as real numbers: give labels as integers or text"
        raise ValueError(
            f"head must be 'ridgeless' or 'ridge' without labels; got {self.head!r}. {remedy}, or "
            "choose another head."
        )

    def _designs(
        self, representation: Representation, data: SeriesData, targets: Targets | None, seed: int
    ) -> DesignMatrices:
        """Rows of the split, their responses, and their features of all sizes."""
        sizes = self._sizes(representation, data)
        features = representation.freeze(data.training, sizes, seed)
        if targets is None:
            response = future_values(data.panel, self.horizon, segment=self.task == "next_segment")
        else:
            response = targets.response(data.included)
        split = split_rows(
            data.panel,
            response,
            features.usable(data.panel),
            horizon=self.horizon,
            shares=self._shares,
            n_train=self.n_train,
        )
        classes = None if targets is None else targets.classes
        if classes is not None:
            split = self._check_classes(split, classes)
        if self.sizes is None and features.nested:  # the number of training rows is known now
            sizes = default_sizes(len(split.train), max(sizes))
        return DesignMatrices(data.panel, features, split, sizes, rescale=classes is None)

    def _sizes(self, representation: Representation, data: SeriesData) -> list[int]:
        """Sizes to measure; by an upper bound of the training rows, as features are unknown."""
        limit = representation.max_size(data.training)
        points = int((data.training.lengths - self.horizon).clamp(min=0).sum())
        n_train = min(points, self.n_train or points)
        given = self.sizes
        sizes = default_sizes(n_train, limit) if given is None else check_sizes(given, limit)
        evaluated = min(len(data.panel.values) - points, 2 * MAX_EVALUATION_ROWS)
        extra = min(points - n_train, MAX_EVALUATION_ROWS)
        check_memory(n_train + evaluated + extra, max(sizes))
        return sizes

    def _check_classes(self, split: Split, classes: list[Any]) -> Split:
        """Drop classes without training rows, which must not occur among the others."""
        known = split.train.response.sum(dim=0) > 0
        for rows, name in ((split.validation, "validation"), (split.test, "test")):
            new = (rows.response.sum(dim=0) > 0) & ~known
            if bool(new.any()):
                label = classes[int(new.nonzero()[0])]
                raise ValueError(
                    "y must have every label among the training rows; got "
                    f"{label!r} only in the {name} rows. Give more rows (n_train=None), or leave "
                    "the label out."
                )
        kept = known.nonzero()[:, 0].tolist()
        if len(kept) < 2:
            raise ValueError(
                "y must have at least two labels among the training rows; got "
                f"{[classes[k] for k in kept]}. Give more rows (n_train=None)."
            )
        self.classes_ = np.array([classes[k] for k in kept])
        extra = split.extra.select(split.extra.response[:, known].any(dim=1))
        parts = (*split.measured, extra)
        return Split(*(replace(rows, response=rows.response[:, known]) for rows in parts))

    def _per_series(
        self,
        panel: Panel,
        data: SeriesData,
        kind: str,
        sizes: list[int | None],
        forecasts: bool,
        seed: int,
    ) -> pd.DataFrame:
        """A row for each series of the frame; values are missing for excluded ones."""
        ids = data.panel.labels.ids
        table = pd.DataFrame({"size": pd.array(sizes, dtype="Int64")}, index=ids)
        if forecasts:
            max_order = Lags().max_size(data.training)
            table = table.join(autoregression_table(data.panel, self._shares, max_order))
        if kind == "hmm":
            selected = select_n_components(data.training, seed)
            states = pd.Series(selected, index=ids[: len(selected)], dtype="Int64")
            table["n_components"] = states.reindex(ids)
        table = table.reindex(panel.labels.ids)
        table["excluded"] = pd.Series(data.excluded, dtype=object).reindex(table.index)
        return table.rename_axis("unique_id")

    def _summary(self, kind: str, split: Split, data: SeriesData) -> pd.Series:
        advice = self._advice
        return pd.Series(
            {
                "representation": kind,
                "n_train": len(split.train),
                "n_validation": len(split.validation),
                "n_test": len(split.test),
                "effective_sample_size": advice.effective_sample_size,
                "null_risk": advice.null_risk,
                "min_test_risk": float(self.curves_["test"].min()),
                "latent_dimension": advice.latent_dimension,
                "n_series": len(data.panel),
                "n_excluded": len(data.excluded),
            },
            name="ComplexityAnalysis",
        )


CONSTRAINTS: dict[str, Constraint] = {
    "head": one_of(("ridgeless", "ridge", "logistic")),
    "task": one_of(("next_step", "next_segment")),
    "horizon": integer(1),
    "validation": POSITIVE_FRACTION,
    "test": POSITIVE_FRACTION,
    "n_bootstrap": integer(2),
}
