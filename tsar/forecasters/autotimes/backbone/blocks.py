"""Where the blocks of a body stand."""

from typing import Any

from torch import nn


def blocks_name(body: Any) -> str:
    """Name of the list of a body's blocks.

    Raises
    ------
    ValueError
        There is no list of as many as the model says.
    """
    config = body.config.get_text_config()
    count = config.num_hidden_layers
    for name, module in body.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name
    raise ValueError(
        f"backbone must have its {count} blocks in one list for lora and gradient_checkpointing; "
        f"got a {config.model_type!r}, which has not. Do without these, or choose another one."
    )


def blocks(body: Any) -> Any:
    """The blocks of a body, in their order."""
    return body.get_submodule(blocks_name(body))
