"""Forecasts as they came from `predict`, turned into what is shown, written and drawn."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsar.cli.inputs import Source, to_long
from tsar.cli.lazy import files, pandas, panel, plotting
from tsar.cli.options import Outputs
from tsar.cli.output import print_frame, print_json, print_line, records

if TYPE_CHECKING:
    from tsar.data.panel import Columns

SHOWN = 12  # rows of a forecast on the screen


@dataclass(frozen=True)
class Result:
    """A forecast in the layout that came in, and the name of its model."""

    model: str
    horizon: int
    forecast: "pandas.DataFrame"
    columns: "Columns"

    @property
    def is_long(self) -> bool:
        """Whether the forecast has a row for each series and time."""
        return bool(panel.is_long(self.forecast, self.columns))

    def flat(self) -> "pandas.DataFrame":
        """The forecast with one level of names: a wide one's are SERIES, SERIES-lo-80, ..."""
        if self.forecast.columns.nlevels == 1:
            return self.forecast
        names = [f"{series}{name[len(self.model) :]}" for series, name in self.forecast.columns]
        return self.forecast.set_axis(names, axis=1)

    def long(self) -> "pandas.DataFrame":
        """The forecast as a long frame, with an id even where there is one series."""
        columns, forecast = self.columns, self.forecast
        if self.is_long:
            if columns.id not in forecast.columns:
                forecast = forecast.assign(**{columns.id: columns.target})
            rest = [n for n in forecast.columns if n not in (columns.id, columns.time)]
            return forecast[[columns.id, columns.time, *rest]]
        indexed = forecast.rename_axis(index=columns.time)
        if forecast.columns.nlevels == 1:
            flat = indexed.reset_index()
            long = flat.melt(columns.time, var_name=columns.id, value_name=self.model)
            return long[[columns.id, columns.time, self.model]]
        pieces = [
            indexed[series].reset_index().assign(**{columns.id: series})
            for series in indexed.columns.unique(level=0)
        ]
        long = pandas.concat(pieces, ignore_index=True)
        return long[[columns.id, *(name for name in long.columns if name != columns.id)]]


def present(result: Result, source: Source, outputs: Outputs, facts: dict[str, Any] | None) -> None:
    """Write the files, then say where they are; without an output file, print the forecast.

    With `facts`, print JSON of them and of the forecast instead.
    """
    long = result.long()
    if outputs.output is not None:
        files.write_frame(result.flat(), outputs.output)
    if outputs.plot is not None:
        draw(result, long, source, outputs.plot)
    if facts is not None:
        paths = {"output": outputs.output, "plot": outputs.plot}
        print_json(facts | {"forecast": records(long)} | paths)
        return
    if outputs.output is None:
        _print_rows(result, long)
    else:
        print_line(f"forecast  {outputs.output}  ({len(result.forecast)} rows)")
    if outputs.plot is not None:
        print_line(f"picture   {outputs.plot}")


def draw(result: Result, long: "pandas.DataFrame", source: Source, path: Path) -> None:
    """Draw the end of each series and its forecast."""
    figure = plotting.plot_forecasts(to_long(source), long, columns=result.columns)
    with files.atomic_write(path) as temporary:
        figure.savefig(temporary)


def _print_rows(result: Result, long: "pandas.DataFrame") -> None:
    short = {name: name.removeprefix(f"{result.model}-") for name in long.columns}
    several = long[result.columns.id].nunique() > 1
    shown = long.rename(columns=short).drop(columns=[] if several else [result.columns.id])
    title = f"{result.model}, {result.horizon} {'points' if result.horizon > 1 else 'point'} ahead"
    print_frame(shown, title=title, rows=SHOWN)
    if len(long) > SHOWN:
        print_line(f"... and {len(long) - SHOWN} more rows; --output FILE writes all of them")
