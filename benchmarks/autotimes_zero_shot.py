"""Zero-shot and in-context forecasts of M3 and M4 by AutoTimes, with fair controls.

A model that was fitted on one set forecasts the other, of another domain and frequency, beside one
that was fitted on the set itself. The official test parts (the last 18 points of M3's monthly
series, the last 48 of M4's hourly ones) are seen once, to be scored; early stopping uses the newest
points before them.

The paper puts a prompt of two segments before a context of one, and compares that with the context
alone, which sees a third of the points. Here the control is the contiguous stretch of as many
points that ends where the context does, read by the same fitted model.

Segments and contexts are those that the paper uses for the set that is forecast: for M3 segments of
18 points, a context of one and a prompt of two; for M4 segments of 24, a context of two and a
prompt of two. A fitted model has one length of segment, so each set is fitted once for each of
them. Every fit is at the length of prompt and context together; in half of its windows AutoTimes
reads a part of random length, so that shorter contexts are trained too. A prompt by phase ends at
the context's place in the season; with M4's, whose context is two seasons, it is the last one.
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
from tsar.data.scaling import naive_error
from tsar.datasets import load
from tsar.forecasters.autotimes.heads import Loss
from tsar.forecasters.base import Forecaster
from tsar.metrics import METRICS

KEYS = ["unique_id", "ds"]
STRATEGIES = ("first", "last", "phase", "nearest")
# Near to what is scored; nothing here was tuned.
LOSS: Loss = "mae"
MODELS: dict[str, dict[str, Any]] = {"SmolLM2": {}, "from scratch": {"backbone": None, "depth": 1}}


class Sizes(NamedTuple):
    """Points of a segment, of a context, of a prompt, and of what is forecast."""

    segment: int
    context: int
    prompt: int
    horizon: int

    @property
    def both(self) -> int:
        """Points of a prompt and a context."""
        return self.prompt + self.context


SETS = {"m3_monthly": Sizes(18, 18, 36, 18), "m4_hourly": Sizes(24, 48, 48, 48)}


@dataclass(frozen=True)
class Task:
    """A set to forecast: what is known, what came then, the ids of series long enough for all."""

    name: str
    sizes: Sizes
    history: pd.DataFrame
    test: pd.DataFrame
    scale: "pd.Series[float]"
    long: pd.Index

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame) -> "Task":
        """Split a frame where its test part begins."""
        sizes = SETS[name]
        late = frame.groupby("unique_id").cumcount(ascending=False) < sizes.horizon
        history = frame[~late]
        panel = Panel.from_frame(history)
        # A prompt by phase may end almost a season before the context.
        season = panel.labels.frequency.season_length
        enough = (panel.lengths >= sizes.prompt + -(-sizes.context // season) * season).numpy()
        scale = pd.Series(naive_error(panel).numpy(), index=panel.labels.ids)
        return cls(name, sizes, history, frame[late], scale, panel.labels.ids[enough])

    @property
    def known(self) -> pd.DataFrame:
        """History of the series that are long enough."""
        return self.history[self.history["unique_id"].isin(self.long)]


class Arm(NamedTuple):
    """What a forecast reads: points of the context, and how a prompt before it is found."""

    context: int
    prompts: str | None = None


class Scores(NamedTuple):
    """Errors of each series; the forecasts in units of its naive error."""

    smape: Float[Tensor, " series"]
    mase: Float[Tensor, " series"]
    point: Float[Tensor, "series horizon"]


def main() -> None:
    """Fit each model on each set, and forecast both."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args()
    set_threads(args.threads)
    tasks = [Task.of(name, synthetic(name) if args.quick else read(name)) for name in SETS]
    rows, fits = [], []
    for task in tasks:
        rows += classics(task)
        for name in args.models:
            for source in tasks:
                found, spent = fitted(task, name, source, args)
                rows += found
                fits += spent
                print_table(rows)
    facts = {
        "sets": [describe(task) for task in tasks],
        "loss": LOSS,
        "training": [asdict(training(task, args)) for task in tasks],
        "seeds": args.seeds,
    }
    print_record("autotimes_zero_shot", args, facts | {"fits": fits, "rows": rows})


def read(name: str) -> pd.DataFrame:
    """The set, hours in place of the bare numbers that M4 comes with."""
    frame = load(name)
    if frame["ds"].dtype.kind == "M":
        return frame
    hours = pd.to_timedelta(frame["ds"] - 1, unit="h")
    return frame.assign(ds=pd.Timestamp("2000-01-01") + hours)


def synthetic(name: str) -> pd.DataFrame:
    """A few noisy seasonal series, shaped like those of the set."""
    freq, season, points = ("MS", 12, 100) if name == "m3_monthly" else ("h", 24, 250)
    draw, times = np.random.default_rng(0), np.arange(points)
    pieces = []
    for k in range(6):
        wave = np.sin(2 * np.pi * (times + draw.integers(season)) / season)
        pieces.append(
            pd.DataFrame(
                {
                    "unique_id": f"{name}-{k}",
                    "ds": pd.date_range("2000-01-01", periods=points, freq=freq),
                    "y": 100 + 10 * wave + draw.normal(size=points),
                }
            )
        )
    return pd.concat(pieces, ignore_index=True)


def describe(task: Task) -> dict[str, Any]:
    """Sizes, and how many series there are, and are long enough."""
    facts = {"name": task.name} | task.sizes._asdict()
    return facts | {"series": len(task.scale), "long enough": len(task.long)}


def training(task: Task, args: argparse.Namespace) -> Training:
    """The default recipe, stopped early by the last segment of each series' history."""
    recipe = replace(AutoTimes.recipe, validation=float(task.sizes.segment))
    return replace(recipe, epochs=1, epoch_windows=128) if args.quick else recipe


def classics(task: Task) -> list[dict[str, Any]]:
    """Forecasts by the last value, the last season, and one linear autoregression for all."""
    sizes = task.sizes
    orders = {"ARNet": sizes.both, "ARNet, short": sizes.context}
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
        found = score(task, model.predict(task.known, horizon=sizes.horizon))
        every = None
        if not isinstance(model, ARNet):  # which reads no shorter ones
            every = score(task, model.predict(horizon=sizes.horizon)).smape.mean().item()
        rows.append(_row(task, name, task, "none", points, [found], fits, None) | {"all": every})
    return rows


def fitted(
    task: Task, name: str, source: Task, args: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Fit AutoTimes on the source, once a seed, and forecast the task by each arm."""
    sizes = task.sizes
    part = sizes.context + sizes.prompt // 2
    plain = [Arm(points) for points in (sizes.context, part, sizes.both)]
    arms = [*plain, *(Arm(sizes.context, strategy) for strategy in STRATEGIES)]
    found: dict[Arm, list[Scores]] = {arm: [] for arm in arms}
    every, fits = [], []
    for seed in range(args.seed, args.seed + args.seeds):
        model, facts = fit(task, name, source, seed, args)
        for arm in arms:
            found[arm].append(score(task, forecast(model, task, task.known, arm)))
        whole = forecast(model, task, task.history, plain[-1])
        every.append(score(task, whole).smape.mean().item())
        # A prompt of the points just before the context: the same stretch, found in another way.
        apart = found[Arm(sizes.context, "last")][-1].point - found[plain[-1]][-1].point
        fits.append(facts | {"last apart from contiguous": apart.abs().max().item()})
    control = found[plain[-1]]
    rows = []
    for arm in arms:
        points = arm.context + (sizes.prompt if arm.prompts else 0)
        row = _row(task, name, source, arm.prompts or "none", points, found[arm], fits, control)
        rows.append(row | {"all": statistics.mean(every) if arm == plain[-1] else None})
    return rows, fits


def fit(
    task: Task, name: str, source: Task, seed: int, args: argparse.Namespace
) -> tuple[AutoTimes, dict[str, Any]]:
    """AutoTimes with the segments of the task, fitted on the source."""
    given = MODELS[name]
    if args.quick:
        given = {"backbone": None, "depth": 1, "width": 32}
    model = AutoTimes(
        task.sizes.both,
        horizon=task.sizes.segment,
        segment_length=task.sizes.segment,
        loss=LOSS,
        training=training(task, args),
        random_state=seed,
        device="cpu",
        **given,
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
    """Forecasts after the history, of what the arm reads of it."""
    model.set_params(
        context_length=arm.context, prompt_length=task.sizes.prompt, prompts=arm.prompts
    )
    return model.predict(history, horizon=task.sizes.horizon)


def score(task: Task, told: pd.DataFrame) -> Scores:
    """Errors of each series that is told of."""
    joined = task.test.merge(told, on=KEYS, validate="one_to_one")
    if len(joined) != len(told):
        raise ValueError(f"{len(told)} points were forecast, of which {len(joined)} are to come.")
    ids = joined["unique_id"].to_numpy().reshape(-1, task.sizes.horizon)[:, 0]
    target, point = (
        torch.tensor(joined[name].to_numpy(float)).reshape(len(ids), -1)
        for name in ("y", told.columns[-1])
    )
    scale = torch.tensor(task.scale.loc[ids].to_numpy(float))[:, None]
    groups = torch.arange(len(ids))[:, None], len(ids)
    return Scores(
        100 * METRICS["smape"].by_group(*groups, target, forecast=point),  # as M4 has it: to 200
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
    """Means over series and seeds; how much worse than the control, a series, on average."""
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
        "above contiguous": None,
        "standard error": None,
        "fit seconds": statistics.median(fit["seconds"] for fit in fits),
    }
    if control is not None:
        pairs = zip(found, control, strict=True)
        above = torch.stack([mine.smape - its.smape for mine, its in pairs]).mean(dim=0)
        row["above contiguous"] = above.mean().item()
        row["standard error"] = above.std().item() / len(above) ** 0.5
    return row


if __name__ == "__main__":
    main()
