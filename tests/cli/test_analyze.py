"""`tsar analyze` prints and writes what the library measures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import ComplexityAnalysis

Run = Callable[..., Any]  # the fixture of conftest.py


@pytest.fixture
def sales() -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(size=(2, 300))
    noise[:, 2:] += 0.9 * noise[:, :-2]
    frames = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=300), "y": y})
        for name, y in zip(("east", "west"), noise, strict=True)
    ]
    flat = frames[0].assign(unique_id="flat", y=1.0)
    return pd.concat([*frames, flat], ignore_index=True)


@pytest.fixture
def path(sales: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    sales.to_csv(path, index=False)
    return path


def fitted_analysis(frame: pd.DataFrame, **options: Any) -> ComplexityAnalysis:
    return ComplexityAnalysis("lags", n_train=100, random_state=0, **options).fit(frame)


def test_analyze_prints_and_writes_the_advice_and_tables(
    run: Run, path: Path, sales: pd.DataFrame, tmp_path: Path
) -> None:
    curves, picture = tmp_path / "curves.csv", tmp_path / "curves.png"
    words = ("--representation", "lags", "--rows", 100, "--output", curves, "--plot", picture)
    done = run("analyze", path, *words)
    expected = fitted_analysis(sales)
    assert str(expected.recommend()) in done.out
    assert "flat was excluded: constant." in done.out
    assert "east" in done.out and "west" in done.out
    pd.testing.assert_frame_equal(pd.read_csv(curves), expected.curves_, check_dtype=False)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert str(curves) in done.out and str(picture) in done.out
    assert done.err == ""


def test_json_output(run: Run, path: Path, sales: pd.DataFrame) -> None:
    words = ("-r", "lags", "--rows", 100, "--head", "ridge", "--size", 2, "--size", 5)
    result = json.loads(run("analyze", path, *words, "--horizon", 2, "--json").out)
    expected = fitted_analysis(sales, head="ridge", sizes=(2, 5), horizon=2)
    assert result["advice"]["size"] == expected.recommend().size
    assert result["text"] == str(expected.recommend())
    assert [row["size"] for row in result["curves"]] == [0, 2, 2, 5, 5]
    assert [row["unique_id"] for row in result["series"]] == ["east", "flat", "west"]


def test_analysis_of_a_wide_file(run: Run, sales: pd.DataFrame, tmp_path: Path) -> None:
    wide = sales.pivot(index="ds", columns="unique_id", values="y").rename_axis("day")
    path = tmp_path / "wide.csv"
    wide.to_csv(path)
    done = run("analyze", path, "-r", "lags", "--rows", 100)
    assert str(fitted_analysis(sales).recommend()) in done.out


def test_small_negative_r2_prints_as_zero(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ComplexityAnalysis.fit

    def fit(self: ComplexityAnalysis, frame: Any) -> ComplexityAnalysis:
        result = original(self, frame)
        result.per_series_["r2"] = [-2e-5, np.nan, 0.5]
        return result

    monkeypatch.setattr(ComplexityAnalysis, "fit", fit)
    done = run("analyze", path, "-r", "lags", "--rows", 100)
    assert "0.5000" in done.out
    assert "-0.0000" not in done.out


def test_user_errors_are_one_line_and_name_options(run: Run, path: Path, tmp_path: Path) -> None:
    done = run("analyze", path, "--plot", tmp_path / "curves.txt", code=2)
    assert done.err.startswith("error: --plot must end in .png")
    done = run("analyze", path, "--size", 0, code=2)
    assert done.err.startswith("error: --size must be integers of at least 1")
    done = run("analyze", path, "-r", "lags", "--size", 10_000, code=2)
    assert done.err.startswith("error: --size must be at most ")
    done = run("analyze", path, "--rows", 3, code=2)
    assert done.err.startswith("error: --rows must be an integer of at least 10; got 3")
    done = run("analyze", path, "--horizon", 0, code=2)
    assert done.err.startswith("error: --horizon must be an integer")
    done = run("analyze", path, "-r", "wings", code=2)
    assert "wings" in done.err and len(done.err.splitlines()) == 1
