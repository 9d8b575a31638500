"""Gradient checkpointing: blocks are computed again on the way back, instead of being kept."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tsar.forecasters.autotimes.backbone.backbone import attention_kernel
from tsar.forecasters.autotimes.backbone.blocks import blocks


def recompute(body: Any) -> None:
    """Keep of each block its input alone, where there is a way back.

    Source: Chen et al. 2016 (arXiv 1604.06174). That of transformers asks for training mode, which
    a frozen body is never in.
    """
    for block in blocks(body):
        block.forward = partial(_recomputed, block, vars(block).get("forward"))


def _recomputed(
    block: Any,
    short: Callable[..., Any] | None,
    hidden_states: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    forward = short or partial(type(block).forward, block)
    # What a cache keeps, it would keep twice.
    if not torch.is_grad_enabled() or kwargs.get("past_key_values") is not None:
        return forward(hidden_states, *args, **kwargs)
    device = hidden_states.device

    def kernels() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), attention_kernel(device)

    return checkpoint(
        forward, hidden_states, *args, use_reentrant=False, context_fn=kernels, **kwargs
    )
