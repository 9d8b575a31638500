"""LoRA (Hu et al. 2021): trained maps of low rank beside the frozen ones."""

from typing import Any

import torch
from torch import nn

from tsar.forecasters.autotimes.backbone.blocks import blocks_name
from tsar.forecasters.autotimes.backbone.extra import missing_extra
from tsar.forecasters.autotimes.backbone.silence import silence


def add_adapters(body: nn.Module, rank: int) -> None:
    """Put adapters at each linear map of the blocks; the output stays as it is at first.

    Raises
    ------
    ImportError
        peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise missing_extra(f"lora={rank}") from error
    with silence():
        lora = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_linear_maps(body)
        )
        inject_adapter_in_model(lora, body)
    for name, parameter in body.named_parameters():
        trained = ".lora_" in name
        parameter.requires_grad_(trained)
        if trained:  # peft takes the precision of the frozen weights
            parameter.data = parameter.data.to(torch.float32)


def _linear_maps(body: Any) -> list[str]:
    from transformers.pytorch_utils import Conv1D

    place = blocks_name(body)
    return [
        name
        for name, module in body.named_modules()
        if name.startswith(f"{place}.") and isinstance(module, nn.Linear | Conv1D)
    ]
