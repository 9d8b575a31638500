"""Settings of all tests."""

import pytest
import torch

# The tensors here are small: a second thread costs five times the work, waiting for the first.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "wrong_types: gives what no annotation allows; left out where types are checked"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if config.getoption("jaxtyping_packages", None):
        reasons["wrong_types"] = "the checker of types refuses the arguments first"
    if not torch.cuda.is_available():
        reasons["gpu"] = "there is no CUDA device"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
