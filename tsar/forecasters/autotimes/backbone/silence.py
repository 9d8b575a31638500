"""No bars, warnings and notes of transformers while it loads."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

LOGGERS = ("transformers", "huggingface_hub", "peft")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep transformers and its like quiet within the block; settings are as before behind it.

    In a terminal, bars show: a model may be downloaded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm misses widgets that nobody asked for
        import transformers.utils.logging as switches

    loggers = [(logger, logger.level) for logger in map(logging.getLogger, LOGGERS)]
    with contextlib.ExitStack() as undo, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger, level in loggers:
            undo.callback(logger.setLevel, level)
            logger.setLevel(logging.ERROR)
        if not sys.stderr.isatty() and switches.is_progress_bar_enabled():
            undo.callback(switches.enable_progress_bar)
            switches.disable_progress_bar()
        yield


@contextlib.contextmanager
def hidden_bars() -> Iterator[None]:
    """Hide bars that no switch turns off, but in a terminal."""
    with contextlib.ExitStack() as undo:
        if not sys.stderr.isatty():
            undo.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
