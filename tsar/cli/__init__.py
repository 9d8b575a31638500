"""The command ``tsar``: ``tsar forecast``, ``tsar backtest``, ...

A module here parses options, calls the library and prints the result of one or more commands.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from tsar.cli.app import app
from tsar.cli.lazy import validation
from tsar.cli.options import FLAGS
from tsar.cli.output import print_error

__all__ = ["app", "main"]

INTERRUPTED = 128 + 2  # the exit code that shells give a program ended by Ctrl-C (SIGINT)
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which typer does not export
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, NotImplementedError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an error is one line on standard error, with ``--debug`` its traceback too.

    Parameters
    ----------
    arguments
        Words after ``tsar``; by default those that the process was started with.

    Returns
    -------
    int
        Exit code: 0; 2 after an error of the user, 1 after an unexpected error or if the reader
        of standard output has gone, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(words, prog_name="tsar", standalone_mode=False)
        sys.stdout.flush()  # raises BrokenPipeError here, not when Python exits
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output again when it exits: redirect that to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except USAGE_ERROR as error:
        print_error(_usage_message(error))
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)


def _report(error: Exception) -> int:
    """Print an error, its arguments spelled as flags, and return the exit code."""
    text = str(error) or type(error).__name__
    if isinstance(error, validation.ParameterError):
        text = error.message(FLAGS)
    if isinstance(error, USER_ERRORS):
        print_error(text)
        return 2
    print_error(f"{type(error).__name__}: {text}. This is a bug; --debug shows where it occurred.")
    return 1


def _usage_message(error: Any) -> str:
    """Message of click's error; an unknown option comes with the most similar known ones."""
    similar = getattr(error, "possibilities", None)
    if similar:
        known = " or ".join(sorted(similar))
        return f"there is no option {error.option_name}. Did you mean {known}?"
    text: str = error.format_message()
    return text[:1].lower() + text[1:]


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print_error(str(message), "warning")
