"""Layout of summary tables, and their numbers against statsmodels."""

import math
import re

import numpy as np
import pytest
import statsmodels.api as sm

from tsar.forecasters.summary import WIDTH, coefficient_table, series_table

TABLE = """\
                                   A title
==============================================================================
series                               a  sigma                             1.25
windows                             97
==============================================================================
                 coef    std err          z      P>|z|      [0.025      0.975]
------------------------------------------------------------------------------
const         12.3457          -          -          -           -           -
y.L1           0.5000      0.100      5.000      0.000       0.304       0.696
y.L24         -0.1000      0.200     -0.500      0.617      -0.492       0.292
=============================================================================="""


def test_the_coefficient_table_has_the_layout_of_statsmodels() -> None:
    facts = [("series", "a"), ("windows", "97"), ("sigma", "1.25")]
    names = ["const", "y.L1", "y.L24"]
    coef, std_err = np.array([12.345678, 0.5, -0.1]), np.array([math.nan, 0.1, 0.2])
    assert coefficient_table("A title", facts, names, coef, std_err) == TABLE


def test_without_errors_it_shows_the_coefficients_alone() -> None:
    table = coefficient_table("AR", [], ["const", "y.L1"], np.array([1.0, -0.25]), None)
    assert "std err" not in table
    assert [line.split() for line in table.splitlines()[-3:-1]] == [
        ["const", "1.0000"],
        ["y.L1", "-0.2500"],
    ]


def test_numbers_are_those_of_statsmodels() -> None:
    noise = np.random.default_rng(0).normal(size=(50, 4))
    matrix = noise[:, :3] * [1.0, 1e7, 1e-7]
    fit = sm.GLM(matrix @ [1.0, 2e-8, 0.0] + noise[:, 3], matrix).fit()
    table = coefficient_table("", [], ["x1", "x2", "x3"], fit.params, fit.bse)
    rows = [line for line in table.splitlines() if line.startswith("x")]
    known = [line for line in fit.summary().tables[1].as_text().splitlines() if line[0] == "x"]
    assert [row.split() for row in rows] == [row.split() for row in known]
    header = "coef std err z P>|z| [0.025 0.975]"
    assert header in re.sub(" +", " ", table)


@pytest.mark.parametrize("std_err", [0.0, math.nan])
def test_a_coefficient_without_a_standard_error_has_dashes(std_err: float) -> None:
    table = coefficient_table("AR", [], ["y.L1"], np.array([0.5]), np.array([std_err]))
    assert table.splitlines()[-2].split() == ["y.L1", "0.5000", *["-"] * 5]


def test_long_names_and_many_facts_keep_their_columns() -> None:
    facts = [(f"fact {k}", str(k)) for k in range(5)]
    table = coefficient_table("T", facts, ["a long name.L12"], np.array([1.0]), np.array([1.0]))
    lines = table.splitlines()
    assert lines[2:5] == [
        f"{'fact 0':<24}{0:>14}  {'fact 3':<24}{3:>14}",
        f"{'fact 1':<24}{1:>14}  {'fact 4':<24}{4:>14}",
        f"{'fact 2':<24}{2:>14}",
    ]
    assert max(map(len, lines[:5])) == WIDTH
    assert lines[-2].startswith("a long name.L12")


def test_the_series_table_has_a_row_for_each_series() -> None:
    table = series_table("AR", ["series", "lags used"], [["a", "1 of 3"], ["bcd", "12 of 3"]])
    assert table.splitlines() == ["AR", "series lags used", "     a    1 of 3", "   bcd   12 of 3"]


def test_long_names_are_elided_in_the_middle() -> None:
    rows = [["north/" + "x" * 90 + "/1", "3"], ["north/" + "x" * 90 + "/2", "4"]]
    text = series_table("AR", ["series", "lags"], rows)
    assert max(map(len, text.splitlines())) < 50
    assert "xxx/1" in text and "xxx/2" in text
