"""Sizes to measure, and the memory that their design matrices may take."""

from pathlib import Path

import numpy as np
import pytest
from small_analysis import AR2, analysis

from tsar.complexity.design import check_memory
from tsar.complexity.size_grid import default_sizes


def test_default_sizes_are_few_and_dense_around_the_threshold() -> None:
    sizes = default_sizes(500, None)
    assert sizes[0] == 1 and sizes[-1] == 2500 and len(sizes) < 35
    assert {250, 475, 500, 525, 1000} <= set(sizes)
    assert default_sizes(500, 1) == [1]


def test_default_sizes_of_all_rows_fit_in_memory() -> None:
    walk = np.random.default_rng(0).normal(size=4000).cumsum()
    fitted = analysis("lags", n_train=None).fit(walk)
    assert fitted.curves_["size"].max() <= 3000
    assert default_sizes(10_000, None)[-1] <= 3000


def test_sizes_that_exceed_memory_are_refused_with_their_bytes() -> None:
    with pytest.raises(ValueError, match=r"1,000,000,000 features of .* rows, which take [\d,]+ b"):
        analysis("random", sizes=(10, 10**9)).fit(AR2)
    check_memory(100, 100)


def test_the_memory_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [tmp_path / name for name in ("memory.max", "absent", "limit_in_bytes")]
    monkeypatch.setattr("tsar.complexity.design.CGROUP_LIMITS", limits)
    limits[0].write_text("max\n")
    check_memory(1000, 100)
    limits[2].write_text("4000000\n")
    with pytest.raises(ValueError, match="which take 3,200,000 bytes of the 2,000,000 that may be"):
        check_memory(1000, 100)
