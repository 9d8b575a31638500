"""The recommended size and penalty, with the risks that support it, as a record and as text."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from tsar.complexity.risk import RiskCurves
from tsar.complexity.selection import THRESHOLD_RANGE, eligible, smallest_within_std_err

UNITS = {"lags": "lags", "hmm": "states", "linear_gaussian": "states"}
# Rows per feature, and features per row, that are far from the interpolation threshold.
FAR_RATIO = 5


@dataclass(frozen=True)
class Advice:
    """The recommended size and its evidence; ``str(advice)`` explains it.

    Attributes
    ----------
    size, head, penalty
        To use; size 0 stands for the mean.
    requested_head
        The head of the analysis.
    n_sizes
        Sizes that were compared with the mean: of ridgeless heads, those outside
        `threshold_range`.
    n_train, effective_sample_size
        Training rows, and the number of independent rows with the same information.
    validation_risk, test_risk, test_std_err
        Risks of the recommended head, and the standard error of its test risk.
    null_risk
        Test risk of the mean.
    best_size
        Size of least validation risk, before the one-standard-error rule.
    share_best, share_better_than_mean
        Shares of the bootstrap samples of the validation rows in which the recommended head has the
        least risk of all, and less risk than the mean.
    peak_risk
        Largest test risk of a ridgeless head in `threshold_range`; None if none was measured.
    ridge_size, ridge_penalty, ridge_validation_risk, ridge_test_risk
        The tuned ridge head of least validation risk; None with a logistic head.
    latent_dimension
        Principal components of the features before the largest eigengap.
    max_size, max_decomposed_size
        The largest size measured, and the largest with a bias and variance.
    order
        For ``ARNet(order)`` and ``SpaceTime(state_size=...)``: the number of lags, but at least 1.
        None unless the features are lags.
    hidden
        For ``AutoTimes(hidden=...)`` or ``ARNet(hidden=...)``: the widths of hidden layers, one of
        as many units as there are random features, or none. None unless the features are random.
    unit
        What a feature is: "features", "lags" or "states".
    """

    size: int
    head: str
    requested_head: str
    n_sizes: int
    penalty: float
    n_train: int
    effective_sample_size: float
    validation_risk: float
    test_risk: float
    test_std_err: float
    null_risk: float
    best_size: int
    share_best: float
    share_better_than_mean: float
    peak_risk: float | None
    ridge_size: int | None
    ridge_penalty: float | None
    ridge_validation_risk: float | None
    ridge_test_risk: float | None
    latent_dimension: int
    max_size: int
    max_decomposed_size: int
    order: int | None
    hidden: tuple[int, ...] | None
    unit: str

    @property
    def state_size(self) -> int | None:
        """The order: a SpaceTime layer needs a state of that size to hold as many lags."""
        return self.order

    @property
    def threshold_range(self) -> tuple[int, int]:
        """Sizes that need a penalty: from half the training rows to twice as many."""
        low, high = (int(ratio * self.n_train) for ratio in THRESHOLD_RANGE)
        return low, high

    def __str__(self) -> str:
        reasons = [
            self._risks(),
            self._evidence(),
            self._threshold(),
            self._ridge(),
            self._undecomposed(),
            self._latent_dimension(),
            f"The {self.n_train:,} training rows are serially dependent: by the autocorrelation of "
            f"the errors they are worth {self.effective_sample_size:,.0f} independent rows.",
            "The minimum of the excess risk at size zero is trivial: excess risk is measured "
            "against the best head of the same size. The total risk is "
            f"{self.null_risk:.4g} at size zero and {self.test_risk:.4g} here.",
        ]
        return "\n".join([self._recommendation(), *(f"- {line}" for line in reasons if line)])

    def _recommendation(self) -> str:
        if self.size == 0:
            return f"Use no {self.unit} but the mean: {self._why_mean()}."
        heads = {
            "ridgeless": "least squares without a penalty",
            "ridge": f"a ridge penalty of {self.penalty:.3g}",
            "logistic": "a logistic head",
        }
        return f"Use {self._count(self.size)} with {heads[self.head]}."

    def _why_mean(self) -> str:
        if not self.n_sizes:
            low, high = self.threshold_range
            return (
                f"all sizes measured are between {low:,} and {high:,}, where a head without a "
                "penalty is unreliable"
            )
        unpenalized = " without a penalty" if self.requested_head == "ridgeless" else ""
        return f"no size{unpenalized} is better by more than one standard error"

    def _risks(self) -> str:
        return (
            f"Total risk {self.test_risk:.4g} (standard error {self.test_std_err:.2g}) on the test "
            f"rows and {self.validation_risk:.4g} on the validation rows, by which it was chosen; "
            f"the mean has {self.null_risk:.4g}."
        )

    def _evidence(self) -> str:
        if not self.n_sizes:
            return ""
        if self.size == self.best_size:
            text = "It has the least validation risk."
            if self.size == self.max_size:
                text += " It is also the largest size measured: a larger one may be better."
        else:
            text = (
                "It is the smallest size within one standard error of the least validation risk, "
                f"that of {self.best_size:,}."
            )
        share = (
            f" It is the best in {self.share_best:.0%} of bootstrap samples of the validation rows"
        )
        if self.size:
            share += f", and better than the mean in {self.share_better_than_mean:.0%}"
        return f"{text}{share}."

    def _threshold(self) -> str:
        low, high = self.threshold_range
        if self.requested_head == "logistic" or self.max_size < low:
            return ""
        peak = "" if self.peak_risk is None else f" (test risk up to {self.peak_risk:.4g} here)"
        return (
            f"Avoid {low:,} to {high:,} {self.unit} without ridge: the variance peaks near the "
            f"interpolation threshold p = n = {self.n_train:,}{peak}."
        )

    def _ridge(self) -> str:
        if self.ridge_validation_risk is None or self.requested_head != "ridgeless":
            return ""
        tuned = (
            f"{self._count(self.ridge_size)} with a penalty of {self.ridge_penalty:.3g} have a "
            f"validation risk of {self.ridge_validation_risk:.4g} "
            f"(test: {self.ridge_test_risk:.4g})."
        )
        # By the digits that are printed: risks that look equal are no reason to change.
        if float(f"{self.ridge_validation_risk:.4g}") < float(f"{self.validation_risk:.4g}"):
            return f"Better still, tune a ridge (head='ridge'), which has no peak: {tuned}"
        few, many = self.n_train // FAR_RATIO, FAR_RATIO * self.n_train
        if self.max_size < self.n_train or few < self.size < many:
            return f"With a tuned ridge, {tuned}"
        return (
            f"If {self.unit} are cheap, take at most n/{FAR_RATIO} = {few:,}, at least "
            f"{FAR_RATIO}n = {many:,}, or tune a ridge, which has no peak: {tuned}"
        )

    def _undecomposed(self) -> str:
        if self.requested_head == "logistic" or self.max_decomposed_size == self.max_size:
            return ""
        return (
            f"Bias and variance are known up to {self._count(self.max_decomposed_size)}: the "
            "training and validation rows do not determine the best head of more."
        )

    def _latent_dimension(self) -> str:
        if self.latent_dimension <= 1 or self.order is not None:
            return ""
        return (
            f"The largest eigengap of the features is after {self.latent_dimension} principal "
            "components. If features reflect a few latent states, and there are fewer of these "
            "than rows, expect the least total risk near that size."
        )

    def _count(self, size: int | None) -> str:
        return f"1 {self.unit[:-1]}" if size == 1 else f"{size:,} {self.unit}"


def advise(
    curves: RiskCurves, head: str, *, n_train: int, latent_dimension: int, kind: str
) -> Advice:
    """Choose a size by the validation rows; the test rows are only reported.

    `kind` is the name of the representation, which decides what a size stands for.
    """
    table = curves.table
    candidates = torch.from_numpy(eligible(table, head).nonzero()[0])
    losses = curves.losses[candidates]
    selected, best = smallest_within_std_err(losses, curves.samples)
    risks = losses[:, curves.samples].mean(dim=2)
    row, best_row = table.iloc[int(candidates[selected])], table.iloc[int(candidates[best])]
    size = int(row["size"])
    return Advice(
        size=size,
        head=str(row["head"]),
        requested_head=head,
        n_sizes=len(candidates) - 1,
        penalty=float(row["penalty"]),
        n_train=n_train,
        effective_sample_size=_effective_sample_size(table, best_row, n_train),
        validation_risk=float(row["validation"]),
        test_risk=float(row["test"]),
        test_std_err=float(row["test_std_err"]),
        null_risk=float(table["test"].iloc[0]),
        best_size=int(best_row["size"]),
        share_best=float((risks.argmin(dim=0) == selected).double().mean()),
        share_better_than_mean=float((risks[selected] < risks[0]).double().mean()),
        peak_risk=_peak_risk(table),
        latent_dimension=latent_dimension,
        max_size=int(table["size"].max()),
        max_decomposed_size=int(table["size"].where(table["excess"].notna(), 0).max()),
        order=max(size, 1) if kind == "lags" else None,
        hidden=((size,) if size else ()) if kind == "random" else None,
        unit=UNITS.get(kind, "features"),
        **_best_ridge(table),
    )


def _effective_sample_size(table: pd.DataFrame, row: pd.Series, n_train: int) -> float:
    """By the errors of a candidate, or of the first that has any: the mean has none."""
    value = row["effective_sample_size"]
    if pd.isna(value):
        value = table["effective_sample_size"].dropna().iloc[0]
    return min(float(value), float(n_train))


def _peak_risk(table: pd.DataFrame) -> float | None:
    near = table["ratio"].between(*THRESHOLD_RANGE) & (table["head"] == "ridgeless")
    return float(table["test"][near].max()) if near.any() else None


def _best_ridge(table: pd.DataFrame) -> dict[str, Any]:
    names = ("ridge_size", "ridge_penalty", "ridge_validation_risk", "ridge_test_risk")
    ridge = table[table["head"] == "ridge"]
    if not len(ridge):
        return dict.fromkeys(names)
    row = ridge.loc[ridge["validation"].idxmin()]
    numbers = (float(row[name]) for name in ("penalty", "validation", "test"))
    return dict(zip(names, (int(row["size"]), *numbers), strict=True))
