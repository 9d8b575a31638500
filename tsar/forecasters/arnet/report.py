"""What `ARNet.summary` says: a table of one group's coefficients, or a line for each group."""

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
    """What the report reads of a fitted `ARNet`."""

    strategy: str
    scope: str
    sparsity: object
    loss: str
    order_: int
    groups_: int
    lags_: list[list[int]]
    coef_: Floats
    intercept_: Floats
    past_coef_: Floats
    future_coef_: Floats

    @property
    def holds_back(self) -> bool:
        """Whether something was trained, and so has no errors or criteria."""


def group_row(names: Sequence[Any], series: Any) -> int:
    """Row of a series among the groups; None: the first."""
    if series is None:
        return 0
    if series not in names:
        raise ValueError(
            f"series must be one of those fitted; got {series!r}. They are {list(names[:5])}."
        )
    return list(names).index(series)


def lines(model: Fitted, names: Sequence[Any]) -> str:
    """Title, and a line of facts for each group."""
    rows = [[str(name), *cells] for name, cells in zip(names, _cells(model), strict=True)]
    return series_table(_title(model), ["series", *_header(model)], rows)


def details(model: Fitted, names: Sequence[Any], row: int, columns: Columns) -> str:
    """Title, facts and coefficients of one group."""
    cells = zip(_header(model), _cells(model)[row], strict=True)
    terms, coef, error = _first_equation(model, row, columns)
    return coefficient_table(
        _title(model), [("series", shorten(names[row])), *cells], terms, coef, error
    )


def draw_coefficients(model: Any, names: Sequence[Any], series: Any, ax: Any) -> Any:
    """Picture of the coefficients of one group, of the first step."""
    row = group_row(names, series)
    coef = np.atleast_2d(model.coef_[row])[0]
    error = None if model.holds_back else np.atleast_2d(model.coef_se_[row])[0]
    return plot_coefficients(coef, error, title=f"ARNet: {names[row]}", ax=ax)


def _title(model: Fitted) -> str:
    what = f"{model.strategy}, {model.scope}, order {model.order_}"
    return f"ARNet ({what}, sparsity {model.sparsity}, loss {model.loss})"


def _header(model: Fitted) -> list[str]:
    closed = [] if model.holds_back else ["windows", "sigma", "AIC", "BIC"]
    recursive = ["stable", "persistence"] if model.strategy == "recursive" else []
    return ["lags used", *closed, *recursive]


def _cells(model: Any) -> list[list[str]]:
    """What `_header` names, of each group."""
    columns = [[f"{len(lags)} of {model.order_}" for lags in model.lags_]]
    if not model.holds_back:
        sigma = model.sigma_.reshape(model.groups_, -1)[:, 0]
        columns += [[str(n) for n in model.n_windows_], [f"{s:.4g}" for s in sigma]]
        columns += [[f"{value:.1f}" for value in of] for of in (model.aic_, model.bic_)]
    if model.strategy == "recursive":
        columns.append(["yes" if stable else "no" for stable in model.is_stable_])
        columns.append([f"{total:.4f}" for total in model.coef_.sum(axis=1)])
    return [list(cells) for cells in zip(*columns, strict=True)]


def _first_equation(
    model: Any, row: int, columns: Columns
) -> tuple[list[str], Floats, Floats | None]:
    """Names, coefficients and errors of the terms that are not zero, of the first step."""

    def first(values: Floats) -> Floats:
        return np.ravel(values[row] if model.strategy == "recursive" else values[row, 0])

    lags = range(1, model.order_ + 1)
    past = [f"{name}.L{lag}" for name in columns.past for lag in lags]
    names = ["const", *(f"y.L{lag}" for lag in lags), *past, *columns.future]
    parts = (model.intercept_, model.coef_, model.past_coef_, model.future_coef_)
    coef = np.concatenate([first(part) for part in parts])
    used = np.flatnonzero((coef != 0) | (np.arange(len(coef)) == 0))
    error = None
    if not model.holds_back:
        parts = (model.intercept_se_, model.coef_se_, model.past_coef_se_, model.future_coef_se_)
        error = np.concatenate([first(part) for part in parts])[used]
    return [names[k] for k in used], coef[used], error
