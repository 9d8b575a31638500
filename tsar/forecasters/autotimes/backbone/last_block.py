"""The last block of a Llama-like model, computed for selected tokens only.

A forecast needs the hidden state of the newest token, a loss those of the tokens from the last
observed one on. Of the other tokens the last block needs only keys and values, whose weights are a
sixteenth of a block in SmolLM2.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from tsar.forecasters.autotimes.backbone.blocks import blocks

# Models whose blocks compute what those of Llama do. Other models use the same names for something
# else, in some of them only for long rows or large values.
MODEL_TYPES = {"llama", "mistral", "qwen2", "qwen3", "gemma"}
MAX_GATHERED = 2  # selected tokens per row up to which the keys are gathered for each of them


def _last_block(model: Any) -> Any:
    return next(reversed(blocks(model)), None)


def patch_last_block(model: Any) -> bool:
    """Give the last block the argument `selected`; return whether its architecture is known.

    The caller checks that the result is the same. `unpatch_last_block` undoes it.
    """
    if model.config.get_text_config().model_type not in MODEL_TYPES:
        return False
    block = _last_block(model)
    if block is None:
        return False
    # An instance attribute: the class, and the names of the weights, stay the same. A partial can
    # be copied and pickled with its block.
    block.forward = partial(_forward, block)
    return True


def unpatch_last_block(model: Any) -> None:
    """Restore the last block's own forward method."""
    del _last_block(model).forward


def _forward(
    block: Any, hidden_states: Tensor, *args: Any, selected: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """Output of the block: (batch, token, width), or (selected, width) for selected tokens."""
    if selected is None:
        output: Tensor = type(block).forward(block, hidden_states, *args, **kwargs)
        return output
    normed = block.input_layernorm(hidden_states)
    attended = _attend(block.self_attn, normed, selected, **kwargs)
    hidden = hidden_states.flatten(0, 1)[selected] + attended
    output = hidden + block.mlp(block.post_attention_layernorm(hidden))
    return output


def _attend(
    attention: Any,
    normed: Tensor,
    selected: Int[Tensor, " selected"],
    *,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **_: Any,
) -> Tensor:
    """Attention of selected tokens, (selected, width), to the keys and values of all tokens."""
    batch, count, _width = normed.shape
    rotation = [part.expand(batch, -1, -1)[:, :, None] for part in position_embeddings]
    shape = (batch, count, -1, attention.head_dim)
    key = _rotate(_head_norm(attention, "k_norm", attention.k_proj(normed).view(shape)), *rotation)
    value = attention.v_proj(normed).view(shape)
    key, value = key.transpose(1, 2), value.transpose(1, 2)
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, attention.layer_idx)
    query, mask = normed, attention_mask
    if mask is None:
        mask = _causal_mask(count, key.shape[2], normed.device)
    gathered = len(selected) <= MAX_GATHERED * batch
    if gathered:  # one query per row, with its own copy of keys and values
        row, token = selected // count, selected % count
        query, key, value = normed.flatten(0, 1)[selected][:, None], key[row], value[row]
        rotation = [part[row, token, None] for part in rotation]
        mask = mask.expand(batch, -1, -1, -1)[row, :, token, None]
    query = attention.q_proj(query).unflatten(2, (-1, attention.head_dim))
    query = _rotate(_head_norm(attention, "q_norm", query), *rotation).transpose(1, 2)
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=attention.scaling, enable_gqa=True
    )
    output = output.transpose(1, 2).flatten(2).flatten(0, 1)
    attended: Tensor = attention.o_proj(output if gathered else output[selected])
    return attended


def _causal_mask(count: int, total: int, device: torch.device) -> Tensor:
    """Causal mask (1, 1, count, total) of the newest `count` of `total` tokens."""
    index = torch.arange(total, device=device)
    return (index <= index[total - count :, None])[None, None]


def _head_norm(attention: Any, name: str, vectors: Tensor) -> Tensor:
    """Queries or keys of each head, normalized where the attention has a norm for them (Qwen 3)."""
    norm = getattr(attention, name, None)
    normed: Tensor = vectors if norm is None else norm(vectors)
    return normed


def _rotate(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), with the halves arranged as in Llama."""
    left, right = vectors.chunk(2, dim=-1)
    return vectors * cosine + torch.cat([-right, left], dim=-1) * sine
