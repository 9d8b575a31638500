"""`tsar analyze` says what the library measures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from tsar import ComplexityAnalysis
from tsar.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object, code: int = 0) -> Said:
        found = main([str(word) for word in words])
        said = Said(found, *capsys.readouterr())
        assert said.code == code, said.err
        return said

    return run


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


def measured(frame: pd.DataFrame, **options: Any) -> ComplexityAnalysis:
    return ComplexityAnalysis("lags", n_train=100, random_state=0, **options).fit(frame)


def test_advice_and_tables_are_printed_and_written(
    run: Run, path: Path, sales: pd.DataFrame, tmp_path: Path
) -> None:
    curves, picture = tmp_path / "curves.csv", tmp_path / "curves.png"
    words = ("--representation", "lags", "--rows", 100, "--output", curves, "--plot", picture)
    said = run("analyze", path, *words)
    expected = measured(sales)
    assert str(expected.recommend()) in said.out
    assert "flat was left out: constant." in said.out
    assert "east" in said.out and "west" in said.out
    pd.testing.assert_frame_equal(pd.read_csv(curves), expected.curves_, check_dtype=False)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert str(curves) in said.out and str(picture) in said.out
    assert said.err == ""


def test_json_is_all_that_is_printed(run: Run, path: Path, sales: pd.DataFrame) -> None:
    words = ("-r", "lags", "--rows", 100, "--head", "ridge", "--size", 2, "--size", 5)
    found = json.loads(run("analyze", path, *words, "--horizon", 2, "--json").out)
    expected = measured(sales, head="ridge", sizes=(2, 5), horizon=2)
    assert found["advice"]["size"] == expected.recommend().size
    assert found["says"] == str(expected.recommend())
    assert [row["size"] for row in found["curves"]] == [0, 2, 2, 5, 5]
    assert [row["series"] for row in found["series"]] == ["east", "flat", "west"]


def test_a_wide_file_is_read_as_others_are(run: Run, sales: pd.DataFrame, tmp_path: Path) -> None:
    wide = sales.pivot(index="ds", columns="unique_id", values="y").rename_axis("day")
    path = tmp_path / "wide.csv"
    wide.to_csv(path)
    said = run("analyze", path, "-r", "lags", "--rows", 100)
    assert str(measured(sales).recommend()) in said.out


def test_next_to_nothing_is_not_less_than_nothing(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = ComplexityAnalysis.fit

    def fit(self: ComplexityAnalysis, frame: Any) -> ComplexityAnalysis:
        found = measure(self, frame)
        found.per_series_["predictability"] = [-2e-5, np.nan, 0.5]
        return found

    monkeypatch.setattr(ComplexityAnalysis, "fit", fit)
    said = run("analyze", path, "-r", "lags", "--rows", 100)
    assert "0.5000" in said.out
    assert "-0.0000" not in said.out


def test_mistakes_are_one_line(run: Run, path: Path, tmp_path: Path) -> None:
    said = run("analyze", path, "--plot", tmp_path / "curves.txt", code=2)
    assert said.err.startswith("error: --plot must end in .png")
    said = run("analyze", path, "--size", 0, code=2)
    assert said.err.startswith("error: --size must be integers of at least 1")
    said = run("analyze", path, "-r", "lags", "--size", 10_000, code=2)
    assert said.err.startswith("error: --size must be at most ")
    said = run("analyze", path, "--rows", 3, code=2)
    assert said.err.startswith("error: --rows must be an integer of at least 10; got 3")
    said = run("analyze", path, "--horizon", 0, code=2)
    assert said.err.startswith("error: --horizon must be an integer")
    said = run("analyze", path, "-r", "wings", code=2)
    assert "wings" in said.err and len(said.err.splitlines()) == 1
