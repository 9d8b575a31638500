"""Every benchmark runs, on tiny sizes, and prints one line of JSON with both sides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("ar_speed", "arnet_paper", "ltsf", "many_series", "memory", "training_speed")
LANGUAGE = ("autotimes_speed", "autotimes_zero_shot")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCRIPTS, *LANGUAGE])
def test_a_benchmark_prints_one_line_of_json(name: str) -> None:
    if name == "ltsf" and not os.environ.get("TSAR_DATA"):
        pytest.skip("TSAR_DATA names no folder of data sets, and ltsf.py needs ETTh1")
    if name in LANGUAGE:
        pytest.importorskip("transformers")
    script = ROOT / "benchmarks" / f"{name}.py"
    run = subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)  # one document, and nothing else
    assert found["benchmark"] == name
    assert found["quick"] is True
    assert found["hardware"]["cores"] >= 1


def test_the_results_name_every_script() -> None:
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f"`{name}.py`" not in text] == []
