"""A body: a causal transformer that maps token vectors to hidden states."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tsar.forecasters.autotimes.backbone.identity import Identity

LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")

# Of layers that do not see the whole row. To take one for it that is nowhere used does no harm.
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")


class Backbone(nn.Module):
    """A causal transformer without vocabulary, frozen or trained as a whole.

    A frozen one stays in evaluation mode: nothing is left out at random. Its adapters are trained
    all the same. What is said of masks holds as long as a row is no longer than `reach`, where
    masked tokens count too.

    Parameters
    ----------
    body
        A base model of transformers.
    width
        Of the vectors that it reads and gives.
    token_norm
        Mean length of the vectors of its vocabulary, which is what it was trained to read.
    identity
        What was loaded.
    frozen
        Whether its own weights stay as they are.

    Attributes
    ----------
    width, token_norm, identity, frozen
        As given.
    positions
        Most tokens that it can read; None: no limit.
    reach
        How many of the newest tokens each layer sees at least; None: all.
    short
        Whether the last block computes wanted tokens alone; see `last_block.py`.
    """

    body: Any  # transformers has no type for what all its models can do

    def __init__(
        self, body: nn.Module, *, width: int, token_norm: float, identity: Identity, frozen: bool
    ) -> None:
        super().__init__()
        self.body = body
        self.width, self.token_norm, self.identity = width, token_norm, identity
        self.frozen = frozen
        self.short = False
        config = self.body.config.get_text_config()
        limits = (getattr(config, name, None) for name in LIMITS)
        self.positions: int | None = next((limit for limit in limits if limit), None)
        windows = [getattr(config, name, None) for name in WINDOWS]
        self.reach: int | None = min((window for window in windows if window), default=None)
        # Models with ALiBi have none: they count tokens, or see distances alone.
        self._hears_positions = "position_ids" in inspect.signature(body.forward).parameters
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Switch all but a frozen body, whose dropout would only add noise."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def new_cache(self) -> Any:
        """Make an empty memory of keys and values; `forward` fills it."""
        from transformers import DynamicCache

        return DynamicCache(config=self.body.config)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        *,
        mask: Bool[Tensor, "batch total"] | None,
        positions: Int[Tensor, "batch token"] | None,
        cache: Any = None,
        wanted: Int[Tensor, " wanted"] | None = None,
    ) -> Float[Tensor, "*place width"]:
        """Hidden state of each token, which sees those before it and itself.

        Parameters
        ----------
        tokens
            Vectors in float32, the next ones after those in the cache.
        mask
            True where there is a token, those in the cache first; None: everywhere. No other token
            sees a missing one; what is given at its place means nothing, but is finite.
        positions
            Place of each token in its row; None: 0, 1, 2, ... after those in the cache.
        cache
            What `new_cache` gave: keys and values of earlier tokens, those of these are added.
        wanted
            Places of the tokens whose hidden states to return, (wanted, width), counted through
            all rows; None: those of all, (batch, token, width).
        """
        batch, count, _ = tokens.shape
        past = 0 if cache is None else cache.get_seq_length()
        if positions is None:
            counted = torch.arange(past, past + count, device=tokens.device)
            positions = counted.expand(batch, -1)
        elif mask is None:
            # Without a mask, transformers takes a jump of the positions for another sequence.
            mask = torch.ones(batch, past + count, dtype=torch.bool, device=tokens.device)
        told: dict[str, Tensor] = {"position_ids": positions} if self._hears_positions else {}
        if wanted is not None and self.short:
            told["wanted"] = wanted
        with attention_kernel(tokens.device):
            output = self.body(
                inputs_embeds=tokens.to(self.body.dtype),
                attention_mask=None if mask is None else mask.long(),
                past_key_values=cache,
                use_cache=cache is not None,
                **told,
            )
        hidden: Tensor = output.last_hidden_state.to(tokens.dtype)
        return hidden if wanted is None or self.short else hidden.flatten(0, 1)[wanted]


def attention_kernel(device: torch.device) -> AbstractContextManager[None]:
    """Plain products on a CPU: its fused kernel takes twice as long on rows of a few tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
