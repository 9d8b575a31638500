"""How to read a frame: the names of its columns, its frequency, and what to do about its gaps."""

from dataclasses import dataclass, fields

from tsar.records import record


@record("columns")
@dataclass(frozen=True)
class Columns:
    """How to read a frame.

    In a long frame every role is a column. In a wide frame every column is a series, but those
    named in `past` or `future`, which are covariates that all the series share.

    Parameters
    ----------
    id, time, target
        Columns of a long frame: which series, when, how much. A long frame without the usual `id`
        column holds one series. Times are dates, periods, integers, or text in ISO 8601.
    past
        Numeric covariates known up to the present (a measured temperature).
    future
        Numeric covariates known ahead (a holiday flag, a price that is set): their future values
        come in `predict(future=...)`.
    static
        Columns that are constant within a series; text is read as a category.
    freq
        A pandas alias such as ``"h"``, ``"MS"``, ``"15min"``, or the step of integer times.
        Inferred where it is None.
    fill_gaps
        Put a missing row (NaN target) where a time is absent, instead of refusing the frame.

    Examples
    --------
    >>> from tsar import Columns
    >>> Columns(id="shop", time="day", target="sales", future=("price",)).covariates
    ('price',)
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    freq: str | int | None = None
    fill_gaps: bool = False

    def __post_init__(self) -> None:
        """Check the options once; lists become tuples, so that the object stays hashable."""
        for role in ("id", "time", "target"):
            _check(role, isinstance(getattr(self, role), str), "a column name", getattr(self, role))
        alias = self.freq is None or isinstance(self.freq, (str, int))
        _check("freq", alias, "a pandas alias or an integer", self.freq)
        _check("fill_gaps", isinstance(self.fill_gaps, bool), "True or False", self.fill_gaps)
        for role in ("past", "future", "static"):
            object.__setattr__(self, role, _names(role, getattr(self, role)))
        named = [self.id, self.time, self.target, *self.past, *self.future, *self.static]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(
                f"columns must give each column one role; got {twice[0]!r} twice. "
                "Name it in one of id, time, target, past, future, static."
            )

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates that vary in time, past ones first."""
        return self.past + self.future

    @classmethod
    def from_config(cls, config: dict[str, object]) -> "Columns":
        """Rebuild from the plain values that `dataclasses.asdict` gives."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in config.items() if name in known})  # type: ignore[arg-type]


def _check(option: str, holds: bool, condition: str, value: object) -> None:
    if not holds:
        raise TypeError(f"columns.{option} must be {condition}; got {value!r}. Change it.")


def _names(role: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise TypeError(f"columns.{role} must be column names; got {value!r}. Give a tuple of strings.")
