"""Zero-shot and in-context forecasts of M3 and M4 by AutoTimes, with fair controls.

A model fitted on one set forecasts the other, of another domain and frequency, against one fitted
on the set itself. The official test parts (the last 18 points of M3's monthly series, the last 48
of M4's hourly ones) are used once, for the scores; early stopping uses the newest points before
them.

The paper puts a prompt of two segments before a context of one, and compares that with the context
alone, which sees a third of the points. Here the control is the contiguous stretch of as many
points that ends where the context does, with the same fitted model.

Segments and contexts are those of the paper for the set that is forecast: for M3 segments of
18 points, a context of one and a prompt of two; for M4 segments of 24, a context of two and a
prompt of two. A fitted model has one segment length, so each set is fitted once for each of them.
Every fit is at the length of prompt and context together; in half of the windows only a part of
random length is observed, so that shorter contexts are trained too. A prompt by phase ends in
the phase of the context; with M4's, whose context is two seasons, it is the last one.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from measure import argument_parser, print_record, print_table, set_threads
from torch import Tensor

from tsar import ARNet, AutoTimes, Naive, SeasonalNaive, Training
from tsar.data.panel import Panel
from tsar.datasets import load
from tsar.forecasters.autotimes.heads import Loss
from tsar.forecasters.base import Forecaster
from tsar.metrics import METRICS
from tsar.metrics.scaled import series_scale

KEYS = ["unique_id", "ds"]
STRATEGIES = ("first", "last", "phase", "nearest")
# Close to the scores; nothing here was tuned.
LOSS: Loss = "mae"
MODELS: dict[str, dict[str, Any]] = {"SmolLM2": {}, "from scratch": {"backbone": None, "depth": 1}}


class Sizes(NamedTuple):
    """Points of a segment, a context, a prompt, and the horizon."""

    segment: int
    context: int
    prompt: int
    horizon: int

    @property
    def total(self) -> int:
        """Points of a prompt and a context."""
        return self.prompt + self.context


SETS = {"m3_monthly": Sizes(18, 18, 36, 18), "m4_hourly": Sizes(24, 48, 48, 48)}


@dataclass(frozen=True)
class Task:
    """A set to forecast: history, test part, scale, and ids of series long enough for all rows."""

    name: str
    sizes: Sizes
    history: pd.DataFrame
    test: pd.DataFrame
    scale: "pd.Series[float]"
    long_enough: pd.Index

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame) -> "Task":
        """Split a frame where its test part begins."""
        sizes = SETS[name]
        is_test = frame.groupby("unique_id").cumcount(ascending=False) < sizes.horizon
        history = frame[~is_test]
        panel = Panel.from_frame(history)
        # A prompt by phase may end almost a season before the context.
        season = panel.labels.frequency.season_length
        enough = (panel.lengths >= sizes.prompt + -(-sizes.context // season) * season).numpy()
        scale = series_scale(panel.values, season, panel.offsets).numpy()
        ids = panel.labels.ids
        return cls(name, sizes, history, frame[is_test], pd.Series(scale, index=ids), ids[enough])

    @property
    def long_history(self) -> pd.DataFrame:
        """History of the series that are long enough."""
        return self.history[self.history["unique_id"].isin(self.long_enough)]


class Arm(NamedTuple):
    """Input of a forecast: points of the context, and the strategy of the prompt before it."""

    context: int
    prompts: str | None = None


class Scores(NamedTuple):
    """Errors of each series, and its forecasts divided by its naive error."""

    smape: Float[Tensor, " series"]
    mase: Float[Tensor, " series"]
    point: Float[Tensor, "series horizon"]


def main() -> None:
    """Fit each model on each set, and forecast both sets."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    set_threads(args.threads)
    tasks = [Task.of(name, synthetic(name) if args.quick else read(name)) for name in SETS]
    rows, fits = [], []
    for task in tasks:
        rows += baselines(task)
        for name in args.models:
            for source in tasks:
                new_rows, new_fits = compare(task, name, source, args)
                rows += new_rows
                fits += new_fits
                print_table(rows)
    facts = {
        "sets": [describe(task) for task in tasks],
        "loss": LOSS,
        "training": [asdict(training(task, args)) for task in tasks],
        "seeds": args.seeds,
    }
    print_record("autotimes_zero_shot", args, facts | {"fits": fits, "rows": rows})


def read(name: str) -> pd.DataFrame:
    """The set, with hourly times in place of the integers of M4."""
    frame = load(name)
    if frame["ds"].dtype.kind == "M":
        return frame
    hours = pd.to_timedelta(frame["ds"] - 1, unit="h")
    return frame.assign(ds=pd.Timestamp("2000-01-01") + hours)


def synthetic(name: str) -> pd.DataFrame:
    """A few noisy seasonal series with the frequency and about the length of the set."""
    freq, season, points = ("MS", 12, 100) if name == "m3_monthly" else ("h", 24, 250)
    generator, times = np.random.default_rng(0), np.arange(points)
    frames = []
    for k in range(6):
        wave = np.sin(2 * np.pi * (times + generator.integers(season)) / season)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"{name}-{k}",
                    "ds": pd.date_range("2000-01-01", periods=points, freq=freq),
                    "y": 100 + 10 * wave + generator.normal(size=points),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def describe(task: Task) -> dict[str, Any]:
    """Sizes, and numbers of series and of those long enough."""
    facts = {"name": task.name} | task.sizes._asdict()
    return facts | {"series": len(task.scale), "long enough": len(task.long_enough)}


def training(task: Task, args: argparse.Namespace) -> Training:
    """The default recipe, stopped early by the last segment of each series' history."""
    recipe = replace(AutoTimes.recipe, validation=float(task.sizes.segment))
    return replace(recipe, epochs=1, epoch_windows=128) if args.quick else recipe


def baselines(task: Task) -> list[dict[str, Any]]:
    """Forecast with the last value, the last season, and a global linear autoregression."""
    sizes = task.sizes
    orders = {"ARNet": sizes.total, "ARNet, short": sizes.context}
    models: dict[str, tuple[Forecaster, int]] = {"Naive": (Naive(), 1)}
    seasonal = SeasonalNaive().fit(task.history)
    models["SeasonalNaive"] = seasonal, seasonal.season_length_
    for name, order in orders.items():
        models[name] = ARNet(order, scope="global", sparsity=None), order
    rows = []
    for name, (model, points) in models.items():
        start = time.perf_counter()
        model.fit(task.history)
        fits = [{"seconds": time.perf_counter() - start}]
        found = score(task, model.predict(task.long_history, horizon=sizes.horizon))
        every = None
        if not isinstance(model, ARNet):  # which needs as many points as its order
            every = score(task, model.predict(horizon=sizes.horizon)).smape.mean().item()
        rows.append(
            _row(task, name, task, "none", points, [found], fits, None)
            | {"smape of all series": every}
        )
    return rows


def compare(
    task: Task, name: str, source: Task, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Fit AutoTimes on the source once per seed, and forecast the task with each arm."""
    sizes = task.sizes
    part = sizes.context + sizes.prompt // 2
    plain = [Arm(points) for points in (sizes.context, part, sizes.total)]
    arms = [*plain, *(Arm(sizes.context, strategy) for strategy in STRATEGIES)]
    found: dict[Arm, list[Scores]] = {arm: [] for arm in arms}
    every, fits = [], []
    for seed in range(args.seed, args.seed + args.seeds):
        model, facts = fit(task, name, source, seed, args)
        for arm in arms:
            found[arm].append(score(task, forecast(model, task, task.long_history, arm)))
        whole = forecast(model, task, task.history, plain[-1])
        every.append(score(task, whole).smape.mean().item())
        # With a prompt of the points just before the context, both read the same points.
        difference = found[Arm(sizes.context, "last")][-1].point - found[plain[-1]][-1].point
        fits.append(facts | {"last minus contiguous": difference.abs().max().item()})
    control = found[plain[-1]]
    rows = []
    for arm in arms:
        points = arm.context + (sizes.prompt if arm.prompts else 0)
        row = _row(task, name, source, arm.prompts or "none", points, found[arm], fits, control)
        rows.append(
            row | {"smape of all series": statistics.mean(every) if arm == plain[-1] else None}
        )
    return rows, fits


def fit(
    task: Task, name: str, source: Task, seed: int, args: argparse.Namespace
) -> tuple[AutoTimes, dict[str, Any]]:
    """AutoTimes with the segments of the task, fitted on the source."""
    options = MODELS[name]
    if args.quick:
        options = {"backbone": None, "depth": 1, "width": 32}
    model = AutoTimes(
        task.sizes.total,
        horizon=task.sizes.segment,
        segment_length=task.sizes.segment,
        loss=LOSS,
        training=training(task, args),
        random_state=seed,
        device="cpu",
        **options,
    )
    start = time.perf_counter()
    model.fit(source.history)
    losses = model.history_["validation_loss"]
    return model, {
        "data": task.name,
        "model": name,
        "fitted on": source.name,
        "seed": seed,
        "seconds": time.perf_counter() - start,
        "validation": float(losses.min()),
        "best epoch": int(losses.idxmin()),
    }


def forecast(model: AutoTimes, task: Task, history: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Forecast after a history with the input of an arm."""
    model.set_params(
        context_length=arm.context, prompt_length=task.sizes.prompt, prompts=arm.prompts
    )
    return model.predict(history, horizon=task.sizes.horizon)


def score(task: Task, forecasts: pd.DataFrame) -> Scores:
    """Errors of each series that was forecast."""
    joined = task.test.merge(forecasts, on=KEYS, validate="one_to_one")
    if len(joined) != len(forecasts):
        raise ValueError(
            f"{len(forecasts)} points were forecast, and {len(joined)} are in the test."
        )
    ids = joined["unique_id"].to_numpy().reshape(-1, task.sizes.horizon)[:, 0]
    target, point = (
        torch.tensor(joined[name].to_numpy(float)).reshape(len(ids), -1)
        for name in ("y", forecasts.columns[-1])
    )
    scale = torch.tensor(task.scale.loc[ids].to_numpy(float))[:, None]
    groups = torch.arange(len(ids))[:, None], len(ids)
    return Scores(
        100 * METRICS["smape"].by_group(*groups, target, forecast=point),  # as in M4, at most 200
        METRICS["mase"].by_group(*groups, target, forecast=point, scale=scale),
        point / scale,
    )


def _row(
    task: Task,
    name: str,
    source: Task,
    prompt: str,
    points: int,
    found: Sequence[Scores],
    fits: Sequence[dict[str, Any]],
    control: Sequence[Scores] | None,
) -> dict[str, Any]:
    """Means over series and seeds, and the mean difference from the control, paired by series."""
    means = [scores.smape.mean().item() for scores in found]
    row = {
        "data": task.name,
        "model": name,
        "fitted on": source.name,
        "prompt": prompt,
        "points": points,
        "smape": statistics.mean(means),
        "smape deviation": statistics.stdev(means) if len(means) > 1 else None,
        "mase": statistics.mean(scores.mase.nanmean().item() for scores in found),
        "series": len(found[0].smape),
        "difference from contiguous": None,
        "standard error": None,
        "fit seconds": statistics.median(fit["seconds"] for fit in fits),
    }
    if control is not None:
        pairs = zip(found, control, strict=True)
        difference = torch.stack([mine.smape - its.smape for mine, its in pairs]).mean(dim=0)
        row["difference from contiguous"] = difference.mean().item()
        row["standard error"] = difference.std().item() / len(difference) ** 0.5
    return row


if __name__ == "__main__":
    main()
