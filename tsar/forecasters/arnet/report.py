"""Text of `ARNet.summary`: a table of one group's coefficients, or a row per group."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tsar.data.panel import Columns
from tsar.forecasters.summary import coefficient_table, series_table, shorten
from tsar.plotting import plot_coefficients

Floats = NDArray[Any]


@runtime_checkable
class Fitted(Protocol):
    """Attributes of a fitted `ARNet` that the summary reads."""

    strategy: str
    scope: str
    sparsity: object
    loss: str
    order_: int
    n_groups_: int
    lags_: list[list[int]]
    coef_: Floats
    intercept_: Floats
    past_coef_: Floats
    future_coef_: Floats

    @property
    def holds_back(self) -> bool:
        """Whether the model was trained, and so has no standard errors or criteria."""


def group_row(names: Sequence[Any], series: Any) -> int:
    """Row of a series among the groups; None: the first."""
    if series is None:
        return 0
    if series not in names:
        raise ValueError(
            f"series must be one of those fitted; got {series!r}. They are {list(names[:5])}."
        )
    return list(names).index(series)


def overview(model: Fitted, names: Sequence[Any]) -> str:
    """Title, and a row of facts per group."""
    rows = [[str(name), *cells] for name, cells in zip(names, _cells(model), strict=True)]
    return series_table(_title(model), ["series", *_header(model)], rows)


def details(model: Fitted, names: Sequence[Any], row: int, columns: Columns) -> str:
    """Title, facts and coefficients of one group."""
    cells = zip(_header(model), _cells(model)[row], strict=True)
    terms, coef, std_err = _first_equation(model, row, columns)
    facts = [("series", shorten(names[row])), *cells]
    return coefficient_table(_title(model), facts, terms, coef, std_err)


def draw_coefficients(model: Any, names: Sequence[Any], series: Any, ax: Any) -> Any:
    """Plot the coefficients of one group, of the first step."""
    row = group_row(names, series)
    coef = np.atleast_2d(model.coef_[row])[0]
    std_err = None if model.holds_back else np.atleast_2d(model.coef_std_err_[row])[0]
    return plot_coefficients(coef, std_err, title=f"ARNet: {names[row]}", ax=ax)


def _title(model: Fitted) -> str:
    kind = f"{model.strategy}, {model.scope}, order {model.order_}"
    return f"ARNet ({kind}, sparsity {model.sparsity}, loss {model.loss})"


def _header(model: Fitted) -> list[str]:
    closed_form = [] if model.holds_back else ["observations", "sigma", "AIC", "BIC"]
    recursive = ["stable", "persistence"] if model.strategy == "recursive" else []
    return ["lags used", *closed_form, *recursive]


def _cells(model: Any) -> list[list[str]]:
    """Values of the columns of `_header`, a row per group."""
    columns = [[f"{len(lags)} of {model.order_}" for lags in model.lags_]]
    if not model.holds_back:
        sigma = model.sigma_.reshape(model.n_groups_, -1)[:, 0]
        columns += [[str(n) for n in model.nobs_], [f"{s:.4g}" for s in sigma]]
        criteria = (model.aic_, model.bic_)
        columns += [[f"{value:.1f}" for value in criterion] for criterion in criteria]
    if model.strategy == "recursive":
        columns.append(["yes" if stable else "no" for stable in model.is_stable_])
        columns.append([f"{total:.4f}" for total in model.coef_.sum(axis=1)])
    return [list(cells) for cells in zip(*columns, strict=True)]


def _first_equation(
    model: Any, row: int, columns: Columns
) -> tuple[list[str], Floats, Floats | None]:
    """Names, coefficients and standard errors of the nonzero terms of the first step."""

    def first_step(values: Floats) -> Floats:
        return np.ravel(values[row] if model.strategy == "recursive" else values[row, 0])

    lags = range(1, model.order_ + 1)
    past = [f"{name}.L{lag}" for name in columns.past for lag in lags]
    names = ["const", *(f"y.L{lag}" for lag in lags), *past, *columns.future]
    parts = (model.intercept_, model.coef_, model.past_coef_, model.future_coef_)
    coef = np.concatenate([first_step(part) for part in parts])
    shown = np.flatnonzero((coef != 0) | (np.arange(len(coef)) == 0))
    std_err = None
    if not model.holds_back:
        parts = (
            *(model.intercept_std_err_, model.coef_std_err_),
            *(model.past_coef_std_err_, model.future_coef_std_err_),
        )
        std_err = np.concatenate([first_step(part) for part in parts])[shown]
    return [names[k] for k in shown], coef[shown], std_err
