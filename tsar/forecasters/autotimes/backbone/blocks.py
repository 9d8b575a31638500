"""The transformer blocks of a Hugging Face model."""

from typing import Any

from torch import nn


def blocks_name(model: Any) -> str:
    """Name of the `nn.ModuleList` that holds the blocks of a model.

    Raises
    ------
    ValueError
        No list has as many blocks as the configuration says.
    """
    config = model.config.get_text_config()
    depth = config.num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return name
    raise ValueError(
        f"backbone must have its {depth} blocks in one list for lora and gradient_checkpointing; "
        f"got a {config.model_type!r}, which has not. Do without these, or choose another one."
    )


def blocks(model: Any) -> Any:
    """The blocks of a model, in order."""
    return model.get_submodule(blocks_name(model))
