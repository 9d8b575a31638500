"""Print, write and draw a forecast."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.inputs import Source, to_long
from tsar.cli.lazy import io, pandas, panel, plotting
from tsar.cli.options import OutputOptions
from tsar.cli.output import print_frame, print_json, print_line, to_records

if TYPE_CHECKING:
    from tsar.data.panel import Columns

MAX_ROWS = 12  # of a forecast, on the screen


@dataclass(frozen=True)
class Result:
    """A forecast in the layout of the input, and the name of its model."""

    model: str
    horizon: int
    forecast: "pandas.DataFrame"
    columns: "Columns"

    def flat(self) -> "pandas.DataFrame":
        """The forecast with one level of column names: SERIES, SERIES-lo-80, ... if it is wide."""
        if self.forecast.columns.nlevels == 1:
            return self.forecast
        names = [f"{series}{name[len(self.model) :]}" for series, name in self.forecast.columns]
        return self.forecast.set_axis(names, axis=1)

    def long(self) -> "pandas.DataFrame":
        """The forecast as a long frame, with an id column even of one series."""
        columns, forecast = self.columns, self.forecast
        if panel.is_long(forecast, columns):
            if columns.id not in forecast.columns:
                forecast = forecast.assign(**{columns.id: columns.target})
            rest = [n for n in forecast.columns if n not in (columns.id, columns.time)]
            return forecast[[columns.id, columns.time, *rest]]
        wide = forecast.rename_axis(index=columns.time)
        if wide.columns.nlevels == 1:
            long = wide.reset_index().melt(columns.time, var_name=columns.id, value_name=self.model)
            return long[[columns.id, columns.time, self.model]]
        frames = [
            wide[series].reset_index().assign(**{columns.id: series})
            for series in wide.columns.unique(level=0)
        ]
        long = pandas.concat(frames, ignore_index=True)
        return long[[columns.id, *(name for name in long.columns if name != columns.id)]]


def present(
    result: Result, source: Source, outputs: OutputOptions, facts: dict[str, Any] | None
) -> None:
    """Write the files and print their paths; without an output file, print the forecast.

    With `facts`, print them and the forecast as JSON instead.
    """
    long = result.long()
    if outputs.output is not None:
        io.write_frame(result.flat(), outputs.output)
    if outputs.plot is not None:
        _draw(result, long, source, outputs.plot)
    if facts is not None:
        paths = {"output": outputs.output, "plot": outputs.plot}
        print_json(facts | {"forecast": to_records(long)} | paths)
        return
    if outputs.output is None:
        _print_rows(result, long)
    else:
        print_line(f"forecast  {outputs.output}  ({len(result.forecast)} rows)")
    if outputs.plot is not None:
        print_line(f"picture   {outputs.plot}")


def _draw(result: Result, long: "pandas.DataFrame", source: Source, path: Path) -> None:
    """Draw the end of each series and its forecast."""
    figure = plotting.plot_forecasts(to_long(source), long, columns=result.columns)
    with io.atomic_write(path) as temporary:
        figure.savefig(temporary)


def _print_rows(result: Result, long: "pandas.DataFrame") -> None:
    names = {name: name.removeprefix(f"{result.model}-") for name in long.columns}
    is_single = long[result.columns.id].nunique() == 1
    table = long.rename(columns=names).drop(columns=[result.columns.id] if is_single else [])
    title = f"{result.model}, {result.horizon} {'points' if result.horizon > 1 else 'point'} ahead"
    print_frame(table, title=title, max_rows=MAX_ROWS)
    if len(long) > MAX_ROWS:
        print_line(f"... and {len(long) - MAX_ROWS} more rows; --output FILE writes all of them")
