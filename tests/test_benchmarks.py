"""Every benchmark runs, on tiny sizes, and prints one line of JSON with both sides."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = (
    *("ar_speed", "arnet_paper", "ltsf", "many_series", "memory", "training_speed"),
    *("hmm_speed", "complexity_simulation", "complexity_advice", "complexity_features"),
)
LANGUAGE = ("autotimes_speed", "autotimes_zero_shot")
# Without a language model: its weights may not be at hand.
OPTIONS = {"complexity_features": ("--backbones",)}
DATA = ("ltsf", "complexity_advice", "complexity_features")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCRIPTS, *LANGUAGE])
def test_a_benchmark_prints_one_line_of_json(name: str) -> None:
    if name in DATA and not os.environ.get("TSAR_DATA"):
        pytest.skip(f"TSAR_DATA names no folder of data sets, and {name}.py needs some")
    if name in LANGUAGE:
        pytest.importorskip("transformers")
    script = ROOT / "benchmarks" / f"{name}.py"
    run = subprocess.run(
        [sys.executable, str(script), "--quick", *OPTIONS.get(name, ())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)  # one document, and nothing else
    assert found["benchmark"] == name
    assert found["quick"] is True
    assert found["hardware"]["cores"] >= 1


def test_the_results_name_every_script() -> None:
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f"`{name}.py`" not in text] == []
