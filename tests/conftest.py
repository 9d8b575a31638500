"""Configuration of all tests: threads, markers, and skipping of tests by marker."""

import pytest
import torch

# Tests use small tensors: a second thread makes them five times slower.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "wrong_types: passes arguments of wrong types; skipped where types are checked at run time",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if config.getoption("jaxtyping_packages", None):
        reasons["wrong_types"] = "the runtime type checker rejects the arguments first"
    if not torch.cuda.is_available():
        reasons["gpu"] = "there is no CUDA device"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
