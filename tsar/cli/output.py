"""Terminal output: tables and progress for people, JSON for programs, one line for an error."""

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

# Where output is not a terminal, programs read it: lines are not wrapped, except columns of prose.
UNWRAPPED_WIDTH = 10_000  # characters
PROSE_WIDTH = 100


def open_console(*, stderr: bool = False) -> Console:
    """Console of the present standard output or standard error."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = UNWRAPPED_WIDTH
    return console


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    numeric: Sequence[str] = (),
    wrapped: Mapping[str, int | None] = MappingProxyType({}),
) -> None:
    """Print a table.

    Columns in `numeric` are right-aligned. Columns in `wrapped` may take several lines; its values
    are their maximum widths in characters, None for what fits.
    """
    console = open_console()
    if title:
        console.print(f"[bold]{escape(title)}[/bold]\n")
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    max_width = None if console.is_terminal else PROSE_WIDTH
    for header in headers:
        table.add_column(
            escape(header),
            justify="right" if header in numeric else "left",
            no_wrap=header not in wrapped,
            max_width=(wrapped[header] or max_width) if header in wrapped else None,
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    console.print()


def print_frame(frame: "pandas.DataFrame", *, title: str = "", max_rows: int | None = None) -> None:
    """Print a frame without its index; the numbers of a column share their decimals."""
    head = frame if max_rows is None else frame.head(max_rows)
    columns = [_format_column(head[name]) for name in head.columns]
    headers = [str(name) for name in head.columns]
    numeric = [str(name) for name in head.columns if head[name].dtype.kind in "iuf"]
    print_table(headers, list(zip(*columns, strict=True)), title=title, numeric=numeric)


def print_line(text: str) -> None:
    """Print a line to standard output as it is, even if it looks like markup of rich."""
    open_console().print(text, markup=False)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in fields:
        table.add_row(escape(name), escape(value))
    open_console().print(table)


def print_json(document: Any) -> None:
    """Print a JSON document; missing numbers are null, times are ISO 8601."""
    text = json.dumps(document, indent=2, default=_json_default, ensure_ascii=False)
    sys.stdout.write(text + "\n")


def to_records(frame: "pandas.DataFrame") -> list[dict[str, Any]]:
    """Rows of a frame as JSON objects."""
    return [
        {str(name): _json_scalar(value) for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]


def print_error(message: str, kind: str = "error") -> None:
    """Print an error, or a warning, as one line to standard error."""
    style = "bold red" if kind == "error" else "yellow"
    text = escape(" ".join(message.split()))
    open_console(stderr=True).print(f"[{style}]{kind}:[/{style}] {text}", soft_wrap=True)


@contextmanager
def show_progress(message: str, models: Sequence["Forecaster"] = ()) -> Iterator[None]:
    """Show progress on a terminal while the block runs.

    Trained models show their own progress bars; otherwise a spinner appears after a second.
    """
    console = open_console(stderr=True)
    if not console.is_terminal:
        yield
        return
    trained = [m for m in models if m.holds_back and m.get_params().get("verbose") == 0]
    for model in trained:
        model.set_params(verbose=1)
    status = console.status(escape(message))
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


def _format_column(column: "pandas.Series[Any]") -> list[str]:
    """Cells of a column: dates without a clock where all are midnight, numbers to five digits."""
    if column.dtype.kind == "M":
        has_clock = bool((column != column.dt.normalize()).any())
        style = "%Y-%m-%d %H:%M" if has_clock else "%Y-%m-%d"
        return ["-" if time != time else time.strftime(style) for time in column]
    if column.dtype.kind != "f":
        return [str(value) for value in column]
    largest = column.abs().max()
    digits = len(str(int(largest))) if largest == largest else 1
    decimals = max(5 - digits, 0) if largest >= 1e-3 or largest == 0 else 8
    return [f"{value:,.{decimals}f}" if value == value else "-" for value in column]


def _json_scalar(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if value != value else value


def _json_default(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    return str(value)
