"""Loading of backbones: pretrained, with random weights, or from scratch."""

from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from tsar.forecasters.autotimes.backbone.backbone import Backbone
from tsar.forecasters.autotimes.backbone.checkpointing import enable_gradient_checkpointing
from tsar.forecasters.autotimes.backbone.checks import check_decoder, patch_last_block_if_exact
from tsar.forecasters.autotimes.backbone.dependencies import suppress_output
from tsar.forecasters.autotimes.backbone.fingerprint import fingerprint
from tsar.forecasters.autotimes.backbone.lora import add_adapters
from tsar.forecasters.autotimes.backbone.options import DEFAULT_DEPTH, BackboneOptions
from tsar.forecasters.autotimes.backbone.sources import Source, find_source, read_config
from tsar.runtime.seeds import seeded

VOCABULARY_CHUNK = 8192  # embeddings whose norms are computed at once
MAX_POSITIONS = 1 << 15  # of a model from scratch


def load_backbone(options: BackboneOptions, *, seed: int) -> Backbone:
    """Load a backbone.

    Parameters
    ----------
    options
        Which model, and how to load it.
    seed
        Seed of random weights: from scratch, of ``init="random"``, and of adapters.

    Raises
    ------
    ImportError
        The llm extra is needed, and not installed.
    OSError, ValueError
        There is no such model, or it is no decoder-only language model that can be used.
    """
    with seeded(seed):
        if options.name is None:
            backbone = _from_scratch(options)
        else:
            backbone = _from_source(find_source(options.name), options)
    if options.gradient_checkpointing:
        enable_gradient_checkpointing(backbone.model)
    return backbone


def load_model(source: Source, options: BackboneOptions) -> Any:
    """Load a frozen base model of transformers, with its vocabulary and without adapters.

    Raises
    ------
    OSError, ValueError
        There is no such model, or it can't be used.
    """
    config = read_config(source, options.depth)
    with suppress_output():
        if options.init == "random":
            model = _random_model(config, options.dtype)
        else:
            model = _pretrained_model(source, config, options.dtype)
    return model.requires_grad_(False).eval()


def _from_source(source: Source, options: BackboneOptions) -> Backbone:
    model = load_model(source, options)
    embeddings = model.get_input_embeddings()
    token_norm, width = _token_norm(embeddings), int(embeddings.weight.shape[1])
    model.set_input_embeddings(nn.Identity())  # often a third of all weights
    backbone = Backbone(
        model,
        width=width,
        token_norm=token_norm,
        fingerprint=fingerprint(source.name, model, frozen=True),
        frozen=True,
    )
    check_decoder(backbone)
    patch_last_block_if_exact(backbone)
    if options.lora is not None:
        add_adapters(model, options.lora)
        backbone.train(backbone.training)  # peft's modules are in training mode
    return backbone


def _from_scratch(options: BackboneOptions) -> Backbone:
    width, heads = options.width, max(options.width // 32, 1)
    with suppress_output():
        from transformers import LlamaConfig

        config = LlamaConfig(
            vocab_size=1,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=DEFAULT_DEPTH if options.depth is None else options.depth,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=MAX_POSITIONS,
            attention_dropout=0.0,
        )
        model = _random_model(config, options.dtype)
    model.set_input_embeddings(nn.Identity())
    backbone = Backbone(
        model,
        width=width,
        # That of a vocabulary's embeddings: a block then adds about as much as its input.
        token_norm=width**0.5 * config.initializer_range,
        fingerprint=fingerprint("", model, frozen=False),
        frozen=False,
    )
    patch_last_block_if_exact(backbone)
    return backbone


def _pretrained_model(source: Source, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            source.path,
            config=config,
            dtype=dtype,
            attn_implementation=_attention(config),
            output_loading_info=True,
            **source.arguments,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise source.load_error(error) from error
    # transformers would initialize them at random.
    if missing := sorted(map(str, report["missing_keys"])):
        raise ValueError(
            f"the weights of {source.name!r} must be complete; got none for {missing[:3]} "
            f"({len(missing)} tensors). It is damaged, or no decoder-only language model: get "
            "another copy, or choose another one."
        )
    return model


def _random_model(config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModel

    model = AutoModel.from_config(
        config, dtype=torch.float32, attn_implementation=_attention(config), trust_remote_code=False
    )
    for parameter in model.parameters():  # buffers, as of rotary embeddings, stay exact
        parameter.data = parameter.data.to(dtype)
    return model


def _attention(config: Any) -> str | None:
    """Implementation of the attention; None for SDPA, where a model has it."""
    softcap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return None if softcap is None else "eager"  # SDPA has no soft caps (Gemma 2)


@torch.no_grad()
def _token_norm(embeddings: Any) -> float:
    """Mean norm of the embeddings of the vocabulary, as called: some models scale the weights."""
    tokens = torch.arange(len(embeddings.weight))
    norms = [embeddings(chunk).float().norm(dim=-1) for chunk in tokens.split(VOCABULARY_CHUNK)]
    return float(torch.cat(norms).mean())
