"""Text tables for `summary()`, in the layout of statsmodels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.iolib.table import SimpleTable
from statsmodels.iolib.tableformatting import fmt_params

Floats = NDArray[np.float64]
WIDTH = 78
MAX_NAME = 40  # characters of a name in a table


def fact_table(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Table of facts (label, value) in two columns.

    Examples
    --------
    >>> print(fact_table("AR", [("lags", "1"), ("points", "99")]))
                                           AR
    ==============================================================================
    lags                                 1  points                              99
    ==============================================================================
    """
    return "\n".join([title.center(WIDTH).rstrip(), "=" * WIDTH, *_two_columns(facts), "=" * WIDTH])


def coefficient_table(
    title: str,
    facts: Sequence[tuple[str, str]],
    names: Sequence[str],
    coef: Floats,
    std_err: Floats | None,
) -> str:
    """Facts in two columns, then each coefficient with its inference.

    Standard error, z statistic, p value and 95 % interval as in statsmodels; without `std_err` the
    coefficients alone.

    Examples
    --------
    >>> import numpy as np
    >>> print(coefficient_table("AR", [("lags", "1")], ["y.L1"], np.array([0.5]), np.array([0.1])))
                                           AR
    ==============================================================================
    lags                                 1
    ==============================================================================
                     coef    std err          z      P>|z|      [0.025      0.975]
    ------------------------------------------------------------------------------
    y.L1           0.5000      0.100      5.000      0.000       0.304       0.696
    ==============================================================================
    """
    head = fact_table(title, facts).rpartition("\n")[0]
    if std_err is None:
        header, body = ["coef"], [[_format(value, 4)] for value in coef]
    else:
        header = ["coef", "std err", "z", "P>|z|", "[0.025", "0.975]"]
        body = [_inference(*pair) for pair in zip(coef, std_err, strict=True)]
    table = SimpleTable(body, header, list(names), txt_fmt=fmt_params)
    return f"{head}\n{table.as_text()}"


def _two_columns(facts: Sequence[tuple[str, str]]) -> list[str]:
    cells = [f"{name:<24}{value:>14}" for name, value in facts]
    half = -(-len(cells) // 2)
    right = [*cells[half:], *[""] * (2 * half - len(cells))]
    return [f"{a}  {b}".rstrip() for a, b in zip(cells[:half], right, strict=True)]


def _inference(coef: float, std_err: float) -> list[str]:
    """Cells of one coefficient; dashes without a standard error, as for a lag that was left out."""
    if not std_err > 0:
        return [_format(coef, 4), *["-"] * 5]
    z, half = coef / std_err, norm.ppf(0.975) * std_err
    bounds = (_format(bound, 3) for bound in (coef - half, coef + half))
    p = f"{2 * norm.sf(abs(z)):.3f}"
    return [_format(coef, 4), _format(std_err, 3), _format(z, 3), p, *bounds]


def _format(value: float, digits: int) -> str:
    """Format as statsmodels does: scientific where fixed decimals show too few or many digits."""
    fixed = value == 0 or 1e-4 <= abs(value) < 1e4
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"


def shorten(name: object) -> str:
    """Text of a name; long ones are elided in the middle.

    Examples
    --------
    >>> shorten("a" * 30 + "b" * 30)
    'aaaaaaaaaaaaaaaaaaa...bbbbbbbbbbbbbbbbbb'
    """
    text = str(name)
    rest = MAX_NAME - len("...")
    return text if len(text) <= MAX_NAME else f"{text[: -(-rest // 2)]}...{text[-(rest // 2) :]}"


def series_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Table with a row of cells for each series, its name first.

    Examples
    --------
    >>> print(series_table("AR", ["series", "lags"], [["a", "1"]]))
    AR
    series lags
         a    1
    """
    cells = [[shorten(name), *rest] for name, *rest in rows]
    return f"{title}\n{pd.DataFrame(cells, columns=list(header)).to_string(index=False)}"


def series_row(ids: list[Any], series: Any) -> int:
    """Row of a fitted series; None: the first."""
    if series is None:
        return 0
    if series not in ids:
        raise ValueError(f"series must be one of those fitted; got {series!r}. They are {ids[:5]}.")
    return ids.index(series)
