"""Training: the only loop that minimizes `module.loss` over windows."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from tsar.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tsar.nn.module import ForecastModule
from tsar.windows import Windows

Record = dict[str, float]


@dataclass(frozen=True)
class Training:
    """How to train: AdamW with a schedule, early stopping on the newest points.

    Parameters
    ----------
    epochs
        Passes over the windows at most.
    learning_rate
        Its peak.
    schedule
        ``"one_cycle"`` (cosine up over the first 30 %, down to almost nothing), ``"cosine"`` (down
        to zero) or ``"constant"``.
    batch_size
        Windows a step.
    weight_decay
        Decoupled, as in AdamW.
    validation
        The newest points of each series that are held back for early stopping and for the
        calibration of intervals: a share below 1, or a number of points. At least the horizon is
        taken, and nothing from a series that would be left without a target.
    patience
        Epochs without a better validation loss before training stops; the best weights stay.
    gradient_clip
        Largest norm of the gradient; 0 leaves it as it is.
    precision
        ``"float32"``, or ``"bfloat16"`` for autocast.
    checkpoint
        File that is written after every epoch, and continued from if the run was cut off.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    batch_size: int = 128
    weight_decay: float = 0.0
    validation: float = 0.2
    patience: int = 5
    gradient_clip: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        """Check each option once."""
        _require(self.epochs >= 0, "epochs", "at least 0", self.epochs)
        _require(self.learning_rate > 0, "learning_rate", "positive", self.learning_rate)
        _require(self.schedule in SCHEDULES, "schedule", f"one of {list(SCHEDULES)}", self.schedule)
        _require(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        _require(self.weight_decay >= 0, "weight_decay", "at least 0", self.weight_decay)
        _require(self.validation >= 0, "validation", "at least 0", self.validation)
        _require(self.patience >= 1, "patience", "at least 1", self.patience)
        _require(self.gradient_clip >= 0, "gradient_clip", "at least 0", self.gradient_clip)
        known = ("float32", "bfloat16")
        _require(self.precision in known, "precision", f"one of {list(known)}", self.precision)

    def validation_points(self, lengths: Int[Tensor, " series"], horizon: int) -> Tensor:
        """Points at the end of each series that are held back."""
        if self.validation == 0:
            return torch.zeros_like(lengths)
        share = self.validation < 1
        asked = (lengths * self.validation).ceil() if share else lengths * 0 + self.validation
        points = asked.long().clamp(min=horizon)
        return torch.where(points < lengths - 1, points, 0)

    @classmethod
    def from_config(cls, config: dict[str, object]) -> "Training":
        """Rebuild from the plain values that `dataclasses.asdict` gives."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in config.items() if name in known})  # type: ignore[arg-type]


def _require(holds: bool, name: str, condition: str, value: object) -> None:
    if not holds:
        raise ValueError(f"training.{name} must be {condition}; got {value!r}. Change it.")


def _one_cycle(progress: float) -> float:
    rise, start, end = 0.3, 1 / 25, 1 / 25e4
    if progress < rise:
        return start + (1 - start) * _half_cosine(progress / rise)
    return end + (1 - end) * (1 - _half_cosine((progress - rise) / (1 - rise)))


def _half_cosine(share: float) -> float:
    return (1 - math.cos(math.pi * share)) / 2


# Share of the peak learning rate by the share of all steps done. One-cycle: Smith & Topin 2018
# (arXiv 1708.07120), with the constants that torch's OneCycleLR has.
SCHEDULES = {
    "one_cycle": _one_cycle,
    "cosine": lambda progress: 1 - _half_cosine(progress),
    "constant": lambda progress: 1.0,
}


def train(
    module: ForecastModule,
    windows: Windows,
    validation: Windows,
    options: Training,
    *,
    seed: int,
    progress: bool = False,
) -> list[Record]:
    """Minimize `module.loss` over the windows; the module ends with the best weights.

    The best are those with the lowest validation loss, the starting weights among them; without
    validation windows, the last. The history has a row for each epoch, row 0 before the first.

    The device is waited for once an epoch, when the losses are read.

    Raises
    ------
    ValueError
        There is no window, the loss is not finite, or the checkpoint is of another run.
    """
    if not len(windows):
        raise ValueError(
            "frame must have at least one window with an observed context and target; got none. "
            "Give longer series, or a smaller horizon or validation share."
        )
    run = _Run(module, windows, validation, options, seed)
    run.start()
    epochs = range(run.epoch + 1, options.epochs + 1)
    # Below a second nothing is shown; nor where nobody watches a terminal.
    bar = tqdm(epochs, "train", disable=None if progress else True, delay=1, leave=False)
    for epoch in bar:
        if run.waited >= options.patience and len(validation):
            break
        run.step_epoch(epoch)
        bar.set_postfix(loss=run.history[-1]["train_loss"])
    module.load_state_dict(run.best)
    return run.history


class _Run:
    """One run of training: what changes from epoch to epoch."""

    def __init__(
        self,
        module: ForecastModule,
        windows: Windows,
        validation: Windows,
        options: Training,
        seed: int,
    ) -> None:
        self.module, self.windows, self.validation = module, windows, validation
        self.options, self.seed = options, seed
        self.device = windows.cutoffs.device
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.steps = math.ceil(len(windows) / options.batch_size)
        self.epoch, self.waited, self.lowest = 0, 0, math.inf
        self.history: list[Record] = []
        self.best: dict[str, Tensor] = {}

    def start(self) -> None:
        """Take up a checkpoint, or judge the weights as they are."""
        path = self.options.checkpoint
        saved = read_checkpoint(path, self.fingerprint()) if path else None
        if saved is not None:
            self._restore(saved)
        else:
            self._judge(0, math.nan)

    def step_epoch(self, epoch: int) -> None:
        """Train one epoch, judge it, write the checkpoint."""
        loss = self._train_epoch(epoch)
        self._judge(epoch, loss)
        if self.options.checkpoint:
            write_checkpoint(self.options.checkpoint, self._snapshot())

    def _train_epoch(self, epoch: int) -> float:
        self.module.train()
        total = torch.zeros((), device=self.device)
        # Seeded by epoch, so that a run that was cut off goes on as if it had not been.
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            torch.manual_seed(self.seed + epoch)
            for step, rows in enumerate(self._shuffled()):
                total += self._step((epoch - 1) * self.steps + step, rows) * len(rows)
        return float(total) / len(self.windows)  # the host waits here, once an epoch

    def _shuffled(self) -> Iterator[Int[Tensor, " row"]]:
        order = torch.randperm(len(self.windows), device=self.device)
        return iter(order.split(self.options.batch_size))

    def _step(self, step: int, rows: Int[Tensor, " row"]) -> Float[Tensor, ""]:
        share = step / max(self.steps * self.options.epochs - 1, 1)
        rate = self.options.learning_rate * SCHEDULES[self.options.schedule](share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.gradient_clip)
        self.optimizer.step()
        return loss.detach()

    def _loss(self, rows: Int[Tensor, " row"] | slice) -> Float[Tensor, ""]:
        batch = self.windows.batch(rows)
        enabled = self.options.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            return self.module.loss(batch).float()

    def _judge(self, epoch: int, train_loss: float) -> None:
        """Note the losses of an epoch, and keep its weights if they are the best."""
        loss = validation_loss(self.module, self.validation, self.options)
        record = {"epoch": epoch, "train_loss": train_loss, "validation_loss": loss}
        self.history.append(record)
        if epoch and not math.isfinite(train_loss):
            raise ValueError(
                f"training must stay finite; got a loss of {train_loss} in epoch {epoch}. "
                "Lower Training(learning_rate=...)."
            )
        self.epoch = epoch
        if loss < self.lowest or not len(self.validation):
            self.lowest, self.waited = loss, 0
            self.best = {name: t.detach().clone() for name, t in self.module.state_dict().items()}
        else:
            self.waited += 1

    def fingerprint(self) -> str:
        """Digest of all that decides the outcome, so that no other run's checkpoint is continued."""
        digest = hashlib.sha256()
        options = {k: v for k, v in asdict(self.options).items() if k != "checkpoint"}
        shapes = {name: tuple(t.shape) for name, t in self.module.state_dict().items()}
        digest.update(repr((options, self.seed, shapes)).encode())
        for windows in (self.windows, self.validation):
            digest.update(windows.panel.values.cpu().numpy().tobytes())
            digest.update(windows.cutoffs.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _snapshot(self) -> Checkpoint:
        tensors = {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"module.{name}": t for name, t in self.module.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in state.items()}
        return Checkpoint(tensors, self.history, self.waited, self.lowest, self.fingerprint())

    def _restore(self, saved: Checkpoint) -> None:
        tensors = {name: t.to(self.device) for name, t in saved.tensors.items()}
        part = {name: name.partition(".") for name in tensors}
        self.best = {part[n][2]: t for n, t in tensors.items() if part[n][0] == "best"}
        self.module.load_state_dict(
            {part[n][2]: t for n, t in tensors.items() if part[n][0] == "module"}
        )
        state = self.optimizer.state_dict()
        for name, tensor in tensors.items():
            kind, _, rest = part[name]
            if kind == "optimizer":
                index, _, slot = rest.partition(".")
                state["state"].setdefault(int(index), {})[slot] = tensor
        self.optimizer.load_state_dict(state)
        self.history, self.waited, self.lowest = saved.history, saved.waited, saved.lowest
        self.epoch = int(self.history[-1]["epoch"])


def validation_loss(module: ForecastModule, windows: Windows, options: Training) -> float:
    """Mean loss over the observed targets of all windows; NaN where there are none."""
    if not len(windows):
        return math.nan
    module.eval()
    total = torch.zeros(2, device=windows.cutoffs.device)
    with torch.inference_mode():
        for batch in windows.batches(8 * options.batch_size):
            count = batch.mask.sum()
            total += torch.stack([module.loss(batch).float() * count, count])
    loss, count = total.tolist()  # the host waits here, once an epoch
    return float(loss / count)


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
