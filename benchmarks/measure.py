"""What all benchmarks share: options, fair timing, facts of the machine, one line of JSON."""

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
class Side:
    """One of the sides that are compared; its time in a round is the median of `times` calls."""

    call: Callable[[], Any]
    times: int = 1


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="tiny sizes: a smoke run")
    options.add_argument(
        "--output",
        type=Path,
        nargs="?",
        const=RESULTS,
        help="folder for NAME.json and plots; without a value benchmarks/results",
    )
    options.add_argument("--threads", type=int, default=1, help="threads of torch, BLAS, OpenMP")
    options.add_argument("--rounds", type=int, default=5, help="rounds of a comparison")
    options.add_argument("--seed", type=int, default=0)
    return options


def set_threads(threads: int) -> None:
    """Give every side of a comparison the same number of threads."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the wall-clock seconds of a call, without the garbage collector, and its result."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        result = call()
        return time.perf_counter() - start, result
    finally:
        gc.enable()


def interleaved(
    sides: dict[str, Side], rounds: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Time the sides in turn, so that what else the machine does hits all of them.

    Returns the seconds of each round, and the last result, by the name of the side.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, side in sides.items():
            calls = [timed(side.call) for _ in range(side.times)]
            taken[name].append(statistics.median(seconds for seconds, _ in calls))
            results[name] = calls[-1][1]
    return taken, results


def grown(call: Callable[[], Any]) -> int:
    """Return the bytes that the peak of a call lies above what was resident before it."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    call()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    """Return a size of this process in bytes: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def alone(script: str, *options: object) -> float:
    """Return the number that a script prints in a process of its own."""
    command = [sys.executable, script, *map(str, options)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the least, the most and the number of values."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "count": len(values),
    }


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """Return the spread of how many times faster one side is, round by round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def report(name: str, options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Print the record and what it was measured with as one line; write it if asked to."""
    print(keep(name, options, record))


def keep(name: str, options: argparse.Namespace, record: dict[str, Any]) -> str:
    """Write the record of a run so far, if asked to; return it as one line."""
    facts = {
        "benchmark": name,
        "quick": options.quick,
        "threads": options.threads,
        "seed": options.seed,
        "hardware": hardware(),
        "versions": versions(),
    }
    line = json.dumps(_plain(facts | record), allow_nan=False)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{name}.json").write_text(line + "\n", encoding="utf-8")
    return line


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a Markdown table to stderr, for those who watch or write it up."""
    cells = [[str(_plain(value)) for value in row.values()] for row in rows]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *cells]
    print(*(f"| {' | '.join(line)} |" for line in lines), sep="\n", file=sys.stderr)


def hardware() -> dict[str, Any]:
    """Return the processor, its cores, the memory, and how busy the machine is."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        "load": os.getloadavg()[0],
    }


def versions() -> dict[str, str]:
    """Return the versions of python and of the packages that are here."""
    known = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _plain(value: Any) -> Any:
    """Turn numbers into plain ones of four digits; what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
