"""Loads a body: pretrained, random or from scratch."""

from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from tsar.forecasters.autotimes.backbone.adapters import add_adapters
from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.identity import identify
from tsar.forecasters.autotimes.backbone.options import SCRATCH_LAYERS, BackboneOptions
from tsar.forecasters.autotimes.backbone.probing import check_decoder, shorten_last_block
from tsar.forecasters.autotimes.backbone.recomputing import recompute
from tsar.forecasters.autotimes.backbone.silence import silence
from tsar.forecasters.autotimes.backbone.sources import Source, find_source, read_config
from tsar.runtime.seeds import seeded

ROWS = 8192  # of the vocabulary, whose norms are taken at once
SCRATCH_POSITIONS = 1 << 15


def load_backbone(options: BackboneOptions, *, seed: int) -> Backbone:
    """Load a body.

    Parameters
    ----------
    options
        Which, and how.
    seed
        Of what is drawn: weights from scratch, random ones and those of adapters.

    Raises
    ------
    ImportError
        It needs the llm extra, which is not installed.
    OSError, ValueError
        There is no such model, or it is no decoder-only language model that can be used.
    """
    with seeded(seed):
        if options.name is None:
            backbone = _from_scratch(options)
        else:
            backbone = _from_source(find_source(options.name), options)
    if options.gradient_checkpointing:
        recompute(backbone.body)
    return backbone


def _from_source(source: Source, options: BackboneOptions) -> Backbone:
    body = load_body(source, options)
    token_norm, width = _token_norm(body), _token_width(body)
    body.set_input_embeddings(nn.Identity())  # often a third of all weights
    identity = identify(source.name, body, frozen=True)
    backbone = Backbone(body, width=width, token_norm=token_norm, identity=identity, frozen=True)
    check_decoder(backbone)
    shorten_last_block(backbone)
    if options.lora is not None:
        add_adapters(body, options.lora)
        backbone.train(backbone.training)  # peft's modules are new
    return backbone


def load_body(source: Source, options: BackboneOptions) -> Any:
    """Load a frozen base model with its vocabulary.

    Raises
    ------
    OSError, ValueError
        There is no such model, or it can't be used.
    """
    config = read_config(source, options.depth)
    with silence():
        if options.init == "random":
            body = _draw(config, options.dtype)
        else:
            body = _read(source, config, options.dtype)
    return body.requires_grad_(False).eval()


def _read(source: Source, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModel

    try:
        body, report = AutoModel.from_pretrained(
            source.place,
            config=config,
            dtype=dtype,
            attn_implementation=_attention(config),
            output_loading_info=True,
            **source.arguments,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise source.refusal(error) from error
    # transformers would draw them.
    if missing := sorted(map(str, report["missing_keys"])):
        raise ValueError(
            f"the weights of {source.name!r} must be complete; got none for {missing[:3]} "
            f"({len(missing)} tensors). It is damaged, or no decoder-only language model: get "
            "another copy, or choose another one."
        )
    return body


def _draw(config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModel

    body = AutoModel.from_config(
        config, dtype=torch.float32, attn_implementation=_attention(config), trust_remote_code=False
    )
    for parameter in body.parameters():  # buffers, as of rotations, stay exact
        parameter.data = parameter.data.to(dtype)
    return body


def _attention(config: Any) -> str | None:
    """Kernel of the attention; None: SDPA, where a model has it."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return None if capped is None else "eager"  # SDPA has no soft caps (Gemma 2)


def _token_width(body: Any) -> int:
    return int(body.get_input_embeddings().weight.shape[1])


@torch.no_grad()
def _token_norm(body: Any) -> float:
    """Mean norm of the vectors that the vocabulary gives: some models scale its rows."""
    table = body.get_input_embeddings()
    rows = torch.arange(len(table.weight))
    norms = [table(part).float().norm(dim=-1) for part in rows.split(ROWS)]
    return float(torch.cat(norms).mean())


def _from_scratch(options: BackboneOptions) -> Backbone:
    width, heads = options.width, max(options.width // 32, 1)
    with silence():
        from transformers import LlamaConfig

        config = LlamaConfig(
            vocab_size=1,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=SCRATCH_LAYERS if options.depth is None else options.depth,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=SCRATCH_POSITIONS,
            attention_dropout=0.0,
        )
        body = _draw(config, options.dtype)
    body.set_input_embeddings(nn.Identity())
    # What a vocabulary's vectors would have: a block then adds about as much as it reads.
    token_norm = width**0.5 * config.initializer_range
    identity = identify("", body, frozen=False)
    backbone = Backbone(body, width=width, token_norm=token_norm, identity=identity, frozen=False)
    shorten_last_block(backbone)
    return backbone
