"""Every benchmark runs with `--quick` and prints one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    *(
        "ar_speed",
        "arnet_paper",
        "arnet_forecasts",
        "arnet_panels",
        "ltsf",
        "many_series",
        "missing_values",
        "memory",
        "training_speed",
    ),
    *(
        "hmm_speed",
        "hmm_forecasts",
        "complexity_simulation",
        "complexity_advice",
        "complexity_features",
    ),
    *("spacetime_speed", "spacetime_ltsf", "spacetime_classification", "spacetime_expressivity"),
)
LANGUAGE = (
    *("autotimes_speed", "autotimes_zero_shot", "autotimes_ltsf", "autotimes_training"),
    *("autotimes_speculation", "autotimes_memory", "llm_controls"),
)
# Without pretrained weights, and one choice of many.
OPTIONS = {
    "autotimes_ltsf": ("--variants", "frozen", "--seeds", "1"),
    "autotimes_training": ("--choices", "the recipe"),
    "complexity_features": ("--backbones",),
    "llm_controls": ("--models", "one block from scratch", "--shares", "0.1"),
    "spacetime_ltsf": ("--series", "OT", "--horizons", "96", "--seeds", "1"),
}
DATA = (
    "arnet_forecasts",
    *("ltsf", "complexity_advice", "complexity_features", "spacetime_ltsf", "autotimes_ltsf"),
    "hmm_forecasts",
    *("spacetime_classification", "autotimes_training", "autotimes_speculation", "llm_controls"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCRIPTS, *LANGUAGE])
def test_benchmark_prints_one_line_of_json(name: str) -> None:
    if name in DATA and not os.environ.get("TSAR_DATA"):
        pytest.skip(f"TSAR_DATA names no folder of data sets, and {name}.py needs one")
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
    record = json.loads(run.stdout)  # one document and nothing else
    assert record["benchmark"].startswith(name)  # followed by the data set, if there are several
    assert record["quick"] is True
    assert record["hardware"]["cores"] >= 1


def test_results_name_every_script() -> None:
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert [name for name in (*SCRIPTS, *LANGUAGE) if f"`{name}.py`" not in text] == []
