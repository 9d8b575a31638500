"""Small AutoTimes modules and series."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsar import Training
from tsar.forecasters.autotimes.backbone import BackboneOptions, load_backbone
from tsar.forecasters.autotimes.heads import Head
from tsar.forecasters.autotimes.module import AutoTimesModule

SEGMENT, TOKENS = 3, 4

SMALL: dict[str, Any] = {
    "segment_length": SEGMENT,
    "backbone": None,
    "depth": 1,
    "width": 16,
    "device": "cpu",
    "random_state": 0,
    "training": Training(epochs=2, batch_size=16),
}


def module(seed: int = 0, positions: int | None = None, **options: Any) -> AutoTimesModule:
    """A small module in float64, whose weights are all drawn."""
    torch.manual_seed(seed)
    backbone = load_backbone(BackboneOptions(None, depth=2, width=16), seed=seed)
    if positions is not None:
        backbone.positions = positions
    given: dict[str, Any] = {"head": Head("mse"), "hidden": (), "dropout": 0.0, "stamps": None}
    made = AutoTimesModule(
        backbone, SEGMENT * TOKENS, SEGMENT, **given | {"init": "random"} | options
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made.eval()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def waves(length: int = 90) -> np.ndarray[Any, Any]:
    noise = 0.1 * np.random.default_rng(0).normal(size=(length, 2))
    return np.sin(np.arange(length) * 2 * np.pi / 6)[:, None] * [1, 3] + noise + [0, 5]
