"""The training loop against a plain loop and torch's schedulers; interruption and resumption."""

import copy
import dataclasses
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_modules import Linear
from torch import nn

from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.linear import NLinear
from tsar.nn.module import trained_state
from tsar.training import EpochMetrics, Training, train, validation_loss
from tsar.training.schedules import SCHEDULES

LENGTH, HORIZON = 6, 2


def noisy_waves(missing: float = 0.0, seed: int = 0) -> Panel:
    """Three noisy waves of 60 points, in float32, with a unused covariate."""
    generator = np.random.default_rng(seed)
    values = np.sin(np.arange(60)[:, None] / 3 + np.arange(3)) + 0.1 * generator.normal(
        size=(60, 3)
    )
    values[generator.random(values.shape) < missing] = np.nan
    frame = pd.DataFrame(values).assign(price=1.0)
    return Panel.from_frame(frame, Columns(future=("price",))).to("cpu", torch.float32)


def split_windows(panel: Panel, held: int = 12) -> tuple[Windows, Windows]:
    """Training windows, and validation windows whose targets are the last `held` points."""
    first = panel.lengths - held if held else panel.lengths
    return (
        Windows.sliding(panel.without_last(held), LENGTH, HORIZON),
        Windows.sliding(panel, LENGTH, HORIZON, first=first),
    )


def linear_module(seed: int = 0, dropout: float = 0.0) -> Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Linear(LENGTH, HORIZON, dropout)


def run(
    module: Linear, options: Training, panel: Panel | None = None, *, held: int = 12, seed: int = 0
) -> list[EpochMetrics]:
    return train(module, *split_windows(panel or noisy_waves(), held), options, seed=seed)


def equal_weights(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def equal_history(left: list[EpochMetrics], right: list[dict[str, float]]) -> bool:
    return pd.DataFrame(left).equals(pd.DataFrame(right))


# --- schedules ---


@pytest.mark.filterwarnings("ignore:To get the last learning rate")
@pytest.mark.parametrize("steps", (1, 2, 3, 4, 5, 10, 57, 200))
@pytest.mark.parametrize("name", ("one_cycle", "cosine", "constant"))
def test_schedules_equal_torch_schedulers(name: str, steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = torch.optim.lr_scheduler
    scheduler: Any = {
        "one_cycle": lambda: schedulers.OneCycleLR(
            optimizer, 1.0, steps, pct_start=0.3, div_factor=25, final_div_factor=1e4
        ),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, steps),
        "constant": lambda: schedulers.ConstantLR(optimizer, factor=1.0),
    }[name]()
    for step in range(steps):
        expected = optimizer.param_groups[0]["lr"]
        assert SCHEDULES[name](step, steps) == pytest.approx(expected, rel=1e-9, abs=1e-15)
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()


# --- training loop ---


@pytest.mark.parametrize(("clip", "decay"), ((0.0, 0.0), (0.05, 0.0), (0.05, 0.8)))
def test_training_equals_a_plain_loop(clip: float, decay: float) -> None:
    options = Training(
        epochs=4,
        learning_rate=0.05,
        batch_size=20,
        weight_decay=0.1,
        gradient_clip=clip,
        ema_decay=decay,
    )
    panel = noisy_waves(missing=0.1)
    windows, none = split_windows(panel, held=0)
    module, plain = linear_module(), linear_module()
    history = train(module, windows, none, options, seed=5)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.05, weight_decay=0.1)
    steps = 4 * math.ceil(len(windows) / 20)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR
    scheduler = one_cycle(optimizer, 0.05, steps, cycle_momentum=False)
    average, step = [p.detach().clone() for p in plain.parameters()], 0
    losses = []
    for epoch in range(1, 5):
        torch.manual_seed(5 + epoch)
        total = 0.0
        for rows in torch.randperm(len(windows)).split(20):
            optimizer.zero_grad()
            loss = plain.loss(windows.batch(rows))
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(plain.parameters(), clip)
            optimizer.step()
            if scheduler.last_epoch + 1 < steps:
                scheduler.step()
            ema_decay = min(decay, (1 + step) / (10 + step))
            for mean, current in zip(average, plain.parameters(), strict=True):
                mean.mul_(ema_decay).add_((1 - ema_decay) * current.detach())
            step += 1
            total += loss.item() * len(rows)
        losses.append(total / len(windows))
    for left, right in zip(module.parameters(), average, strict=True):
        torch.testing.assert_close(left.detach(), right, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose([row["train_loss"] for row in history[1:]], losses, rtol=1e-5)


def test_training_converges_to_least_squares() -> None:
    panel = noisy_waves()
    windows, none = split_windows(panel, held=0)
    module = linear_module()
    options = Training(epochs=300, learning_rate=0.1, batch_size=10_000, gradient_clip=0.0)
    history = train(module, windows, none, options, seed=0)
    batch = windows.batch(slice(None))
    design = torch.cat([batch.context.values, torch.ones(len(windows), 1)], dim=1).double()
    solution = torch.linalg.lstsq(design, batch.target.double()).solution
    best = (design @ solution - batch.target).square().mean().item()
    assert validation_loss(module, windows, options) == pytest.approx(best, rel=0.01)
    assert history[-1]["train_loss"] < 0.1 * history[1]["train_loss"]


def test_history_has_one_row_per_epoch() -> None:
    history = run(linear_module(), Training(epochs=3))
    assert [list(row) for row in history] == [["epoch", "train_loss", "validation_loss"]] * 4
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert math.isnan(history[0]["train_loss"])
    assert all(math.isfinite(row["train_loss"]) for row in history[1:])
    assert all(math.isfinite(row["validation_loss"]) for row in history)
    without = run(linear_module(), Training(epochs=2), held=0)
    assert all(math.isnan(row["validation_loss"]) for row in without)


def test_best_weights_are_restored_in_eval_mode() -> None:
    module = linear_module()
    options = Training(epochs=30, learning_rate=1.0, batch_size=8, patience=30, schedule="constant")
    history = run(module, options)
    losses = [row["validation_loss"] for row in history]
    assert losses[-1] > min(losses)  # otherwise the best weights would be the last
    assert validation_loss(module, split_windows(noisy_waves())[1], options) == min(losses)
    assert not module.training
    without = linear_module()
    run(without, Training(epochs=1), held=0)
    assert not without.training


def test_initial_weights_are_restored_if_no_epoch_improves() -> None:
    panel = noisy_waves()
    module = linear_module()
    run(module, Training(epochs=200, learning_rate=0.05), panel)
    before = copy.deepcopy(module.state_dict())
    options = Training(epochs=50, learning_rate=1e3, patience=3, schedule="constant")
    history = run(module, options, panel)
    assert len(history) == 1 + 3
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_averaged_weights_are_validated_and_restored() -> None:
    panel, module = noisy_waves(), linear_module()
    options = Training(epochs=3, learning_rate=0.02, batch_size=16, ema_decay=0.9)
    history = run(module, options, panel)
    loss = validation_loss(module, split_windows(panel)[1], options)
    assert loss == pytest.approx(min(row["validation_loss"] for row in history), rel=1e-6)
    assert not equal_weights(module, trained_module(panel, 0.0))


def test_averaging_improves_a_high_constant_learning_rate() -> None:
    def loss(decay: float) -> float:
        options = Training(epochs=8, learning_rate=0.2, batch_size=4, schedule="constant")
        panel, module = noisy_waves(), linear_module()
        run(module, dataclasses.replace(options, ema_decay=decay), panel, held=0)
        return validation_loss(module, split_windows(panel, held=0)[0], options)

    assert loss(0.98) < 0.8 * loss(0.0)


def trained_module(panel: Panel, decay: float) -> Linear:
    module = linear_module()
    options = Training(epochs=3, learning_rate=0.02, batch_size=16, ema_decay=decay)
    run(module, options, panel)
    return module


def test_training_stops_after_patience_epochs_without_improvement() -> None:
    class Constant(Linear):
        def forecast(self, context: Any, horizon: int) -> torch.Tensor:
            return super().forecast(context, horizon) * 0 + 1.0

    with torch.random.fork_rng():
        history = run(Constant(LENGTH, HORIZON), Training(epochs=50, patience=4))
    assert len(history) == 1 + 4


def test_zero_epochs_keep_the_initial_weights() -> None:
    module = linear_module()
    history = run(module, Training(epochs=0))
    assert len(history) == 1
    assert equal_weights(module, linear_module())


def test_buffers_are_restored_with_the_best_weights() -> None:
    class Counting(Linear):
        def __init__(self) -> None:
            super().__init__(LENGTH, HORIZON)
            self.register_buffer("steps", torch.zeros(()))

        def loss(self, batch: Any) -> torch.Tensor:
            if self.training:
                self.steps += 1
            return super().loss(batch) + self.steps

    module = Counting()
    run(module, Training(epochs=10, patience=2))
    assert module.steps == 0


def test_validation_loss_is_the_mean_over_observed_targets() -> None:
    panel = noisy_waves(missing=0.3)
    validation = split_windows(panel)[1]
    module = linear_module().eval()
    batch = validation.batch(slice(None))
    error = (module.forecast(batch.context, HORIZON)[..., 0] - batch.target).square()
    expected = error[batch.mask].mean().item()
    for batch_size in (1, 3, 100):
        found = validation_loss(module, validation, Training(batch_size=batch_size))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("validation", "lengths", "expected"),
    (
        (0.2, [10, 100, 5], [2, 20, 2]),
        (0.1, [30, 60, 31], [3, 6, 4]),
        (0.07, [100, 200, 300], [7, 14, 21]),
        (5, [10, 100, 7], [5, 5, 5]),
        (1, [10, 100, 5], [2, 2, 2]),
        (0, [10, 100, 5], [0, 0, 0]),
        (0.5, [4, 3, 2], [2, 0, 0]),  # at least two points are left for training
        (50, [51, 52, 60], [0, 50, 50]),
    ),
)
def test_validation_points_are_the_newest_of_each_series(
    validation: float, lengths: list[int], expected: list[int]
) -> None:
    found = Training(validation=validation).validation_points(torch.tensor(lengths), 2)
    assert found.tolist() == expected


def test_validation_fraction_of_a_long_series_is_exact() -> None:
    lengths = torch.tensor([400_000_030])
    assert Training(validation=0.1).validation_points(lengths, 1).tolist() == [40_000_003]


def test_validation_points_do_not_affect_training() -> None:
    frame = pd.DataFrame(np.sin(np.arange(60)[:, None] / 3 + np.arange(3)))
    other = frame.copy()
    other.iloc[48:] *= -7  # the newest fifth
    models = [
        NLinear(LENGTH, horizon=HORIZON, training=Training(epochs=4, patience=9), random_state=0)
        for _ in range(2)
    ]
    left, right = (m.fit(f) for m, f in zip(models, (frame, other), strict=True))
    assert left.history_["train_loss"].equals(right.history_["train_loss"])
    assert torch.equal(left.scaling_.mean, right.scaling_.mean)
    assert torch.equal(left.scaling_.deviation, right.scaling_.deviation)
    losses = left.history_["validation_loss"], right.history_["validation_loss"]
    assert (losses[0] != losses[1]).all()


# --- seeds ---


def test_equal_seeds_give_equal_weights() -> None:
    modules = [linear_module(dropout=0.3) for _ in range(3)]
    options = Training(epochs=3, batch_size=16)
    histories = [run(m, options, seed=s) for m, s in zip(modules, (1, 1, 2), strict=True)]
    assert equal_weights(modules[0], modules[1])
    assert equal_history(histories[0], histories[1])
    assert not equal_weights(modules[0], modules[2])


def test_training_leaves_the_global_generators_unchanged() -> None:
    torch.manual_seed(7)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(linear_module(dropout=0.3), Training(epochs=2))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


# --- missing values, precision, frozen weights ---


def test_training_with_missing_targets_is_finite() -> None:
    module = linear_module()
    history = run(module, Training(epochs=3, batch_size=8), noisy_waves(missing=0.5))
    assert all(math.isfinite(row["train_loss"]) for row in history[1:])
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_gradient_excludes_missing_targets() -> None:
    windows, _ = split_windows(noisy_waves(missing=0.4))
    module = linear_module()
    batch = windows.batch(slice(None))
    module.loss(batch).backward()
    found = module.linear.weight.grad.clone()
    expected = torch.zeros_like(found)
    module.zero_grad()
    for row, step in batch.mask.nonzero().tolist():
        forecast = module.forecast(batch.context, HORIZON)[row, step, 0]
        ((forecast - batch.target[row, step]) ** 2 / batch.mask.sum()).backward()
    expected = module.linear.weight.grad
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_bfloat16_training_is_close_to_float32() -> None:
    plain, half = linear_module(), linear_module()
    options = {"epochs": 5, "learning_rate": 0.02, "batch_size": 32}
    exact = run(plain, Training(**options))
    rough = run(half, Training(**options, precision="bfloat16"))
    assert half.linear.weight.dtype == torch.float32
    assert not equal_weights(plain, half)
    assert rough[-1]["train_loss"] == pytest.approx(exact[-1]["train_loss"], rel=0.05)


class Frozen(Linear):
    """A linear map after a frozen one, with tied weights."""

    def __init__(self) -> None:
        super().__init__(LENGTH, HORIZON)
        self.front = nn.Linear(LENGTH, LENGTH).requires_grad_(False)
        self.tied = nn.Linear(LENGTH, HORIZON)
        self.tied.weight = self.linear.weight

    def forecast(self, context: Any, horizon: int) -> torch.Tensor:
        values = self.front(context.values.nan_to_num(0.0))
        return (self.linear(values) + self.tied(values))[:, :horizon, None]


def frozen_module() -> Frozen:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Frozen()


def test_frozen_weights_are_unchanged_and_not_in_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    module = frozen_module()
    history = run(module, Training(epochs=4, checkpoint=path))
    assert equal_weights(module.front, frozen_module().front)
    assert set(trained_state(module)) == {
        "linear.weight",
        "linear.bias",
        "tied.weight",
        "tied.bias",
    }
    assert not any("front" in name for name in load_file(path))
    again = frozen_module()
    assert equal_history(run(again, Training(epochs=4, checkpoint=path)), history)
    assert equal_weights(again, module)


def test_infinite_training_loss_raises(tmp_path: Path) -> None:
    class Exploding(Linear):
        def loss(self, batch: Any) -> torch.Tensor:
            return super().loss(batch) * (math.inf if self.training else 1.0)

    path = tmp_path / "run.safetensors"
    message = r"^train_loss must be finite; got inf in epoch 1. Lower Training"
    with pytest.raises(ValueError, match=message):
        run(Exploding(LENGTH, HORIZON), Training(checkpoint=str(path)))
    assert not path.exists()


def test_weights_with_an_infinite_validation_loss_are_not_the_best() -> None:
    module = linear_module()
    with torch.no_grad():
        module.linear.bias.fill_(math.inf)
    original_loss = module.loss

    def loss(batch: Any) -> torch.Tensor:
        if module.training:
            with torch.no_grad():
                module.linear.bias.nan_to_num_(posinf=0.0)
        return original_loss(batch)

    module.loss = loss  # type: ignore[method-assign]
    history = run(module, Training(epochs=3))
    assert math.isinf(history[0]["validation_loss"])
    assert module.linear.bias.isfinite().all()


def test_training_without_windows_raises() -> None:
    panel = Panel.from_tensor(torch.ones(2, 1))
    windows = Windows.sliding(panel, LENGTH, HORIZON)
    with pytest.raises(ValueError, match=r"^frame must have at least one window with an observed"):
        train(linear_module(), windows, windows, Training(), seed=0)


def test_progress_bar_is_hidden_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    train(linear_module(), *split_windows(noisy_waves()), Training(epochs=2), seed=0, progress=True)
    assert capfd.readouterr() == ("", "")


# --- checkpoints ---

OPTIONS: dict[str, Any] = {"epochs": 6, "learning_rate": 0.02, "batch_size": 16}
STEPS = 8  # per epoch


@pytest.mark.parametrize("decay", (0.0, 0.9))
def test_resumed_run_equals_an_uninterrupted_run(decay: float, tmp_path: Path) -> None:
    uninterrupted, averaged = linear_module(dropout=0.3), OPTIONS | {"ema_decay": decay}
    history = run(uninterrupted, Training(**averaged))
    assert uninterrupted.calls["losses"] == 6 * STEPS
    options = Training(**averaged, checkpoint=tmp_path / "new folder" / "run.safetensors")
    stopped = linear_module(dropout=0.3)
    stopped.calls["stop_at"] = 2 * STEPS + 3  # in the third epoch
    with pytest.raises(InterruptedError):
        run(stopped, options)
    resumed = linear_module(dropout=0.3)
    found = run(resumed, options)
    assert resumed.calls["losses"] == 4 * STEPS
    assert equal_weights(resumed, uninterrupted)
    assert equal_history(found, history)


def test_finished_run_is_not_repeated(tmp_path: Path) -> None:
    options = Training(**OPTIONS, checkpoint=str(tmp_path / "run.safetensors"))
    first, again = linear_module(), linear_module()
    history = run(first, options)
    assert equal_history(run(again, options), history)
    assert again.calls["losses"] == 0
    assert equal_weights(first, again)


def test_run_that_stopped_early_is_not_continued(tmp_path: Path) -> None:
    options = Training(
        epochs=50, learning_rate=10.0, patience=2, checkpoint=tmp_path / "run.safetensors"
    )
    first, again = linear_module(), linear_module()
    history = run(first, options)
    assert len(history) < 51
    assert equal_history(run(again, options), history)
    assert equal_weights(first, again)


KILLED_SCRIPT = """
import os, signal, sys
sys.path[:0] = {paths!r}
import test_training
from small_modules import Linear
Linear.interrupt = lambda self: os.kill(os.getpid(), signal.SIGKILL)
module = test_training.linear_module(dropout=0.3)
module.calls["stop_at"] = 2 * test_training.STEPS + 3
options = test_training.Training(**test_training.OPTIONS, checkpoint={path!r})
test_training.run(module, options)
"""


def test_killed_run_is_resumed_from_its_checkpoint(tmp_path: Path) -> None:
    path, parents = str(tmp_path / "run.safetensors"), Path(__file__).parents
    script = KILLED_SCRIPT.format(paths=[str(folder) for folder in parents[:3]], path=path)
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    uninterrupted, resumed = linear_module(dropout=0.3), linear_module(dropout=0.3)
    history = run(uninterrupted, Training(**OPTIONS))
    found = run(resumed, Training(**OPTIONS, checkpoint=path))
    assert resumed.calls["losses"] == 4 * STEPS
    assert equal_weights(resumed, uninterrupted)
    assert equal_history(found, history)


def other_runs() -> dict[str, tuple[Linear, dict[str, Any]]]:
    """Runs that differ in one thing: their module, and arguments of `run`."""
    panel, module = noisy_waves(), linear_module()
    price = panel.future.clone()
    price[3] = 2.0
    changed = linear_module()
    changed.dropout.p = 0.1
    return {
        "seed": (module, {"seed": 1}),
        "options": (module, {"options": Training(**{**OPTIONS, "learning_rate": 0.01})}),
        "data": (module, {"panel": noisy_waves(seed=1)}),
        "covariates": (module, {"panel": Panel(**{**vars(panel), "future": price})}),
        "split": (module, {"held": 13}),
        "weights": (linear_module(seed=1), {}),
        "layers": (changed, {}),
    }


@pytest.mark.parametrize(
    "difference", ("seed", "options", "data", "covariates", "split", "weights", "layers")
)
def test_checkpoint_of_another_run_raises(difference: str, tmp_path: Path) -> None:
    path = str(tmp_path / "run.safetensors")
    run(linear_module(), Training(**OPTIONS, checkpoint=path))
    module, changes = other_runs()[difference]
    options = changes.pop("options", Training(**OPTIONS))
    options = Training(**{**vars(options), "checkpoint": path})
    message = r"^training.checkpoint must be of the same settings and data; .*run.safetensors'"
    with pytest.raises(ValueError, match=message):
        run(module, options, **changes)


@pytest.mark.parametrize("damage", ("truncated", "empty", "text", "foreign", "metadata", "folder"))
def test_damaged_checkpoint_raises(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    options = Training(**OPTIONS, checkpoint=str(path))
    run(linear_module(), options)
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage in ("foreign", "metadata"):
        save_file({"a": torch.ones(1)}, path, {"tsar": "{}"} if damage == "metadata" else None)
    else:
        path.write_bytes(
            {"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage]
        )
    with pytest.raises(ValueError, match=r"^training.checkpoint must be a checkpoint of tsar; got"):
        run(linear_module(), options)


def test_checkpoint_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    options = Training(**OPTIONS, checkpoint=str(path))
    run(linear_module(), options)
    before = path.read_bytes()

    def disk_full(tensors: Any, target: Path, metadata: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr("tsar.training.checkpoint.save_file", disk_full)
    shorter = Training(**{**OPTIONS, "epochs": 1}, checkpoint=str(tmp_path / "other"))
    with pytest.raises(OSError, match="no space left"):
        run(linear_module(), shorter)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    assert path.read_bytes() == before


def test_epoch_windows_limits_the_windows_of_an_epoch() -> None:
    seen: list[int] = []

    class Counting(Linear):
        def loss(self, batch: Any) -> torch.Tensor:
            if self.training:
                seen.extend(batch.context.series.tolist())
            return super().loss(batch)

    options = Training(epochs=3, batch_size=8, epoch_windows=20)
    history = run(Counting(LENGTH, HORIZON), options)
    assert len(seen) == 3 * 20
    assert len(history) == 4 and all(math.isfinite(row["train_loss"]) for row in history[1:])
    seen.clear()
    run(Counting(LENGTH, HORIZON), Training(epochs=1, epoch_windows=10**6))
    assert len(seen) == len(split_windows(noisy_waves())[0])
    with pytest.raises(ValueError, match="epoch_windows must be an integer"):
        Training(epoch_windows=0)


def test_validation_windows_limits_the_validation_windows() -> None:
    seen: list[float] = []

    class Recorded(Linear):
        def loss(self, batch: Any) -> torch.Tensor:
            if not self.training:
                seen.extend(batch.target[:, 0].tolist())
            return super().loss(batch)

    run(Recorded(LENGTH, HORIZON), Training(epochs=2, batch_size=8, validation_windows=5))
    known = split_windows(noisy_waves())[1].batch(slice(None)).target[:, 0].tolist()
    assert len(seen) == 3 * 5
    assert seen[:5] == seen[5:10] == seen[10:]  # the same windows each time
    assert (seen[0], seen[4]) == (known[0], known[-1])  # and evenly spaced
    with pytest.raises(ValueError, match="validation_windows must be an integer"):
        Training(validation_windows=0)
