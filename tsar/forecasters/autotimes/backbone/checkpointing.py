"""Gradient checkpointing: the backward pass recomputes the blocks instead of storing them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tsar.forecasters.autotimes.backbone.backbone import attention_kernel
from tsar.forecasters.autotimes.backbone.blocks import blocks


def enable_gradient_checkpointing(model: Any) -> None:
    """Store only the input of each block for the backward pass.

    Source: Chen et al. 2016 (arXiv 1604.06174). The implementation of transformers works in
    training mode only, and a frozen model is always in evaluation mode.
    """
    for block in blocks(model):
        block.forward = partial(_checkpointed_forward, block, vars(block).get("forward"))


def _checkpointed_forward(
    block: Any,
    patched_forward: Callable[..., Any] | None,
    hidden_states: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    forward = patched_forward or partial(type(block).forward, block)
    # A block that is computed twice would add its keys to a cache twice.
    if not torch.is_grad_enabled() or kwargs.get("past_key_values") is not None:
        return forward(hidden_states, *args, **kwargs)
    device = hidden_states.device

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attention_kernel(device)

    return checkpoint(
        forward, hidden_states, *args, use_reentrant=False, context_fn=contexts, **kwargs
    )
