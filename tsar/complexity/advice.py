"""What to do about it: the size or the penalty to use, why, and how sure that is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.complexity.risk import Curves

ZONE = (0.5, 2.0)  # features a row between which a head without a penalty is not to be trusted
UNITS = {"lags": "lags", "hmm": "states", "linear_gaussian": "states"}
FEW, MANY = 5, 5  # rows a feature, and features a row, that are out of the peak's reach


@dataclass(frozen=True)
class Advice:
    """The size to use and what speaks for it; as text, what a person needs to know.

    Attributes
    ----------
    size, head, penalty
        To use; 0 features stand for the mean.
    asked
        The head that a size was asked for.
    sizes
        How many were compared with the mean: without a penalty, those out of the zone to avoid.
    rows, effective_rows
        Training rows that this holds for, and what they are worth with their dependence.
    validation, test, test_error
        Risks of that head, and the standard error of the last.
    null
        Test risk of the mean.
    best_size
        Of the least validation risk, before the rule of one standard error.
    wins, beats_mean
        Shares of the block bootstrap samples of the validation rows in which this head has the
        least risk of all, and less than the mean.
    peak
        Highest test risk without a penalty within the zone to avoid; None if it was not measured.
    ridge_size, ridge_penalty, ridge_validation, ridge_test
        The tuned ridge head of least validation risk; None with a logistic head.
    latent_dimension
        Directions before the largest gap in the spectrum of the features.
    largest, decomposed
        The most features that were measured, and the most whose bias and variance were told.
    unit
        What a feature is: "features", "lags" or "states".
    order
        For ``ARNet(order)``, whose lags these are, and ``SpaceTime(state_size=...)``: of windows of
        lags only. 1 where the mean is advised, the nearest to it that there is.
    width
        For ``AutoTimes(hidden=...)`` or ``ARNet(hidden=[...])``: of random features only, whose
        size is the width of a hidden layer; 0 for none.
    """

    size: int
    head: str
    asked: str
    sizes: int
    penalty: float
    rows: int
    effective_rows: float
    validation: float
    test: float
    test_error: float
    null: float
    best_size: int
    wins: float
    beats_mean: float
    peak: float | None
    ridge_size: int | None
    ridge_penalty: float | None
    ridge_validation: float | None
    ridge_test: float | None
    latent_dimension: int
    largest: int
    decomposed: int
    order: int | None
    width: int | None
    unit: str

    @property
    def state_size(self) -> int | None:
        """The order, which is the state that a SpaceTime layer needs to hold as many lags."""
        return self.order

    @property
    def zone(self) -> tuple[int, int]:
        """Numbers of features that need a penalty: from half to twice the rows."""
        return int(ZONE[0] * self.rows), int(ZONE[1] * self.rows)

    def __str__(self) -> str:
        return "\n".join([self._verdict(), *(f"- {line}" for line in self._reasons())])

    def _verdict(self) -> str:
        if self.size == 0:
            return f"Use no {self.unit}, but the mean: {self._why_none()}."
        kinds = {
            "ridgeless": "least squares without a penalty",
            "ridge": f"a ridge penalty of {self.penalty:.3g}",
            "logistic": "a logistic head",
        }
        return f"Use {self._count(self.size)} with {kinds[self.head]}."

    def _why_none(self) -> str:
        if not self.sizes:
            low, high = self.zone
            return (
                f"every size that was measured lies between {low:,} and {high:,}, where a head "
                "without a penalty is not to be trusted"
            )
        bare = " without a penalty" if self.asked == "ridgeless" else ""
        return f"no size{bare} beats it by more than chance may give"

    def _reasons(self) -> list[str]:
        low, high = self.zone
        better = f", in {self.beats_mean:.0%} better than the mean" if self.size else ""
        lines = [
            f"Total risk {self.test:.4g} (standard error {self.test_error:.2g}) on the test rows, "
            f"{self.validation:.4g} on those it was chosen by; "
            f"the mean alone has {self.null:.4g}.",
        ]
        if self.sizes:
            lines.append(
                f"{self._standing()} In {self.wins:.0%} of bootstrap samples of them it is the "
                f"best of all{better}."
            )
        peak = "" if self.peak is None else f" (test risk up to {self.peak:.4g} here)"
        if self.asked != "logistic" and self.largest >= low:
            lines.append(
                f"Avoid {low:,} to {high:,} {self.unit} without ridge: around "
                f"p = n = {self.rows:,} the variance has its peak{peak}."
            )
        if self.ridge_test is not None and self.asked == "ridgeless":
            lines.append(self._tuned())
        if self.asked != "logistic" and self.decomposed < self.largest:
            lines.append(
                f"Bias and variance are told up to {self._count(self.decomposed)}: the best head "
                "of more is not determined by the rows outside the test stretch."
            )
        if self.latent_dimension > 1 and self.order is None:
            lines.append(
                f"The largest gap in the spectrum of the features is behind "
                f"{self.latent_dimension} directions. Where features show a few latent states, and "
                "there are fewer of them than rows, the least total risk stands near there."
            )
        lines.append(
            f"The {self.rows:,} training rows depend on each other: by the autocorrelation "
            f"of the errors they are worth {self.effective_rows:,.0f} independent ones."
        )
        lines.append(
            "The sweet spot at size zero is a statement about excess risk, what is lost beside "
            "the best head of the same size, and not about total risk: that is "
            f"{self.null:.4g} at size zero and {self.test:.4g} here."
        )
        return lines

    def _tuned(self) -> str:
        """What a penalty would do."""
        tuned = (
            f"{self._count(self.ridge_size)} with a penalty of {self.ridge_penalty:.3g} have a "
            f"validation risk of {self.ridge_validation:.4g} (test: {self.ridge_test:.4g})."
        )
        # By the digits that are shown: risks that look the same are no reason to change.
        if float(f"{self.ridge_validation:.4g}") < float(f"{self.validation:.4g}"):
            return f"Better still, tune a ridge (head='ridge'), which has no peak: {tuned}"
        few, many = self.rows // FEW, MANY * self.rows
        if self.largest < self.rows or few < self.size < many:
            return f"With a tuned ridge, {tuned}"
        return (
            f"If {self.unit} are cheap, take at most n/{FEW} = {few:,}, at least "
            f"{MANY}n = {many:,}, or tune a ridge, which has no peak: {tuned}"
        )

    def _count(self, size: int | None) -> str:
        return f"1 {self.unit[:-1]}" if size == 1 else f"{size:,} {self.unit}"

    def _standing(self) -> str:
        if self.size == self.best_size:
            edge = (
                " It is also the largest that was measured: more may be better."
                if self.size == self.largest
                else ""
            )
            return f"It has the least risk on the validation rows.{edge}"
        return (
            "It is the smallest size within one standard error of the least risk on the validation "
            f"rows, that of {self.best_size:,}."
        )


def advise(curves: Curves, head: str, *, rows: int, latent_dimension: int, kind: str) -> Advice:
    """Choose a size by the validation rows; the test rows only report.

    Without a penalty, sizes between half and twice the rows are left out.

    Parameters
    ----------
    head
        ``"ridgeless"``, ``"ridge"`` or ``"logistic"``.
    rows
        Training rows.
    latent_dimension
        See `latent_dimension`.
    kind
        The representation, for what sizes stand for.
    """
    table = curves.table
    pool = torch.from_numpy(trusted(table, head).nonzero()[0])
    chosen, best = smallest_near_best(curves.losses[pool], curves.drawn)
    means = curves.losses[pool][:, curves.drawn].mean(dim=2)
    row = table.iloc[int(pool[chosen])]
    size = int(row["size"])
    return Advice(
        size=size,
        head=str(row["head"]),
        asked=head,
        sizes=len(pool) - 1,
        penalty=float(row["penalty"]),
        rows=rows,
        effective_rows=_worth(table, int(pool[best]), rows),
        validation=float(row["validation"]),
        test=float(row["test"]),
        test_error=float(row["test_error"]),
        null=float(table["test"].iloc[0]),
        best_size=int(table["size"].iloc[int(pool[best])]),
        wins=float((means.argmin(dim=0) == chosen).double().mean()),
        beats_mean=float((means[chosen] < means[0]).double().mean()),
        peak=_peak(table),
        latent_dimension=latent_dimension,
        largest=int(table["size"].max()),
        decomposed=int(table["size"].where(table["excess"].notna(), 0).max()),
        order=max(size, 1) if kind == "lags" else None,
        width=size if kind == "random" else None,
        unit=UNITS.get(kind, "features"),
        **_ridge(table),
    )


def trusted(table: pd.DataFrame, head: str) -> NDArray[np.bool_]:
    """Candidates that may be recommended: without a penalty none near one feature a row."""
    allowed = table["head"].isin(["mean", head])
    if head == "ridgeless":
        allowed &= (table["ratio"] <= ZONE[0]) | (table["ratio"] >= ZONE[1])
    return np.asarray(allowed)


def smallest_near_best(
    losses: Float[Tensor, "candidate row"], drawn: Int[Tensor, "draw row"]
) -> tuple[int, int]:
    """The first candidate within one standard error of the best, and the best.

    The error is that of the difference of both, by blocks of rows.

    Examples
    --------
    >>> losses = torch.tensor([[2.0, 2.0], [1.0, 1.2], [1.1, 1.0]])
    >>> smallest_near_best(losses, torch.tensor([[0, 0], [1, 1], [0, 1]]))
    (1, 2)
    """
    best = int(losses.mean(dim=1).argmin())
    beyond = losses - losses[best]
    error = beyond[:, drawn].mean(dim=2).std(dim=1)
    near = beyond.mean(dim=1) <= error
    near[best] = True
    return int(near.long().argmax()), best


def latent_dimension(features: Float[Tensor, "row feature"]) -> int:
    """Directions before the largest gap in the spectrum of features, 0 if there are none.

    The gap is the largest ratio of consecutive eigenvalues of the covariance, in the first half of
    those that are not rounding.

    Examples
    --------
    >>> strong = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> weak = torch.randn(100, 20, generator=torch.Generator().manual_seed(1))
    >>> latent_dimension(torch.cat([9 * strong, weak], dim=1).double())
    3
    """
    around = features - features.mean(dim=0)
    around = around if len(around) <= around.shape[1] else around.T
    # Of products, in a fifth of the time of singular values: none below 1e-10 counts.
    values = torch.linalg.eigvalsh(around @ around.T).flip(0)
    values = values[values > 1e-10 * values[:1]]
    half = values[: max(len(values) // 2, 2)]
    return int((half[:-1] / half[1:]).argmax()) + 1 if len(half) > 1 else len(half)


def _worth(table: pd.DataFrame, row: int, rows: int) -> float:
    """Effective rows by the errors of the best candidate, or of the first that has them."""
    known = table["effective_rows"]
    value = known.iloc[row] if known.notna().iloc[row] else known.dropna().iloc[0]
    return min(float(value), float(rows))


def _peak(table: pd.DataFrame) -> float | None:
    inside = table["ratio"].between(*ZONE) & (table["head"] == "ridgeless")
    return float(table["test"][inside].max()) if inside.any() else None


def _ridge(table: pd.DataFrame) -> dict[str, Any]:
    names = ("ridge_size", "ridge_penalty", "ridge_validation", "ridge_test")
    ridge = table[table["head"] == "ridge"]
    if not len(ridge):
        return dict.fromkeys(names)
    row = ridge.loc[ridge["validation"].idxmin()]
    risks = float(row["validation"]), float(row["test"])
    values = (int(row["size"]), float(row["penalty"]), *risks)
    return dict(zip(names, values, strict=True))
