"""Run commands of ``tsar`` within the test process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tsar.cli import main


class Completed(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Completed]:
    """Run a command and check its exit code."""

    def run(*words: object, code: int = 0) -> Completed:
        exit_code = main([str(word) for word in words])
        completed = Completed(exit_code, *capsys.readouterr())
        assert completed.code == code, completed.err
        return completed

    return run
