"""Small SpaceTime modules, estimators and series for tests."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tsar import SpaceTime, Training
from tsar.forecasters.spacetime.module import SpaceTimeModule

QUICK = Training(epochs=3, batch_size=32)


def small_module(context: int = 30, horizon: int = 8, **options: Any) -> SpaceTimeModule:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "state_size": 6,
        "width": 16,
        "depth": 2,
        "normalization": "mean",
        "stability": "reflection",
        "unit_roots": 0,
        "init": "random",
        "dropout": 0.0,
        "past": 0,
        "future": 0,
        "groups": 1,
        "levels": (),
        "one_step_weight": 1.0,
        "input_weight": 1.0,
    }
    module = SpaceTimeModule(context, horizon, **(defaults | options))
    for parameter in module.parameters():  # away from the initial zeros
        parameter.data += 0.1 * torch.randn_like(parameter)
    return module


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seasonal_series(length: int = 240, seed: int = 0) -> Any:
    errors = np.random.default_rng(seed).normal(size=length)
    return np.sin(np.arange(length) * 2 * np.pi / 12) * 3 + 0.3 * errors + 20


def small_estimator(**options: Any) -> SpaceTime:
    defaults: dict[str, Any] = {
        "context_length": 36,
        "horizon": 6,
        "state_size": 12,
        "width": 8,
        "training": QUICK,
        "device": "cpu",
        "random_state": 0,
    }
    return SpaceTime(**(defaults | options))
