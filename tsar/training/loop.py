"""The only loop that minimizes `module.loss` over samples."""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from tsar.nn.module import Learner, trained_state
from tsar.runtime.seeds import seeded
from tsar.training.averaging import RunningAverage
from tsar.training.checkpoint import Checkpoint, fingerprint, read_checkpoint, write_checkpoint
from tsar.training.options import Training
from tsar.training.schedules import SCHEDULES

Record = dict[str, int | float]


@runtime_checkable
class Samples(Protocol):
    """What is trained on: windows of series, or anything else that comes in batches.

    A batch has a `count` of what its mean loss is over.
    """

    @property
    def device(self) -> torch.device:
        """Where the samples are."""

    @property
    def facts(self) -> tuple[int, ...]:
        """What tells these samples from others of the same tensors."""

    def tensors(self) -> list[Tensor]:
        """All that the samples show."""

    def __len__(self) -> int: ...

    def batch(self, rows: Int[Tensor, " row"] | slice) -> Any:
        """Batch of some samples."""

    def batches(self, size: int) -> Iterator[Any]:
        """All samples in order, `size` at a time."""


def train(
    module: Learner,
    samples: Samples,
    validation: Samples,
    options: Training,
    *,
    seed: int,
    progress: bool = False,
) -> list[Record]:
    """Minimize `module.loss` over the samples; the module ends with the best weights.

    The best are those with the lowest validation loss, the starting weights among them; without
    validation samples, the last. The history has a row for each epoch, row 0 before the first.

    The device is waited for once an epoch, when the losses are read.

    Raises
    ------
    ValueError
        There is no window, the loss is not finite, or the checkpoint is of another run.
    """
    if not len(samples):
        raise ValueError(
            "frame must have at least one window with an observed context and target; got none "
            "(1 sample gives none). "
            "Give longer series, or a smaller horizon or validation share."
        )
    run = _Run(module, samples, validation, options, seed)
    run.start()
    epochs = range(run.epoch + 1, options.epochs + 1)
    # Below a second nothing is shown; nor where nobody watches a terminal.
    bar = tqdm(epochs, "train", disable=None if progress else True, delay=1, leave=False)
    for epoch in bar:
        if run.waited >= options.patience and len(validation):
            break
        run.step_epoch(epoch)
        bar.set_postfix(loss=run.history[-1]["train_loss"])
    return run.finish()


class _Run:
    """One run of training: what changes from epoch to epoch."""

    def __init__(
        self,
        module: Learner,
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
        self.average = RunningAverage(self.parameters, options.ema_decay)
        self.drawn = min(len(samples), options.epoch_windows or len(samples))  # an epoch
        self.steps = math.ceil(self.drawn / options.batch_size)
        self.epoch, self.waited, self.lowest = 0, 0, math.inf
        self.history: list[Record] = []
        self.best: dict[str, Tensor] = {}  # empty without validation: then the last are
        self.path, self.fingerprint = os.fspath(options.checkpoint or ""), ""

    def start(self) -> None:
        """Take up a checkpoint, or judge the weights as they are."""
        saved = None
        if self.path:
            self.fingerprint = self._fingerprint()
            saved = read_checkpoint(self.path, self.fingerprint)
        if saved is not None:
            self._restore(saved)
        else:
            self._judge(0, math.nan)

    def finish(self) -> list[Record]:
        """Put the best weights back; the history."""
        self.average.apply()
        self.module.load_state_dict(self.best, strict=False)
        self.module.eval()
        return self.history

    def step_epoch(self, epoch: int) -> None:
        """Train one epoch, judge it, write the checkpoint."""
        loss = self._train_epoch(epoch)
        self._judge(epoch, loss)
        if self.path:
            write_checkpoint(self.path, self._snapshot())

    def _train_epoch(self, epoch: int) -> float:
        self.module.train()
        total = torch.zeros((), device=self.device)
        # Seeded by epoch, so that a run that was cut off goes on as if it had not been.
        with seeded(self.seed + epoch):
            for step, rows in enumerate(self._shuffled()):
                total += self._step((epoch - 1) * self.steps + step, rows) * len(rows)
        return float(total) / self.drawn  # the host waits here, once an epoch

    def _shuffled(self) -> Iterator[Int[Tensor, " row"]]:
        order = torch.randperm(len(self.samples), device=self.device)[: self.drawn]
        return iter(order.split(self.options.batch_size))

    def _step(self, step: int, rows: Int[Tensor, " row"]) -> Float[Tensor, ""]:
        schedule = SCHEDULES[self.options.schedule]
        rate = self.options.learning_rate * schedule(step, self.steps * self.options.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(rows)
        loss.backward()
        if self.options.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.options.gradient_clip)
        self.optimizer.step()
        self.average.add(step)
        return loss.detach()

    def _loss(self, rows: Int[Tensor, " row"] | slice) -> Float[Tensor, ""]:
        batch = self.samples.batch(rows)
        if self.options.precision == "float32":
            return self.module.loss(batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.module.loss(batch).float()

    def _judge(self, epoch: int, train_loss: float) -> None:
        """Note the losses of an epoch, and keep its weights if they are the best."""
        with self.average.applied():
            self._judge_weights(epoch, train_loss)

    def _judge_weights(self, epoch: int, train_loss: float) -> None:
        loss = validation_loss(self.module, self.validation, self.options)
        record = {"epoch": epoch, "train_loss": train_loss, "validation_loss": loss}
        self.history.append(record)
        if epoch and not math.isfinite(train_loss):
            raise ValueError(
                f"training must stay finite; got a loss of {train_loss} in epoch {epoch}. "
                "Lower Training(learning_rate=...)."
            )
        self.epoch = epoch
        if len(self.validation) and (loss < self.lowest or not epoch):
            self.lowest, self.waited = loss if math.isfinite(loss) else math.inf, 0
            self.best = {name: t.clone() for name, t in trained_state(self.module).items()}
        else:
            self.waited += 1

    def _fingerprint(self) -> str:
        options = {k: v for k, v in asdict(self.options).items() if k != "checkpoint"}
        settings = (options, self.seed, *self.samples.facts)
        tensors = [*self.samples.tensors(), *self.validation.tensors()]
        return fingerprint(settings, self.module, tensors)

    def _snapshot(self) -> Checkpoint:
        tensors = {f"best.{name}": t for name, t in self.best.items()}
        tensors |= {f"module.{name}": t for name, t in trained_state(self.module).items()}
        tensors |= {f"average.{index}": t for index, t in enumerate(self.average.values)}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in state.items()}
        return Checkpoint(tensors, self.history, self.waited, self.lowest, self.fingerprint)

    def _restore(self, saved: Checkpoint) -> None:
        tensors = {name: t.to(self.device) for name, t in saved.tensors.items()}
        self.best = _under("best.", tensors)
        self.module.load_state_dict(_under("module.", tensors), strict=False)
        for index, tensor in _under("average.", tensors).items():
            self.average.values[int(index)].copy_(tensor)
        state = self.optimizer.state_dict()
        for name, tensor in _under("optimizer.", tensors).items():
            index, _, slot = name.partition(".")
            state["state"].setdefault(int(index), {})[slot] = tensor
        self.optimizer.load_state_dict(state)
        self.history, self.waited, self.lowest = saved.history, saved.waited, saved.lowest
        self.epoch = int(self.history[-1]["epoch"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def validation_loss(module: Learner, samples: Samples, options: Training) -> float:
    """Mean loss over the observed targets of the samples that judge; NaN where there are none."""
    if not len(samples):
        return math.nan
    module.eval()
    total = torch.zeros(2, device=samples.device)
    with torch.inference_mode():
        for rows in _judges(samples, options).split(8 * options.batch_size):
            batch = samples.batch(rows)
            count = batch.count
            total += torch.stack([module.loss(batch).float() * count, count])
    loss, count = total.tolist()  # the host waits here, once an epoch
    return float(loss / count)


def _judges(samples: Samples, options: Training) -> Int[Tensor, " row"]:
    """All samples, or as many as may judge, spread evenly."""
    count, most = len(samples), options.validation_windows
    if most is None or most >= count:
        return torch.arange(count, device=samples.device)
    return torch.arange(most, device=samples.device) * (count - 1) // max(most - 1, 1)
