"""The training loop: minimizes `module.loss` with AdamW, early stopping and checkpoints."""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from tsar.nn.module import TrainableModule, trained_state
from tsar.runtime.seeds import seeded
from tsar.training.averaging import ExponentialMovingAverage
from tsar.training.checkpoint import Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from tsar.training.options import Training
from tsar.training.schedules import SCHEDULES

EpochMetrics = dict[str, int | float]


@runtime_checkable
class Samples(Protocol):
    """Training samples that are read in batches, such as windows of series.

    Each batch has a `count`: the number of terms in its mean loss.
    """

    @property
    def device(self) -> torch.device:
        """Device of the samples."""

    @property
    def settings(self) -> tuple[int, ...]:
        """Numbers that, with `tensors`, determine the samples: part of a run's fingerprint."""

    def tensors(self) -> list[Tensor]:
        """Tensors that hold the samples: part of a run's fingerprint."""

    def __len__(self) -> int: ...

    def batch(self, rows: Int[Tensor, " row"] | slice) -> Any:
        """Batch of some samples."""

    def batches(self, size: int) -> Iterator[Any]:
        """All samples in order, in batches of `size`."""


def train(
    module: TrainableModule,
    samples: Samples,
    validation: Samples,
    options: Training,
    *,
    seed: int,
    progress: bool = False,
) -> list[EpochMetrics]:
    """Minimize `module.loss` over the samples, and restore the best weights.

    The best weights are those with the lowest validation loss, the initial ones included; without
    validation samples, the last ones. Each epoch has one device synchronization for each loss.

    Returns
    -------
    list of dict
        ``epoch``, ``train_loss`` and ``validation_loss`` of each epoch; epoch 0 is before training.

    Raises
    ------
    ValueError
        There are no samples, the loss is not finite, or the checkpoint is of another run.
    """
    if not len(samples):
        raise ValueError(  # "1 sample" is what scikit-learn's check_fit2d_1sample looks for
            "frame must have at least one window with an observed context and target; got none "
            "(1 sample gives none). "
            "Give longer series, or a smaller horizon or validation fraction."
        )
    trainer = _Trainer(module, samples, validation, options, seed)
    trainer.resume_or_validate()
    epochs = range(trainer.epoch + 1, options.epochs + 1)
    # No bar below one second, nor where the output is no terminal.
    bar = tqdm(epochs, "train", disable=None if progress else True, delay=1, leave=False)
    for epoch in bar:
        if trainer.epochs_without_improvement >= options.patience and len(validation):
            break
        trainer.run_epoch(epoch)
        bar.set_postfix(loss=trainer.history[-1]["train_loss"])
    return trainer.finish()


class _Trainer:
    """State of one training run."""

    def __init__(
        self,
        module: TrainableModule,
        samples: Samples,
        validation: Samples,
        options: Training,
        seed: int,
    ) -> None:
        self.module, self.samples, self.validation = module, samples, validation
        self.options, self.seed = options, seed
        self.device = samples.device
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.ema = ExponentialMovingAverage(self.parameters, options.ema_decay)
        self.epoch_samples = min(len(samples), options.epoch_windows or len(samples))
        self.epoch_steps = math.ceil(self.epoch_samples / options.batch_size)
        self.epoch, self.epochs_without_improvement, self.best_loss = 0, 0, math.inf
        self.history: list[EpochMetrics] = []
        self.best_state: dict[str, Tensor] = {}  # empty without validation: the last is used
        self.path = os.fspath(options.checkpoint or "")
        self.fingerprint = self._fingerprint() if self.path else ""

    def resume_or_validate(self) -> None:
        """Resume from the checkpoint, or without one validate the initial weights."""
        checkpoint = read_checkpoint(self.path, self.fingerprint) if self.path else None
        if checkpoint is not None:
            self._restore(checkpoint)
        else:
            self._validate(0, math.nan)

    def finish(self) -> list[EpochMetrics]:
        """Restore the best weights; return the history."""
        self.ema.copy_to_parameters()
        self.module.load_state_dict(self.best_state, strict=False)
        self.module.eval()
        return self.history

    def run_epoch(self, epoch: int) -> None:
        """Train one epoch, validate, and write the checkpoint."""
        self._validate(epoch, self._train_epoch(epoch))
        if self.path:
            write_checkpoint(self.path, self._checkpoint())

    def _train_epoch(self, epoch: int) -> float:
        self.module.train()
        total = torch.zeros((), device=self.device)
        # Seeded by epoch, so that a resumed run equals one without interruption.
        with seeded(self.seed + epoch):
            order = torch.randperm(len(self.samples), device=self.device)[: self.epoch_samples]
            for step, rows in enumerate(order.split(self.options.batch_size)):
                total += self._step((epoch - 1) * self.epoch_steps + step, rows) * len(rows)
        return float(total) / self.epoch_samples  # device synchronization, once an epoch

    def _step(self, step: int, rows: Int[Tensor, " row"]) -> Float[Tensor, ""]:
        schedule = SCHEDULES[self.options.schedule]
        factor = schedule(step, self.epoch_steps * self.options.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        loss.backward()
        if self.options.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.gradient_clip)
        self.optimizer.step()
        self.ema.update(step)
        return loss.detach()

    def _loss(self, rows: Int[Tensor, " row"]) -> Float[Tensor, ""]:
        batch = self.samples.batch(rows)
        if self.options.precision == "float32":
            return self.module.loss(batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.module.loss(batch).float()

    def _validate(self, epoch: int, train_loss: float) -> None:
        """Append the metrics of an epoch, and keep the averaged weights if they are the best."""
        with self.ema.average_parameters():
            loss = validation_loss(self.module, self.validation, self.options)
            self.history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": loss})
            if epoch and not math.isfinite(train_loss):
                raise ValueError(
                    f"train_loss must be finite; got {train_loss} in epoch {epoch}. "
                    "Lower Training(learning_rate=...)."
                )
            self.epoch = epoch
            if len(self.validation) and (loss < self.best_loss or not epoch):
                self.best_loss = loss if math.isfinite(loss) else math.inf
                self.epochs_without_improvement = 0
                self.best_state = {n: t.clone() for n, t in trained_state(self.module).items()}
            else:
                self.epochs_without_improvement += 1

    def _fingerprint(self) -> str:
        options = {k: v for k, v in asdict(self.options).items() if k != "checkpoint"}
        settings = (options, self.seed, *self.samples.settings)
        tensors = [*self.samples.tensors(), *self.validation.tensors()]
        return fingerprint(settings, self.module, tensors)

    def _checkpoint(self) -> Checkpoint:
        tensors = {f"best.{name}": t for name, t in self.best_state.items()}
        tensors |= {f"module.{name}": t for name, t in trained_state(self.module).items()}
        tensors |= {f"ema.{index}": t for index, t in enumerate(self.ema.averages)}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in state.items()}
        return Checkpoint(
            tensors,
            self.history,
            self.epochs_without_improvement,
            self.best_loss,
            self.fingerprint,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = {name: t.to(self.device) for name, t in checkpoint.tensors.items()}
        self.best_state = _with_prefix("best.", tensors)
        self.module.load_state_dict(_with_prefix("module.", tensors), strict=False)
        for index, tensor in _with_prefix("ema.", tensors).items():
            self.ema.averages[int(index)].copy_(tensor)
        state = self.optimizer.state_dict()
        for name, tensor in _with_prefix("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            state["state"].setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(state)
        self.history, self.best_loss = checkpoint.history, checkpoint.best_loss
        self.epochs_without_improvement = checkpoint.epochs_without_improvement
        self.epoch = int(self.history[-1]["epoch"])


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names have a prefix, without the prefix."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def validation_loss(module: TrainableModule, samples: Samples, options: Training) -> float:
    """Mean loss over the observed targets of the validation samples; NaN if there are none."""
    if not len(samples):
        return math.nan
    module.eval()
    total = torch.zeros(2, device=samples.device)
    with torch.inference_mode():
        for rows in _validation_rows(samples, options).split(8 * options.batch_size):
            batch = samples.batch(rows)
            count = batch.count
            total += torch.stack([module.loss(batch).float() * count, count])
    loss, count = total.tolist()  # device synchronization, once an epoch
    return float(loss / count)


def _validation_rows(samples: Samples, options: Training) -> Int[Tensor, " row"]:
    """All samples, or at most `validation_windows` of them, evenly spaced."""
    count, limit = len(samples), options.validation_windows
    if limit is None or limit >= count:
        return torch.arange(count, device=samples.device)
    return torch.arange(limit, device=samples.device) * (count - 1) // max(limit - 1, 1)
