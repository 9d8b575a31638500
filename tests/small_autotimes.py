"""Small AutoTimes modules and series."""

from typing import Any

import numpy as np
import pandas as pd
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


def module(seed: int = 0, max_positions: int | None = None, **options: Any) -> AutoTimesModule:
    """A small module in float64 with random weights."""
    torch.manual_seed(seed)
    backbone = load_backbone(BackboneOptions(None, depth=2, width=16), seed=seed)
    if max_positions is not None:
        backbone.max_positions = max_positions
    defaults: dict[str, Any] = {
        "head": Head("mse"),
        "hidden": (),
        "dropout": 0.0,
        "timestamps": None,
    }
    network = AutoTimesModule(
        backbone, SEGMENT * TOKENS, SEGMENT, **defaults | {"init": "random"} | options
    ).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return network.eval()


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def waves(length: int = 90) -> np.ndarray[Any, Any]:
    noise = 0.1 * np.random.default_rng(0).normal(size=(length, 2))
    return np.sin(np.arange(length) * 2 * np.pi / 6)[:, None] * [1, 3] + noise + [0, 5]


def hourly(length: int = 90) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=length, freq="h")
    return pd.DataFrame(waves(length), index=times, columns=["a", "b"])
