"""LoRA adapters: trainable low-rank updates of frozen linear layers (Hu et al. 2021)."""

from typing import Any

import torch
from torch import nn

from tsar.forecasters.autotimes.backbone.blocks import blocks_name
from tsar.forecasters.autotimes.backbone.dependencies import missing_extra, suppress_output


def add_adapters(model: nn.Module, rank: int) -> None:
    """Add adapters to every linear layer of the blocks; at first they do not affect the output.

    Raises
    ------
    ImportError
        peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise missing_extra(f"lora={rank}") from error
    with suppress_output():
        config = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_linear_layers(model)
        )
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        is_adapter = ".lora_" in name
        parameter.requires_grad_(is_adapter)
        if is_adapter:  # peft creates them in the precision of the frozen weights
            parameter.data = parameter.data.to(torch.float32)


def _linear_layers(model: Any) -> list[str]:
    from transformers.pytorch_utils import Conv1D

    prefix = f"{blocks_name(model)}."
    return [
        name
        for name, module in model.named_modules()
        if name.startswith(prefix) and isinstance(module, nn.Linear | Conv1D)
    ]
