"""What a command says: tables for people, JSON for machines, and one line for an error."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from threading import Timer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import rich.box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas

    from tsar.forecasters.base import Forecaster

WIDE = 10_000  # columns where nobody watches: lines that a program reads are not wrapped
FOLD = 100  # but for texts: characters in a line of those


def open_console(*, stderr: bool = False) -> Console:
    """Console of standard output or error as it is now."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    numbers: Sequence[str] = (),
    folded: Mapping[str, int | None] = MappingProxyType({}),
) -> None:
    """Print a table; columns in `numbers` are flush right.

    Those in `folded` take several lines where the screen, or the width given, is too narrow.
    """
    console = open_console()
    if title:
        console.print(f"[bold]{escape(title)}[/bold]\n")
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    widest = None if console.is_terminal else FOLD
    for header in headers:
        table.add_column(
            escape(header),
            justify="right" if header in numbers else "left",
            no_wrap=header not in folded,
            max_width=(folded[header] or widest) if header in folded else None,
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    console.print()


def print_frame(frame: "pandas.DataFrame", *, title: str = "", rows: int | None = None) -> None:
    """Print a frame without its index, numbers to a common precision; None for all its rows."""
    shown = frame if rows is None else frame.head(rows)
    columns = [_cells(shown[name]) for name in shown.columns]
    headers = [str(name) for name in shown.columns]
    numbers = [str(name) for name in shown.columns if shown[name].dtype.kind in "iuf"]
    print_table(headers, list(zip(*columns, strict=True)), title=title, numbers=numbers)


def print_line(text: str) -> None:
    """Print a line to standard output; a word that looks like markup stays as it is."""
    open_console().print(text, markup=False)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and what they are, in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    open_console().print(table)


def print_json(payload: Any) -> None:
    """Print one JSON document; missing numbers are null, times are ISO 8601."""
    sys.stdout.write(json.dumps(payload, indent=2, default=_plain, ensure_ascii=False) + "\n")


def records(frame: "pandas.DataFrame") -> list[dict[str, Any]]:
    """Rows of a frame as JSON has them."""
    return [
        {str(name): _scalar(value) for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]


def print_error(message: str, kind: str = "error") -> None:
    """Print one line to standard error."""
    console = open_console(stderr=True)
    style = "bold red" if kind == "error" else "yellow"
    text = " ".join(message.split())
    console.print(f"[{style}]{kind}:[/{style}] {escape(text)}", soft_wrap=True)


@contextmanager
def at_work(what: str, models: Sequence["Forecaster"] = ()) -> Iterator[None]:
    """Show that work goes on, if somebody watches and it lasts more than a second.

    Models that are trained show their own bars, the others share a spinner.
    """
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield
        return
    trained = [m for m in models if m.holds_back and m.get_params().get("verbose") == 0]
    for model in trained:
        model.set_params(verbose=1)
    status = console.status(escape(what))
    timer = Timer(1.0, (lambda: None) if trained else status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
        for model in trained:
            model.set_params(verbose=0)


# Cells of a table.


def _cells(column: "pandas.Series[Any]") -> list[str]:
    """Texts of a column: times without an idle clock, numbers to five digits of the largest."""
    if column.dtype.kind == "M":
        clock = bool((column != column.dt.normalize()).any())
        return [_time(time, clock) for time in column]
    if column.dtype.kind != "f":
        return [str(value) for value in column]
    largest = column.abs().max()
    digits = len(str(int(largest))) if largest == largest else 1
    decimals = max(5 - digits, 0) if largest >= 1e-3 or largest == 0 else 8
    return [f"{value:,.{decimals}f}" if value == value else "-" for value in column]


def _time(time: Any, clock: bool) -> str:
    return "-" if time != time else time.strftime("%Y-%m-%d %H:%M" if clock else "%Y-%m-%d")


def _scalar(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if value != value else value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    return str(value)
