"""The last block of a body, computed for those tokens alone whose outputs are wanted.

A forecast is read from the newest token, a loss from those behind what was observed. Of the others
the last block has to give keys and values, which are a sixteenth of its weights in SmolLM2.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from tsar.forecasters.autotimes.backbone.blocks import blocks

# Models whose blocks are those of Llama, but for what their own modules do. Others call by the same
# names what they compute otherwise, some of them for long rows or large values alone.
KINDS = {"llama", "mistral", "qwen2", "qwen3", "gemma"}
FEW = 2  # wanted tokens of a row, up to which their queries are worth a copy of the keys


def _last(body: Any) -> Any:
    return next(reversed(blocks(body)), None)


def shorten(body: Any) -> bool:
    """Teach the last block the argument `wanted`; whether it is built as those of Llama.

    Whether it computes the same is for the caller to try. `lengthen` undoes it.
    """
    if body.config.get_text_config().model_type not in KINDS:
        return False
    block = _last(body)
    if block is None:
        return False
    # Of this block alone, whose class and names of weights stay as they are. A partial can be
    # copied and pickled with its block.
    block.forward = partial(_forward, block)
    return True


def lengthen(body: Any) -> None:
    """Leave the last block as its class has it."""
    del _last(body).forward


def _forward(
    block: Any, hidden_states: Tensor, *args: Any, wanted: Tensor | None = None, **kwargs: Any
) -> Tensor:
    """Compute the block, (batch, token, width); for `wanted` tokens alone (wanted, width)."""
    if wanted is None:
        whole: Tensor = type(block).forward(block, hidden_states, *args, **kwargs)
        return whole
    normed = block.input_layernorm(hidden_states)
    seen = _attend(block.self_attn, normed, wanted, **kwargs)
    hidden = hidden_states.flatten(0, 1)[wanted] + seen
    output: Tensor = hidden + block.mlp(block.post_attention_layernorm(hidden))
    return output


def _attend(
    attention: Any,
    normed: Tensor,
    wanted: Int[Tensor, " wanted"],
    *,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **_: Any,
) -> Tensor:
    """What the wanted tokens see, (wanted, width): keys and values of all, queries of these."""
    batch, count, _width = normed.shape
    turns = [part.expand(batch, -1, -1)[:, :, None] for part in position_embeddings]
    split = (batch, count, -1, attention.head_dim)
    key = _turned(_normed(attention, "k_norm", attention.k_proj(normed).view(split)), *turns)
    value = attention.v_proj(normed).view(split)
    key, value = key.transpose(1, 2), value.transpose(1, 2)
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, attention.layer_idx)
    query, mask = normed, attention_mask
    if mask is None:
        mask = _causal(count, key.shape[2], normed.device)
    few = len(wanted) <= FEW * batch
    if few:  # a row for each of them
        row, token = wanted // count, wanted % count
        query, key, value = normed.flatten(0, 1)[wanted][:, None], key[row], value[row]
        turns = [part[row, token, None] for part in turns]
        mask = mask.expand(batch, -1, -1, -1)[row, :, token, None]
    query = attention.q_proj(query).unflatten(2, (-1, attention.head_dim))
    query = _turned(_normed(attention, "q_norm", query), *turns).transpose(1, 2)
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=attention.scaling, enable_gqa=True
    )
    output = output.transpose(1, 2).flatten(2).flatten(0, 1)
    seen: Tensor = attention.o_proj(output if few else output[wanted])
    return seen


def _causal(count: int, total: int, device: torch.device) -> Tensor:
    """Mask (1, 1, count, total) of the newest tokens, each of which sees those up to itself."""
    places = torch.arange(total, device=device)
    return (places <= places[total - count :, None])[None, None]


def _normed(attention: Any, name: str, vectors: Tensor) -> Tensor:
    """Vectors of each head, normed where the attention has a norm for them (as in Qwen 3)."""
    norm = getattr(attention, name, None)
    normed: Tensor = vectors if norm is None else norm(vectors)
    return normed


def _turned(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Vectors turned by their positions (Su et al. 2021), in halves as Llama has them."""
    left, right = vectors.chunk(2, dim=-1)
    return vectors * cosine + torch.cat([-right, left], dim=-1) * sine
