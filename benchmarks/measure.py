"""Shared by all benchmarks: command-line options, interleaved timing, memory, JSON records."""

import argparse
import gc
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("numpy", "pandas", "scipy", "statsmodels", "torch", "transformers"),
    *("statsforecast", "neuralforecast", "pytorch-lightning"),
)


@dataclass(frozen=True)
class Candidate:
    """A method under comparison; its time in a round is the median over `repeats` calls."""

    call: Callable[[], Any]
    repeats: int = 1


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a smoke run")
    parser.add_argument(
        "--output",
        type=Path,
        nargs="?",
        const=RESULTS,
        help="folder for NAME.json and plots; without a value benchmarks/results",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, BLAS, OpenMP")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a comparison")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def set_threads(threads: int) -> None:
    """Limit torch, BLAS and OpenMP to this number of threads."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall-clock seconds of a call, with garbage collection off, and its result."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        result = call()
        return time.perf_counter() - start, result
    finally:
        gc.enable()


def interleaved(
    candidates: dict[str, Candidate], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Time the candidates in turn, so that other load on the machine affects all of them.

    Returns the seconds of each round and the last result, both by the name of the candidate.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            calls = [timed(candidate.call) for _ in range(candidate.repeats)]
            seconds[name].append(statistics.median(elapsed for elapsed, _ in calls))
            results[name] = calls[-1][1]
    return seconds, results


def peak_memory(call: Callable[[], Any]) -> int:
    """Return the peak resident memory during a call minus that before it, in bytes."""
    before = resident_memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    call()
    return resident_memory("VmHWM") - before


def resident_memory(field: str) -> int:
    """Return the resident memory of this process in bytes: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def run_subprocess(script: str, *options: object) -> float:
    """Return the number that a script prints when run in a new process."""
    command = [sys.executable, script, *map(str, options)]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(completed.stdout))


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Return the median, minimum, maximum and number of the values."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "count": len(values),
    }


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, float]:
    """Return the summary of the ratios taken round by round; of seconds, a speedup."""
    return summarize([a / b for a, b in zip(numerators, denominators, strict=True)])


def print_record(name: str, options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Print the record and the settings of the run as one line of JSON; save it with `--output`."""
    print(save_record(name, options, record))


def save_record(name: str, options: argparse.Namespace, record: dict[str, Any]) -> str:
    """Save the record so far with `--output`; return it as one line of JSON."""
    settings = {
        "benchmark": name,
        "quick": options.quick,
        "threads": options.threads,
        "seed": options.seed,
        "hardware": hardware(),
        "versions": versions(),
    }
    line = json.dumps(_rounded(settings | record), allow_nan=False)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{name}.json").write_text(line + "\n", encoding="utf-8")
    return line


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a Markdown table to stderr; of a summary, its median."""
    cells = [[str(_rounded(_median(value))) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *cells]
    print(*(f"| {' | '.join(line)} |" for line in lines), sep="\n", file=sys.stderr)


def _median(value: Any) -> Any:
    return value["median"] if isinstance(value, dict) and "median" in value else value


def hardware() -> dict[str, Any]:
    """Return the processor, its cores, the memory, and the load average of the last minute."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _rounded(value: Any) -> Any:
    """Round floats to four significant digits; NumPy scalars become Python's, NaN and inf null."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if hasattr(value, "item"):
        return _rounded(value.item())
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
