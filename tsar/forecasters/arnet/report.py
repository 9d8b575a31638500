"""Text of `ARNet.summary`, a table of one group's coefficients or a row per group, and its plot.

Every `model` is a fitted `ARNet`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsar.forecasters.arnet.combination.report import combination_table
from tsar.forecasters.summary import coefficient_table, series_row, series_table, shorten
from tsar.plotting import plot_coefficients

Floats = NDArray[Any]


def coefficient_summary(model: Any, series: Any) -> str:
    """Table of the coefficients of a series, or a row per group if there are several."""
    names = _group_names(model)
    if series is None and len(names) > 1:
        rows = [[str(name), *cells] for name, cells in zip(names, _cells(model), strict=True)]
        return series_table(_title(model), ["series", *_header(model)], rows)
    row = series_row(names, series)
    cells = zip(_header(model), _cells(model)[row], strict=True)
    terms, coef, std_err = _first_equation(model, row)
    facts = [("series", shorten(names[row])), *cells]
    table = coefficient_table(_title(model), facts, terms, coef, std_err)
    if _combination(model) is None:
        return table
    return f"{table}\n{combination_table(*model.combination_.of(row))}"


def draw_coefficients(model: Any, series: Any, ax: Any) -> Any:
    """Plot the coefficients of one group, of the first step."""
    names = _group_names(model)
    row = series_row(names, series)
    coef = np.atleast_2d(model.coef_[row])[0]
    std_err = np.atleast_2d(model.coef_std_err_[row])[0] if _has_std_err(model) else None
    return plot_coefficients(coef, std_err, title=f"ARNet: {names[row]}", ax=ax)


def _group_names(model: Any) -> list[Any]:
    ids = list(model.context_.labels.ids)
    if model.scope == "local":
        return ids
    return ["all series"] if model.n_groups_ == 1 else [*ids, "other series"]


def _title(model: Any) -> str:
    kind = f"{model.strategy}, {model.scope}, order {model.order_}"
    contexts = getattr(model, "contexts_", None)  # models that were saved earlier lack it
    if contexts is not None:
        return f"ARNet (direct, {model.scope}, mean of ridge regressions, order {model.order_})"
    return f"ARNet ({kind}, sparsity {model.sparsity}, loss {model.loss})"


def _header(model: Any) -> list[str]:
    closed_form = [] if model.trains else ["observations", "sigma"]
    closed_form += ["AIC", "BIC"] if _has_std_err(model) else []
    recursive = ["stable", "persistence"] if model.strategy == "recursive" else []
    combined = [] if _combination(model) is None else ["weight of levels"]
    return ["lags used", *closed_form, *recursive, *combined]


def _cells(model: Any) -> list[list[str]]:
    """Values of the columns of `_header`, a row per group."""
    columns = [[f"{len(lags)} of {model.order_}" for lags in model.lags_]]
    if not model.trains:
        sigma = model.sigma_.reshape(model.n_groups_, -1)[:, 0]
        columns += [[str(n) for n in model.nobs_], [f"{s:.4g}" for s in sigma]]
    if _has_std_err(model):
        criteria = (model.aic_, model.bic_)
        columns += [[f"{value:.1f}" for value in criterion] for criterion in criteria]
    if model.strategy == "recursive":
        columns.append(["yes" if stable else "no" for stable in model.is_stable_])
        columns.append([f"{total:.4f}" for total in model.coef_.sum(axis=1)])
    if _combination(model) is not None:
        columns.append([f"{weight:.3f}" for weight in model.combination_.equation_weights.tolist()])
    return [list(cells) for cells in zip(*columns, strict=True)]


def _first_equation(model: Any, row: int) -> tuple[list[str], Floats, Floats | None]:
    """Names, coefficients and standard errors of the nonzero terms of the first step."""

    def first_step(values: Floats) -> Floats:
        return np.ravel(values[row] if model.strategy == "recursive" else values[row, 0])

    lags, columns = range(1, model.order_ + 1), model.context_.labels.columns
    past = [f"{name}.L{lag}" for name in columns.past for lag in lags]
    names = ["const", *(f"y.L{lag}" for lag in lags), *past, *columns.future]
    parts = (model.intercept_, model.coef_, model.past_coef_, model.future_coef_)
    coef = np.concatenate([first_step(part) for part in parts])
    listed = np.flatnonzero((coef != 0) | (np.arange(len(coef)) == 0))
    if not _has_std_err(model):
        return [names[k] for k in listed], coef[listed], None
    attributes = ("intercept", "coef", "past_coef", "future_coef")
    std_err = [first_step(getattr(model, f"{name}_std_err_")) for name in attributes]
    return [names[k] for k in listed], coef[listed], np.concatenate(std_err)[listed]


def _has_std_err(model: Any) -> bool:
    """Whether the coefficients have standard errors: those of one equation for the mean."""
    averaged = getattr(model, "contexts_", None) is not None
    return not (model.trains or averaged or model.loss == "quantile")


def _combination(model: Any) -> Any:
    return getattr(model, "combination_", None)  # models that were saved earlier lack it
