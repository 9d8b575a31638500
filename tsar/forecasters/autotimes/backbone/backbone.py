"""Backbone: a causal transformer without vocabulary, from token embeddings to hidden states."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tsar.forecasters.autotimes.backbone.fingerprint import Fingerprint

MAX_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")

# Windows of local attention. An entry that no layer uses only makes `attention_window` too small,
# which is harmless.
ATTENTION_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")


class Backbone(nn.Module):
    """A causal transformer without vocabulary, frozen or trained as a whole.

    A frozen model stays in evaluation mode, without dropout; its adapters are trained all the same.
    Attention masks are exact up to `attention_window` tokens per row, masked tokens included.

    Parameters
    ----------
    model
        A base model of transformers.
    width
        Size of its token embeddings and hidden states.
    token_norm
        Mean norm of the embeddings of its vocabulary, on which it was trained.
    fingerprint
        Name and digest of the model.
    frozen
        Whether its own weights are frozen.

    Attributes
    ----------
    width, token_norm, fingerprint, frozen
        See the parameters.
    max_positions
        Maximum number of tokens in a row; None for no limit.
    attention_window
        Number of newest tokens that every layer attends to at least; None for all.
    patched
        Whether the last block computes selected tokens alone; see `last_block.py`.
    """

    model: Any  # transformers has no common type for its models

    def __init__(
        self,
        model: nn.Module,
        *,
        width: int,
        token_norm: float,
        fingerprint: Fingerprint,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.width, self.token_norm, self.fingerprint = width, token_norm, fingerprint
        self.frozen, self.patched = frozen, False
        config = self.model.config.get_text_config()
        limits = (getattr(config, name, None) for name in MAX_POSITIONS)
        self.max_positions: int | None = next((limit for limit in limits if limit), None)
        windows = [getattr(config, name, None) for name in ATTENTION_WINDOWS]
        self.attention_window: int | None = min((w for w in windows if w), default=None)
        # Models with ALiBi have no such argument: they use distances between tokens only.
        self._takes_position_ids = "position_ids" in inspect.signature(model.forward).parameters
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the training mode; a frozen model stays in evaluation mode, without dropout."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def new_cache(self) -> Any:
        """Create an empty key-value cache, which `forward` fills."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        *,
        attention_mask: Bool[Tensor, "batch total"] | None,
        position_ids: Int[Tensor, "batch token"] | None,
        cache: Any = None,
        selected: Int[Tensor, " selected"] | None = None,
    ) -> Float[Tensor, "*token width"]:
        """Hidden state of each token, which attends to itself and to the tokens before it.

        Parameters
        ----------
        tokens
            Token embeddings in float32, which follow those in the cache.
        attention_mask
            True for tokens, False for padding, those in the cache first; None if there is no
            padding. The hidden states of padding are finite, but meaningless.
        position_ids
            Position of each token; None for 0, 1, 2, ... after those in the cache.
        cache
            Key-value cache from `new_cache`, to which these tokens are added.
        selected
            Tokens whose hidden states are returned, (selected, width), as indices into the
            flattened (batch, token) axes; None for all, (batch, token, width).
        """
        batch, count, _ = tokens.shape
        past = 0 if cache is None else cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past, past + count, device=tokens.device).expand(batch, -1)
        elif attention_mask is None:
            # Without a mask, transformers reads a jump of the positions as a packed sequence.
            attention_mask = torch.ones(batch, past + count, dtype=torch.bool, device=tokens.device)
        optional: dict[str, Tensor] = {}
        if self._takes_position_ids:
            optional["position_ids"] = position_ids
        if selected is not None and self.patched:
            optional["selected"] = selected
        with attention_kernel(tokens.device):
            output = self.model(
                inputs_embeds=tokens.to(self.model.dtype),
                attention_mask=None if attention_mask is None else attention_mask.long(),
                past_key_values=cache,
                use_cache=cache is not None,
                **optional,
            )
        hidden: Tensor = output.last_hidden_state.to(tokens.dtype)
        return hidden if selected is None or self.patched else hidden.flatten(0, 1)[selected]


def attention_kernel(device: torch.device) -> AbstractContextManager[None]:
    """Plain products on a CPU: its fused kernel takes twice as long on rows of few tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
