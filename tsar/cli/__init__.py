"""The command line: ``tsar forecast``, ``tsar backtest``, ...

Each command is a function of one of the files here; the work is done by the library.
"""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from tsar.cli.app import app
from tsar.cli.output import print_error

__all__ = ["app", "main"]

INTERRUPTED = 128 + 2  # what a shell says of a program that Ctrl-C ended
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # typer does not export it
# Names of parameters in messages of the library, and the options that stand for them.
OPTIONS = (
    (r"Lower horizon, n_windows or step_size", "Lower --horizon, --windows or --step"),
    (r"\bn_train\b", "--rows"),
    (r"^sizes\b", "--size"),
    (r"\bComplexityAnalysis\.(\w+)", r"--\1"),
)
EXPECTED = (ValueError, TypeError, OSError, ImportError, NotImplementedError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line on standard error, unless ``--debug`` asks for all.

    Parameters
    ----------
    arguments
        Words after ``tsar``; None for those that the process was started with.

    Returns
    -------
    int
        0; 2 after a mistake, which is said on standard error; 1 after an error that should not
        occur, or if nobody reads on; 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(words, prog_name="tsar", standalone_mode=False)
        sys.stdout.flush()  # the reader may have gone: better to hear of it here
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more when it ends: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except USAGE_ERROR as error:
        print_error(_usage(error))
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)


def _report(error: Exception) -> int:
    text = _in_options(str(error)) or type(error).__name__
    if isinstance(error, EXPECTED):
        print_error(text)
        return 2
    print_error(f"{type(error).__name__}: {text}. This should not occur; see it with --debug.")
    return 1


def _in_options(text: str) -> str:
    """A message of the library with the options of the command line in place of its parameters."""
    long = {"past": "past-covariate", "future": "future-covariate", "static": "static-covariate"}

    def say(found: re.Match[str]) -> str:
        return "--" + long.get(found[1], found[1].replace("_", "-"))

    text = re.sub(r"(?:tsar\.)?Columns\((\w+)=[^)]*\)+", say, text)
    for name, option in OPTIONS:
        text = re.sub(name, option, text)
    return text


def _usage(error: Any) -> str:
    """What was wrong with the words, and the nearest right ones."""
    near = getattr(error, "possibilities", None)
    if near:
        return f"there is no option {error.option_name}. Did you mean {' or '.join(sorted(near))}?"
    text: str = error.format_message()
    return text[:1].lower() + text[1:]


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print_error(str(message), "warning")
