"""The examples of the README run and print what it shows, and its links are valid."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np

import tsar

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_example_runs_and_beats_the_seasonal_naive():
    assert len(BLOCKS) == 2
    names: dict = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[0], "README.md", "exec"), names)
    assert len(names["forecast"]) == 26
    table = names["tsar"].evaluate(names["cv"], ["mase"], train=names["co2"])["mase"]
    assert table["ARNet"] < table["SeasonalNaive"]
    assert "coverage-80" in printed.getvalue()


def test_example_of_hidden_markov_models_runs():
    noise = np.random.default_rng(0).normal(size=400)
    series = np.repeat([0.0, 6.0] * 4, 50) + noise
    names = {"tsar": tsar, "X": series[:, None], "frame": series}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[1], "README.md", "exec"), names)
    assert names["model"].n_components_ == 2
    assert names["analysis"].recommend().order >= 1
    assert printed.getvalue().startswith("Use ")


def test_backtest_table_equals_the_output_of_the_example():
    block = re.search(r"```python\n(.*?)```\n+```\n(.*?)```", README, flags=re.DOTALL)
    assert block, "the example is followed by its output"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.group(1), "README.md", "exec"), {})
    table = [line.split() for line in printed.getvalue().splitlines()]
    for line in block.group(2).splitlines():
        cells = line.split()
        if cells[:1] in (["ARNet"], ["SeasonalNaive"]):
            assert cells in table


def test_linked_files_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
