"""The libraries of the llm extra: suppression of their output, and the error where one is missing.

The libraries are transformers, huggingface_hub and peft.
"""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

LOGGERS = ("transformers", "huggingface_hub", "peft")


def missing_extra(option: str) -> ImportError:
    """Build the error for an option that needs the llm extra."""
    return ImportError(f"{option} needs the llm extra. Run: pip install 'tsar[llm]'")


@contextlib.contextmanager
def suppress_output() -> Iterator[None]:
    """Suppress warnings, log messages and progress bars; restore the settings afterwards.

    In a terminal progress bars stay on: a model may be downloaded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm warns where notebook widgets are not installed
        import transformers.utils.logging as transformers_logging

    levels = [(logger, logger.level) for logger in map(logging.getLogger, LOGGERS)]
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger, level in levels:
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.ERROR)
        if not sys.stderr.isatty() and transformers_logging.is_progress_bar_enabled():
            stack.callback(transformers_logging.enable_progress_bar)
            transformers_logging.disable_progress_bar()
        yield


@contextlib.contextmanager
def suppress_progress_bars() -> Iterator[None]:
    """Suppress progress bars that no setting turns off, except in a terminal."""
    with contextlib.ExitStack() as stack:
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
